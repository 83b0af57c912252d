//! How the commands say on standard error what is wrong, and the exit codes for it.

use std::io::{self, Write};
use std::process::ExitCode;

/// Exit code: the server could not start, or a command failed.
pub(crate) const EXIT_FAILED: u8 = 1;
/// Exit code: the settings, or a file, are not valid.
const EXIT_INVALID: u8 = 2;

/// Says what is not valid.
pub(crate) fn invalid(lines: &[String]) -> ExitCode {
    for line in lines {
        complain(line);
    }
    ExitCode::from(EXIT_INVALID)
}

/// In clap's form, as for flags that clap refuses. A closed stderr is no reason to panic.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "error: {message}");
}
