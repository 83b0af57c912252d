//! The compiler for eBPF: a rustc with the source of `core`, whose LLVM is the linker's.
//!
//! In order of preference: a rustup nightly with `rust-src`, then Debian's `rustc-web`. If neither
//! exists, one is installed, in the same order.

use std::fmt;
use std::fs;
use std::os::unix;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::debian;
use crate::workspace::{Workspace, find_program, output_of, run_checked, say};

/// The oldest compiler that push-ebpf's dependencies accept.
const MINOR_MIN: u32 = 96;

/// The LLVM major of the linker, `setup`'s `BPF_LINKER_VERSION`: the compiler must have the same.
const LLVM_MAJOR: u32 = 22;

/// A nightly with `LLVM_MAJOR`; the channel `nightly` itself moves on to newer LLVMs.
const NIGHTLY: &str = "nightly-2026-05-20";

/// Debian's own compiler of about the same age, for its browsers.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// The folder in a toolchain with `rust-src` that has the crate for `-Z build-std`.
const CORE_SOURCE: &str = "lib/rustlib/src/rust/library/core";

/// A compiler that was checked and fits.
#[derive(Debug)]
pub(crate) struct EbpfCompiler {
    name: String,
    version: CompilerVersion,
    /// Its rustc, not rustup's proxy.
    pub(crate) rustc: PathBuf,
    /// Its cargo, not rustup's proxy.
    pub(crate) cargo: PathBuf,
    /// A folder that contains only its libLLVM, for the linker's `LD_LIBRARY_PATH`.
    pub(crate) llvm: PathBuf,
}

impl fmt::Display for EbpfCompiler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} (rustc 1.{}, LLVM {})",
            self.name, self.version.minor, self.version.llvm_major
        )
    }
}

/// The properties that decide whether a compiler fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CompilerVersion {
    minor: u32,
    llvm_major: u32,
}

/// An existing compiler, or a newly installed one.
pub(crate) fn find_or_install(workspace: &Workspace) -> Result<EbpfCompiler> {
    let rejected = match find(workspace)? {
        Ok(compiler) => return Ok(compiler),
        Err(rejected) => rejected,
    };
    say(format_args!(
        "no eBPF-capable Rust compiler: it takes 1.{MINOR_MIN} or later with the source of `core` \
         and LLVM {LLVM_MAJOR}"
    ));
    for reason in rejected {
        say(format_args!("  {reason}"));
    }
    for install in [install_by_rustup, install_by_apt] {
        if let Err(error) = install() {
            say(format_args!("not installed that way: {error:#}"));
        } else if let Ok(compiler) = find(workspace)? {
            return Ok(compiler);
        }
    }
    bail!(
        "the eBPF programs need a compiler of their own; type one of these, then try again:\n  \
         rustup toolchain install {NIGHTLY} --profile minimal --component rust-src\n  \
         {}      (Debian 12 with its security archive, as root)",
        debian::install_line(&DEBIAN_PACKAGES)
    )
}

/// Checks every candidate in order of preference. If none fits, returns why each was rejected.
fn find(workspace: &Workspace) -> Result<Result<EbpfCompiler, Vec<String>>> {
    let mut candidates = rustup_nightlies();
    candidates.push(("Debian's rustc-web".to_owned(), PathBuf::from("/usr")));
    let mut rejected = Vec::new();
    for (name, sysroot) in candidates {
        match inspect(&sysroot) {
            Ok((version, library)) => {
                let llvm = link_llvm(workspace, &library)?;
                let (rustc, cargo) = (sysroot.join("bin/rustc"), sysroot.join("bin/cargo"));
                return Ok(Ok(EbpfCompiler { name, version, rustc, cargo, llvm }));
            }
            Err(reason) => rejected.push(format!("{name}: {reason}")),
        }
    }
    Ok(Err(rejected))
}

/// Name and folder of every nightly, the pinned one first.
fn rustup_nightlies() -> Vec<(String, PathBuf)> {
    let Some(rustup) = find_program("rustup") else { return Vec::new() };
    let listed = output_of(Command::new(rustup).args(["toolchain", "list", "-v"]));
    let mut nightlies = parse_toolchains(&listed.unwrap_or_default());
    nightlies.retain(|(name, _)| name.starts_with("nightly"));
    nightlies.sort_by_key(|(name, _)| !name.starts_with(NIGHTLY));
    nightlies
}

/// Parses lines of `rustup toolchain list -v`: a name, perhaps remarks in parentheses, a folder.
fn parse_toolchains(listed: &str) -> Vec<(String, PathBuf)> {
    let parse = |line: &str| {
        let name = line.split_whitespace().next()?;
        let folder = line.find('/').map(|at| &line[at..])?;
        Some((name.to_owned(), PathBuf::from(folder.trim_end())))
    };
    listed.lines().filter_map(parse).collect()
}

/// Checks the toolchain at `sysroot`. Returns its version and its libLLVM, or what it lacks.
fn inspect(sysroot: &Path) -> Result<(CompilerVersion, PathBuf), String> {
    let rustc = sysroot.join("bin/rustc");
    if !sysroot.join("bin/cargo").is_file() || !rustc.is_file() {
        return Err("not installed".to_owned());
    }
    if !sysroot.join(CORE_SOURCE).is_dir() {
        return Err("without the source of `core` (rust-src)".to_owned());
    }
    let version = output_of(Command::new(&rustc).arg("-vV"))
        .and_then(|text| parse_version(&text))
        .ok_or("does not tell its version")?;
    if version.minor < MINOR_MIN {
        return Err(format!("1.{} is older than 1.{MINOR_MIN}", version.minor));
    }
    if version.llvm_major != LLVM_MAJOR {
        return Err(format!("its LLVM is {}, the linker's {LLVM_MAJOR}", version.llvm_major));
    }
    let library = find_llvm(sysroot).ok_or("its libLLVM is not a shared library")?;
    Ok((version, library))
}

/// Reads `rustc -vV`.
fn parse_version(text: &str) -> Option<CompilerVersion> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let minor = field("release: 1.")?.split('.').next()?.parse().ok()?;
    let llvm_major = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
    Some(CompilerVersion { minor, llvm_major })
}

/// The libLLVM of a toolchain: rustup's is in `lib`, Debian's in the multiarch folder.
fn find_llvm(sysroot: &Path) -> Option<PathBuf> {
    let lib = sysroot.join("lib");
    let multiarch = lib.join(format!("{}-linux-gnu", std::env::consts::ARCH));
    [multiarch, lib].iter().find_map(|folder| {
        let names = fs::read_dir(folder)
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        // `libLLVM-22-rust-*.so` is a linker script, which cannot be loaded; this is the library.
        let prefix = format!("libLLVM.so.{LLVM_MAJOR}.");
        names.filter(|name| name.starts_with(&prefix)).min().map(|name| folder.join(name))
    })
}

/// Gives the linker a folder with one libLLVM: it loads the first that it finds in any folder, and
/// Debian's holds those of every version.
fn link_llvm(workspace: &Workspace, library: &Path) -> Result<PathBuf> {
    let folder = workspace.tools().join("llvm");
    let name = library.file_name().context("a library without a name")?;
    let link = folder.join(name);
    let is_there = fs::read_link(&link).is_ok_and(|target| target == library);
    if is_there && fs::read_dir(&folder)?.count() == 1 {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    unix::fs::symlink(library, &link)
        .with_context(|| format!("cannot link {} into target/tools", library.display()))?;
    Ok(folder)
}

fn install_by_rustup() -> Result<()> {
    let rustup = find_program("rustup").context("rustup is not here")?;
    say(format_args!("installing {NIGHTLY} with rust-src beside your other toolchains"));
    let mut install = Command::new(rustup);
    install.args(["toolchain", "install", NIGHTLY, "--profile", "minimal"]);
    run_checked(install.args(["--component", "rust-src", "--no-self-update"]))
}

fn install_by_apt() -> Result<()> {
    let is_recent = |version: &str| {
        let mut parts = version.split('.');
        let minor = |part: &str| part.parse::<u32>().ok();
        parts.next() == Some("1")
            && parts.next().and_then(minor).is_some_and(|minor| minor >= MINOR_MIN)
    };
    debian::install(&DEBIAN_PACKAGES, is_recent)
}

#[cfg(test)]
mod tests;
