//! The load generator behind `push-load`: tens of thousands of raw MQTT clients in one process, to
//! measure a server. It shares no code with the server.
//!
//! The main thread (this file) decides what to do; `engine` threads do it, each with its own share
//! of the clients; `fleet` connects the two.

pub mod options;
pub mod tally;
pub mod transport;
pub mod wire;

mod client;
mod command;
mod connector;
mod connects;
mod crew;
mod demo;
mod engine;
mod fleet;
mod frames;
mod limits;
mod link;
mod output;
mod pacer;
mod publish;
mod throughput;
mod tokens;

use std::time::{Duration, Instant};

use serde_json::json;

use crate::certificates::{Folder, LOCAL_NAMES};
use command::{Command, Event, Plan, Settings};
use fleet::{Fleet, Standing, Woken};
use options::{Certificates, Common, Demo, Idle, Mode, Options, Ping};
use output::print_line;
use tally::{Summary, Tally, process_cpu};
use transport::Kind;
use wire::Version;

/// Default keep alive of clients that ping, in seconds.
const KEEP_ALIVE_SECS: u16 = 60;
/// Default keep alive of silent clients, in seconds.
const KEEP_ALIVE_IDLE_SECS: u16 = 1_200;
/// Losses are reported once none has come for this long.
const LOSSES_GATHERED_FOR: Duration = Duration::from_millis(300);

/// Runs by the command line. An error means that it could not connect.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(common) = options.mode.common() {
        limits::raise(options.mode.connections(), u64::from(common.threads))?;
    }
    match &options.mode {
        Mode::Publish(publish) => publish::run(publish),
        Mode::Throughput(throughput) => throughput::run(throughput),
        Mode::Connects(connects) => connects::run(connects),
        Mode::Ping(ping) => run_ping(ping),
        Mode::Idle(idle) => run_idle(idle),
        Mode::Demo(demo) => run_demo(demo),
        Mode::Certificates(certificates) => make_certificates(certificates),
        Mode::Tokens(tokens) => tokens::run(tokens),
    }
}

fn run_ping(options: &Ping) -> anyhow::Result<()> {
    let common = &options.common;
    let plan = plan(options);
    let settings = Settings { counts_at_once: false, ..settings(common, KEEP_ALIVE_SECS)? };
    warn_of_keep_alive(settings.keep_alive_secs, plan);
    let mut run = Run::start("ping", common, settings)?;
    let mut woken = run.connect(common.clients)?;
    let warmup = Duration::from_secs(options.warmup_s);
    let from = Instant::now() + warmup;
    let until = from + Duration::from_secs(options.seconds);
    let since_epoch = |at: Instant| {
        let since = at.saturating_duration_since(run.fleet.epoch());
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    };
    let (from_ns, until_ns) = (since_epoch(from), since_epoch(until));
    run.fleet.tell(Command::Measure { plan, from_ns, until_ns })?;
    if woken == Woken::Done {
        woken = run.fleet.wait_until(from)?;
    }
    run.measure_from_now();
    if woken == Woken::Done {
        woken = run.fleet.wait_until(until)?;
    }
    run.end(woken == Woken::Signal)
}

fn run_idle(options: &Idle) -> anyhow::Result<()> {
    let common = &options.common;
    let mut run = Run::start("idle", common, settings(common, KEEP_ALIVE_IDLE_SECS)?)?;
    let woken = run.connect(common.clients)?;
    if options.hold && woken == Woken::Done {
        run.fleet.watch_stdin();
        loop {
            match run.fleet.next(None)? {
                Some(Event::Line(line)) => match clients_wished(&line, run.clients) {
                    Ok(clients) => {
                        limits::raise(u64::from(clients), u64::from(common.threads))?;
                        if run.connect(clients)? == Woken::Signal {
                            break;
                        }
                    }
                    Err(why) => eprintln!("push-load: {why}"),
                },
                Some(Event::InputClosed | Event::Signal) => break,
                _ => {}
            }
        }
    }
    run.end(true)
}

fn run_demo(options: &Demo) -> anyhow::Result<()> {
    let common = &options.common;
    let settings = Settings { demo: true, ..settings(common, KEEP_ALIVE_SECS)? };
    let plan = Plan::Interval { interval_ns: options.interval_ms * 1_000_000 };
    warn_of_keep_alive(settings.keep_alive_secs, plan);
    let mut run = Run::start("demo", common, settings)?;
    if run.connect(common.clients)? == Woken::Signal {
        return run.end(true);
    }
    run.fleet.watch_stdin();
    run.fleet.tell(Command::Measure { plan, from_ns: 0, until_ns: u64::MAX })?;
    // Losses come in many small events; people want one line.
    let mut lost = 0;
    loop {
        match run.fleet.next((lost > 0).then_some(LOSSES_GATHERED_FOR))? {
            Some(Event::Lost(count)) => lost += count,
            Some(Event::Ready { .. }) => {
                eprintln!("push-load: devices that had lost their connection are back");
            }
            Some(Event::InputClosed | Event::Signal) => return run.end(true),
            Some(_) => {}
            None => {
                let target = common.target;
                eprintln!(
                    "push-load: {lost} devices lost their connection to {target}; they try again \
                     every 2 s (close stdin or press Ctrl-C to end)"
                );
                lost = 0;
            }
        }
    }
}

fn make_certificates(options: &Certificates) -> anyhow::Result<()> {
    let mut names: Vec<&str> = options.name.iter().map(String::as_str).collect();
    if names.is_empty() {
        names.extend(LOCAL_NAMES);
    }
    Folder::make(&options.folder, &names)?;
    eprintln!("push-load: certificates for {} in {}", names.join(", "), options.folder.display());
    Ok(())
}

/// A run from its first connect to its summary.
struct Run {
    mode: &'static str,
    target: std::net::SocketAddr,
    fleet: Fleet,
    clients: u32,
    /// When measuring began, and the process's CPU time then.
    measured_from: (Instant, Duration),
    connect_seconds: Option<f64>,
}

impl Run {
    fn start(mode: &'static str, options: &Common, settings: Settings) -> anyhow::Result<Self> {
        Ok(Self {
            mode,
            target: options.target,
            fleet: Fleet::start(settings)?,
            clients: 0,
            measured_from: (Instant::now(), process_cpu()),
            connect_seconds: None,
        })
    }

    /// Grows to `clients`, and reports it on both streams. The first time, measuring starts anew.
    fn connect(&mut self, clients: u32) -> anyhow::Result<Woken> {
        let begin = Instant::now();
        self.clients = clients;
        let (woken, Standing { connected, closed }) = self.fleet.connect(clients as usize)?;
        let seconds = begin.elapsed().as_secs_f64();
        if self.connect_seconds.is_none() {
            self.connect_seconds = Some(seconds);
            self.measure_from_now();
        }
        if woken == Woken::Done {
            eprintln!(
                "push-load: {connected} clients connected to {} in {seconds:.1} s",
                self.target
            );
            print_line(&json!({
                "event": "ready", "clients": clients, "connected": connected, "closed": closed,
                "connect_seconds": seconds,
            }));
        }
        Ok(woken)
    }

    fn measure_from_now(&mut self) {
        self.measured_from = (Instant::now(), process_cpu());
    }

    /// Ends the threads, unless they end by themselves, and prints the result.
    fn end(self, tell_them: bool) -> anyhow::Result<()> {
        let (from, cpu_from) = self.measured_from;
        let (seconds, cpu) = (from.elapsed(), process_cpu().saturating_sub(cpu_from));
        if tell_them {
            self.fleet.tell(Command::Stop)?;
        }
        let tally = self.fleet.finish()?;
        let Tally { connected, sent, answered, skipped, closed, bad, .. } = tally;
        let summary = Summary {
            event: "done",
            mode: self.mode,
            clients: u64::from(self.clients),
            connected,
            sent,
            answered,
            missing: sent - answered,
            skipped,
            closed,
            bad,
            publishes_sent: tally.publishes_sent,
            publishes_received: tally.publishes_received,
            rtt_us: tally.rtt_us(),
            cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
            seconds: seconds.as_secs_f64(),
            connect_seconds: self.connect_seconds.unwrap_or(0.0),
        };
        summary.tell(&tally.faults);
        print_line(&summary);
        Ok(())
    }
}

fn settings(options: &Common, keep_alive_secs: u16) -> anyhow::Result<Settings> {
    Ok(Settings {
        target: options.target,
        layers: Kind::new(&options.layers, options.target)?,
        sources: options.source.clone(),
        version: if options.v5 { Version::V5 } else { Version::V311 },
        keep_alive_secs: options.keep_alive_secs.unwrap_or(keep_alive_secs),
        client_id_prefix: options.client_id_prefix.clone(),
        threads: usize::from(options.threads),
        connect_rate: options.connect_rate,
        connect_concurrency: options.connect_concurrency,
        demo: false,
        tick_ns: options.tick_ms * 1_000_000,
        counts_at_once: true,
        epoch: Instant::now(),
    })
}

fn plan(options: &Ping) -> Plan {
    if let Some(pings) = options.inflight {
        return Plan::Inflight { pings };
    }
    let of_rate = |rate| u64::from(options.common.clients) * 1_000_000_000 / rate;
    let of_interval = options.interval_ms.map(|ms| ms * 1_000_000);
    // clap makes sure that one of the two is given.
    let interval_ns = of_interval.or(options.rate.map(of_rate)).unwrap_or(1_000_000_000);
    Plan::Interval { interval_ns: interval_ns.max(1) }
}

/// Warns if the server may rightly close clients [MQTT-3.1.2-24].
fn warn_of_keep_alive(keep_alive_secs: u16, plan: Plan) {
    let Plan::Interval { interval_ns } = plan else { return };
    let keep_alive_ns = u64::from(keep_alive_secs) * 1_000_000_000;
    if keep_alive_secs > 0 && interval_ns > keep_alive_ns {
        eprintln!(
            "push-load: the clients announce a keep alive of {keep_alive_secs} s and ping every \
             {:.1} s: the server may close them (see --keep-alive-secs)",
            interval_ns as f64 / 1e9
        );
    }
}

/// Parses `to N`, a number of clients that is not lower than `now`.
fn clients_wished(line: &str, now: u32) -> Result<u32, String> {
    let number = line.trim().strip_prefix("to ").and_then(|number| number.trim().parse().ok());
    match number {
        Some(clients) if clients >= now => Ok(clients),
        Some(clients) => Err(format!("cannot shrink from {now} to {clients} clients")),
        None => Err(format!("{line:?} is not understood: write `to N`, or close stdin to end")),
    }
}

#[cfg(test)]
mod tests;
