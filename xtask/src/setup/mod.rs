//! `cargo xtask setup`: finds or installs everything for building and testing.
//!
//! It looks first, so that nothing is fetched twice, and fetches nothing silently. Three groups:
//! what a build needs (a failure is fatal), what the tests need besides (mosquitto, `ip`, a Python
//! with paho: without them tests skip by name), and the components of `lint`.

mod debian;
mod ebpf_compiler;
mod fuzzer;
mod javascript;
mod test_tools;
mod tool;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;

pub(crate) use ebpf_compiler::EbpfCompiler;
pub(crate) use fuzzer::fuzz_needs;
pub(crate) use test_tools::{test_needs, vm_needs};

use crate::workspace::{Workspace, find_program, output_of, run_checked, say};

/// The linker's version: the last that uses the LLVM of `ebpf_compiler::LLVM_MAJOR` by default.
const BPF_LINKER_VERSION: &str = "0.10.3";

#[derive(Args, Debug)]
pub(crate) struct SetupArguments {
    /// Also find or install what the tests need: mosquitto and its clients, iproute2, nftables, a
    /// Python with paho-mqtt, and for Node.js MQTT.js and paho-mqtt
    #[arg(long)]
    tests: bool,
}

/// The tools of a build.
#[derive(Debug)]
pub(crate) struct BuildTools {
    /// Compiles push-ebpf.
    pub(crate) compiler: EbpfCompiler,
    /// Links it.
    pub(crate) bpf_linker: PathBuf,
}

pub(crate) fn run(workspace: &Workspace, arguments: &SetupArguments) -> Result<ExitCode> {
    let tools = build_needs(workspace)?;
    say(format_args!("eBPF compiler: {}", tools.compiler));
    say(format_args!("bpf-linker {BPF_LINKER_VERSION}: {}", tools.bpf_linker.display()));
    if arguments.tests {
        let tools = test_needs(workspace)?;
        say(format_args!("tests: {tools}"));
    }
    say("nothing is missing");
    Ok(ExitCode::SUCCESS)
}

/// Finds or installs what a build needs.
pub(crate) fn build_needs(workspace: &Workspace) -> Result<BuildTools> {
    let compiler = ebpf_compiler::find_or_install(workspace)?;
    let bpf_linker = bpf_linker(workspace)?;
    Ok(BuildTools { compiler, bpf_linker })
}

/// Finds or installs rustfmt and clippy, which rustup's minimal profile leaves out.
pub(crate) fn lint_needs(workspace: &Workspace) -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if output_of(workspace.cargo().args([subcommand, "--version"])).is_some() {
            continue;
        }
        let rustup = find_program("rustup").with_context(|| {
            format!("`cargo {subcommand}` is missing: install it with your Rust toolchain")
        })?;
        say(format_args!("`cargo {subcommand}` is missing: adding it to the Rust toolchain"));
        run_checked(Command::new(rustup).args(["component", "add", component]))?;
    }
    Ok(())
}

fn bpf_linker(workspace: &Workspace) -> Result<PathBuf> {
    let program = workspace.tools().join("bin/bpf-linker");
    let is_present = || {
        output_of(Command::new(&program).arg("--version"))
            .is_some_and(|version| version.trim() == format!("bpf-linker {BPF_LINKER_VERSION}"))
    };
    if is_present() {
        return Ok(program);
    }
    tool::build(workspace, "bpf-linker", BPF_LINKER_VERSION)?;
    if !is_present() {
        bail!("{} does not run after its installation", program.display());
    }
    Ok(program)
}
