//! The test binaries: built by `cargo test`, which prints their paths.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::{command_line, say};

/// A test binary as `cargo test` built it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TestBinary {
    /// Name of its target.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The folder that its tests run in.
    pub(super) folder: PathBuf,
    /// Whether it holds the unit tests of a program; else of a library, or it is a file of tests.
    pub(super) is_program: bool,
}

/// Runs `cargo`, whose arguments say `test` and of what, without running the tests. Returns their
/// binaries, by name.
pub(super) fn built_by(cargo: &mut Command) -> Result<Vec<TestBinary>> {
    cargo.args(["--no-run", "--message-format=json-render-diagnostics"]);
    let line = command_line(cargo);
    say(format_args!("$ {line}"));
    let output = cargo.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot run `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({})", output.status);
    }
    let text = String::from_utf8(output.stdout).context("cargo's messages")?;
    let mut binaries: Vec<TestBinary> = text.lines().filter_map(parse_artifact).collect();
    binaries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(binaries)
}

/// The test binary of a cargo message, if the message is about one that contains tests.
fn parse_artifact(line: &str) -> Option<TestBinary> {
    let message: Value = serde_json::from_str(line).ok()?;
    let path = message["executable"].as_str()?;
    if !message["profile"]["test"].as_bool()? {
        return None;
    }
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    Some(TestBinary {
        name: message["target"]["name"].as_str().unwrap_or_default().to_owned(),
        path: path.into(),
        folder: folder.to_owned(),
        is_program: message["target"]["kind"].as_array()?.iter().any(|kind| kind == "bin"),
    })
}

#[cfg(test)]
mod tests;
