//! Passwords that a command asks for: on a terminal without showing them, else from a file or standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

/// Bytes of the longest line that is read as a password.
const PASSWORD_BYTES_MAX: usize = 4 << 10;

/// A password to be set: whoever types it types it twice.
pub(crate) fn new_password(file: Option<&Path>) -> anyhow::Result<Zeroizing<String>> {
    if file.is_none() && io::stdin().is_terminal() {
        let first = typed("password: ")?;
        if *typed("again: ")? != *first {
            bail!("that is not the same password");
        }
        return Ok(first);
    }
    known_password(file)
}

/// A password that there is already.
pub(crate) fn known_password(file: Option<&Path>) -> anyhow::Result<Zeroizing<String>> {
    match file {
        Some(path) => {
            let read = File::open(path).map_err(anyhow::Error::from).and_then(first_line);
            read.with_context(|| format!("cannot read a password from {}", path.display()))
        }
        None if io::stdin().is_terminal() => typed("password: "),
        None => first_line(io::stdin().lock()).context("cannot read a password"),
    }
}

fn typed(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    rpassword::prompt_password(prompt).map(Zeroizing::new).context("cannot ask for a password")
}

/// The first line, without its end.
fn first_line(source: impl Read) -> anyhow::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX + 1));
    source.take(PASSWORD_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.len() > PASSWORD_BYTES_MAX {
        bail!("the first line has more than {PASSWORD_BYTES_MAX} bytes");
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Zeroizing::new(std::str::from_utf8(line).context("the first line is no text")?.to_owned()))
}
