//! Figures that tests find on the way, for whoever reads what `cargo xtask test` prints: it repeats them at the end.

use std::fmt;
use std::io::{self, Write};

/// Prints a figure, past libtest, which keeps what passing tests print.
///
/// # Panics
/// Nothing can be printed.
pub fn tell(figure: impl fmt::Display) {
    let line = format!("FIGURE {figure}\n");
    io::stdout().write_all(line.as_bytes()).expect("stdout takes a line");
}
