//! Everything that the tests need besides the build: foreign clients and a broker to compare with,
//! network namespaces, paho for Python in a virtual environment in `target/tools`, and the
//! JavaScript clients beside it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{debian, javascript};
use crate::workspace::{Workspace, find_program, output_of, run_checked, say};

/// Programs, and the Debian packages that contain them.
const PROGRAMS: [(&str, &str); 10] = [
    ("mosquitto", "mosquitto"),
    ("mosquitto_pub", "mosquitto-clients"),
    ("mosquitto_sub", "mosquitto-clients"),
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("nft", "nftables"),
    ("faketime", "faketime"),
    ("openssl", "openssl"),
    ("haproxy", "haproxy"),
    ("chromium", "chromium"),
];

/// The same for libraries that tests compile against, by a header.
const LIBRARIES: [(&str, &str); 1] = [("/usr/include/mbedtls/ssl.h", "libmbedtls-dev")];

/// The same for programs that make images of virtual machines; qemu is unpacked, not installed.
const VM_PROGRAMS: [(&str, &str); 3] = [("modprobe", "kmod"), ("depmod", "kmod"), ("cpio", "cpio")];

/// The foreign client library of the end-to-end tests, from PyPI.
const PAHO: &str = "paho-mqtt==2.1.0";

/// The tools that were found for the tests.
#[derive(Debug)]
pub(crate) struct TestTools {
    /// A Python that imports paho.
    pub(crate) python: PathBuf,
    /// The broker that benchmarks compare with.
    pub(crate) mosquitto: PathBuf,
    /// The folder of the JavaScript clients, if there is a Node.js.
    pub(crate) node_modules: Option<PathBuf>,
}

impl fmt::Display for TestTools {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, {}", self.mosquitto.display(), self.python.display())?;
        match &self.node_modules {
            Some(modules) => write!(formatter, ", {}", modules.display()),
            None => write!(formatter, ", no Node.js"),
        }
    }
}

/// Finds or installs what the tests need.
pub(crate) fn test_needs(workspace: &Workspace) -> Result<TestTools> {
    install(missing_programs(&PROGRAMS).chain(missing_libraries()).collect())?;
    let python = python_with_paho(workspace)?;
    let mosquitto = find_program("mosquitto").context("mosquitto is not in PATH")?;
    let node_modules = javascript::node_modules(workspace)?;
    Ok(TestTools { python, mosquitto, node_modules })
}

/// Finds or installs what `cargo xtask test vm` needs for its images, and the tools of the tests in
/// the machines.
pub(crate) fn vm_needs(workspace: &Workspace) -> Result<TestTools> {
    if std::env::consts::ARCH != "x86_64" || !debian::is_debian() {
        bail!("`test vm` boots Debian's amd64 kernels, on x86-64 Debian");
    }
    let tests = test_needs(workspace)?;
    install(missing_programs(&VM_PROGRAMS).collect())?;
    Ok(tests)
}

/// The packages of programs that are not there.
fn missing_programs(programs: &[(&str, &'static str)]) -> impl Iterator<Item = &'static str> {
    let missing = programs.iter().filter(|(program, _)| find_program(program).is_none());
    missing.map(|&(_, package)| package)
}

fn missing_libraries() -> impl Iterator<Item = &'static str> {
    let missing = LIBRARIES.iter().filter(|(header, _)| !Path::new(header).exists());
    missing.map(|&(_, package)| package)
}

fn install(mut packages: Vec<&str>) -> Result<()> {
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    if !debian::can_install() {
        bail!(
            "the tests need these programs of {}; on Debian type, as root:\n  {}",
            packages.join(", "),
            debian::install_line(&packages)
        );
    }
    debian::install(&packages, |_| true)?;
    if packages.contains(&"mosquitto") {
        stop_packaged_mosquitto()?;
    }
    Ok(())
}

/// Debian starts the broker that it installs, on the port that `cargo xtask run` uses. The tests
/// only want the program.
fn stop_packaged_mosquitto() -> Result<()> {
    let booted_by_systemd = Path::new("/run/systemd/system").is_dir();
    match find_program("systemctl") {
        Some(systemctl) if booted_by_systemd => {
            say("stopping the broker that Debian started with its package: port 1883 is ours");
            run_checked(Command::new(systemctl).args(["disable", "--now", "mosquitto"]))
        }
        _ => Ok(()),
    }
}

fn python_with_paho(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.tools().join("venv");
    let python = folder.join("bin/python");
    if has_paho(&folder) && python.exists() {
        return Ok(python);
    }
    let maker = match python_with_venv() {
        Some(maker) => maker,
        None if debian::can_install() => {
            debian::install(&["python3-venv"], |_| true)?;
            python_with_venv().context("Debian's python3 makes no virtual environments")?
        }
        None => bail!(
            "the tests need a python3 with venv; on Debian type, as root:\n  {}",
            debian::install_line(&["python3-venv"])
        ),
    };
    say(format_args!("making a Python environment with {PAHO} in target/tools/venv"));
    run_checked(Command::new(maker).args(["-m", "venv", "--clear"]).arg(&folder))?;
    run_checked(Command::new(&python).args(["-m", "pip", "install", "--quiet", PAHO]))?;
    if !has_paho(&folder) {
        bail!("{PAHO} is not in {} after its installation", folder.display());
    }
    Ok(python)
}

/// Whether the environment has paho: looks at its folder, a tenth of a second faster than running
/// Python.
fn has_paho(folder: &Path) -> bool {
    let versions = fs::read_dir(folder.join("lib")).into_iter().flatten().flatten();
    let mut packages = versions.map(|entry| entry.path().join("site-packages/paho/mqtt"));
    packages.any(|package| package.is_dir())
}

/// Prefers the system's Python: one from a version manager may disappear later.
fn python_with_venv() -> Option<PathBuf> {
    let candidates = [Some(PathBuf::from("/usr/bin/python3")), find_program("python3")];
    candidates.into_iter().flatten().find(|python| {
        output_of(Command::new(python).args(["-c", "import venv, ensurepip"])).is_some()
    })
}
