//! The qemu that runs the machines: this machine's, or Debian's, unpacked in `target/vm`. It is not
//! installed, because apt would have to remove a `qemu-utils` of another version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::packages;
use crate::workspace::{find_program, output_of, run_checked, say};

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
/// Folders of libraries in Debian's packages; some use those from when `/lib` was a folder.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// A qemu that runs.
#[derive(Debug)]
pub(super) struct Qemu {
    /// The folder where it is unpacked; `None`: it is this machine's own.
    root: Option<PathBuf>,
    program: PathBuf,
}

impl Qemu {
    /// This machine's qemu, or the one in `folder`, which is downloaded if it is missing.
    pub(super) fn find_or_download(folder: &Path) -> Result<Self> {
        if let Some(program) = find_program(PROGRAM) {
            return Ok(Self { root: None, program });
        }
        let root = folder.join("qemu");
        let program = root.join("usr/bin").join(PROGRAM);
        if !program.exists() {
            let packages = needed()?;
            say(format_args!("downloading qemu, {} packages (60 MB)", packages.len()));
            packages::unpack(folder, &packages, &root, |_| Ok(()))?;
        }
        let qemu = Self { root: Some(root), program };
        if output_of(qemu.with_libraries(Command::new(&qemu.program)).arg("--version")).is_none() {
            bail!("{} does not run; remove its folder to have it anew", qemu.program.display());
        }
        Ok(qemu)
    }

    /// The program, for use in another command line.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Makes `command`, which runs the program, find its libraries and firmware.
    pub(super) fn with_libraries(&self, mut command: Command) -> Command {
        if let Some(root) = &self.root {
            let folders = LIBRARIES.map(|folder| root.join(folder).display().to_string());
            command.env("LD_LIBRARY_PATH", folders.join(":"));
            command.env("QEMU_MODULE_DIR", root.join(LIBRARIES[0]).join("qemu"));
        }
        command
    }

    /// Arguments that name its firmware.
    pub(super) fn arguments(&self) -> Vec<PathBuf> {
        let firmware = |root: &PathBuf, name| ["-L".into(), root.join("usr/share").join(name)];
        let root = self.root.iter();
        root.flat_map(|root| ["qemu", "seabios"].map(|name| firmware(root, name)))
            .flatten()
            .collect()
    }
}

/// The packages that apt would install for qemu here.
fn needed() -> Result<Vec<String>> {
    let ask = || {
        let mut apt = Command::new("apt-get");
        apt.env("LC_ALL", "C").args(["install", "--simulate", "--no-install-recommends", PACKAGE]);
        output_of(&mut apt)
    };
    let said = match ask() {
        Some(said) => said,
        None => {
            run_checked(Command::new("apt-get").arg("update"))?;
            ask().with_context(|| format!("Debian offers no {PACKAGE} here"))?
        }
    };
    let packages = to_install(&said);
    if packages.is_empty() {
        bail!("{PACKAGE} is installed, but {PROGRAM} is not in PATH");
    }
    Ok(packages)
}

fn to_install(simulation: &str) -> Vec<String> {
    let lines = simulation.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
