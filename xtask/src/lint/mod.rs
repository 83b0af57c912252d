//! `cargo xtask lint`: rustfmt, clippy with warnings denied, the import rules, no circle of imports
//! between files, no method away from its type, no overgrown struct in a shard, no unit tests between what
//! they test, and no suppressed lint. Every check runs; the command fails when one does.

mod circles;
mod crates;
mod fields;
mod homes;
mod inline_tests;
mod rules;
mod source;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crates::{Crate, Sources};

use crate::build;
use crate::setup::{self, BuildTools};
use crate::workspace::{Workspace, run_checked, say};

/// Lines from which a file is named, though not refused: it wants a reason.
const FILE_LINES_MAX: usize = 600;

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let tools = setup::build_needs(workspace)?;
    setup::lint_needs(workspace)?;
    let checks: [(&str, Result<()>); 4] = [
        ("rustfmt", rustfmt(workspace)),
        ("source rules", source_rules(workspace)),
        ("push-ebpf", lint_ebpf(workspace, &tools)),
        ("clippy", clippy(workspace, &tools)),
    ];
    let mut code = ExitCode::SUCCESS;
    for (name, outcome) in checks {
        match outcome {
            Ok(()) => say(format_args!("{name}: clean")),
            Err(error) => {
                say(format_args!("{name}: {error:#}"));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn rustfmt(workspace: &Workspace) -> Result<()> {
    run_checked(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    // A workspace of its own. Its code is a line a file, so clippy, which would compile everything
    // again for it, does not see it.
    let fuzz = ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"];
    run_checked(workspace.cargo().args(fuzz))
}

fn clippy(workspace: &Workspace, tools: &BuildTools) -> Result<()> {
    let object = build::ebpf_object(workspace, tools)?;
    let mut clippy = workspace.cargo();
    build::embed(&mut clippy, workspace, &object);
    clippy.args(["clippy", "--workspace", "--exclude", "push-ebpf", "--all-targets"]);
    run_checked(clippy.args(["--", "-Dwarnings"]))
}

/// The eBPF compiler denies its own warnings. Clippy of another compiler cannot read that one's
/// `core`, so clippy checks the programs as if they were for this machine; it links nothing.
fn lint_ebpf(workspace: &Workspace, tools: &BuildTools) -> Result<()> {
    let mut check = build::ebpf_cargo(workspace, tools, "check", &["-Dwarnings"]);
    run_checked(&mut check)?;
    let mut clippy = workspace.cargo();
    clippy
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_PROFILE_DEV_PANIC", "abort")
        .env("CARGO_TARGET_DIR", workspace.target().join("ebpf-clippy"));
    clippy.args(["clippy", "--package", "push-ebpf", "--bin", "push-ebpf"]);
    run_checked(clippy.args(["--", "-Dwarnings"]))
}

/// Refuses breaches of the import rules, circles of imports, methods away from home, large structs,
/// inline tests and suppressed lints. Names long files.
fn source_rules(workspace: &Workspace) -> Result<()> {
    let mut sources = Sources::new();
    let mut violations = Vec::new();
    for file in rust_files(workspace.root(), workspace.target())? {
        let text = fs::read_to_string(workspace.root().join(&file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.to_string_lossy().into_owned();
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            say(format_args!("warning: {name} has {lines} lines (over {FILE_LINES_MAX})"));
        }
        let source = source::scan(&text, &rules::module_of(&name));
        violations.extend(rules::violations(&name, &source));
        sources.insert(name, source);
    }
    let (crates, missing) = Crate::all(&sources);
    violations.extend(missing);
    violations.extend(circles::violations(&crates));
    violations.extend(homes::violations(&crates));
    violations.extend(fields::violations(&sources));
    violations.extend(inline_tests::violations(&sources));
    for violation in &violations {
        say(violation);
    }
    anyhow::ensure!(violations.is_empty(), "{} violations", violations.len());
    Ok(())
}

/// Every Rust file of the workspace, sorted, as paths from its root; built and hidden ones left out.
fn rust_files(root: &Path, target: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let kind = entry.file_type()?;
            let is_built = name == "target" || entry.path() == target;
            if kind.is_dir() && !is_built && !name.to_string_lossy().starts_with('.') {
                folders.push(entry.path());
            } else if kind.is_file()
                && Path::new(&name).extension().is_some_and(|kind| kind == "rs")
            {
                files.push(entry.path().strip_prefix(root)?.to_owned());
            }
        }
    }
    files.sort();
    Ok(files)
}
