//! `cargo xtask bench durable`: QoS 1 messages to sessions that outlive their connections, and what
//! each `--durability` costs; with `--recovery`, how soon a server with many sessions and messages
//! serves again.
//!
//! What the figures mean, beside what `bench` says of all of them:
//! - A message is one PUBLISH to one session's topic. It counts when its PUBACK has come. The
//!   generator is one process; it writes and reads many messages at a time (`push-load publish`).
//! - *Connected*: every session is connected and acknowledges; a message is written to the store,
//!   sent,
//!   and removed. *Absent*: no session is connected; messages pile up. Both run as fast as the window
//!   allows, so the PUBACK latency is the window over the rate. *Paced*: connected, at a fixed rate far
//!   below the maximum, so the latency is the server's.
//! - Fsyncs are the server's own count; bytes written are the kernel's (`write_bytes` of the
//!   process:
//!   pages made dirty, before any later compaction).
//! - mosquitto has nothing like `fsync`: it acknowledges from memory, and here writes its whole
//!   database
//!   every second (`autosave_interval 1`), so a crash loses a second or more. It shows what an
//!   acknowledgement costs that promises less.
//! - Each turn has a new data directory, on the file system named below the table.

mod arguments;
mod keeper;
mod recovery;
mod table;
mod visit;

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

pub(crate) use self::arguments::DurableArguments;
use self::arguments::{Mode, Scenario};
use self::keeper::Keeper;
use self::table::Row;
use self::visit::Visit;
use super::layers::LayerArguments;
use super::procfs::file_system;
use super::report::{Machine, Shown, finish};
use super::rig::{Bench, CommonArguments, Rounds, prepare, take_scenarios};
use crate::workspace::Workspace;

/// What is written to `durable.json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    benchmark: &'static str,
    machine: &'a Machine,
    file_system: &'a str,
    background_share: f64,
    sessions: u32,
    payload_bytes: u32,
    publishers: u32,
    window: u16,
    rate: u32,
    seconds: u32,
    warm_up_s: u32,
    shards: u16,
    /// The commands of the first round.
    commands: &'a [String],
    visits: &'a [Visit],
    refused: &'a [String],
    summary: &'a [Row],
}

pub(super) fn run(workspace: &Workspace, arguments: &DurableArguments) -> Result<ExitCode> {
    let DurableArguments { markdown, shards, no_build, .. } = *arguments;
    let layers = LayerArguments::default();
    let common = CommonArguments { markdown, shards, only: Vec::new(), no_build, layers };
    let mut bench = prepare(workspace, &common, arguments.sessions + arguments.publishers)?;
    bench.brokers.before.clone_from(&arguments.before);
    let below = arguments.data_below.clone().unwrap_or_else(|| bench.results.clone());
    let file_system = file_system(&below)?;
    let keeper = Keeper::new(&bench.brokers, below)?;
    if arguments.recovery {
        return recovery::run(&bench, arguments, &keeper, &file_system);
    }
    let Rounds { visits, refused, commands } = measure(&bench, arguments, &keeper)?;
    let rows = table::summary(&visits);
    let path = bench.results.join("durable.json");
    let report = Report {
        benchmark: "durable",
        machine: &bench.machine,
        file_system: &file_system,
        background_share: bench.background_share,
        sessions: arguments.sessions,
        payload_bytes: arguments.payload_bytes,
        publishers: arguments.publishers,
        window: arguments.window,
        rate: arguments.rate,
        seconds: arguments.seconds,
        warm_up_s: arguments.warm_up_s,
        shards,
        commands: &commands,
        visits: &visits,
        refused: &refused,
        summary: &rows,
    };
    let shown = Shown {
        table: table::table(&rows),
        about: about(&bench, arguments, &file_system),
        markdown: arguments.markdown,
        refused: &refused,
    };
    finish(&path, &report, &shown)
}

fn measure(
    bench: &Bench,
    arguments: &DurableArguments,
    keeper: &Keeper<'_>,
) -> Result<Rounds<Visit>> {
    let (scenarios, modes) = (Scenario::chosen(&arguments.row), keeper.modes(&arguments.only));
    let turn = |round, scenario: Scenario, &mode: &Mode| {
        let visit = visit::run(bench, arguments, keeper, (round, scenario, mode));
        let visit = visit.with_context(|| format!("{mode}, {scenario}"))?;
        visit.tell(arguments.rounds);
        let commands = visit.commands.clone();
        Ok((visit, commands))
    };
    take_scenarios(bench, arguments.rounds, (&scenarios, &modes), turn)
}

fn about(bench: &Bench, arguments: &DurableArguments, file_system: &str) -> String {
    format!(
        "Median of the rounds (least-most); QoS 1 messages of {} bytes to {} sessions, {} \
         publishers with a window of {}, paced rows {} messages/s, {} s each, rounds: {}, shards: \
         {}. {}, data on {file_system}.",
        arguments.payload_bytes,
        arguments.sessions,
        arguments.publishers,
        arguments.window,
        arguments.rate,
        arguments.seconds,
        arguments.rounds,
        arguments.shards,
        bench.machine.text()
    )
}
