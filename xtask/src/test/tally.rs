//! Counts the results of libtest's lines, without the tests that skipped themselves.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::failures::Failures;

/// What begins a figure that a test prints, in the middle of a line perhaps (`push_tests::figure`).
const FIGURE: &str = "FIGURE ";

/// The sums of libtest's lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// `SKIPPED` and ignored tests, as `name: why`.
    pub(super) skipped: Vec<String>,
    /// Figures that tests have found.
    pub(super) figures: Vec<String>,
    /// What failed tests have said first.
    failures: Failures,
}

impl Tally {
    /// Counts a line of libtest: the result of a binary, or an ignored test. Keeps a figure, and why a
    /// test has failed.
    pub(super) fn read_line(&mut self, line: &str) {
        self.failures.read_line(line);
        if let Some((_, figure)) = line.split_once(FIGURE) {
            self.figures.push(figure.to_owned());
        } else if let Some((passed, failed)) = parse_result(line) {
            self.passed += passed;
            self.failed += failed;
        } else if let Some(test) = line.strip_prefix("test ")
            && let Some((name, why)) = test.split_once(" ... ignored")
        {
            let why = why.strip_prefix(", ").unwrap_or("ignored");
            self.skipped.push(format!("{name}: {why}"));
        }
    }

    /// Counts the tests that skipped themselves, which libtest has counted as passed.
    pub(super) fn count_skipped(&mut self, names: &[String]) {
        self.passed = self.passed.saturating_sub(names.len() as u64);
        self.skipped.extend_from_slice(names);
    }

    /// Adds the counts of another kernel, named `under`.
    pub(super) fn add(&mut self, under: &str, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped.iter().map(|test| format!("{under}: {test}")));
        self.figures.extend(other.figures.iter().map(|figure| format!("{under}: {figure}")));
        self.failures.add(under, &other.failures);
    }

    pub(super) fn print(&self) {
        for test in &self.skipped {
            println!("skipped {test}");
        }
        for figure in &self.figures {
            println!("{figure}");
        }
        print!("{}", self.failures);
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len());
    }
}

/// Reads passed and failed from `test result: ok. 1 passed; 0 failed; 0 ignored; ...`.
fn parse_result(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |name: &str| {
        counts.split("; ").find_map(|part| part.strip_suffix(name)?.trim_end().parse().ok())
    };
    Some((count("passed")?, count("failed")?))
}

/// The tests that skipped themselves, as `name: why`.
pub(super) fn read_skipped(file: &Path) -> Result<Vec<String>> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(parse_skipped(&text))
}

fn parse_skipped(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix("SKIPPED ")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
