//! Keeps the beginning of what failed tests have said. libtest prints it in the middle of a long log, of
//! whose end alone a CI may show more than a line, so it is repeated there.

use std::fmt;

/// Lines kept of a failed test.
const LINES_MAX: usize = 15;

/// Characters kept of a line.
const LINE_CHARS_MAX: usize = 400;

/// Failed tests, from libtest's lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    found: Vec<Failure>,
    place: Place,
}

/// A failed test, and the first lines of its panics.
#[derive(Debug, Default, PartialEq, Eq)]
struct Failure {
    name: String,
    lines: Vec<String>,
    is_cut: bool,
}

/// What the next line belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Elsewhere,
    /// What the last failed test has printed.
    Output,
    /// The message of a panic of it.
    Panic,
}

impl Failures {
    /// Reads the next line of all that libtest prints.
    pub(super) fn read_line(&mut self, line: &str) {
        if let Some(name) = header(line) {
            self.found.push(Failure { name: name.to_owned(), ..Failure::default() });
            self.place = Place::Output;
            return;
        }
        // Names alone follow the second of these; the first comes before the outputs.
        if line == "failures:" {
            self.place = Place::Elsewhere;
        }
        let Some(failure) = self.found.last_mut().filter(|_| self.place != Place::Elsewhere) else {
            return;
        };
        if let Some(message) = panic(line) {
            self.place = Place::Panic;
            failure.keep(message);
        } else if ends_message(line) {
            self.place = Place::Output;
        } else if self.place == Place::Panic
            && let Some(line) = without_metrics(line)
        {
            failure.keep(&line);
        }
    }

    /// Adds those of another kernel, named `under`.
    pub(super) fn add(&mut self, under: &str, other: &Self) {
        self.found.extend(other.found.iter().map(|failure| Failure {
            name: format!("{under}: {}", failure.name),
            lines: failure.lines.clone(),
            is_cut: failure.is_cut,
        }));
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.found.iter().try_for_each(|failure| write!(f, "{failure}"))
    }
}

impl Failure {
    fn keep(&mut self, line: &str) {
        if self.lines.len() == LINES_MAX {
            self.is_cut = true;
            return;
        }
        let mut kept: String = line.chars().take(LINE_CHARS_MAX).collect();
        if kept.len() < line.len() {
            kept.push_str(" ...");
        }
        self.lines.push(kept);
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "failed {}", self.name)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        if self.is_cut { writeln!(f, "    ...") } else { Ok(()) }
    }
}

/// The name in `---- name stdout ----`.
fn header(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// A panic's first line, without its thread: `panicked at file:1:2:`.
fn panic(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("thread '")?;
    rest.find("panicked at ").map(|at| &rest[at..])
}

/// What follows a message: std's words, or the log of a server or another process, which tests show.
fn ends_message(line: &str) -> bool {
    ["note: run with `RUST_BACKTRACE", "stack backtrace:", "--- "]
        .iter()
        .any(|begin| line.starts_with(begin))
}

/// A line of a message without the server's metrics, which are long; `None`: nothing is left.
fn without_metrics(line: &str) -> Option<String> {
    let is_of_metrics = ["# TYPE ", "# UNIT ", "# EOF", "push_"];
    if line.is_empty() || is_of_metrics.iter().any(|begin| line.starts_with(begin)) {
        return None;
    }
    match line.split_once("# HELP ") {
        Some(("", _)) => None,
        Some((before, _)) => Some(format!("{before}(metrics)")),
        None => Some(line.to_owned()),
    }
}

#[cfg(test)]
mod tests;
