//! `--recovery`: how soon a server with many sessions and many owed messages serves again, after an
//! orderly stop and after a crash, and how much memory it uses then.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::super::brokers::Broker;
use super::super::data_directory::DataDirectory;
use super::super::load::{Load, Published};
use super::super::procfs::ProcessMemory;
use super::super::report::{Machine, Shown, Table, finish, grouped};
use super::super::rig::Bench;
use super::arguments::{DurableArguments, Mode};
use super::keeper::Keeper;
use crate::workspace::say;

/// Longest time to make the sessions.
const SESSIONS_WITHIN: Duration = Duration::from_secs(900);

/// Longest time to acknowledge the messages.
const MESSAGES_WITHIN: Duration = Duration::from_secs(900);

/// Most sessions made in a second.
const CONNECT_RATE: u32 = 20_000;

/// What is written to `recovery.json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    benchmark: &'static str,
    machine: &'a Machine,
    file_system: &'a str,
    background_share: f64,
    sessions: u32,
    messages: u64,
    payload_bytes: u32,
    shards: u16,
    starts: &'a [Start],
    refused: &'a [String],
}

/// One start.
#[derive(Debug, Serialize)]
struct Start {
    mode: Mode,
    after: After,
    /// Seconds from the start of the process until it serves; for our server, by `/readyz`.
    ready_s: f64,
    resident_bytes: u64,
    anonymous_bytes: u64,
    /// Bytes of the directory before the start.
    disk_bytes: u64,
    /// `push_sessions` once it serves; mosquitto has no such figure.
    sessions: Option<f64>,
}

/// How the previous life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum After {
    /// There was none. The row shows the memory of the filled server and the time to fill it.
    Filling,
    Stop,
    Crash,
}

pub(super) fn run(
    bench: &Bench,
    arguments: &DurableArguments,
    keeper: &Keeper<'_>,
    file_system: &str,
) -> Result<ExitCode> {
    let mut modes = keeper.modes(&arguments.only);
    modes.retain(|mode| mode.durability() != Some("off"));
    if modes.is_empty() {
        bail!("no server here keeps anything: this push-server has no --durability");
    }
    let (mut starts, mut refused) = (Vec::new(), Vec::new());
    for mode in modes {
        if let Err(error) = visit(bench, arguments, keeper, mode, &mut starts) {
            bench.interrupt.check()?;
            let text = format!("no figures of {mode}: {error:#}");
            say(&text);
            refused.push(text);
        }
    }
    let path = bench.results.join("recovery.json");
    let report = Report {
        benchmark: "durable --recovery",
        machine: &bench.machine,
        file_system,
        background_share: bench.background_share,
        sessions: arguments.recovery_sessions,
        messages: arguments.recovery_messages,
        payload_bytes: arguments.payload_bytes,
        shards: arguments.shards,
        starts: &starts,
        refused: &refused,
    };
    let about = format!(
        "{} sessions, {} messages of {} bytes owed to them, shards: {}. {}, data on {file_system}.",
        grouped(f64::from(arguments.recovery_sessions), 0),
        grouped(arguments.recovery_messages as f64, 0),
        arguments.payload_bytes,
        arguments.shards,
        bench.machine.text()
    );
    let shown =
        Shown { table: table(&starts), about, markdown: arguments.markdown, refused: &refused };
    finish(&path, &report, &shown)
}

fn visit(
    bench: &Bench,
    arguments: &DurableArguments,
    keeper: &Keeper<'_>,
    mode: Mode,
    starts: &mut Vec<Start>,
) -> Result<()> {
    let data = keeper.directory()?;
    let mut broker = keeper.start(bench, mode, data.path())?;
    let filled = fill(bench, arguments, &mut broker).context("filling it")?;
    starts.push(start(mode, After::Filling, filled, &broker, &data)?);
    broker.end()?;
    let broker = again(bench, arguments, keeper, (mode, After::Stop), &data, starts)?;
    if mode == Mode::Mosquitto {
        // A crash costs it everything that it has not written.
        return broker.end();
    }
    broker.kill()?;
    again(bench, arguments, keeper, (mode, After::Crash), &data, starts)?.end()
}

/// Starts it on the directory of its previous life.
fn again(
    bench: &Bench,
    arguments: &DurableArguments,
    keeper: &Keeper<'_>,
    (mode, after): (Mode, After),
    data: &DataDirectory,
    starts: &mut Vec<Start>,
) -> Result<Broker> {
    let begun = Instant::now();
    let broker = keeper.start(bench, mode, data.path())?;
    let found = start(mode, after, begun.elapsed(), &broker, data)?;
    found.tell();
    let sessions = found.sessions;
    starts.push(found);
    let meant = f64::from(arguments.recovery_sessions);
    match sessions {
        Some(found) if found < meant => bail!("{found} of {meant} sessions are there"),
        _ => Ok(broker),
    }
}

/// Makes the sessions and publishes the messages that they are owed. Returns how long that took.
fn fill(bench: &Bench, arguments: &DurableArguments, broker: &mut Broker) -> Result<Duration> {
    let mut words = vec!["--absent".to_owned()];
    let mut say = |flag: &str, value: u64| words.extend([flag.to_owned(), value.to_string()]);
    say("--clients", arguments.recovery_sessions.into());
    say("--messages", arguments.recovery_messages);
    say("--publishers", arguments.publishers.into());
    say("--window", arguments.window.into());
    say("--payload-bytes", arguments.payload_bytes.into());
    say("--connect-rate", CONNECT_RATE.into());
    let begun = Instant::now();
    let mut load = Load::with(&bench.generator, "publish", broker.mqtt(), &words, &bench.results)?;
    let interrupt = &bench.interrupt;
    load.wait_until_ready(SESSIONS_WITHIN, interrupt, || broker.check_alive())?;
    let outcome: Published =
        load.wait_until_done(MESSAGES_WITHIN, interrupt, || broker.check_alive())?;
    load.end()?;
    if outcome.acknowledged != arguments.recovery_messages {
        bail!("{} of {} messages were acknowledged", outcome.acknowledged, outcome.sent);
    }
    Ok(begun.elapsed())
}

fn start(
    mode: Mode,
    after: After,
    took: Duration,
    broker: &Broker,
    data: &DataDirectory,
) -> Result<Start> {
    let memory = ProcessMemory::read(broker.pid())?;
    let metrics = broker.metrics()?;
    Ok(Start {
        mode,
        after,
        ready_s: took.as_secs_f64(),
        resident_bytes: memory.resident,
        anonymous_bytes: memory.anonymous,
        disk_bytes: data.bytes(),
        sessions: metrics.and_then(|metrics| metrics.value("push_sessions")),
    })
}

impl Start {
    fn tell(&self) {
        say(format_args!(
            "{} after {:?}: serves after {:.2} s with {} MiB",
            self.mode,
            self.after,
            self.ready_s,
            self.resident_bytes >> 20
        ));
    }
}

fn table(starts: &[Start]) -> Table {
    const MIB: f64 = (1 << 20) as f64;
    let head = ["", "s until it serves", "resident, MiB", "anonymous, MiB", "on disk, MiB"];
    let cells = |start: &Start| {
        let what = match start.after {
            After::Filling => "filled (s: to fill it)",
            After::Stop => "after an orderly stop",
            After::Crash => "after kill -9",
        };
        let mut cells = vec![format!("{}, {what}", start.mode), grouped(start.ready_s, 2)];
        let sizes = [start.resident_bytes, start.anonymous_bytes, start.disk_bytes];
        cells.extend(sizes.map(|bytes| grouped(bytes as f64 / MIB, 0)));
        cells
    };
    Table { head: head.map(str::to_owned).to_vec(), rows: starts.iter().map(cells).collect() }
}
