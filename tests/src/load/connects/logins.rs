//! User names and passwords of a file.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};

/// What a connection gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user_name: String,
    pub(super) password: String,
}

/// Those of a file: a pair a line, with a tab between.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<Login>> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let logins = text.lines().enumerate().map(|(number, line)| {
        let (user_name, password) = line.split_once('\t').with_context(|| {
            format!("{}:{}: expected a name, a tab and a password", file.display(), number + 1)
        })?;
        let (user_name, password) = (user_name.to_owned(), password.to_owned());
        if user_name.len().max(password.len()) > usize::from(u16::MAX) {
            bail!("{}:{}: longer than MQTT allows", file.display(), number + 1);
        }
        Ok(Login { user_name, password })
    });
    let logins = logins.collect::<anyhow::Result<Vec<_>>>()?;
    if logins.is_empty() {
        bail!("{} has no line", file.display());
    }
    Ok(logins)
}
