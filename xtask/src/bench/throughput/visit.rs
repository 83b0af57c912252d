//! One scenario of one server in one round.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use super::super::brokers::Broker;
use super::super::load::{Carried, Connected, Load, RoundTrips};
use super::super::procfs::{MachineTime, ProcessTime, tick_us};
use super::super::rig::Bench;
use super::arguments::ThroughputArguments;
use super::contenders::Contender;
use super::doubt::{Busy, doubt};
use super::scenario::{self, Scenario};
use crate::workspace::say;

/// Longest time for clients to connect.
const CLIENTS_WITHIN: Duration = Duration::from_secs(60);

/// Longest time until the generator notices the end and the rest is delivered.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);

/// Least share of the handshakes that must be resumed, where they are to be.
const RESUMED_SHARE_MIN: f64 = 0.99;

/// Least share of the fixed rate that must be delivered.
const RATE_SHARE_MIN: f64 = 0.99;

/// Figures of one turn.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Visit {
    pub(super) round: u32,
    pub(super) scenario: Scenario,
    /// The column's name.
    pub(super) server: String,
    /// Deliveries or connects.
    pub(super) per_s: f64,
    pub(super) server_us: f64,
    /// CPU time of everything that was busy, generator included.
    pub(super) machine_us: f64,
    pub(super) generator_us: f64,
    pub(super) busy: Busy,
    /// From the time a message was due to its subscriber, or from SYN to CONNACK. By a window, this
    /// is the window over the rate.
    pub(super) times_us: RoundTrips,
    /// How late the generator sent, at a fixed rate.
    pub(super) late_us: Option<RoundTrips>,
    /// Why the rate or the times may not be the server's.
    pub(super) doubt: Option<String>,
    #[serde(skip)]
    pub(super) commands: [String; 2],
}

/// Readings at both ends of the measured time.
struct Reading {
    at: Instant,
    machine: MachineTime,
    server: ProcessTime,
}

impl Reading {
    fn now(broker: &Broker) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            machine: MachineTime::read()?,
            server: ProcessTime::read(broker.pid())?,
        })
    }
}

/// The generator's counts in the measured time, in any mode.
struct Counted {
    /// Deliveries or connects.
    units: u64,
    seconds: f64,
    cpu_us: f64,
    threads: u16,
    times_us: RoundTrips,
    late_us: Option<RoundTrips>,
}

pub(super) fn run(
    bench: &Bench,
    arguments: &ThroughputArguments,
    (round, scenario, contender): (u32, Scenario, &Contender),
) -> Result<Visit> {
    let mut broker = contender.start(bench)?;
    let (mode, words) = arguments.words(scenario);
    let mut load = Load::with(&bench.generator, mode, broker.mqtt(), &words, &bench.results)?;
    let commands = [broker.line().to_owned(), load.line().to_owned()];
    let interrupt = &bench.interrupt;
    load.wait_until_ready(CLIENTS_WITHIN, interrupt, || broker.check_alive())?;
    let warm_up = Duration::from_secs(arguments.warm_up_s.into());
    load.wait_until("begin", warm_up + DRAIN_WITHIN, interrupt, || broker.check_alive())?;
    let first = Reading::now(&broker)?;
    let measured = Duration::from_secs(arguments.seconds.into());
    load.wait_until("end", measured + DRAIN_WITHIN, interrupt, || broker.check_alive())?;
    let last = Reading::now(&broker)?;
    let counted = if scenario.load() == scenario::Load::Connects {
        let connected: Connected =
            load.wait_until_done(DRAIN_WITHIN, interrupt, || broker.check_alive())?;
        check_handshakes(&connected, scenario)?;
        Counted::connects(&connected)
    } else {
        let carried: Carried =
            load.wait_until_done(DRAIN_WITHIN, interrupt, || broker.check_alive())?;
        let is_paced = scenario.load() == scenario::Load::Rate;
        check(&carried, is_paced.then_some(arguments.rate))?;
        Counted::deliveries(&carried, is_paced)
    };
    load.end()?;
    contender.end(broker)?;
    // We do not know a peer's number of threads; one busy thread may be its limit.
    let threads = if contender.is_ours() { arguments.common.shards } else { 1 };
    let mut visit = figures(&first, &last, &counted, threads)?;
    visit.doubt = doubt(scenario.load(), &visit.busy, &visit.times_us, visit.late_us.as_ref());
    (visit.round, visit.scenario, visit.server) = (round, scenario, contender.name());
    visit.commands = commands;
    Ok(visit)
}

impl Counted {
    fn connects(connected: &Connected) -> Self {
        Self {
            units: connected.connects_measured,
            seconds: connected.seconds,
            cpu_us: connected.cpu_us,
            threads: connected.threads,
            times_us: connected.connack_us,
            late_us: None,
        }
    }

    fn deliveries(carried: &Carried, is_paced: bool) -> Self {
        Self {
            units: carried.delivered_measured,
            seconds: carried.seconds,
            cpu_us: carried.cpu_us,
            threads: carried.threads,
            times_us: carried.delivery_us,
            late_us: is_paced.then_some(carried.late_us),
        }
    }
}

/// Refuses the figures of a run whose handshakes were of the other kind.
fn check_handshakes(connected: &Connected, scenario: Scenario) -> Result<()> {
    let Connected { connects_measured, resumed_measured, .. } = *connected;
    let share = resumed_measured as f64 / connects_measured.max(1) as f64;
    match scenario {
        Scenario::ConnectsResumed if share < RESUMED_SHARE_MIN => {
            bail!("only {resumed_measured} of {connects_measured} handshakes were resumed")
        }
        Scenario::Connects if resumed_measured > 0 => {
            bail!("{resumed_measured} handshakes were resumed that were to be full")
        }
        _ => Ok(()),
    }
}

/// Refuses the figures of a run that lost messages or did not keep its rate.
fn check(carried: &Carried, rate: Option<u32>) -> Result<()> {
    if carried.missing > 0 {
        let Carried { missing, sent, .. } = carried;
        bail!("{missing} deliveries or acknowledgements of {sent} messages never came");
    }
    let delivered_per_s = carried.delivered_measured as f64 / carried.seconds;
    match rate {
        Some(rate) if delivered_per_s < f64::from(rate) * RATE_SHARE_MIN => {
            bail!("{delivered_per_s:.0} of {rate} messages a second were delivered: lower --rate")
        }
        _ => Ok(()),
    }
}

fn figures(first: &Reading, last: &Reading, counted: &Counted, threads: u16) -> Result<Visit> {
    let took_us = last.at.duration_since(first.at).as_secs_f64() * 1e6;
    if counted.units == 0 || counted.seconds <= 0.0 || took_us <= 0.0 {
        bail!("nothing was counted in the time measured");
    }
    let since =
        |of: fn(&MachineTime) -> u64| of(&last.machine).saturating_sub(of(&first.machine)) as f64;
    let busy_us = since(|machine| machine.busy_us);
    let all_us = busy_us + since(|machine| machine.idle_us);
    let server_us = last.server.since_us(&first.server, tick_us());
    let units = counted.units as f64;
    Ok(Visit {
        round: 0,
        scenario: Scenario::Connects,
        server: String::new(),
        per_s: units / counted.seconds,
        server_us: server_us / units,
        machine_us: busy_us / units,
        generator_us: counted.cpu_us / units,
        busy: Busy {
            server: server_us / took_us / f64::from(threads),
            generator: counted.cpu_us / counted.seconds / 1e6 / f64::from(counted.threads),
            machine: if all_us > 0.0 { busy_us / all_us } else { 0.0 },
        },
        times_us: counted.times_us,
        late_us: counted.late_us,
        doubt: None,
        commands: Default::default(),
    })
}

impl Visit {
    pub(super) fn tell(&self, rounds: u32) {
        let Self { busy, times_us, .. } = self;
        let doubt = self.doubt.as_ref().map_or(String::new(), |why| format!("; doubtful: {why}"));
        say(format_args!(
            "round {} of {rounds}, {}, {}: {:.0}/s, server {:.2} us each, generator {:.2}, p50 \
             {:.0} us, p99 {:.0} us; busy: server {:.0} %, generator {:.0} %, machine {:.0} %{doubt}",
            self.round + 1,
            self.scenario,
            self.server,
            self.per_s,
            self.server_us,
            self.generator_us,
            times_us.p50,
            times_us.p99,
            busy.server * 100.0,
            busy.generator * 100.0,
            busy.machine * 100.0,
        ));
    }
}

#[cfg(test)]
mod tests;
