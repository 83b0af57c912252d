//! `cargo xtask fuzz`: feeds a fuzz target, or all, with inputs that libFuzzer makes up, from the
//! corpus on. The targets are in `fuzz/`, what they do is in `push_server::fuzzing`.
//!
//! Nothing is sanitized, since the parsers have no unsafe code: the properties are what is checked.
//! So the workspace's own compiler serves, and no nightly is needed; libFuzzer itself takes a C++
//! compiler. What libFuzzer finds that is new goes below `target/fuzz`, and nothing into the corpus:
//! that is for people to choose.

mod summary;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use summary::Summary;

use crate::setup;
use crate::workspace::{Workspace, checked_output, command_line, run_checked, say};

/// The target that stands for all.
const ALL: &str = "all";

/// Longest input, in bytes: a request for WebSocket is refused at 16 KiB.
const INPUT_BYTES_MAX: usize = 20_000;

/// Longest time for one input, in seconds: none takes a hundredth of it.
const INPUT_SECS_MAX: usize = 10;

/// Most memory of a target, in MiB, its own some 100 included.
const MEMORY_MIB_MAX: usize = 1_024;

#[derive(Args, Debug)]
pub(crate) struct FuzzArguments {
    /// A target of fuzz/Cargo.toml, or `all`: as many at a time as there are processors
    target: String,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

pub(crate) fn run(workspace: &Workspace, arguments: &FuzzArguments) -> Result<ExitCode> {
    let folder = workspace.root().join("fuzz");
    let all = targets(&folder)?;
    let chosen: Vec<String> = match arguments.target.as_str() {
        ALL => all,
        target if all.iter().any(|one| one == target) => vec![target.to_owned()],
        target => bail!("no target is called {target}; there are {} and {ALL}", all.join(", ")),
    };
    let fuzzing = Fuzzing { built: build(workspace, &chosen)?, folder, workspace };
    let lines = side_by_side(&chosen, |target| fuzzing.run(target, arguments.seconds));
    let mut code = ExitCode::SUCCESS;
    for (target, outcome) in lines {
        match outcome {
            Ok(summary) => say(format_args!("fuzz {target}: {summary}")),
            Err(error) => {
                say(format_args!("fuzz {target}: {error:#}"));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// The names of the targets: each is a file.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let programs = folder.join("fuzz_targets");
    let entries =
        fs::read_dir(&programs).with_context(|| format!("cannot read {}", programs.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Builds the programs of targets. Returns their folder.
fn build(workspace: &Workspace, targets: &[String]) -> Result<PathBuf> {
    let cargo_fuzz = setup::fuzz_needs(workspace)?;
    let target_dir = workspace.target().join("fuzz");
    let cargo = workspace.cargo();
    let mut command = Command::new(cargo_fuzz);
    command.env("CARGO", cargo.get_program()).current_dir(workspace.root());
    for (name, value) in cargo.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["fuzz", "build", "--sanitizer", "none", "--fuzz-dir", "fuzz", "--target-dir"]);
    command.arg(&target_dir).env("CARGO_TARGET_DIR", &target_dir);
    // One or all: it takes no more than one name.
    if let [target] = targets {
        command.arg(target);
    }
    run_checked(&mut command)?;
    let about = checked_output(Command::new("rustc").arg("-vV").current_dir(workspace.root()))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not tell its host")?;
    Ok(target_dir.join(host).join("release"))
}

/// Where targets run.
struct Fuzzing<'a> {
    built: PathBuf,
    folder: PathBuf,
    workspace: &'a Workspace,
}

impl Fuzzing<'_> {
    /// Runs a target for so long.
    ///
    /// # Errors
    /// It found an input that breaks a property, or could not run.
    fn run(&self, target: &str, seconds: u64) -> Result<Summary> {
        let below = self.workspace.target().join("fuzz");
        let found = below.join("corpus").join(target);
        let artifacts = below.join("artifacts").join(target);
        for folder in [&found, &artifacts] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let log = below.join(format!("{target}.log"));
        let output =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(self.built.join(target));
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg(format!("-timeout={INPUT_SECS_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-print_final_stats=1", "-verbosity=1"]);
        let dictionary = self.folder.join(format!("dictionaries/{target}.dict"));
        if dictionary.is_file() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        // What is new goes to the first folder.
        command.arg(&found).arg(self.folder.join("corpus").join(target));
        let line = command_line(&command);
        say(format_args!("$ {line}"));
        let status = command
            .stdout(output.try_clone()?)
            .stderr(output)
            .status()
            .with_context(|| format!("cannot run `{line}`"))?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        ensure!(
            status.success(),
            "{}\nThe input is below {}; copied to fuzz/corpus/{target}, `cargo xtask test corpus` \
             shows it as well. All that was said: {}",
            summary::failure(&text),
            artifacts.display(),
            log.display()
        );
        Summary::parse(&text).with_context(|| format!("libFuzzer told nothing: {}", log.display()))
    }
}

/// Runs `work` for each name, as many at a time as there are processors. Returns what came of it, in order of
/// the names.
fn side_by_side<T: Send>(names: &[String], work: impl Fn(&str) -> T + Sync) -> Vec<(String, T)> {
    let places = thread::available_parallelism().map_or(1, usize::from);
    let waiting: Mutex<VecDeque<_>> = Mutex::new(names.iter().enumerate().collect());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..places {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((index, name)) = next else { break };
                    let outcome = (index, name.clone(), work(name));
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, ..)| *index);
    done.into_iter().map(|(_, name, outcome)| (name, outcome)).collect()
}
