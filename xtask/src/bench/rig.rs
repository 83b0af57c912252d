//! The beginning of every benchmark: builds the servers and the load generator, looks at the
//! machine and its other work, and gives each server its turn in every round.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::brokers::{self, Brokers, Variant, rotated};
use super::children::Interrupt;
use super::layers::{LayerArguments, Layers};
use super::load::{Generator, Load, Outcome, Pace};
use super::procfs::{self, MachineTime};
use super::report::Machine;
use crate::build;
use crate::setup;
use crate::workspace::{Workspace, find_program, say};

/// How long to look at the machine before measuring.
const BACKGROUND_LOOK: Duration = Duration::from_secs(2);

/// Share of the machine from which other work causes a warning.
const BACKGROUND_SHARE_MAX: f64 = 0.03;

/// Descriptors of a process beside one for each client.
const DESCRIPTORS_SPARE: u64 = 100;

/// Arguments of all benchmarks.
#[derive(Args, Clone, Debug)]
pub(super) struct CommonArguments {
    /// Also print the table for the README
    #[arg(long)]
    pub(super) markdown: bool,
    /// Shards of our server; mosquitto has one thread
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) shards: u16,
    /// Measure these only; repeatable
    #[arg(long, value_name = "SERVER")]
    pub(super) only: Vec<Variant>,
    /// Measure target/release/push-server and push-load as they are, without building first
    #[arg(long)]
    pub(super) no_build: bool,
    #[command(flatten)]
    pub(super) layers: LayerArguments,
}

/// Everything that a benchmark needs.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) brokers: Brokers,
    pub(super) generator: Generator,
    /// `target/bench/`; it exists.
    pub(super) results: PathBuf,
    pub(super) machine: Machine,
    /// The share of the machine that was busy before we began.
    pub(super) background_share: f64,
    pub(super) interrupt: Interrupt,
}

/// Builds and finds everything, looks at the machine, and raises the limit of descriptors.
pub(super) fn prepare(
    workspace: &Workspace,
    arguments: &CommonArguments,
    clients: u32,
) -> Result<Bench> {
    let (server, generator) = if arguments.no_build {
        let folder = workspace.target().join("release");
        (folder.join("push-server"), folder.join("push-load"))
    } else {
        let object = build::ebpf_object(workspace, &setup::build_needs(workspace)?)?;
        let [server, generator] = build::server_and_load_generator(workspace, &object)?;
        (server, generator)
    };
    let folder = workspace.target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // From here on, not before: during a build the signal itself ends us.
    let interrupt = Interrupt::catch()?;
    let mosquitto = find_program("mosquitto");
    if mosquitto.is_none() {
        say("mosquitto is not installed: its column stays empty. On Debian, as root:");
        say("  apt-get install mosquitto");
    }
    raise_descriptors(u64::from(clients) + DESCRIPTORS_SPARE)?;
    let shards = arguments.shards;
    let layers = Layers::prepare(&arguments.layers, &generator, &folder)?;
    let generator = Generator::new(generator, layers.generator_words());
    let brokers = Brokers {
        server,
        before: None,
        mosquitto,
        has_rules: false,
        only: arguments.only.clone(),
        folder: folder.clone(),
        shards,
        clients,
        layers,
    };
    let commit = brokers::git_commit(workspace.root());
    let machine = Machine::look(commit, brokers.mosquitto_version(), procfs::tick_us());
    let background_share = look_at_background(&interrupt)?;
    Ok(Bench { brokers, generator, results: folder, machine, background_share, interrupt })
}

/// Leaves out the kernel path if the kernel answers no heartbeat inside these layers, as a look at a few
/// clients shows: its column would be the user path's under another name.
pub(super) fn leave_out_idle_kernel(bench: &mut Bench) -> Result<()> {
    let variants = bench.brokers.variants();
    if bench.brokers.layers.arguments().are_none() || !variants.contains(&Variant::Kernel) {
        return Ok(());
    }
    let broker = bench.brokers.start(Variant::Kernel, &bench.interrupt)?;
    let pace = Pace::FixedRate(LOOK_CLIENTS);
    let mut load = Load::ping(
        &bench.generator,
        broker.mqtt(),
        LOOK_CLIENTS,
        pace,
        (0, LOOK_S),
        &bench.results,
    )?;
    let within = Duration::from_secs(u64::from(LOOK_S) * 5);
    load.wait_until_done::<Outcome>(within, &bench.interrupt, || Ok(()))?;
    load.end()?;
    let pings = broker.metrics()?.context("our server counts pings")?.pings()?;
    broker.end()?;
    if pings.kernel == 0.0 {
        say("the kernel answers no heartbeat inside these layers: its column is left out");
        bench.brokers.only = variants;
        bench.brokers.only.retain(|&variant| variant != Variant::Kernel);
    }
    Ok(())
}

/// Clients of that look, each pinging once a second, and its seconds.
const LOOK_CLIENTS: u32 = 20;
const LOOK_S: u32 = 4;

/// Raises the limit of descriptors for the children: both ends need one for each client.
fn raise_descriptors(wanted: u64) -> Result<()> {
    let found = getrlimit(Resource::Nofile);
    let most = found.maximum.map(|most| most.max(wanted));
    // Only root, and not everywhere, may raise the hard limit; the soft one may always follow it.
    let limits = [most, found.maximum].map(|most| Rlimit { current: most, maximum: most });
    let is_set = limits.into_iter().any(|limit| setrlimit(Resource::Nofile, limit).is_ok());
    match getrlimit(Resource::Nofile).current {
        Some(most) if !is_set || most < wanted => bail!(
            "RLIMIT_NOFILE allows {most} descriptors a process and {wanted} are needed: ask for \
             fewer clients, or raise it (`ulimit -Hn`, /etc/security/limits.conf)"
        ),
        _ => Ok(()),
    }
}

fn look_at_background(interrupt: &Interrupt) -> Result<f64> {
    let before = MachineTime::read()?;
    interrupt.sleep(BACKGROUND_LOOK)?;
    let after = MachineTime::read()?;
    let busy = (after.busy_us - before.busy_us) as f64;
    let all = busy + (after.idle_us - before.idle_us) as f64;
    let share = if all > 0.0 { busy / all } else { 0.0 };
    if share > BACKGROUND_SHARE_MAX {
        say(format_args!(
            "warning: other work keeps {:.0} % of this machine busy; it will be in the figures. \
             Stop it and measure again",
            share * 100.0
        ));
    }
    Ok(share)
}

/// Gives every variant its turn in every round. Returns the successful visits, and the errors of
/// the others.
pub(super) fn take_turns<V>(
    bench: &Bench,
    rounds: u32,
    mut visit: impl FnMut(u32, Variant) -> Result<V>,
) -> Result<(Vec<V>, Vec<String>)> {
    let variants = bench.brokers.variants();
    let (mut visits, mut refused) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for &variant in rotated(&variants, round) {
            match visit(round, variant) {
                Ok(visit) => visits.push(visit),
                Err(error) => {
                    bench.interrupt.check()?;
                    let number = round + 1;
                    let text = format!("round {number}: no figures of the {variant}: {error:#}");
                    say(&text);
                    refused.push(text);
                }
            }
        }
    }
    Ok((visits, refused))
}

/// The results of a benchmark with scenarios.
#[derive(Debug)]
pub(super) struct Rounds<V> {
    pub(super) visits: Vec<V>,
    /// The errors of visits without figures.
    pub(super) refused: Vec<String>,
    /// The commands of the first round.
    pub(super) commands: Vec<String>,
}

/// Gives every contender its turn in every scenario of every round. A visit comes with its
/// commands; an error names its contender.
pub(super) fn take_scenarios<S: Copy, C, V>(
    bench: &Bench,
    rounds: u32,
    (scenarios, contenders): (&[S], &[C]),
    mut visit: impl FnMut(u32, S, &C) -> Result<(V, [String; 2])>,
) -> Result<Rounds<V>> {
    let mut all = Rounds { visits: Vec::new(), refused: Vec::new(), commands: Vec::new() };
    for round in 0..rounds {
        for &scenario in scenarios {
            for contender in rotated(contenders, round) {
                match visit(round, scenario, contender) {
                    Ok((visit, commands)) => {
                        if round == 0 {
                            all.commands.extend(commands);
                        }
                        all.visits.push(visit);
                    }
                    Err(error) => {
                        bench.interrupt.check()?;
                        let text = format!("round {}: no figures of {error:#}", round + 1);
                        say(&text);
                        all.refused.push(text);
                    }
                }
            }
        }
    }
    Ok(all)
}
