//! What is told to programs: lines of JSON on stdout.

use std::io::Write as _;

/// Prints one line of JSON. Whoever does not read it any more does not miss it.
pub(super) fn print_line(object: &impl serde::Serialize) {
    let mut out = std::io::stdout().lock();
    if let Ok(line) = serde_json::to_string(object) {
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}
