//! Runs test binaries beside each other. Most tests wait, for sockets and for clocks: one binary after
//! the other, they would leave the processors idle for most of the time.
//!
//! What a binary prints goes to a file, `target/test-output/NAME.log`, and is passed on when it ends,
//! so that outputs do not mix.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::tally::Tally;
use crate::workspace::say;

/// Binaries at once. Each runs as many tests at once as there are processors.
const LANES: usize = 4;

/// Binaries whose tests compute and do not wait. They take only the time that the others leave: those
/// find the processors as free as if they ran alone.
const COMPUTING: [&str; 2] = ["model", "simulation"];

/// The binaries that take longest, longest first. They begin before the others, so that none of them is
/// still at it when all else has ended.
const LONGEST: [&str; 10] = [
    "wire",
    "attack",
    "model",
    "e2e_tls",
    "e2e_durable",
    "simulation",
    "store",
    "e2e_ping",
    "e2e_hostile",
    "e2e_paho",
];

/// A test binary to run.
#[derive(Debug)]
pub(super) struct Run {
    name: String,
    command: Command,
}

impl Run {
    /// The command is the binary with its arguments, environment and folder.
    pub(super) fn new(name: &str, command: Command) -> Self {
        Self { name: name.to_owned(), command }
    }
}

/// How a run has ended.
struct Outcome {
    name: String,
    took: Duration,
    /// All that it has printed; or why it could not run, and whether it succeeded.
    end: Result<(Vec<u8>, bool)>,
}

/// Runs all of them. Passes their outputs on to `out`, which go to files below `folder` first, and adds
/// up libtest's counts. A binary that fails without a failed test counts as one.
pub(super) fn run(mut runs: Vec<Run>, folder: &Path, out: impl Write + Send) -> Result<Tally> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    runs.sort_by_key(|run| place(&run.name));
    let count = runs.len();
    let runs = Mutex::new(runs.into_iter());
    let next = || runs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let ended = Mutex::new((Tally::default(), 0, out));
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(run) = next() {
                    let outcome = execute(run, folder);
                    let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
                    let (tally, number, out) = &mut *ended;
                    *number += 1;
                    outcome.tell(&format!("{number} of {count}"), tally, out);
                }
            });
        }
    });
    Ok(ended.into_inner().unwrap_or_else(PoisonError::into_inner).0)
}

/// When a binary's turn is: the longest first, then the others by name.
fn place(name: &str) -> (usize, String) {
    let place = LONGEST.iter().position(|other| *other == name).unwrap_or(LONGEST.len());
    (place, name.to_owned())
}

fn execute(run: Run, folder: &Path) -> Outcome {
    let begun = Instant::now();
    let Run { name, command } = run;
    let command = if COMPUTING.contains(&name.as_str()) { giving_way(&command) } else { command };
    let end = output_of(command, &folder.join(format!("{name}.log")));
    Outcome { name, took: begun.elapsed(), end }
}

/// The same command with the lowest priority.
fn giving_way(command: &Command) -> Command {
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => nice.env(name, value),
            None => nice.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        nice.current_dir(folder);
    }
    nice
}

/// All that the command prints, by way of `file`, and whether it succeeded.
fn output_of(mut command: Command, file: &Path) -> Result<(Vec<u8>, bool)> {
    let unwritable = || format!("cannot write {}", file.display());
    let output = File::create(file).with_context(unwritable)?;
    let errors = output.try_clone().with_context(unwritable)?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let status = command.status().context("cannot run it")?;
    let printed = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok((printed, status.success()))
}

impl Outcome {
    /// Prints it and counts it.
    fn tell(self, number: &str, tally: &mut Tally, out: &mut impl Write) {
        let Self { name, took, end } = self;
        say(format_args!("{name} ({number}) took {:.1} s", took.as_secs_f64()));
        let failed_before = tally.failed;
        let succeeded = match end {
            Ok((printed, succeeded)) => {
                // Tests may print any bytes, so bytes are passed on, not text.
                let _ = out.write_all(&printed);
                let text = String::from_utf8_lossy(&printed);
                text.lines().for_each(|line| tally.read_line(line));
                succeeded
            }
            Err(error) => {
                say(format_args!("{name}: {error:#}"));
                false
            }
        };
        if !succeeded && tally.failed == failed_before {
            say(format_args!("{name} failed without a failed test: see above"));
            tally.failed += 1;
        }
    }
}

#[cfg(test)]
mod tests;
