//! Programs that cargo builds from a registry, into `target/tools`.

use anyhow::{Context as _, Result};

use crate::workspace::{Workspace, run_checked, say};

/// Builds a program in this version, whatever is there.
pub(super) fn build(workspace: &Workspace, name: &str, version: &str) -> Result<()> {
    say(format_args!(
        "{name} {version} is missing: building it into {}, once (a few minutes)",
        workspace.tools().display()
    ));
    // A target folder of its own, since a tool's dependencies are not ours. By default cargo uses
    // the system's folder for temporary files, which may be small.
    let built_in = workspace.tools().join(format!("{name}-build"));
    let mut install = workspace.cargo();
    install.env("CARGO_TARGET_DIR", &built_in);
    install.args(["install", "--locked", "--force", "--root"]).arg(workspace.tools());
    install.args(["--version", version, name]);
    run_checked(&mut install)?;
    std::fs::remove_dir_all(&built_in)
        .with_context(|| format!("cannot remove {}", built_in.display()))
}
