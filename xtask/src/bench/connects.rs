//! `cargo xtask bench connects`: how many clients a second connect that prove who they are, the first time and again,
//! beside clients that prove nothing and beside mosquitto.
//!
//! A visit is one server in one round with one kind of proof. *The first time*: each connection is another user's, so
//! a password is hashed, and a signature checked, for each. *Again*: few users, each of whom has connected before the
//! measured time. Our server says by its metrics how each was checked; a run in which it was otherwise has no figures.
//! mosquitto hashes each time.

mod proofs;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Serialize;

use super::brokers::{Metrics, Variant};
use super::load::{Connected, Load, RoundTrips};
use super::procfs::{ProcessTime, tick_us};
use super::report::{Machine, Shown, Spread, Table, finish};
use super::rig::{Bench, CommonArguments, prepare, take_scenarios};
use crate::workspace::{Workspace, say};
use proofs::{Made, Proof, Time};

/// Longest time for the generator to begin or end.
const SPARE: Duration = Duration::from_secs(60);

/// Least share of what was checked that must have been checked as the row says.
const SHARE_MIN: f64 = 0.99;

#[derive(Args, Clone, Debug)]
pub(crate) struct ConnectsArguments {
    /// Clients that connect again and again, each one connection at a time
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// How long each row is measured
    #[arg(long, value_name = "S", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// How long each row is loaded before that
    #[arg(long, value_name = "S", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=600))]
    warm_up_s: u32,
    /// Rounds; in each, all servers have their turn
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Measure these proofs only; repeatable
    #[arg(long, value_name = "PROOF")]
    proof: Vec<Proof>,
    #[command(flatten)]
    common: CommonArguments,
}

/// What is written to `connects.json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    benchmark: &'static str,
    machine: &'a Machine,
    background_share: f64,
    clients: u32,
    seconds: u32,
    warm_up_s: u32,
    rounds: u32,
    shards: u16,
    commands: &'a [String],
    visits: &'a [Visit],
    refused: &'a [String],
    summary: &'a [Row],
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Scenario {
    proof: Proof,
    time: Time,
}

/// One server in one round with one proof.
#[derive(Debug, Serialize)]
struct Visit {
    round: u32,
    variant: Variant,
    scenario: Scenario,
    per_s: f64,
    /// The server's CPU time for each connect.
    server_us: f64,
    /// From the SYN to CONNACK.
    connack_us: RoundTrips,
}

pub(super) fn run(workspace: &Workspace, arguments: &ConnectsArguments) -> Result<ExitCode> {
    let ConnectsArguments { common, clients, seconds, warm_up_s, rounds, .. } = arguments;
    if !common.layers.are_none() {
        bail!("connects measures without layers: bench throughput has connects over TLS");
    }
    let bench = prepare(workspace, common, *clients)?;
    let of = |time: Time| Proof::ALL.map(|proof| Scenario { proof, time });
    let scenarios = of(Time::First).into_iter().chain(of(Time::Again));
    let is_chosen = |one: &Scenario| {
        let is_row = one.proof != Proof::None || one.time == Time::First;
        is_row && (arguments.proof.is_empty() || arguments.proof.contains(&one.proof))
    };
    let mut scenarios: Vec<_> = scenarios.filter(is_chosen).collect();
    scenarios.sort_by_key(|one| Proof::ALL.iter().position(|proof| *proof == one.proof));
    let made = Made::new(&bench, &scenarios.iter().map(|one| one.proof).collect::<Vec<_>>())?;
    let variants = bench.brokers.variants();
    // Who answers heartbeats makes no difference to connects.
    let contenders: Vec<_> =
        variants.into_iter().filter(|one| *one != Variant::Kernel || only_kernel(common)).collect();
    let done =
        take_scenarios(&bench, *rounds, (&scenarios, &contenders), |round, scenario, variant| {
            let name = || format!("{variant}, {}", scenario.label());
            let visit = visit(&bench, arguments, &made, (round, scenario, *variant));
            let (visit, commands) = visit.with_context(name)?;
            if let Some(visit) = &visit {
                visit.tell(*rounds);
            }
            Ok((visit, commands))
        })?;
    let visits: Vec<_> = done.visits.into_iter().flatten().collect();
    let rows = summary(&scenarios, &visits);
    let report = Report {
        benchmark: "connects",
        machine: &bench.machine,
        background_share: bench.background_share,
        clients: *clients,
        seconds: *seconds,
        warm_up_s: *warm_up_s,
        rounds: *rounds,
        shards: common.shards,
        commands: &done.commands,
        visits: &visits,
        refused: &done.refused,
        summary: &rows,
    };
    let about = format!(
        "Median of the rounds (least-most); {clients} connections at a time, {seconds} s each, rounds: {rounds}, \
         shards: {}, threads that hash: 1. {}.",
        common.shards,
        bench.machine.text()
    );
    let refused = &done.refused;
    let shown = Shown { table: table(&rows), about, markdown: common.markdown, refused };
    finish(&bench.results.join("connects.json"), &report, &shown)
}

/// Whether nothing but the kernel path is to be measured.
fn only_kernel(common: &CommonArguments) -> bool {
    !common.only.is_empty() && !common.only.contains(&Variant::User)
}

/// `None`: this server does not know this proof.
fn visit(
    bench: &Bench,
    arguments: &ConnectsArguments,
    made: &Made,
    (round, scenario, variant): (u32, Scenario, Variant),
) -> Result<(Option<Visit>, [String; 2])> {
    let is_mosquitto = variant == Variant::Mosquitto;
    if is_mosquitto && !scenario.proof.is_mosquittos() {
        return Ok((None, Default::default()));
    }
    let Scenario { proof, time } = scenario;
    let told = made.told(proof, is_mosquitto);
    let mut broker = bench.brokers.start_told(variant, &told, &bench.interrupt)?;
    let mut words: Vec<String> = [
        ("--clients", arguments.clients),
        ("--seconds", arguments.seconds),
        ("--warmup-s", arguments.warm_up_s),
    ]
    .iter()
    .flat_map(|(flag, value)| [(*flag).to_owned(), value.to_string()])
    .collect();
    let logins = made.logins(proof, time);
    if let Some((file, _)) = &logins {
        words.extend(["--logins".to_owned(), file.display().to_string()]);
    }
    let mut load = Load::with(&bench.generator, "connects", broker.mqtt(), &words, &bench.results)?;
    let commands = [broker.line().to_owned(), load.line().to_owned()];
    let interrupt = &bench.interrupt;
    load.wait_until_ready(SPARE, interrupt, || broker.check_alive())?;
    let warm_up = Duration::from_secs(arguments.warm_up_s.into());
    load.wait_until("begin", warm_up + SPARE, interrupt, || broker.check_alive())?;
    let (before, checked) = (ProcessTime::read(broker.pid())?, broker.metrics()?);
    let measured = Duration::from_secs(arguments.seconds.into());
    load.wait_until("end", measured + SPARE, interrupt, || broker.check_alive())?;
    let server_us = ProcessTime::read(broker.pid())?.since_us(&before, tick_us());
    let checked = checked.zip(broker.metrics()?);
    let connected: Connected = load.wait_until_done(SPARE, interrupt, || broker.check_alive())?;
    load.end()?;
    broker.end()?;
    if let Some((before, after)) = &checked {
        check(scenario, before, after)?;
    }
    if let (Some((_, users)), Time::First) = (logins, time)
        && connected.connects > u64::from(users)
    {
        bail!("{} connects of {users} users: not all were the first", connected.connects);
    }
    let connects = connected.connects_measured as f64;
    let visit = Visit {
        round,
        variant,
        scenario,
        per_s: connects / connected.seconds,
        server_us: server_us / connects.max(1.0),
        connack_us: connected.connack_us,
    };
    Ok((Some(visit), commands))
}

/// Refuses the figures of a run in which proofs were checked otherwise than the row says.
fn check(scenario: Scenario, before: &Metrics, after: &Metrics) -> Result<()> {
    let Some((family, first)) = scenario.proof.checked() else { return Ok(()) };
    let since = |by: &str| {
        let sample = format!("{family}{{by=\"{by}\"}}");
        let counts = before.value(&sample).zip(after.value(&sample));
        counts.map(|(before, after)| after - before).context("our server counts what it checks")
    };
    let (by_first, by_memory) = (since(first)?, since("memory")?);
    let wanted = if scenario.time == Time::First { by_first } else { by_memory };
    let all = by_first + by_memory;
    if all <= 0.0 || wanted < all * SHARE_MIN {
        bail!("{by_first} were checked by a {first}, {by_memory} by memory");
    }
    Ok(())
}

impl Scenario {
    fn label(self) -> String {
        match (self.proof, self.time) {
            (Proof::None, _) => self.proof.label().to_owned(),
            (proof, Time::First) => format!("{}, the first time", proof.label()),
            (proof, Time::Again) => format!("{}, again", proof.label()),
        }
    }
}

impl Visit {
    fn tell(&self, rounds: u32) {
        say(format_args!(
            "round {} of {rounds}, {}, {}: {:.0} connects/s, {:.0} us of the server each",
            self.round + 1,
            self.variant,
            self.scenario.label(),
            self.per_s,
            self.server_us,
        ));
    }
}

/// A line of the table with its numbers.
#[derive(Debug, Serialize)]
struct Row {
    label: String,
    ours_per_s: Option<Spread>,
    mosquitto_per_s: Option<Spread>,
    ours_us: Option<Spread>,
    mosquitto_us: Option<Spread>,
}

fn summary(scenarios: &[Scenario], visits: &[Visit]) -> Vec<Row> {
    let row = |scenario: &Scenario| {
        let spread = |is_mosquitto: bool, value: fn(&Visit) -> f64| {
            let own = visits.iter().filter(|visit| {
                visit.scenario == *scenario && (visit.variant == Variant::Mosquitto) == is_mosquitto
            });
            Spread::of(own.map(value))
        };
        Row {
            label: scenario.label(),
            ours_per_s: spread(false, |visit| visit.per_s),
            mosquitto_per_s: spread(true, |visit| visit.per_s),
            ours_us: spread(false, |visit| visit.server_us),
            mosquitto_us: spread(true, |visit| visit.server_us),
        }
    };
    scenarios.iter().map(row).collect()
}

fn table(rows: &[Row]) -> Table {
    let head = ["", "ours, connects/s", "mosquitto", "ours, us of CPU each", "mosquitto"];
    let cells = |row: &Row| {
        let figure =
            |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), |spread| spread.text(0));
        let figures = [row.ours_per_s, row.mosquitto_per_s, row.ours_us, row.mosquitto_us];
        [vec![row.label.clone()], figures.map(figure).to_vec()].concat()
    };
    Table { head: head.map(str::to_owned).to_vec(), rows: rows.iter().map(cells).collect() }
}
