//! `cargo xtask bench throughput`: how many messages and connects a server carries, what each costs,
//! and how long a message takes at a fixed rate, beside mosquitto, other brokers and earlier builds.
//!
//! What the figures mean, beside what `bench` says of all of them:
//! - *By a window*: each publisher has so many messages on their way, and sends the next once all
//!   subscribers have one (and its PUBACK, at QoS 1, has come). This is the rate that a server
//!   sustains without dropping anything; a lost message refuses the figure. A larger window has more
//!   messages travel together and cost less each: compare equal windows only.
//! - *At a rate*: messages are due at even distances whatever the server does, and timed from when
//!   they were due. A server that stalls is charged for every message that had to wait.
//! - *The generator* is one process with both ends of every message. It reads and writes many at a
//!   time, but it works, and on two cores it is the server's neighbour. Where the server was not
//!   busy, or the generator was busier, a rate is marked with `?` and the reason printed below the
//!   table ([`doubt`]); costs hold all the same.
//! - *A connect* is a TCP handshake, CONNECT, CONNACK, DISCONNECT and the server's close, the next
//!   begun as soon as one is over.
//! - Each turn has a new server, an empty data directory and a new generator. Durability is each
//!   server's default, which clean sessions do not use.

mod arguments;
mod contenders;
mod doubt;
mod scenario;
mod table;
mod visit;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Serialize;

pub(crate) use self::arguments::ThroughputArguments;
use self::contenders::Contender;
use self::scenario::Scenario;
use self::table::Row;
use self::visit::Visit;
use super::layers::LayerArguments;
use super::report::{Machine, Shown, finish};
use super::rig::{Bench, Rounds, prepare, take_scenarios};
use crate::workspace::Workspace;

/// What is written to `throughput.json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    benchmark: &'static str,
    machine: &'a Machine,
    background_share: f64,
    fan_out: u32,
    fan_in: u32,
    pairs: u32,
    connecting: u32,
    window: u16,
    rate: u32,
    payload_bytes: u32,
    seconds: u32,
    warm_up_s: u32,
    rounds: u32,
    shards: u16,
    generator_threads: u16,
    layers: &'a LayerArguments,
    /// The commands of the first round.
    commands: &'a [String],
    visits: &'a [Visit],
    refused: &'a [String],
    summary: &'a [Row],
}

pub(super) fn run(workspace: &Workspace, arguments: &ThroughputArguments) -> Result<ExitCode> {
    let rows = arguments.scenarios();
    if rows.contains(&Scenario::ConnectsResumed) && !arguments.common.layers.tls {
        bail!("only sessions of TLS are resumed: add --tls");
    }
    let connections = rows.iter().map(|row| arguments.clients(*row));
    let most = connections.map(|(clients, publishers)| clients + publishers).max().unwrap_or(0);
    let mut bench = prepare(workspace, &arguments.common, most)?;
    bench.brokers.before.clone_from(&arguments.before);
    bench.brokers.has_rules = arguments.acl;
    let contenders = Contender::all(&bench, &arguments.peer)?;
    let Rounds { visits, refused, commands } = measure(&bench, arguments, &contenders)?;
    let summary = table::summary(arguments, &contenders, &visits);
    let layers = &arguments.common.layers;
    let path = bench.results.join(format!("throughput{}.json", layers.suffix()));
    let report = Report {
        benchmark: "throughput",
        machine: &bench.machine,
        background_share: bench.background_share,
        fan_out: arguments.fan_out,
        fan_in: arguments.fan_in,
        pairs: arguments.pairs,
        connecting: arguments.connecting,
        window: arguments.window,
        rate: arguments.rate,
        payload_bytes: arguments.payload_bytes,
        seconds: arguments.seconds,
        warm_up_s: arguments.warm_up_s,
        rounds: arguments.rounds,
        shards: arguments.common.shards,
        generator_threads: arguments.generator_threads,
        layers,
        commands: &commands,
        visits: &visits,
        refused: &refused,
        summary: &summary,
    };
    let shown = Shown {
        table: table::table(&contenders, &summary),
        about: about(&bench, arguments, &table::doubts(arguments, &contenders, &visits)),
        markdown: arguments.common.markdown,
        refused: &refused,
    };
    finish(&path, &report, &shown)
}

fn measure(
    bench: &Bench,
    arguments: &ThroughputArguments,
    contenders: &[Contender],
) -> Result<Rounds<Visit>> {
    let scenarios = arguments.scenarios();
    let turn = |round, scenario, contender: &Contender| {
        let visit = visit::run(bench, arguments, (round, scenario, contender));
        let visit = visit.with_context(|| format!("{}, {scenario}", contender.name()))?;
        visit.tell(arguments.rounds);
        let commands = visit.commands.clone();
        Ok((visit, commands))
    };
    take_scenarios(bench, arguments.rounds, (&scenarios, contenders), turn)
}

fn about(bench: &Bench, arguments: &ThroughputArguments, doubts: &[String]) -> String {
    let mut text = format!(
        "Median of the rounds (least-most){}; messages of {} bytes, window {} a publisher, {} s each, \
         rounds: {}, shards: {}, generator threads: {}. {}.",
        arguments.common.layers.text(),
        arguments.payload_bytes,
        arguments.window,
        arguments.seconds,
        arguments.rounds,
        arguments.common.shards,
        arguments.generator_threads,
        bench.machine.text()
    );
    for doubt in doubts {
        text.push_str("\n? ");
        text.push_str(doubt);
    }
    text
}
