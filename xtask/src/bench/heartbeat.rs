//! `cargo xtask bench heartbeat`: what a ping costs the machine, the server and the client, and how
//! long it takes.
//!
//! A visit is one server in one round: a closed loop for the costs, then a fixed rate for the round
//! trips, each by a generator of its own with new connections.
//!
//! It needs many clients, because every 256th ping of a connection goes to user space, and the
//! kernel answers again only once a segment before the next ping has acknowledged that answer
//! (rules 12 and 4 of the splice). A client that pings again within its delayed ACK, 40 ms,
//! acknowledges by the ping itself, and would stay on the user path from its 256th ping on. Devices
//! do not ping that often; a closed loop over too few clients does, and would measure a mixture of
//! both paths.
//!
//! Inside TLS there is another reason: the kernel answers by records that are sealed ahead, a few for each
//! client, and a shard fills them up when it is awake anyway, which a quiet one is once a second. Sealing
//! them is in the server's time; how often a client pings is stated below the table.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use push_common::answer_table::ENTRIES;
use serde::Serialize;

use super::brokers::{Broker, Variant, declined_text};
use super::layers::LayerArguments;
use super::load::{Load, Outcome, Pace};
use super::procfs::{MachineTime, ProcessTime, tick_us};
use super::report::{Machine, Shown, Spread, Table, finish};
use super::rig::{Bench, CommonArguments, leave_out_idle_kernel, prepare, take_turns};
use crate::workspace::{Workspace, say};

/// Least share of the pings that must take the measured path.
const PATH_SHARE_MIN: f64 = 0.95;

/// Most pings that may stay unanswered, or be skipped by a late generator, as a share of those
/// sent.
const LOST_SHARE_MAX: f64 = 0.001;

/// The share of the measured time that is left out at either end.
const EDGE_SHARE: f64 = 0.1;

/// Longest time for clients to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);

/// Longest time for the generator to end after its measured time.
const DRAIN_WITHIN: Duration = Duration::from_secs(15);

#[derive(Args, Clone, Debug)]
pub(crate) struct HeartbeatArguments {
    /// Clients, all from one process; each is to ping less often than every 40 ms
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    clients: u32,
    /// Pings unanswered at any time in the closed loop, which the costs are from
    #[arg(long, value_name = "K", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    inflight: u32,
    /// Pings a second at the fixed rate, which the round trips are from
    #[arg(long, value_name = "R", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: u32,
    /// How long to measure each of both
    #[arg(long, value_name = "S", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=3_600))]
    seconds: u32,
    /// How long clients ping before that
    #[arg(long, value_name = "S", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=600))]
    warm_up_s: u32,
    /// Rounds; in each, all servers have their turn
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Also measure this earlier build of push-server, in the same rounds
    #[arg(long, value_name = "PATH")]
    before: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArguments,
}

/// What is written to `heartbeat.json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    benchmark: &'static str,
    machine: &'a Machine,
    background_share: f64,
    clients: u32,
    inflight: u32,
    rate: u32,
    seconds: u32,
    warm_up_s: u32,
    shards: u16,
    layers: &'a LayerArguments,
    /// The commands of the first round.
    commands: &'a [String],
    visits: &'a [Visit],
    refused: &'a [String],
    summary: &'a [Row],
}

/// One server in one round.
#[derive(Debug, Serialize)]
struct Visit {
    round: u32,
    variant: Variant,
    closed_loop: Figures,
    fixed_rate: Figures,
}

/// The figures of one run of the generator.
#[derive(Clone, Copy, Debug, Serialize)]
struct Figures {
    pings_per_s: f64,
    /// CPU time of the machine that was busy, client included.
    machine_us_per_ping: f64,
    /// The same, computed from the time that was not idle.
    machine_not_idle_us_per_ping: f64,
    server_us_per_ping: f64,
    client_us_per_ping: f64,
    /// Of all pings since the generator began; `None` for mosquitto.
    kernel_share: Option<f64>,
    sampled_s: f64,
    outcome: Outcome,
}

/// Times at one moment.
#[derive(Clone, Debug)]
struct Sample {
    at: Instant,
    machine: MachineTime,
    server: ProcessTime,
}

pub(super) fn run(workspace: &Workspace, arguments: &HeartbeatArguments) -> Result<ExitCode> {
    let mut bench = prepare(workspace, &arguments.common, arguments.clients)?;
    bench.brokers.before.clone_from(&arguments.before);
    leave_out_idle_kernel(&mut bench)?;
    let mut commands = Vec::new();
    let (visits, refused) = take_turns(&bench, arguments.rounds, |round, variant| {
        let visit = visit(&bench, arguments, round, variant, &mut commands)?;
        visit.tell(arguments.rounds);
        Ok(visit)
    })?;
    let rows = summary(&visits);
    let layers = &arguments.common.layers;
    let path = bench.results.join(format!("heartbeat{}.json", layers.suffix()));
    let report = Report {
        benchmark: "heartbeat",
        machine: &bench.machine,
        background_share: bench.background_share,
        clients: arguments.clients,
        inflight: arguments.inflight,
        rate: arguments.rate,
        seconds: arguments.seconds,
        warm_up_s: arguments.warm_up_s,
        shards: arguments.common.shards,
        layers,
        commands: &commands,
        visits: &visits,
        refused: &refused,
        summary: &rows,
    };
    let shown = Shown {
        table: table(&rows),
        about: about(&bench, arguments) + &sealed_text(arguments, &visits),
        markdown: arguments.common.markdown,
        refused: &refused,
    };
    finish(&path, &report, &shown)
}

fn about(bench: &Bench, arguments: &HeartbeatArguments) -> String {
    format!(
        "Median of the rounds (least-most){}; clients: {}, pings in flight: {}, fixed rate: {} \
         pings/s, {} s each, rounds: {}, shards: {}. {}.",
        arguments.common.layers.text(),
        arguments.clients,
        arguments.inflight,
        arguments.rate,
        arguments.seconds,
        arguments.rounds,
        arguments.common.shards,
        bench.machine.text()
    )
}

/// How often a client pinged, where the kernel needs an answer sealed ahead for each ping; begins with a
/// blank.
fn sealed_text(arguments: &HeartbeatArguments, visits: &[Visit]) -> String {
    let by_kernel = visits.iter().filter(|visit| visit.variant == Variant::Kernel);
    let rates = by_kernel.map(|visit| visit.closed_loop.pings_per_s / f64::from(arguments.clients));
    match Spread::of(rates) {
        Some(rate) if arguments.common.layers.are_answered_sealed() => format!(
            " On the kernel path a client pinged {} times a second in the closed loop; it has {ENTRIES} \
             answers sealed ahead, filled up at most each 100 ms by a busy shard, and once a second by a \
             quiet one. Sealing them is in the server's CPU.",
            rate.text(1)
        ),
        _ => String::new(),
    }
}

fn visit(
    bench: &Bench,
    arguments: &HeartbeatArguments,
    round: u32,
    variant: Variant,
    commands: &mut Vec<String>,
) -> Result<Visit> {
    let mut broker = bench.brokers.start(variant, &bench.interrupt)?;
    let mut keep = |line: &str| {
        if round == 0 {
            commands.push(line.to_owned());
        }
    };
    keep(broker.line());
    let mut run = |pace| {
        let load = Load::ping(
            &bench.generator,
            broker.mqtt(),
            arguments.clients,
            pace,
            (arguments.warm_up_s, arguments.seconds),
            &bench.results,
        )?;
        keep(load.line());
        measure(bench, variant, &mut broker, load, (arguments.warm_up_s, arguments.seconds))
    };
    let closed_loop = run(Pace::ClosedLoop(arguments.inflight)).context("closed loop")?;
    let fixed_rate = run(Pace::FixedRate(arguments.rate)).context("fixed rate")?;
    broker.end()?;
    Ok(Visit { round, variant, closed_loop, fixed_rate })
}

/// Follows one run of the generator. Returns the figures, or why there are none.
fn measure(
    bench: &Bench,
    variant: Variant,
    broker: &mut Broker,
    mut load: Load,
    (warm_up_s, seconds): (u32, u32),
) -> Result<Figures> {
    let metrics_before = broker.metrics()?;
    let ready = load.wait_until_ready(CONNECT_WITHIN, &bench.interrupt, || broker.check_alive())?;
    let from = ready + Duration::from_secs(warm_up_s.into());
    let edge = Duration::from_secs(seconds.into()).mul_f64(EDGE_SHARE);
    let (first, last) = (from + edge, from + Duration::from_secs(seconds.into()) - edge);
    let mut samples: Vec<Sample> = Vec::new();
    let within = Duration::from_secs((warm_up_s + seconds).into()) + DRAIN_WITHIN;
    let outcome: Outcome = load.wait_until_done(within, &bench.interrupt, || {
        broker.check_alive()?;
        let at = Instant::now();
        if (first..=last).contains(&at) {
            let (machine, server) = (MachineTime::read()?, ProcessTime::read(broker.pid())?);
            samples.push(Sample { at, machine, server });
        }
        Ok(())
    })?;
    load.end()?;
    let (mut kernel_share, mut declined) = (None, String::new());
    if let (Some(before), Some(after)) = (metrics_before, broker.metrics()?) {
        kernel_share = after.pings()?.kernel_share_since(before.pings()?);
        declined = declined_text(&before.declined(), &after.declined());
    }
    check_outcome(&outcome)?;
    check_path(variant, kernel_share, &declined)?;
    figures(&samples, outcome, kernel_share)
}

fn figures(samples: &[Sample], outcome: Outcome, kernel_share: Option<f64>) -> Result<Figures> {
    let [first, .., last] = samples else { bail!("measured for too short a time") };
    let sampled = last.at.duration_since(first.at);
    let pings_per_s = outcome.answered as f64 / outcome.seconds;
    let pings = pings_per_s * sampled.as_secs_f64();
    let busy_us = last.machine.busy_us.saturating_sub(first.machine.busy_us) as f64;
    let idle_us = last.machine.idle_us.saturating_sub(first.machine.idle_us) as f64;
    let stolen_us = last.machine.stolen_us.saturating_sub(first.machine.stolen_us) as f64;
    let all_us = sampled.as_secs_f64() * 1e6 * f64::from(first.machine.processors);
    Ok(Figures {
        pings_per_s,
        machine_us_per_ping: busy_us / pings,
        machine_not_idle_us_per_ping: (all_us - idle_us - stolen_us) / pings,
        server_us_per_ping: last.server.since_us(&first.server, tick_us()) / pings,
        client_us_per_ping: outcome.cpu_us / outcome.answered as f64,
        kernel_share,
        sampled_s: sampled.as_secs_f64(),
        outcome,
    })
}

/// Refuses the figures of a run that lost pings or connections.
fn check_outcome(outcome: &Outcome) -> Result<()> {
    let most = (outcome.sent as f64 * LOST_SHARE_MAX) as u64;
    if outcome.answered == 0 || outcome.seconds <= 0.0 {
        bail!("no ping was answered");
    }
    if outcome.closed > 0 {
        bail!("the server closed {} connections", outcome.closed);
    }
    if outcome.missing > most {
        bail!("{} of {} pings were not answered", outcome.missing, outcome.sent);
    }
    if outcome.skipped > most {
        bail!("the generator came too late for {} of its pings: lower --rate", outcome.skipped);
    }
    Ok(())
}

/// Refuses figures of the wrong path.
fn check_path(variant: Variant, kernel_share: Option<f64>, declined: &str) -> Result<()> {
    let (meant, share) = match (variant, kernel_share) {
        (Variant::Mosquitto | Variant::MosquittoRules, _) => return Ok(()),
        (_, None) => bail!("the server counted no pings at all"),
        (Variant::Kernel | Variant::BeforeKernel, Some(share)) => ("kernel", share),
        (Variant::User | Variant::BeforeUser | Variant::UserRules, Some(share)) => {
            ("user", 1.0 - share)
        }
    };
    if share < PATH_SHARE_MIN {
        bail!(
            "only {:.1} % of the pings took the {meant} path, {:.0} % are needed; the kernel \
             declined: {declined}; when that is mostly server_busy, clients pinged within their \
             delayed ACK; pings inside TLS that come faster than they are sealed ahead are not in \
             it: use more --clients",
            share * 100.0,
            PATH_SHARE_MIN * 100.0
        );
    }
    Ok(())
}

impl Visit {
    fn tell(&self, rounds: u32) {
        say(format_args!(
            "round {} of {rounds}, {}: {:.0} pings/s, machine {:.2} us a ping, server {:.2}, client \
             {:.2}; at the fixed rate p50 {:.0} us, p99 {:.0} us",
            self.round + 1,
            self.variant,
            self.closed_loop.pings_per_s,
            self.closed_loop.machine_us_per_ping,
            self.closed_loop.server_us_per_ping,
            self.closed_loop.client_us_per_ping,
            self.fixed_rate.outcome.rtt_us.p50,
            self.fixed_rate.outcome.rtt_us.p99,
        ));
    }
}

/// A line of the table.
struct Quantity {
    label: &'static str,
    decimals: usize,
    /// Whether the table compares the kernel path with the others.
    compared: bool,
    value: fn(&Visit) -> Option<f64>,
}

const QUANTITIES: [Quantity; 11] = [
    Quantity {
        label: "machine CPU per ping, us (client included)",
        decimals: 2,
        compared: true,
        value: |visit| Some(visit.closed_loop.machine_us_per_ping),
    },
    Quantity {
        label: "server CPU per ping, us",
        decimals: 2,
        compared: true,
        value: |visit| Some(visit.closed_loop.server_us_per_ping),
    },
    Quantity {
        label: "client CPU per ping, us",
        decimals: 2,
        compared: true,
        value: |visit| Some(visit.closed_loop.client_us_per_ping),
    },
    Quantity {
        label: "pings/s in the closed loop",
        decimals: 0,
        compared: true,
        value: |visit| Some(visit.closed_loop.pings_per_s),
    },
    Quantity {
        label: "round trip p50 in the closed loop, us",
        decimals: 0,
        compared: false,
        value: |visit| Some(visit.closed_loop.outcome.rtt_us.p50),
    },
    Quantity {
        label: "round trip p99 in the closed loop, us",
        decimals: 0,
        compared: false,
        value: |visit| Some(visit.closed_loop.outcome.rtt_us.p99),
    },
    Quantity {
        label: "round trip p50 at the fixed rate, us",
        decimals: 0,
        compared: true,
        value: |visit| Some(visit.fixed_rate.outcome.rtt_us.p50),
    },
    Quantity {
        label: "round trip p99 at the fixed rate, us",
        decimals: 0,
        compared: true,
        value: |visit| Some(visit.fixed_rate.outcome.rtt_us.p99),
    },
    Quantity {
        label: "round trip p99.9 at the fixed rate, us",
        decimals: 0,
        compared: true,
        value: |visit| Some(visit.fixed_rate.outcome.rtt_us.p999),
    },
    Quantity {
        label: "server CPU per ping at the fixed rate, its idle work included, us",
        decimals: 2,
        compared: true,
        value: |visit| Some(visit.fixed_rate.server_us_per_ping),
    },
    Quantity {
        label: "answered by the kernel, %",
        decimals: 1,
        compared: false,
        value: |visit| {
            let of = |figures: &Figures| figures.kernel_share.map(|share| share * 100.0);
            Some(of(&visit.closed_loop)?.min(of(&visit.fixed_rate)?))
        },
    },
];

/// A line of the table with its numbers.
#[derive(Debug, Serialize)]
struct Row {
    label: &'static str,
    #[serde(skip)]
    decimals: usize,
    kernel: Option<Spread>,
    user: Option<Spread>,
    mosquitto: Option<Spread>,
    kernel_to_user: Option<Spread>,
    kernel_to_mosquitto: Option<Spread>,
    /// This build divided by that of `--before`, on the same path.
    kernel_to_before: Option<Spread>,
    user_to_before: Option<Spread>,
}

fn summary(visits: &[Visit]) -> Vec<Row> {
    let row = |quantity: &Quantity| {
        let by_round = |variant: Variant| -> Vec<(u32, f64)> {
            let own = visits.iter().filter(|visit| visit.variant == variant);
            own.filter_map(|visit| Some((visit.round, (quantity.value)(visit)?))).collect()
        };
        let [kernel, user, mosquitto] = Variant::ALL.map(by_round);
        let [kernel_before, user_before] = Variant::BEFORE.map(by_round);
        let spread = |values: &[(u32, f64)]| Spread::of(values.iter().map(|&(_, value)| value));
        let ratio = |values: &[(u32, f64)], other: &[(u32, f64)]| {
            quantity.compared.then(|| Spread::of(ratios(values, other))).flatten()
        };
        Row {
            label: quantity.label,
            decimals: quantity.decimals,
            kernel_to_user: ratio(&kernel, &user),
            kernel_to_mosquitto: ratio(&kernel, &mosquitto),
            kernel_to_before: ratio(&kernel, &kernel_before),
            user_to_before: ratio(&user, &user_before),
            kernel: spread(&kernel),
            user: spread(&user),
            mosquitto: spread(&mosquitto),
        }
    };
    QUANTITIES.iter().map(row).collect()
}

/// Ratios round by round, for rounds in which both have a figure.
fn ratios(values: &[(u32, f64)], others: &[(u32, f64)]) -> Vec<f64> {
    let same_round = |&(round, value): &(u32, f64)| {
        let &(_, other) = others.iter().find(|&&(other_round, _)| other_round == round)?;
        Some(value / other)
    };
    values.iter().filter_map(same_round).collect()
}

fn table(rows: &[Row]) -> Table {
    let mut head =
        vec!["", "kernel path", "user path", "mosquitto", "kernel/user", "kernel/mosquitto"];
    let has_before =
        rows.iter().any(|row| row.kernel_to_before.is_some() || row.user_to_before.is_some());
    if has_before {
        head.extend(["kernel/before", "user/before"]);
    }
    let cells = |row: &Row| {
        let figure = |spread: Option<Spread>, decimals| {
            spread.map_or_else(|| "-".to_owned(), |spread| spread.text(decimals))
        };
        let mut cells = vec![
            row.label.to_owned(),
            figure(row.kernel, row.decimals),
            figure(row.user, row.decimals),
            figure(row.mosquitto, row.decimals),
            figure(row.kernel_to_user, 2),
            figure(row.kernel_to_mosquitto, 2),
        ];
        if has_before {
            cells.extend([figure(row.kernel_to_before, 3), figure(row.user_to_before, 3)]);
        }
        cells
    };
    Table {
        head: head.into_iter().map(str::to_owned).collect(),
        rows: rows.iter().map(cells).collect(),
    }
}

#[cfg(test)]
mod tests;
