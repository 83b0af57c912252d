//! Debian's kernels for virtual machines: finds them on offer, downloads the packages, and unpacks
//! them in `target/vm`. It installs nothing: this machine's own kernel stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::packages;
use crate::workspace::{checked_output, find_program, output_of, run_checked, say};

/// The suffix of packages with small kernels for virtual machines.
const FLAVOUR: &str = "-cloud-amd64";

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// The output of `uname -r` in the machine.
    pub(super) release: String,
    /// The package's files.
    root: PathBuf,
}

impl Kernel {
    /// What qemu boots.
    pub(super) fn image(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// The files of `modules` and of all that they need, in loading order. A module that this
    /// kernel lacks, or has built in, has no file.
    pub(super) fn modules(&self, modules: &[&str]) -> Result<Vec<PathBuf>> {
        let modprobe = find_program("modprobe").context("modprobe is not in PATH")?;
        let mut files: Vec<PathBuf> = Vec::new();
        for module in modules {
            let mut command = Command::new(&modprobe);
            command.arg("--show-depends").arg("--dirname").arg(&self.root);
            command.args(["--set-version", &self.release, module]);
            let Some(text) = output_of(&mut command) else { continue };
            for line in text.lines() {
                let mut words = line.split_whitespace();
                if let (Some("insmod"), Some(file)) = (words.next(), words.next())
                    && !files.iter().any(|known| known == Path::new(file))
                {
                    files.push(file.into());
                }
            }
        }
        Ok(files)
    }
}

/// The newest kernel of `series` that Debian offers, unpacked in `folder`; if none is on offer, an
/// earlier download.
pub(super) fn find_or_download(folder: &Path, series: &str) -> Result<Kernel> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let unpacked = || newest(&packages::names_in(folder), series);
    let Some(package) = on_offer(series).or_else(unpacked) else {
        say("Debian's lists of packages know no such kernel: fetching them anew");
        run_checked(Command::new("apt-get").arg("update"))?;
        let package = on_offer(series).with_context(|| {
            format!("Debian offers no linux-image-{series}*{FLAVOUR} here (amd64, Debian 12)")
        })?;
        return unpack(folder, &package);
    };
    unpack(folder, &package)
}

fn unpack(folder: &Path, package: &str) -> Result<Kernel> {
    let root = folder.join(package);
    let release = package.strip_prefix("linux-image-").unwrap_or(package).to_owned();
    let kernel = Kernel { release, root };
    if kernel.image().exists() {
        return Ok(kernel);
    }
    say(format_args!("downloading {package} (30 MB)"));
    packages::unpack(folder, &[package.to_owned()], &kernel.root, |partial| {
        let depmod = find_program("depmod").context("depmod is not in PATH")?;
        checked_output(Command::new(depmod).arg("-b").arg(partial).arg(&kernel.release))?;
        Ok(())
    })?;
    if !kernel.image().exists() {
        bail!("{package} has no {}", kernel.image().display());
    }
    Ok(kernel)
}

fn on_offer(series: &str) -> Option<String> {
    let names = output_of(Command::new("apt-cache").args(["pkgnames", "linux-image-"]))?;
    newest(&names.lines().map(str::to_owned).collect::<Vec<_>>(), series)
}

/// The newest kernel of `series` in `packages`, by the numbers in its name.
fn newest(packages: &[String], series: &str) -> Option<String> {
    let numbers = |name: &str| -> Vec<u64> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    packages
        .iter()
        .filter(|name| {
            name.strip_prefix("linux-image-")
                .and_then(|rest| rest.strip_prefix(series)?.strip_prefix('.'))
                .is_some_and(|rest| rest.ends_with(FLAVOUR))
        })
        .max_by_key(|name| numbers(name.trim_end_matches(FLAVOUR)))
        .cloned()
}

#[cfg(test)]
mod tests;
