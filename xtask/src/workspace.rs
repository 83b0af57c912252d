//! The folders of the workspace, and how to start child processes: their environment, and the
//! printed command line.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The checkout that this xtask belongs to.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// The workspace around this package: the one that `cargo run` names, else the one that it was
    /// built in.
    pub(crate) fn locate() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().context("xtask has no workspace around it")?;
        let said = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"].map(env::var_os);
        let here = env::current_dir().context("cannot tell the current folder")?;
        Ok(Self { root: root.to_owned(), target: target_folder(root, &here, &said) })
    }

    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// `target/`, or `CARGO_TARGET_DIR`.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// `target/tools/`: what setup fetched for building and testing.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target().join("tools")
    }

    /// The cargo that runs xtask, with the environment a user's shell would have given it.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        remove_package_variables(&mut command);
        command
    }

    /// A cargo of another toolchain, without any variable of the toolchain that runs xtask.
    pub(crate) fn foreign_cargo(&self, cargo: &Path) -> Command {
        let mut command = Command::new(cargo);
        command.current_dir(&self.root);
        remove_package_variables(&mut command);
        for variable in TOOLCHAIN_VARIABLES {
            command.env_remove(variable);
        }
        command
    }
}

/// The folder where cargo would build: that of the first variable that is set, relative to the
/// folder where cargo was called.
fn target_folder(root: &Path, here: &Path, said: &[Option<OsString>]) -> PathBuf {
    let said = said.iter().flatten().find(|said| !said.is_empty());
    said.map_or_else(|| root.join("target"), |said| here.join(said))
}

/// Variables that rustup and `cargo run` set, or a user may have set, for the workspace's
/// toolchain.
const TOOLCHAIN_VARIABLES: [&str; 14] = [
    "CARGO",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "RUST_RECURSION_COUNT",
];

/// `cargo run` sets variables about xtask's own package, which a build must not see.
fn remove_package_variables(command: &mut Command) {
    for (variable, _) in env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
}

/// Prints a line of xtask's own to stderr; stdout belongs to the command's result.
pub(crate) fn say(line: impl fmt::Display) {
    eprintln!("xtask: {line}");
}

/// A command as one would type it, without its environment.
pub(crate) fn command_line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// Prints the command, runs it with our standard streams, and returns an error if it fails.
pub(crate) fn run_checked(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    say(format_args!("$ {line}"));
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs a command quietly and returns its stdout; `None`: it cannot run, or fails.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The path of an executable in `PATH`, or in folders of daemons, which a non-root `PATH` leaves
/// out.
pub(crate) fn find_program(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|folder| folder.join(name.as_ref()))
        .find(|program| program.is_file())
}

/// The output of a program that must succeed.
pub(crate) fn checked_output(command: &mut Command) -> Result<String> {
    let line = command_line(command);
    let output = command.output().with_context(|| format!("cannot run `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}`: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests;
