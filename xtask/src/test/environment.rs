//! The environment of the tests: the server and load generator to use, built now unless the
//! caller's own environment names others, and the file for skipped tests.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::workspace::{Workspace, say};

/// The server for the end-to-end tests; if it is set for xtask, tests use that one.
pub(super) const SERVER_VARIABLE: &str = "PUSH_SERVER_BIN";
/// The same for the load generator.
pub(super) const LOAD_VARIABLE: &str = "PUSH_LOAD_BIN";
/// A Python that imports paho; not set if there is none.
pub(super) const PYTHON_VARIABLE: &str = "PUSH_PYTHON";
/// The folder of the JavaScript clients; not set if there is no Node.js.
pub(super) const NODE_MODULES_VARIABLE: &str = "PUSH_NODE_MODULES";
/// The file that skipped tests are appended to.
pub(super) const SKIPPED_FILE_VARIABLE: &str = "PUSH_SKIPPED_FILE";

/// The server and the load generator that the environment names; others are built now.
pub(super) fn server_and_load_generator(
    workspace: &Workspace,
    object: &Path,
) -> Result<[PathBuf; 2]> {
    Ok(match (named(SERVER_VARIABLE)?, named(LOAD_VARIABLE)?) {
        (Some(server), Some(generator)) => [server, generator],
        (Some(server), None) => [server, build::load_generator(workspace, object)?],
        (None, Some(generator)) => [build::server(workspace, object, Profile::Release)?, generator],
        (None, None) => build::server_and_load_generator(workspace, object)?,
    })
}

/// The binary that a variable names. Prints it, since it may not fit the tests.
fn named(variable: &str) -> Result<Option<PathBuf>> {
    let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    // Tests run in other folders.
    let path = fs::canonicalize(&path)
        .with_context(|| format!("{variable} names {}", Path::new(&path).display()))?;
    say(format_args!(
        "{variable} is set: the tests use {}, not a build of this tree",
        path.display()
    ));
    Ok(Some(path))
}
