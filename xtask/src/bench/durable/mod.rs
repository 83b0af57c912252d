//! `cargo xtask bench durable`: QoS 1 messages to sessions that outlive their connections, with what
//! each `--durability` costs; `--recovery`: how soon a server with many sessions and messages is back.
//!
//! What the figures mean, beside what `bench` says of all of them:
//! - A message is one PUBLISH to one session's topic, and counts when its PUBACK has come. The
//!   generator is one process; it writes and reads many messages at a time (`push-load publish`).
//! - *Connected*: every session is there and acknowledges; a message is written to the store, sent,
//!   and removed. *Absent*: none is there; messages pile up. Both as fast as the window allows, so
//!   that PUBACK latency there is the window over the rate. *Paced*: connected, at a fixed rate far
//!   below, where latency is the server's.
//! - Fsyncs are the server's own count; bytes written are the kernel's (`write_bytes` of the process:
//!   pages made dirty, before any compaction to come).
//! - mosquitto has nothing to compare with `fsync`: it acknowledges from memory and writes its whole
//!   database every second here (`autosave_interval 1`), so that a crash loses up to a second and
//!   more. It is the yardstick of what an acknowledgement costs that promises less.
//! - Each turn has a new data directory, on the file system that is named below the table.

mod keeper;
mod recovery;
mod table;
mod visit;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use self::keeper::{Keeper, Mode};
use self::table::Row;
use self::visit::{Scenario, Visit};
use super::procfs::file_system;
use super::report::{Machine, Shown, finish};
use super::{Bench, CommonArguments, prepare};
use crate::workspace::{Workspace, say};

#[derive(Args, Clone, Debug)]
pub(crate) struct DurableArguments {
    /// Sessions
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=15_000))]
    sessions: u32,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    #[arg(value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    payload_bytes: u32,
    /// Publishers
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    publishers: u32,
    /// Messages that each publisher has unacknowledged
    #[arg(long, value_name = "N", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=u16::MAX as i64))]
    window: u16,
    /// Messages a second of the paced rows
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: u32,
    /// How long each row is measured
    #[arg(long, value_name = "S", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// How long each row is loaded before that
    #[arg(long, value_name = "S", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=600))]
    warm_up_s: u32,
    /// Rounds; in each, all servers have their turn
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Measure these rows only; repeatable
    #[arg(long, value_name = "ROW")]
    row: Vec<Scenario>,
    /// Measure these only; repeatable
    #[arg(long, value_name = "MODE")]
    only: Vec<Mode>,
    /// Shards of our server; mosquitto has one thread
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// Make data directories below this one; default: target/bench
    #[arg(long, value_name = "DIR")]
    data_below: Option<PathBuf>,
    /// Measure instead how soon a server with many sessions and messages is back
    #[arg(long)]
    recovery: bool,
    /// Sessions of --recovery
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    recovery_sessions: u32,
    /// Messages that they are owed, all together
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    recovery_messages: u64,
    /// Also print the table for the README
    #[arg(long)]
    markdown: bool,
    /// Measure target/release/push-server and push-load as they are, without building first
    #[arg(long)]
    no_build: bool,
}

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
    let common = CommonArguments { markdown, shards, only: Vec::new(), no_build };
    let bench = prepare(workspace, &common, arguments.sessions + arguments.publishers)?;
    let below = arguments.data_below.clone().unwrap_or_else(|| bench.results.clone());
    let file_system = file_system(&below)?;
    let keeper = Keeper::new(&bench, arguments, below)?;
    if arguments.recovery {
        return recovery::run(&bench, arguments, &keeper, &file_system);
    }
    let (visits, refused, commands) = measure(&bench, arguments, &keeper)?;
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

/// All rounds: visits, what was refused, and the commands of the first round.
fn measure(
    bench: &Bench,
    arguments: &DurableArguments,
    keeper: &Keeper,
) -> Result<(Vec<Visit>, Vec<String>, Vec<String>)> {
    let modes = keeper.modes(&arguments.only);
    let scenarios = Scenario::chosen(&arguments.row);
    let (mut visits, mut refused, mut commands) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        for scenario in &scenarios {
            let mut order = modes.clone();
            // Each is first in its turn, as `brokers::rotated` says.
            order.rotate_left(round as usize % modes.len().max(1));
            for mode in order {
                let visit = visit::run(bench, arguments, keeper, (round, *scenario, mode));
                match visit.with_context(|| format!("{mode}, {scenario}")) {
                    Ok(visit) => {
                        if round == 0 {
                            commands.extend(visit.commands.iter().cloned());
                        }
                        visit.tell(arguments.rounds);
                        visits.push(visit);
                    }
                    Err(error) => {
                        bench.interrupt.check()?;
                        let text = format!("round {}: no figures of {error:#}", round + 1);
                        say(&text);
                        refused.push(text);
                    }
                }
            }
        }
    }
    Ok((visits, refused, commands))
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
