//! `cargo xtask build`: builds the eBPF object by its own compiler, then the server that contains
//! it.
//!
//! The two compilers never share a target folder: `target/ebpf` is the eBPF compiler's. Cargo
//! decides what to rebuild. The object is copied only if its bytes have changed; otherwise the
//! server is not rebuilt.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;

use crate::setup::{self, BuildTools};
use crate::workspace::{Workspace, run_checked, say};

/// The target of aya's programs: little-endian BPF.
const EBPF_TARGET: &str = "bpfel-unknown-none";

/// The environment variable by which push-server's build script finds the object.
const EBPF_OBJECT_VARIABLE: &str = "PUSH_EBPF_OBJECT";

#[derive(Args, Debug)]
pub(crate) struct BuildArguments {
    /// Build the server unoptimised, as target/debug/push-server; the eBPF object always is optimised
    #[arg(long)]
    debug: bool,
}

/// How the server is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Optimised: what runs, is measured and is tested end to end.
    Release,
    /// Quick to build.
    Dev,
}

/// An executable of the workspace.
#[derive(Clone, Copy, Debug)]
struct Binary {
    package: &'static str,
    name: &'static str,
}

const SERVER: Binary = Binary { package: "push-server", name: "push-server" };
const LOAD_GENERATOR: Binary = Binary { package: "push-tests", name: "push-load" };

pub(crate) fn run(workspace: &Workspace, arguments: &BuildArguments) -> Result<ExitCode> {
    let tools = setup::build_needs(workspace)?;
    let object = ebpf_object(workspace, &tools)?;
    let profile = if arguments.debug { Profile::Dev } else { Profile::Release };
    let server = server(workspace, &object, profile)?;
    say(format_args!("built {}", server.display()));
    Ok(ExitCode::SUCCESS)
}

/// Builds the eBPF object. Returns its path, `target/ebpf/push-ebpf`.
pub(crate) fn ebpf_object(workspace: &Workspace, tools: &BuildTools) -> Result<PathBuf> {
    say(format_args!("building the eBPF object with {}", tools.compiler));
    run_checked(&mut ebpf_cargo(workspace, tools, "build", &[]))?;
    let folder = workspace.target().join("ebpf");
    let built = folder.join(EBPF_TARGET).join("release/push-ebpf");
    let object = folder.join("push-ebpf");
    copy_if_changed(&built, &object)?;
    Ok(object)
}

/// The eBPF compiler's cargo: `subcommand` on push-ebpf with all its flags, and `more_rustflags`.
pub(crate) fn ebpf_cargo(
    workspace: &Workspace,
    tools: &BuildTools,
    subcommand: &str,
    more_rustflags: &[&str],
) -> Command {
    let architecture = format!("bpf_target_arch=\"{}\"", std::env::consts::ARCH);
    let mut rustflags = vec![
        // BPF ISA v3 has the compare-exchange that the programs use.
        "-Ctarget-cpu=v3",
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // Else memset is a call of a loop over single bytes, also where a few words are to be zeroed.
        "-Clink-arg=--disable-expand-memcpy-in-order",
        "--cfg",
        &architecture,
    ];
    rustflags.extend_from_slice(more_rustflags);
    let mut command = workspace.foreign_cargo(&tools.compiler.cargo);
    command
        .env("RUSTC", &tools.compiler.rustc)
        // Debian's compiler is a stable one; a nightly ignores this.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", workspace.target().join("ebpf"))
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &tools.bpf_linker)
        .env("LD_LIBRARY_PATH", &tools.compiler.llvm)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\u{1f}"))
        // The workspace's release profile is the server's.
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_LTO", "true")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2");
    command.args([subcommand, "--package", "push-ebpf", "--release"]);
    command.args(["--target", EBPF_TARGET, "-Zbuild-std=core"]);
    command
}

/// Builds the server with the object embedded. Returns its path.
pub(crate) fn server(workspace: &Workspace, object: &Path, profile: Profile) -> Result<PathBuf> {
    let [server] = binaries(workspace, object, profile, [SERVER])?;
    Ok(server)
}

/// Builds the load generator, optimised. Returns its path.
pub(crate) fn load_generator(workspace: &Workspace, object: &Path) -> Result<PathBuf> {
    let [generator] = binaries(workspace, object, Profile::Release, [LOAD_GENERATOR])?;
    Ok(generator)
}

/// Builds the server and the load generator, optimised. Returns their paths.
///
/// One cargo builds both: their packages ask some crates for different features, so two builds
/// would compile those crates, and all that use them, twice.
pub(crate) fn server_and_load_generator(
    workspace: &Workspace,
    object: &Path,
) -> Result<[PathBuf; 2]> {
    binaries(workspace, object, Profile::Release, [SERVER, LOAD_GENERATOR])
}

/// Makes push-server's build script embed the object. The script finds the usual one by itself;
/// naming that too would make cargo compile anew after every plain `cargo build`.
pub(crate) fn embed(cargo: &mut Command, workspace: &Workspace, object: &Path) {
    if object != workspace.root().join("target/ebpf/push-ebpf") {
        cargo.env(EBPF_OBJECT_VARIABLE, object);
    }
}

/// Builds them all by one cargo. Returns their paths in the same order.
fn binaries<const COUNT: usize>(
    workspace: &Workspace,
    object: &Path,
    profile: Profile,
    wanted: [Binary; COUNT],
) -> Result<[PathBuf; COUNT]> {
    let mut cargo = workspace.cargo();
    embed(&mut cargo, workspace, object);
    cargo.arg("build");
    for Binary { package, name } in &wanted {
        cargo.args(["--package", package, "--bin", name]);
    }
    let folder = match profile {
        Profile::Release => {
            cargo.arg("--release");
            "release"
        }
        Profile::Dev => "debug",
    };
    run_checked(&mut cargo)?;
    Ok(wanted.map(|binary| workspace.target().join(folder).join(binary.name)))
}

fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}
