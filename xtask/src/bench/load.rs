//! The load generator `push-load` as a child process: its command lines, and its output on stdout,
//! one JSON object in each line.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::children::{Child, Interrupt};
use crate::workspace::say;

/// The pace of all clients' pings together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Pace {
    /// This many unanswered at any time; the next is sent when one is answered.
    ClosedLoop(u32),
    /// This many a second, the clients' phases spread evenly.
    FixedRate(u32),
}

/// Round trip times, microseconds.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct RoundTrips {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// The counts of `push-load ping` in its measured time.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Outcome {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) missing: u64,
    /// Connections that the server ended.
    pub(super) closed: u64,
    /// Turns that the generator was too late for.
    #[serde(default)]
    pub(super) skipped: u64,
    pub(super) rtt_us: RoundTrips,
    /// The generator's own processor time.
    pub(super) cpu_us: f64,
    pub(super) seconds: f64,
}

/// The counts of `push-load publish`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Published {
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    /// Sent and never acknowledged.
    pub(super) missing: u64,
    pub(super) delivered: u64,
    /// Acknowledged in the time measured.
    pub(super) measured: u64,
    /// Delivered in the time measured.
    pub(super) delivered_measured: u64,
    pub(super) ack_us: RoundTrips,
    pub(super) delivery_us: RoundTrips,
    /// The generator's own processor time in the time measured.
    pub(super) cpu_us: f64,
    pub(super) seconds: f64,
}

/// The counts of `push-load throughput`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Carried {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    /// Deliveries and acknowledgements that never came.
    pub(super) missing: u64,
    /// Sent in the time measured.
    pub(super) sent_measured: u64,
    /// Delivered in the time measured.
    pub(super) delivered_measured: u64,
    /// From when a message was due to when it was written; at a rate only.
    pub(super) late_us: RoundTrips,
    pub(super) ack_us: RoundTrips,
    /// From when a message was due to the subscriber.
    pub(super) delivery_us: RoundTrips,
    /// Threads that the generator had.
    pub(super) threads: u16,
    /// The generator's own processor time in the time measured.
    pub(super) cpu_us: f64,
    pub(super) seconds: f64,
}

/// The counts of `push-load connects`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Connected {
    pub(super) connects: u64,
    /// Accepted in the time measured.
    pub(super) connects_measured: u64,
    /// Of these, whose handshake of TLS was by a ticket.
    #[serde(default)]
    pub(super) resumed_measured: u64,
    /// From the SYN to CONNACK.
    pub(super) connack_us: RoundTrips,
    /// Threads that the generator had.
    pub(super) threads: u16,
    /// The generator's own processor time in the time measured.
    pub(super) cpu_us: f64,
    pub(super) seconds: f64,
}

/// The generator's message once all its clients are up, or have tried.
#[derive(Debug, Deserialize)]
struct Ready {
    event: String,
    clients: u32,
    connected: u32,
}

/// The program `target/release/push-load`, and what it is told in every mode.
#[derive(Clone, Debug)]
pub(super) struct Generator {
    program: PathBuf,
    words: Vec<String>,
    /// Whether it gets only the time that nobody else wants.
    is_nice: bool,
}

impl Generator {
    pub(super) fn new(program: PathBuf, words: Vec<String>) -> Self {
        Self { program, words, is_nice: false }
    }

    /// The same, behind all other processes.
    pub(super) fn nice(&self) -> Self {
        Self { is_nice: true, ..self.clone() }
    }

    /// Its program with a mode that connects to nobody.
    pub(super) fn command_of(&self, mode: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(mode);
        command
    }

    fn command(&self, mode: &str, target: SocketAddr) -> Command {
        let mut command = if self.is_nice {
            let mut nice = Command::new("nice");
            nice.args(["-n", "19"]).arg(&self.program);
            nice
        } else {
            Command::new(&self.program)
        };
        command.args([mode, "--target", &target.to_string()]).args(&self.words);
        command
    }
}

/// A running generator.
#[derive(Debug)]
pub(super) struct Load {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<(Instant, String)>,
}

impl Load {
    /// `push-load ping`.
    pub(super) fn ping(
        generator: &Generator,
        target: SocketAddr,
        clients: u32,
        pace: Pace,
        (warm_up_s, seconds): (u32, u32),
        folder: &Path,
    ) -> Result<Self> {
        let mut command = generator.command("ping", target);
        command.args(["--clients", &clients.to_string()]);
        match pace {
            Pace::ClosedLoop(inflight) => command.args(["--inflight", &inflight.to_string()]),
            Pace::FixedRate(per_s) => command.args(["--rate", &per_s.to_string()]),
        };
        command.args(["--seconds", &seconds.to_string(), "--warmup-s", &warm_up_s.to_string()]);
        Self::start(&mut command, folder)
    }

    /// `push-load idle`, which holds its connections until it is dropped.
    pub(super) fn idle(
        generator: &Generator,
        target: SocketAddr,
        clients: u32,
        folder: &Path,
    ) -> Result<Self> {
        let mut command = generator.command("idle", target);
        command.args(["--clients", &clients.to_string(), "--hold"]);
        Self::start(&mut command, folder)
    }

    /// `push-load MODE`, with these further arguments.
    pub(super) fn with(
        generator: &Generator,
        mode: &str,
        target: SocketAddr,
        arguments: &[String],
        folder: &Path,
    ) -> Result<Self> {
        let mut command = generator.command(mode, target);
        command.args(arguments);
        Self::start(&mut command, folder)
    }

    fn start(command: &mut Command, folder: &Path) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Child::start("push-load", command, &folder.join("push-load.log"))?;
        let stdin = child.take_stdin();
        let stdout = child.take_stdout().context("push-load has no stdout")?;
        let (sender, lines) = mpsc::channel();
        // It ends with the pipe, that is, with the child.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, stdin, lines })
    }

    /// The command as one would type it.
    pub(super) fn line(&self) -> &str {
        self.child.line()
    }

    /// Asks an idle generator for `clients` in all; it reports `ready` when they are up.
    pub(super) fn grow(&mut self, clients: u32) -> Result<()> {
        let stdin = self.stdin.as_mut().context("push-load has no stdin")?;
        writeln!(stdin, "to {clients}").context("push-load does not listen")
    }

    /// Ends it in order: closes its stdin, so that it disconnects from the server.
    pub(super) fn end(mut self) -> Result<()> {
        drop(self.stdin.take());
        let until = Instant::now() + GOODBYE_WITHIN;
        while self.child.check_alive().is_ok() {
            if Instant::now() > until {
                say("push-load does not end with its stdin");
                break;
            }
            thread::sleep(GOODBYE_TICK);
        }
        self.child.end()?;
        Ok(())
    }

    /// Waits until all clients are up. Returns when they were. Calls `each` meanwhile.
    pub(super) fn wait_until_ready(
        &mut self,
        within: Duration,
        interrupt: &Interrupt,
        each: impl FnMut() -> Result<()>,
    ) -> Result<Instant> {
        let (at, ready) = self.wait_for(parse_ready, within, interrupt, each)?;
        if ready.connected != ready.clients {
            let Ready { connected, clients, .. } = ready;
            bail!("{connected} of {clients} clients are connected{}", self.child.last_words());
        }
        Ok(at)
    }

    /// Waits for the counts of the mode, which come last. Calls `each` meanwhile.
    pub(super) fn wait_until_done<T: DeserializeOwned>(
        &mut self,
        within: Duration,
        interrupt: &Interrupt,
        each: impl FnMut() -> Result<()>,
    ) -> Result<T> {
        let counts = |line: &str| serde_json::from_str::<T>(line).ok();
        Ok(self.wait_for(counts, within, interrupt, each)?.1)
    }

    /// Waits for a line that contains only `event`.
    pub(super) fn wait_until(
        &mut self,
        event: &str,
        within: Duration,
        interrupt: &Interrupt,
        each: impl FnMut() -> Result<()>,
    ) -> Result<Instant> {
        let wanted = |line: &str| (parse_event(line)? == event).then_some(());
        Ok(self.wait_for(wanted, within, interrupt, each)?.0)
    }

    fn wait_for<T>(
        &mut self,
        wanted: impl Fn(&str) -> Option<T>,
        within: Duration,
        interrupt: &Interrupt,
        mut each: impl FnMut() -> Result<()>,
    ) -> Result<(Instant, T)> {
        let until = Instant::now() + within;
        loop {
            interrupt.check()?;
            each()?;
            match self.lines.recv_timeout(LOOK_EVERY) {
                Ok((at, line)) => {
                    if let Some(found) = wanted(&line) {
                        return Ok((at, found));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.end()?;
                    bail!("push-load ended too early ({status}){}", self.child.last_words());
                }
            }
            if Instant::now() > until {
                let seconds = within.as_secs();
                bail!("push-load is silent for {seconds} s{}", self.child.last_words());
            }
        }
    }
}

fn parse_event(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Event {
        event: String,
    }
    serde_json::from_str(line).ok().map(|event: Event| event.event)
}

fn parse_ready(line: &str) -> Option<Ready> {
    serde_json::from_str(line).ok().filter(|ready: &Ready| ready.event == "ready")
}

/// How often `each` is called. This is the resolution of what is sampled while the generator works,
/// and costs about 0.05 % of a processor, for every server alike.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Longest time for the generator to close its connections.
const GOODBYE_WITHIN: Duration = Duration::from_secs(20);

/// Time between two looks for its end.
const GOODBYE_TICK: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
