//! What libFuzzer said of a run.

use std::fmt;

/// Lines of a failure that are repeated: the panic's message is among them.
const FAILURE_LINES: usize = 12;

/// A run in which nothing was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    inputs: u64,
    /// New ones that go further than those before.
    kept: u64,
    memory_mib: u64,
    /// Edges and their counts that were seen.
    features: u64,
}

impl Summary {
    /// Reads libFuzzer's final statistics.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = |name: &str| {
            let line = text.lines().rev().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        Some(Self {
            inputs: number("stat::number_of_executed_units:")?,
            kept: number("stat::new_units_added:")?,
            memory_mib: number("stat::peak_rss_mb:")?,
            features: features(text).unwrap_or(0),
        })
    }
}

/// From the last line that tells: `#123 DONE cov: 1 ft: 2 corp: ...`.
fn features(text: &str) -> Option<u64> {
    let line = text.lines().rev().find(|line| line.contains(" ft: "))?;
    line.split(" ft: ").nth(1)?.split_whitespace().next()?.parse().ok()
}

/// The part of a failed run that says why.
pub(super) fn failure(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_why = |line: &&str| line.contains("panicked at") || line.contains("ERROR: libFuzzer");
    let begin = lines.iter().position(is_why);
    let begin = begin.unwrap_or(lines.len().saturating_sub(FAILURE_LINES));
    lines[begin..].iter().take(FAILURE_LINES).copied().collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inputs, kept, memory_mib, features } = self;
        write!(
            formatter,
            "{inputs} inputs, {features} features, {kept} new inputs, {memory_mib} MiB: every property held"
        )
    }
}

#[cfg(test)]
mod tests;
