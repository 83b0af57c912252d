//! Output for programs: lines of JSON on stdout.

use std::io::Write as _;

/// Prints one line of JSON. If nobody reads it any more, that is no error.
pub(super) fn print_line(object: &impl serde::Serialize) {
    let mut out = std::io::stdout().lock();
    if let Ok(line) = serde_json::to_string(object) {
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}
