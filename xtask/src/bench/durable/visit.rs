//! One row of one server in one round.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use super::super::brokers::{Broker, Metrics};
use super::super::load::{Load, Published};
use super::super::procfs::{MachineTime, ProcessTime, disk_bytes_written, tick_us};
use super::super::rig::Bench;
use super::arguments::{DurableArguments, Mode, Scenario};
use super::keeper::Keeper;
use crate::workspace::say;

/// Longest time to make the sessions.
const SESSIONS_WITHIN: Duration = Duration::from_secs(120);

/// Longest time until the rest is acknowledged and delivered.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);

/// How often the generator looks at its subscribers, in milliseconds.
const TICK_MS: u32 = 2;

/// Figures of one turn.
#[derive(Debug, Serialize)]
pub(super) struct Visit {
    pub(super) round: u32,
    pub(super) scenario: Scenario,
    pub(super) mode: Mode,
    pub(super) messages_per_s: f64,
    pub(super) delivered_per_s: f64,
    pub(super) server_us_per_message: f64,
    pub(super) machine_us_per_message: f64,
    pub(super) client_us_per_message: f64,
    pub(super) disk_bytes_per_message: f64,
    /// Of our server with a store.
    pub(super) store: Option<StoreFigures>,
    pub(super) outcome: Published,
    #[serde(skip)]
    pub(super) commands: [String; 2],
}

/// The store's counts in the measured time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct StoreFigures {
    pub(super) fsyncs: f64,
    pub(super) commits: f64,
    pub(super) messages_per_commit: f64,
    /// `None`: no fsync.
    pub(super) messages_per_fsync: Option<f64>,
    pub(super) fsyncs_per_s: f64,
}

/// Readings at both ends of the measured time.
struct Reading {
    at: Instant,
    machine: MachineTime,
    server: ProcessTime,
    disk_bytes: u64,
    metrics: Option<Metrics>,
}

impl Reading {
    fn now(broker: &Broker) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            machine: MachineTime::read()?,
            server: ProcessTime::read(broker.pid())?,
            disk_bytes: disk_bytes_written(broker.pid())?,
            metrics: broker.metrics()?,
        })
    }

    /// A counter of the store; `None`: the server has no store.
    fn counter(&self, name: &str) -> Option<f64> {
        self.metrics.as_ref()?.value(name)
    }
}

pub(super) fn run(
    bench: &Bench,
    arguments: &DurableArguments,
    keeper: &Keeper<'_>,
    (round, scenario, mode): (u32, Scenario, Mode),
) -> Result<Visit> {
    let data = keeper.directory()?;
    let mut broker = keeper.start(bench, mode, data.path())?;
    let words = words(arguments, scenario);
    let mut load = Load::with(&bench.generator, "publish", broker.mqtt(), &words, &bench.results)?;
    let commands = [broker.line().to_owned(), load.line().to_owned()];
    let interrupt = &bench.interrupt;
    load.wait_until_ready(SESSIONS_WITHIN, interrupt, || broker.check_alive())?;
    let warm_up = Duration::from_secs(arguments.warm_up_s.into());
    load.wait_until("begin", warm_up + DRAIN_WITHIN, interrupt, || broker.check_alive())?;
    let first = Reading::now(&broker)?;
    let measured = Duration::from_secs(arguments.seconds.into());
    load.wait_until("end", measured + DRAIN_WITHIN, interrupt, || broker.check_alive())?;
    let last = Reading::now(&broker)?;
    let outcome: Published =
        load.wait_until_done(DRAIN_WITHIN, interrupt, || broker.check_alive())?;
    load.end()?;
    check(scenario, &outcome, broker.metrics()?.as_ref())?;
    // Not in order: a server that holds millions of messages may take long to free them.
    broker.kill()?;
    let mut visit = figures(&first, &last, outcome)?;
    (visit.round, visit.scenario, visit.mode) = (round, scenario, mode);
    visit.commands = commands;
    Ok(visit)
}

/// The arguments of the generator.
fn words(arguments: &DurableArguments, scenario: Scenario) -> Vec<String> {
    let mut words = Vec::new();
    let mut say = |flag: &str, value: u64| words.extend([flag.to_owned(), value.to_string()]);
    say("--clients", arguments.sessions.into());
    say("--publishers", arguments.publishers.into());
    say("--window", arguments.window.into());
    say("--payload-bytes", arguments.payload_bytes.into());
    say("--seconds", arguments.seconds.into());
    say("--warmup-s", arguments.warm_up_s.into());
    say("--tick-ms", TICK_MS.into());
    match scenario {
        Scenario::Connected => {}
        Scenario::Absent => words.push("--absent".to_owned()),
        Scenario::Paced => say("--rate", arguments.rate.into()),
    }
    words
}

/// Refuses the figures of a run that lost messages.
fn check(scenario: Scenario, outcome: &Published, metrics: Option<&Metrics>) -> Result<()> {
    let Published { sent, acknowledged, missing, delivered, measured, .. } = *outcome;
    if measured == 0 || outcome.seconds <= 0.0 {
        bail!("no message was acknowledged");
    }
    if missing > 0 {
        bail!("{missing} of {sent} messages were not acknowledged");
    }
    if scenario != Scenario::Absent && delivered < acknowledged {
        bail!("{delivered} of {acknowledged} messages were delivered");
    }
    let dropped = metrics.map_or(0.0, |metrics| {
        let sample = |reason| format!("push_publishes_dropped_total{{reason=\"{reason}\"}}");
        let reasons = ["outbox_full", "absent", "expired", "too_large"];
        reasons.iter().filter_map(|reason| metrics.value(&sample(reason))).sum()
    });
    if dropped > 0.0 {
        bail!("the server dropped {dropped} messages");
    }
    Ok(())
}

fn figures(first: &Reading, last: &Reading, outcome: Published) -> Result<Visit> {
    let messages = outcome.measured as f64;
    let busy_us = last.machine.busy_us.saturating_sub(first.machine.busy_us) as f64;
    let took = last.at.duration_since(first.at).as_secs_f64();
    if took <= 0.0 {
        bail!("measured for too short a time");
    }
    let grown = |name: &str| Some(last.counter(name)? - first.counter(name)?);
    let store = grown("push_store_commits_total").map(|commits| {
        let fsyncs = grown("push_store_fsyncs_total").unwrap_or(0.0);
        StoreFigures {
            fsyncs,
            commits,
            messages_per_commit: messages / commits.max(1.0),
            messages_per_fsync: (fsyncs > 0.0).then(|| messages / fsyncs),
            fsyncs_per_s: fsyncs / took,
        }
    });
    Ok(Visit {
        round: 0,
        scenario: Scenario::Connected,
        mode: Mode::Off,
        messages_per_s: messages / outcome.seconds,
        delivered_per_s: outcome.delivered_measured as f64 / outcome.seconds,
        server_us_per_message: last.server.since_us(&first.server, tick_us()) / messages,
        machine_us_per_message: busy_us / messages,
        client_us_per_message: outcome.cpu_us / messages,
        disk_bytes_per_message: last.disk_bytes.saturating_sub(first.disk_bytes) as f64 / messages,
        store,
        outcome,
        commands: Default::default(),
    })
}

impl Visit {
    pub(super) fn tell(&self, rounds: u32) {
        let fsyncs = self.store.and_then(|store| store.messages_per_fsync);
        let fsyncs = fsyncs.map_or(String::new(), |each| format!(", {each:.0} messages an fsync"));
        say(format_args!(
            "round {} of {rounds}, {}, {}: {:.0} messages/s, PUBACK p50 {:.0} us, p99 {:.0} us, \
             server {:.2} us a message, client {:.2}, disk {:.0} bytes{fsyncs}",
            self.round + 1,
            self.scenario,
            self.mode,
            self.messages_per_s,
            self.outcome.ack_us.p50,
            self.outcome.ack_us.p99,
            self.server_us_per_message,
            self.client_us_per_message,
            self.disk_bytes_per_message,
        ));
    }
}
