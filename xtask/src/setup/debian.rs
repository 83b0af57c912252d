//! Debian and its derivatives: whether packages can be installed here, and how to install them.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{find_program, output_of, run_checked, say};

/// Whether this is root on a system with Debian's packages.
pub(crate) fn can_install() -> bool {
    rustix::process::geteuid().is_root() && is_debian() && find_program("apt-get").is_some()
}

/// Whether `/etc/os-release` names Debian or a derivative.
pub(crate) fn is_debian() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| is_debian_like(&text))
}

/// The command that installs `packages`, as a user would type it.
pub(crate) fn install_line(packages: &[&str]) -> String {
    format!("apt-get update && apt-get install --no-install-recommends {}", packages.join(" "))
}

/// Installs `packages` if the version on offer of each is `acceptable`. Fetches the package lists
/// only if they lack a package, or have only an unacceptable version.
pub(crate) fn install(packages: &[&str], acceptable: impl Fn(&str) -> bool) -> Result<()> {
    if !can_install() {
        bail!("installing Debian packages takes root, on Debian");
    }
    let unavailable = || {
        let fits = |package| candidate(package).is_some_and(|version| acceptable(&version));
        packages.iter().find(|package| !fits(package))
    };
    if unavailable().is_some() {
        run_checked(Command::new("apt-get").arg("update"))?;
    }
    if let Some(package) = unavailable() {
        bail!("Debian package {package} is not on offer in a version that serves");
    }
    say(format_args!("installing Debian packages: {}", packages.join(", ")));
    let mut install = Command::new("apt-get");
    // Set-up must not remove a package: apt-get fails instead.
    install.args(["install", "--yes", "--no-install-recommends", "--no-remove"]);
    install.args(["-o", "DPkg::Lock::Timeout=120"]).args(packages);
    run_checked(install.env("DEBIAN_FRONTEND", "noninteractive"))
        .with_context(|| format!("Debian packages {}", packages.join(", ")))
}

/// The version that would be installed.
fn candidate(package: &str) -> Option<String> {
    let mut policy = Command::new("apt-cache");
    parse_candidate(&output_of(policy.env("LC_ALL", "C").args(["policy", package]))?)
}

fn parse_candidate(policy: &str) -> Option<String> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

fn is_debian_like(os_release: &str) -> bool {
    let value = |line: &'_ str, key| {
        line.strip_prefix(key).map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    os_release
        .lines()
        .filter_map(|line| value(line, "ID=").or_else(|| value(line, "ID_LIKE=")))
        .any(|ids| ids.split_whitespace().any(|id| id == "debian" || id == "ubuntu"))
}

#[cfg(test)]
mod tests;
