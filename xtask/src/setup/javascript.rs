//! The JavaScript clients that tests run with Node.js: npm packages in `target/tools/node`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace::{Workspace, find_program, run_checked, say};

/// The pinned packages: MQTT.js, which uses TCP; paho, which only uses WebSocket; and a WebSocket,
/// which Node.js 20 lacks.
const PACKAGES: [(&str, &str); 3] = [("mqtt", "5.16.0"), ("paho-mqtt", "1.1.0"), ("ws", "8.23.0")];

/// Finds or installs the packages. Returns the folder to require them from; `None`: there is no
/// Node.js, which the user has to install, since Debian 12 has no recent one.
pub(super) fn node_modules(workspace: &Workspace) -> Result<Option<PathBuf>> {
    let folder = workspace.tools().join("node");
    let modules = folder.join("node_modules");
    let (Some(_), Some(npm)) = (find_program("node"), find_program("npm")) else {
        say("node and npm are missing: tests of JavaScript clients skip");
        return Ok(None);
    };
    if has_packages(&modules) {
        return Ok(Some(modules));
    }
    let wanted = PACKAGES.map(|(name, version)| format!("{name}@{version}"));
    say(format_args!("installing {} into target/tools/node", wanted.join(", ")));
    fs::create_dir_all(&folder)?;
    let mut install = Command::new(npm);
    install.arg("install").arg("--prefix").arg(&folder);
    install.args(["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]);
    run_checked(install.args(&wanted))?;
    if !has_packages(&modules) {
        bail!("{} are not in {} after their installation", wanted.join(", "), folder.display());
    }
    Ok(Some(modules))
}

/// Whether the folder has the packages in the pinned versions.
fn has_packages(modules: &Path) -> bool {
    PACKAGES.iter().all(|(name, version)| {
        fs::read_to_string(modules.join(name).join("package.json"))
            .is_ok_and(|manifest| is_version(&manifest, version))
    })
}

fn is_version(manifest: &str, version: &str) -> bool {
    manifest.contains(&format!("\"version\": \"{version}\""))
}

#[cfg(test)]
mod tests;
