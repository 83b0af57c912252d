//! `cargo xtask bench handshakes`: what connected clients notice of thousands that shake hands by TLS
//! at once.
//!
//! A visit is one server in one round: clients that ping once a second, once by themselves and once
//! while all the others come at the beginning of the measured time. Which of both is first changes
//! from round to round. The generator of those that come gets only the time that nobody else wants:
//! their work would be other machines', and must not keep a ping of ours from being read in time. It
//! still shares caches and memory with the server.
//!
//! This is a bench and no test, because a ratio of two tails depends on the machine's other work; the
//! tests assert that all come in, within a time.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use super::brokers::{Broker, Variant};
use super::layers::LayerArguments;
use super::load::{Load, Outcome, Pace};
use super::procfs::{ProcessTime, tick_us};
use super::report::{Machine, Shown, Spread, Table, finish};
use super::rig::{Bench, CommonArguments, leave_out_idle_kernel, prepare, take_turns};
use crate::workspace::{Workspace, say};

/// Longest time for the clients that come to be in.
const IN_WITHIN: Duration = Duration::from_secs(60);

/// Longest time for the clients that ping to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);

/// Longest time for the generator to end after its measured time.
const DRAIN_WITHIN: Duration = Duration::from_secs(15);

/// How long clients ping before the measured time, in seconds.
const WARM_UP_S: u32 = 2;

#[derive(Args, Clone, Debug)]
pub(crate) struct HandshakesArguments {
    /// Clients that are connected and ping once a second each
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: u32,
    /// Clients that connect all at once
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    coming: u32,
    /// How long to measure; what comes after the last handshake dilutes the tail
    #[arg(long, value_name = "S", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Rounds; in each, all servers have their turn
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    #[command(flatten)]
    common: CommonArguments,
}

/// What is written to `handshakes.json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    benchmark: &'static str,
    machine: &'a Machine,
    background_share: f64,
    clients: u32,
    coming: u32,
    seconds: u32,
    rounds: u32,
    shards: u16,
    layers: &'a LayerArguments,
    visits: &'a [Visit],
    refused: &'a [String],
    summary: &'a [Row],
}

/// One server in one round.
#[derive(Debug, Serialize)]
struct Visit {
    round: u32,
    variant: Variant,
    quiet: Outcome,
    stormy: Outcome,
    /// From the first SYN to the last CONNACK of the clients that came.
    in_after_s: f64,
    /// The server's CPU time for each of them, its pings meanwhile included.
    server_us_per_handshake: f64,
}

pub(super) fn run(workspace: &Workspace, arguments: &HandshakesArguments) -> Result<ExitCode> {
    let mut common = arguments.common.clone();
    // There is nothing to measure otherwise.
    common.layers.tls = true;
    let mut bench = prepare(workspace, &common, arguments.clients + arguments.coming)?;
    leave_out_idle_kernel(&mut bench)?;
    let (visits, refused) = take_turns(&bench, arguments.rounds, |round, variant| {
        let visit = visit(&bench, arguments, round, variant)?;
        visit.tell(arguments.rounds);
        Ok(visit)
    })?;
    let rows = summary(&visits);
    let layers = &common.layers;
    let path = bench.results.join(format!("handshakes{}.json", layers.suffix()));
    let report = Report {
        benchmark: "handshakes",
        machine: &bench.machine,
        background_share: bench.background_share,
        clients: arguments.clients,
        coming: arguments.coming,
        seconds: arguments.seconds,
        rounds: arguments.rounds,
        shards: common.shards,
        layers,
        visits: &visits,
        refused: &refused,
        summary: &rows,
    };
    let about = format!(
        "Median of the rounds (least-most){}; clients that ping once a second: {}, clients that \
         connect at once: {}, {} s each, rounds: {}, shards: {}. {}.",
        layers.text(),
        arguments.clients,
        arguments.coming,
        arguments.seconds,
        arguments.rounds,
        common.shards,
        bench.machine.text()
    );
    let shown = Shown { table: table(&rows), about, markdown: common.markdown, refused: &refused };
    finish(&path, &report, &shown)
}

fn visit(
    bench: &Bench,
    arguments: &HandshakesArguments,
    round: u32,
    variant: Variant,
) -> Result<Visit> {
    let mut broker = bench.brokers.start(variant, &bench.interrupt)?;
    let (quiet, storm) = if round.is_multiple_of(2) {
        let quiet = quiet(bench, arguments, &mut broker)?;
        (quiet, storm(bench, arguments, &mut broker)?)
    } else {
        let storm = storm(bench, arguments, &mut broker)?;
        (self::quiet(bench, arguments, &mut broker)?, storm)
    };
    broker.end()?;
    let (stormy, in_after_s, server_us_per_handshake) = storm;
    Ok(Visit { round, variant, quiet, stormy, in_after_s, server_us_per_handshake })
}

fn quiet(bench: &Bench, arguments: &HandshakesArguments, broker: &mut Broker) -> Result<Outcome> {
    let mut pings = pings(bench, arguments, broker)?;
    pings.wait_until_ready(CONNECT_WITHIN, &bench.interrupt, || broker.check_alive())?;
    end(bench, arguments, broker, pings)
}

/// The pings, the seconds until all were in, and the server's CPU time a handshake.
fn storm(
    bench: &Bench,
    arguments: &HandshakesArguments,
    broker: &mut Broker,
) -> Result<(Outcome, f64, f64)> {
    let mut pings = pings(bench, arguments, broker)?;
    pings.wait_until_ready(CONNECT_WITHIN, &bench.interrupt, || broker.check_alive())?;
    bench.interrupt.sleep(Duration::from_secs(WARM_UP_S.into()))?;
    let (begun, before) = (Instant::now(), ProcessTime::read(broker.pid())?);
    let words = [
        ("--clients", arguments.coming),
        ("--connect-rate", 1_000_000),
        ("--connect-concurrency", arguments.coming),
    ];
    let mut words: Vec<String> =
        words.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.to_string()]).collect();
    words.extend(["--hold", "--client-id-prefix", "coming-"].map(str::to_owned));
    let (generator, target) = (bench.generator.nice(), broker.mqtt());
    let folder = bench.results.join("coming");
    std::fs::create_dir_all(&folder)?;
    let mut coming = Load::with(&generator, "idle", target, &words, &folder)?;
    let all_in = coming.wait_until_ready(IN_WITHIN, &bench.interrupt, || broker.check_alive())?;
    let in_after_s = all_in.duration_since(begun).as_secs_f64();
    let after = ProcessTime::read(broker.pid())?;
    let server_us = after.since_us(&before, tick_us()) / f64::from(arguments.coming);
    let outcome = end(bench, arguments, broker, pings)?;
    if in_after_s > f64::from(arguments.seconds) {
        say(format_args!("the last was in after {in_after_s:.1} s: later than the measured time"));
    }
    coming.end()?;
    Ok((outcome, in_after_s, server_us))
}

fn pings(bench: &Bench, arguments: &HandshakesArguments, broker: &Broker) -> Result<Load> {
    let HandshakesArguments { clients, seconds, .. } = *arguments;
    let pace = Pace::FixedRate(clients);
    let times = (WARM_UP_S, seconds);
    Load::ping(&bench.generator, broker.mqtt(), clients, pace, times, &bench.results)
}

fn end(
    bench: &Bench,
    arguments: &HandshakesArguments,
    broker: &mut Broker,
    mut pings: Load,
) -> Result<Outcome> {
    let seconds = u64::from(WARM_UP_S + arguments.seconds);
    let within = Duration::from_secs(seconds) + DRAIN_WITHIN;
    let outcome: Outcome =
        pings.wait_until_done(within, &bench.interrupt, || broker.check_alive())?;
    pings.end()?;
    if outcome.closed > 0 || outcome.missing > 0 {
        let Outcome { closed, missing, .. } = outcome;
        bail!("{missing} pings were not answered, {closed} connections closed");
    }
    Ok(outcome)
}

impl Visit {
    fn tell(&self, rounds: u32) {
        say(format_args!(
            "round {} of {rounds}, {}: p99 {:.0} us quiet, {:.0} us while they came; all in after \
             {:.2} s",
            self.round + 1,
            self.variant,
            self.quiet.rtt_us.p99,
            self.stormy.rtt_us.p99,
            self.in_after_s,
        ));
    }
}

/// A line of the table.
struct Quantity {
    label: &'static str,
    decimals: usize,
    value: fn(&Visit) -> f64,
}

const QUANTITIES: [Quantity; 8] = [
    Quantity { label: "ping p50 quiet, us", decimals: 0, value: |at| at.quiet.rtt_us.p50 },
    Quantity { label: "ping p99 quiet, us", decimals: 0, value: |at| at.quiet.rtt_us.p99 },
    Quantity {
        label: "ping p50 while they come, us",
        decimals: 0,
        value: |at| at.stormy.rtt_us.p50,
    },
    Quantity {
        label: "ping p99 while they come, us",
        decimals: 0,
        value: |at| at.stormy.rtt_us.p99,
    },
    Quantity {
        label: "ping max while they come, us",
        decimals: 0,
        value: |at| at.stormy.rtt_us.max,
    },
    Quantity {
        label: "p99 while they come / quiet",
        decimals: 2,
        value: |at| at.stormy.rtt_us.p99 / at.quiet.rtt_us.p99,
    },
    Quantity { label: "until the last is in, s", decimals: 2, value: |at| at.in_after_s },
    Quantity {
        label: "server CPU a handshake, pings included, us",
        decimals: 0,
        value: |at| at.server_us_per_handshake,
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
}

fn summary(visits: &[Visit]) -> Vec<Row> {
    let row = |quantity: &Quantity| {
        let spread = |variant| {
            let own = visits.iter().filter(|visit| visit.variant == variant);
            Spread::of(own.map(quantity.value))
        };
        let [kernel, user, mosquitto] = Variant::ALL.map(spread);
        Row { label: quantity.label, decimals: quantity.decimals, kernel, user, mosquitto }
    };
    QUANTITIES.iter().map(row).collect()
}

fn table(rows: &[Row]) -> Table {
    let head = ["", "kernel path", "user path", "mosquitto"];
    let cells = |row: &Row| {
        let figure = |spread: Option<Spread>| {
            spread.map_or_else(|| "-".to_owned(), |spread| spread.text(row.decimals))
        };
        vec![row.label.to_owned(), figure(row.kernel), figure(row.user), figure(row.mosquitto)]
    };
    Table { head: head.map(str::to_owned).to_vec(), rows: rows.iter().map(cells).collect() }
}
