//! The test binaries to run in machines: built by `cargo test`, which prints their paths.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build;
use crate::test::arguments::TESTS_PACKAGE;
use crate::workspace::{Workspace, command_line, say};

/// A test binary as `cargo test` built it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TestBinary {
    /// Name of its target.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The folder that its tests run in.
    pub(super) folder: PathBuf,
}

/// One run of a test binary in a machine.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) binary: TestBinary,
    /// Tests to leave out: those whose names contain one of these.
    pub(super) skip: Vec<&'static str>,
}

/// Builds the tests of the workspace, or those of the named files, and returns their binaries.
pub(super) fn test_binaries(
    workspace: &Workspace,
    object: &Path,
    named: &[&String],
) -> Result<Vec<TestBinary>> {
    let mut cargo = workspace.cargo();
    build::embed(&mut cargo, workspace, object);
    cargo.args(["test", "--no-run", "--package", TESTS_PACKAGE]);
    let folder = workspace.root().join("tests/tests");
    let is_file = |name: &str| {
        folder.join(format!("{name}.rs")).is_file() || folder.join(name).join("main.rs").is_file()
    };
    if !named.is_empty() && named.iter().all(|name| is_file(name)) {
        cargo.args(named.iter().flat_map(|name| ["--test", name.as_str()]));
    } else {
        cargo.args(["--package", "push-server"]);
    }
    cargo.arg("--message-format=json-render-diagnostics");
    let line = command_line(&cargo);
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
    let is_binary = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "bin");
    let is_test = message["profile"]["test"].as_bool()? && !is_binary;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    is_test.then(|| {
        let name = message["target"]["name"].as_str().unwrap_or_default().to_owned();
        TestBinary { name, path: path.into(), folder: folder.to_owned() }
    })
}

#[cfg(test)]
mod tests;
