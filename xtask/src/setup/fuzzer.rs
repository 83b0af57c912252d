//! What `cargo xtask fuzz` needs: cargo-fuzz, and the C++ compiler that builds libFuzzer.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use super::{debian, tool};
use crate::workspace::{Workspace, find_program, output_of, say};

const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// The compilers that the build of libFuzzer looks for, and the Debian package of the first.
const CPP_COMPILERS: [&str; 2] = ["c++", "g++"];
const CPP_PACKAGE: &str = "g++";

/// Finds or installs both. Returns the path of cargo-fuzz.
pub(crate) fn fuzz_needs(workspace: &Workspace) -> Result<PathBuf> {
    cpp_compiler()?;
    let program = workspace.tools().join("bin/cargo-fuzz");
    let is_present = || {
        output_of(Command::new(&program).args(["fuzz", "--version"]))
            .is_some_and(|version| version.trim() == format!("cargo-fuzz {CARGO_FUZZ_VERSION}"))
    };
    if !is_present() {
        tool::build(workspace, "cargo-fuzz", CARGO_FUZZ_VERSION)?;
    }
    if !is_present() {
        bail!("{} does not run after its installation", program.display());
    }
    Ok(program)
}

fn cpp_compiler() -> Result<()> {
    if CPP_COMPILERS.iter().any(|program| find_program(program).is_some()) {
        return Ok(());
    }
    if !debian::can_install() {
        bail!(
            "libFuzzer is built by a C++ compiler; on Debian type, as root:\n  {}",
            debian::install_line(&[CPP_PACKAGE])
        );
    }
    say("a C++ compiler is missing, which builds libFuzzer: installing it");
    debian::install(&[CPP_PACKAGE], |_| true)
}
