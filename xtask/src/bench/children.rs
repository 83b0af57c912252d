//! Child processes of a benchmark, and the user's wish to stop. No child outlives us.
//!
//! Children lead process groups of their own, so Ctrl-C reaches only us. We notice it at the next
//! look, and the children end in order as their owners are dropped.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::workspace::{command_line, say};

/// How long a child may take to end in order before it is killed. The server promises 5 s.
const END_WITHIN: Duration = Duration::from_secs(8);

/// Time between two looks for a child's end or the user's wish.
const TICK: Duration = Duration::from_millis(20);

/// Most lines of a child's log in an error.
const LOG_LINES_QUOTED: usize = 6;

/// Whether the user wants to stop.
#[derive(Clone, Debug)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over SIGINT, SIGTERM and SIGHUP for the rest of this process.
    pub(super) fn catch() -> Result<Self> {
        let wish = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&wish))
                .context("cannot wait for signals")?;
        }
        Ok(Self(wish))
    }

    /// An error if the user wants to stop.
    pub(super) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Sleeps; an error if the user wants to stop.
    pub(super) fn sleep(&self, duration: Duration) -> Result<()> {
        let until = Instant::now() + duration;
        loop {
            self.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(TICK));
        }
    }
}

/// A running child. Dropping it ends it in order, or kills it if that takes too long.
#[derive(Debug)]
pub(super) struct Child {
    name: &'static str,
    process: Process,
    log: PathBuf,
    line: String,
}

impl Child {
    /// Starts a command with its stderr in `log`; stdin and stdout are as the command has them.
    pub(super) fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        let line = command_line(command);
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let process = command
            .process_group(0)
            .stderr(Stdio::from(file))
            .spawn()
            .with_context(|| format!("cannot start `{line}`"))?;
        Ok(Self { name, process, log: log.to_owned(), line })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The command as one would type it.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// Its standard input; `None` after the first call.
    pub(super) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.process.stdin.take()
    }

    /// Its standard output; `None` after the first call.
    pub(super) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.process.stdout.take()
    }

    /// An error with the end of its log, if it has ended.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait()? {
            bail!("{} ended ({status}){}", self.name, self.last_words());
        }
        Ok(())
    }

    /// Ends it: closes its stdin, sends a signal, and kills it if that takes too long.
    pub(super) fn end(&mut self) -> Result<ExitStatus> {
        drop(self.process.stdin.take());
        if let Some(status) = self.process.try_wait()? {
            return Ok(status);
        }
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            // It may end at this moment; the wait below tells.
            let _ = kill_process(pid, Signal::TERM);
        }
        let until = Instant::now() + END_WITHIN;
        while Instant::now() < until {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            thread::sleep(TICK);
        }
        let seconds = END_WITHIN.as_secs();
        say(format_args!("{} did not end within {seconds} s: killing it", self.name));
        self.process.kill()?;
        Ok(self.process.wait()?)
    }

    /// Kills it at once.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// The end of its log, to append to an error.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES_QUOTED);
        if lines.is_empty() {
            String::new()
        } else {
            format!(":\n  {}", lines[from..].join("\n  "))
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            say(format_args!("cannot end {}: {error}", self.name));
        }
    }
}

#[cfg(test)]
mod tests;
