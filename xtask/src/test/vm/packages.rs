//! Debian packages for virtual machines: downloaded and unpacked in `target/vm`. Nothing is
//! installed, so no package of this machine has to go.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::{checked_output, run_checked};

/// Downloads `packages`, unpacks them into one folder, calls `complete`, and only then names the
/// folder `root`, in `folder`.
pub(super) fn unpack(
    folder: &Path,
    packages: &[String],
    root: &Path,
    complete: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let debs = fresh(&folder.join("packages"))?;
    let download =
        || run_checked(Command::new("apt-get").current_dir(&debs).arg("download").args(packages));
    if download().is_err() {
        // An outdated list of packages names files that no longer exist.
        run_checked(Command::new("apt-get").arg("update"))?;
        download()?;
    }
    let partial = fresh(&folder.join("partial"))?;
    for deb in names_in(&debs) {
        checked_output(Command::new("dpkg-deb").arg("-x").arg(debs.join(deb)).arg(&partial))?;
    }
    complete(&partial)?;
    fs::rename(&partial, root).with_context(|| format!("cannot name {}", root.display()))?;
    fs::remove_dir_all(&debs).with_context(|| format!("cannot remove {}", debs.display()))
}

/// Makes an empty folder of this name.
fn fresh(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.to_owned())
}

/// The names in a folder; none if it does not exist.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
