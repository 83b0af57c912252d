//! The rounds of a run: a life of the server each, ended at a random moment; now and then
//! everything is brought to an end and judged.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use push_tests::server::{PingPath, Server, ServerBuilder};
use push_tests::skip::{Skip, TestResult};
use push_tests::stand_in;
use push_tests::wire::{self, PUBACK, Packet, Version};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::link::Link;
use crate::publisher::{self, Publisher};
use crate::subscriber::{self, Subscriber};
use crate::world::{Phase, World};
use push_tests::ledger::message::{self, MessageId};

/// After so many rounds everything is brought to an end and judged.
const ROUNDS_PER_JUDGEMENT: u32 = 10;

/// How long a life may last, in milliseconds.
const LIFE_MILLIS: std::ops::Range<u64> = 30..1_200;

/// How soon a life may end that ends while the server starts, in milliseconds.
const START_MILLIS: std::ops::Range<u64> = 0..120;

/// How long the load goes on before a judgement: subscriptions must work after the last restart.
const LAST_LOAD: Duration = Duration::from_millis(400);

/// Nothing has happened for so long: nothing is under way.
const QUIET: Duration = Duration::from_millis(700);

/// Something is missing and nothing has happened for so long: it will not come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something is still happening after so long: it will not end.
const PATIENCE_IN_ALL: Duration = Duration::from_secs(90);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How long the reader of retained messages waits for one more.
const RETAINED_SILENCE: Duration = Duration::from_millis(500);

const PUBLISHERS: [Publisher; 5] = [
    Publisher { name: "publisher-v311-mixed", version: Version::V311, weights: [1, 5, 4] },
    Publisher { name: "publisher-v5-mixed", version: Version::V5, weights: [1, 4, 5] },
    Publisher { name: "publisher-v311-once", version: Version::V311, weights: [0, 1, 9] },
    Publisher { name: "publisher-v5-once", version: Version::V5, weights: [0, 1, 9] },
    Publisher { name: "publisher-v5-least", version: Version::V5, weights: [0, 9, 1] },
];

/// An ordinary subscriber, always there.
const STEADY: Subscriber = Subscriber {
    name: "",
    version: Version::V5,
    filters: &[],
    changes: &[],
    stays_away: false,
    is_late: false,
};

const SUBSCRIBERS: [Subscriber; 9] = [
    Subscriber {
        name: "all-least-v311",
        version: Version::V311,
        filters: &[("t/#", 1), ("r/#", 1)],
        ..STEADY
    },
    Subscriber { name: "all-once-v5", filters: &[("t/#", 2), ("r/#", 2)], ..STEADY },
    Subscriber {
        name: "overlapping-late-v5",
        filters: &[("t/0/#", 2), ("t/+/a", 1), ("t/0/a", 0)],
        is_late: true,
        ..STEADY
    },
    Subscriber {
        name: "overlapping-late-v311",
        version: Version::V311,
        filters: &[("t/#", 0), ("t/1/+", 1), ("t/1/b", 2)],
        is_late: true,
        ..STEADY
    },
    Subscriber {
        name: "away-once-v311",
        version: Version::V311,
        filters: &[("t/2/#", 2), ("r/+/1", 2)],
        stays_away: true,
        ..STEADY
    },
    Subscriber {
        name: "away-least-v5",
        filters: &[("t/+/b", 1), ("t/3/c", 2)],
        stays_away: true,
        is_late: true,
        ..STEADY
    },
    Subscriber {
        name: "changing-v5",
        filters: &[("t/3/a", 1)],
        changes: &["t/0/+", "t/1/a", "t/#", "r/0/#"],
        ..STEADY
    },
    Subscriber {
        name: "changing-away-v311",
        version: Version::V311,
        filters: &[("t/3/a", 2)],
        changes: &["t/+/c", "t/2/b", "r/+/0", "t/2/#"],
        stays_away: true,
        ..STEADY
    },
    Subscriber { name: "all-most-v311", version: Version::V311, filters: &[("t/#", 0)], ..STEADY },
];

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
    /// Whether the server knows `--durability`.
    pub(crate) is_durable: bool,
    pub(crate) ending: Ending,
}

/// How lives of the server end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By SIGKILL mostly, now and then in order.
    Crash,
    /// In order.
    Orderly,
    /// Not at all before the run's end: all connections are cut at once instead.
    Never,
}

/// How the lives of the server ended.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    rounds: u32,
    killed: u32,
    killed_starting: u32,
    stopped: u32,
    /// The server went on, and all connections were cut.
    cut: u32,
}

/// Runs it.
///
/// # Panics
/// With all faults found, when there are any.
pub(crate) fn run(plan: Plan) -> TestResult {
    let Plan { rounds, seed, .. } = plan;
    let names: Vec<&str> = SUBSCRIBERS.iter().map(|who| who.name).collect();
    let world = World::new(seed, &names);
    let data = TempDir::new().expect("make a data directory");
    let filter = if plan.ending == Ending::Never { "cut_connections" } else { "kill_9" };
    println!("crash: cargo xtask test crash {filter} --rounds {rounds} --seed {seed}");
    let begun = Instant::now();
    let ends = std::thread::scope(|scope| {
        // Clients end even if this thread panics: the scope waits for them.
        let _stop = StopAtEnd(&world);
        let mut clients = Vec::new();
        for (index, who) in (0..).zip(PUBLISHERS) {
            let world = &world;
            clients.push(scope.spawn(move || publisher::run(world, who, index)));
        }
        for (index, who) in subscribers().into_iter().enumerate() {
            let (world, client) = (&world, (PUBLISHERS.len() + index) as u64);
            clients.push(scope.spawn(move || subscriber::run(world, who, index, client)));
        }
        play(plan, &world, data.path(), &clients)
    })?;
    report(&world, ends, begun.elapsed());
    let ledger = world.ledger();
    if !ledger.faults().is_empty() {
        let kept = data.keep();
        let (faults, untold) = (ledger.faults().join("\n"), ledger.faults_untold());
        panic!(
            "seed {seed}: {} faults (the data directory is {}):\n{faults}\nand {untold} more",
            ledger.faults().len() as u64 + untold,
            kept.display()
        );
    }
    Ok(())
}

/// mosquitto sends a message once for each filter of an MQTT 5 client that matches, as it may: it gets
/// no filters that overlap.
fn subscribers() -> [Subscriber; SUBSCRIBERS.len()] {
    let for_stand_in =
        |who: Subscriber| Subscriber { filters: &who.filters[..1], changes: &[], ..who };
    match stand_in::binary() {
        Some(_) => SUBSCRIBERS.map(for_stand_in),
        None => SUBSCRIBERS,
    }
}

/// Ends the clients when dropped.
struct StopAtEnd<'a>(&'a World);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.set_phase(Phase::Stop);
    }
}

fn play(
    plan: Plan,
    world: &World,
    data: &Path,
    clients: &[ScopedJoinHandle<'_, ()>],
) -> Result<Ends, Skip> {
    // Behind the clients, which have the first numbers.
    let mut rng = world.chance(clients.len() as u64);
    let mut ends = Ends::default();
    let mut running = None;
    for round in 1..=plan.rounds {
        world.ledger().begin_round(round);
        ends.rounds = round;
        let is_last = round == plan.rounds;
        let mut server = match running.take() {
            Some(server) => server,
            None => begin_life(plan, world, data, &mut rng, &mut ends)?,
        };
        std::thread::sleep(Duration::from_millis(rng.random_range(LIFE_MILLIS)));
        server.assert_running();
        if is_last || round % ROUNDS_PER_JUDGEMENT == 0 {
            judge(world, &server);
        }
        let panicked = clients.iter().any(ScopedJoinHandle::is_finished);
        if panicked || !world.ledger().faults().is_empty() {
            world.end_life();
            break;
        }
        if plan.ending == Ending::Never && !is_last {
            world.cut();
            ends.cut += 1;
            running = Some(server);
            continue;
        }
        let orderly = rng.random_bool(0.1) || plan.ending != Ending::Crash;
        end(server, if orderly { Signal::TERM } else { Signal::KILL }, world);
        ends.killed += u32::from(!orderly);
        ends.stopped += u32::from(orderly);
    }
    Ok(ends)
}

/// Starts the server, perhaps after a start that is cut short.
fn begin_life(
    plan: Plan,
    world: &World,
    data: &Path,
    rng: &mut StdRng,
    ends: &mut Ends,
) -> Result<Server, Skip> {
    if rng.random_bool(0.15) && plan.ending == Ending::Crash && stand_in::binary().is_none() {
        let starting = builder(plan, data, rng).launch()?;
        std::thread::sleep(Duration::from_millis(rng.random_range(START_MILLIS)));
        end(starting, Signal::KILL, world);
        ends.killed_starting += 1;
    }
    let server = builder(plan, data, rng).start()?;
    world.begin_life(server.target().clone());
    Ok(server)
}

fn builder(plan: Plan, data: &Path, rng: &mut StdRng) -> ServerBuilder {
    let builder = Server::with(PingPath::User)
        .data_dir(data)
        .flag("--shards", 3)
        // Nobody is to be disconnected, and nothing dropped, for being slow.
        .flag("--outbox-messages-max", 1_000_000)
        .flag("--outbox-bytes-max", 1_u64 << 32);
    let mode = if rng.random_bool(0.5) { "fsync" } else { "os" };
    if plan.is_durable { builder.flag("--durability", mode) } else { builder }
}

/// Ends a life; clients find out by the end of their connection.
fn end(mut server: Server, signal: Signal, world: &World) {
    world.end_life();
    server.signal(signal);
    let (status, _) = server.wait_exit();
    let log = server.log();
    if log.contains("panicked at") {
        world.ledger().fault(format_args!("the server panicked:\n{log}"));
    }
    if signal == Signal::TERM && !status.success() {
        world.ledger().fault(format_args!("SIGTERM ended the server with {status}:\n{log}"));
    }
}

/// Brings everything to an end, judges it, and has the load go on.
fn judge(world: &World, server: &Server) {
    std::thread::sleep(LAST_LOAD);
    world.set_phase(Phase::Drain);
    let clients = (PUBLISHERS.len() + SUBSCRIBERS.len()) as u32;
    let begun = Instant::now();
    let (mut moment, mut since) = (world.ledger().moment(), begun);
    while begun.elapsed() < PATIENCE_IN_ALL {
        std::thread::sleep(LOOK);
        let now = world.ledger().moment();
        if now != moment {
            (moment, since) = (now, Instant::now());
            continue;
        }
        let quiet = since.elapsed();
        if quiet < QUIET {
            continue;
        }
        let is_done = world.at_rest() == clients && world.ledger().missing() == 0;
        if is_done || quiet > PATIENCE {
            break;
        }
    }
    world.ledger().settle();
    let found = read_retained(world, server);
    world.ledger().judge_retained(&found);
    world.set_phase(Phase::Load);
}

/// What a new subscriber is sent of the retained messages.
fn read_retained(world: &World, server: &Server) -> BTreeMap<String, MessageId> {
    let mut found = BTreeMap::new();
    let Ok(mut link) = Link::open(server.target(), Version::V311, "reader-of-retained", true)
    else {
        world.ledger().fault("the reader of retained messages could not connect");
        return found;
    };
    link.say(&wire::subscribe(Version::V311, 1, &[("r/#", 1)]));
    while link.flush().is_ok() {
        match link.receive(RETAINED_SILENCE) {
            Ok(Some(Packet::Publish(publish))) => {
                link.say(&wire::ack(PUBACK, publish.packet_id));
                let is_new = match message::read(&publish.payload) {
                    Ok(id) if publish.retain => found.insert(publish.topic, id).is_none(),
                    _ => false,
                };
                if !is_new {
                    world
                        .ledger()
                        .fault("a retained message that is none, or the second of a topic");
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return found,
            Err(_) => break,
        }
    }
    world.ledger().fault("the reader of retained messages lost its connection");
    found
}

fn report(world: &World, ends: Ends, took: Duration) {
    let counts = world.ledger().counts();
    let [least, once] = counts.acknowledged;
    let releases = world.releases_resent.load(std::sync::atomic::Ordering::Relaxed);
    println!(
        "crash: {} rounds in {:.0} s: killed {} times, {} more while starting, stopped in \
         order {} times, connections cut {} times; {least} QoS 1 and {once} QoS 2 messages \
         acknowledged, {} deliveries; publishers sent {} PUBLISH and {releases} PUBREL again, \
         subscribers got {} again ({} without DUP from another life); sessions resumed {} times, \
         {} retained topics compared",
        ends.rounds,
        took.as_secs_f64(),
        ends.killed,
        ends.killed_starting,
        ends.stopped,
        ends.cut,
        counts.delivered,
        counts.resent,
        counts.repeated,
        counts.repeated_without_dup,
        counts.resumed,
        counts.retained,
    );
}
