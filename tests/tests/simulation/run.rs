//! One run: shards and clients in one thread, and a scheduler that decides by the plan's randomness whose turn it
//! is. `faults` is what it may have go wrong, `judgement` what must hold whenever everything has come to an end.

mod faults;
mod judgement;

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use push_common::clock::Monotonic;
use push_server::config::Config;
use push_server::shard::simulation::{Peer, Setup, World};
use push_tests::ledger::{Counts, Ledger};
use push_tests::wire::{self, Packet, Version};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::actors::caller::Caller;
use crate::actors::device::{Device, FIRST_INDEX};
use crate::actors::member::{Member, SHARED_TOPICS, Stay};
use crate::actors::publisher::Publisher;
use crate::actors::seat::{Client, Phase, Seat};
use crate::actors::strangers::Strangers;
use crate::actors::subscriber::{Limits, Subscriber};
use crate::actors::witness::Witness;
use crate::link::Link;
use crate::plan::Plan;
use crate::report::Report;
use crate::trace::trace;
use faults::Faults;

/// Everything is brought to an end once in so many steps.
const DRAIN_EVERY: u32 = 400;

/// While everything comes to an end the clock moves so far at a time.
const DRAIN_STEP: Duration = Duration::from_millis(500);

/// How often a client or a session without one is to move, of all steps.
const MOVES: f64 = 0.03;

/// How often everything that can be done without time passing is done at once then, so that the shards come to rest.
/// Else whatever comes next comes while they do.
const SETTLED_MOVES: f64 = 0.3;

/// Requests that are all there are.
const ALL: usize = usize::MAX;

/// Runs a plan. An error tells what must not be.
pub(crate) fn run(plan: &Plan) -> Result<Report, String> {
    let mut run = Run::new(plan);
    for &step in &plan.steps {
        run.step(step, &mut plan.rng_of(step));
        if step % DRAIN_EVERY == DRAIN_EVERY - 1 {
            run.drain();
        }
        run.check(step)?;
    }
    run.drain();
    run.check(u32::MAX)?;
    run.end();
    run.check(u32::MAX)?;
    Ok(run.report())
}

struct Run {
    world: World,
    shards: u16,
    faults: Faults,
    ledger: Ledger,
    seats: Vec<Seat>,
    devices: Vec<Device>,
    caller: Caller,
    strangers: Strangers,
    /// The group, where sessions of its members may end with their connections.
    brief_group: Option<usize>,
    /// Connections that clients have turned away from, without ending them.
    abandoned: Vec<Peer>,
    life: u32,
    /// Whether a start may be wrong about how long there was no server.
    is_clock_wrong: bool,
    begun: Monotonic,
    digest: DefaultHasher,
    tally: Report,
}

const SUBSCRIBERS: [&str; 5] =
    ["all-once-v5", "all-least-v311", "overlapping-v5", "changing-v311", "limited-v5"];

impl Run {
    fn new(plan: &Plan) -> Self {
        let mut rng = plan.rng();
        let shards = rng.random_range(1..=4);
        let faults = [Faults::None, Faults::Disk, Faults::Endings, Faults::Endings, Faults::Both];
        let faults = faults[rng.random_range(0..faults.len())];
        let mut config = Config { shards, ..Config::default() };
        config.limits.outbox_messages_max = 1_000_000;
        // Strangers fail as often as they like.
        config.admission.auth_failures = 0;
        let mut world = World::with(Setup {
            config: Arc::new(config),
            seed: rng.random(),
            is_durable: faults != Faults::None,
            mailbox_messages_max: [1, 2, 4, 16, 16_384][rng.random_range(0..5)],
        });
        let look_ns = [0, 0, 1_000, 20_000, 200_000][rng.random_range(0..5)];
        world.set_clock_step(Duration::from_nanos(look_ns));
        let version = |at: u32| if at.is_multiple_of(2) { Version::V5 } else { Version::V311 };
        let weights = [[1, 5, 4], [0, 1, 9], [2, 6, 2]];
        let mut clients: Vec<Client> = (0..rng.random_range(2..=3))
            .map(|at| Publisher::new(at, version(at), weights[at as usize % 3]))
            .map(Client::Publisher)
            .collect();
        let limits = Limits {
            receive_max: rng.random_range(1..6),
            packet_bytes_max: [200, 600, 4_000][rng.random_range(0..3)],
        };
        let subscribers = [
            Subscriber::new(0, (SUBSCRIBERS[0], Version::V5), &[("t/#", 2), ("r/#", 2)], &[]),
            Subscriber::new(1, (SUBSCRIBERS[1], Version::V311), &[("t/#", 1), ("r/#", 1)], &[]),
            Subscriber::new(
                2,
                (SUBSCRIBERS[2], Version::V5),
                &[("t/0/#", 2), ("t/+/a", 1), ("t/0/a", 0)],
                &[],
            ),
            Subscriber::new(
                3,
                (SUBSCRIBERS[3], Version::V311),
                &[("t/2/a", 2)],
                &["t/0/+", "t/1/a", "t/#", "r/0/#"],
            ),
            Subscriber::new(
                4,
                (SUBSCRIBERS[4], Version::V5),
                &[("t/#", 2)],
                &["t/1/+", "t/0/b", "r/1/#"],
            )
            .limited(limits),
        ];
        clients.extend(subscribers.map(Client::Subscriber));
        let mut ledger = Ledger::new(&SUBSCRIBERS);
        ledger.takes_at_most(4, limits.packet_bytes_max as usize);
        let group = ledger.add_group(SHARED_TOPICS);
        // Of those with brief sessions a crash loses what they were owed, so not all runs with crashes have them.
        let are_brief = !faults.has_endings() || rng.random_bool(0.4);
        let stay = if are_brief { Stay::Brief } else { Stay::Durable };
        let stay = |number| if number == 0 { Stay::Always } else { stay };
        let member = |number: u32| Member::new(number, version(number), group, stay(number));
        clients.extend((0..rng.random_range(2..=3)).map(member).map(Client::Member));
        clients.push(Client::Witness(Witness::default()));
        if faults.has_disk() {
            ledger.disk_may_fail();
        }
        let begun = world.now();
        let caller = Caller::new(world.doors(), faults.has_disk(), limits.packet_bytes_max);
        let mut run = Self {
            world,
            shards,
            faults,
            ledger,
            seats: clients.into_iter().map(Seat::new).collect(),
            devices: (0..rng.random_range(2..=4)).map(Device::new).collect(),
            caller,
            strangers: Strangers::default(),
            brief_group: are_brief.then_some(group),
            abandoned: Vec::new(),
            life: 0,
            is_clock_wrong: false,
            begun,
            digest: DefaultHasher::new(),
            tally: Report { runs: 1, ..Report::default() },
        };
        // Before there is a will somebody has to be there for it.
        let witness = run.seats.len() - 1;
        while !matches!(&run.seats[witness].client, Client::Witness(one) if one.is_subscribed) {
            run.act(witness, Phase::Drain, &mut rng);
            run.settle_all();
        }
        run
    }

    fn check(&mut self, step: u32) -> Result<(), String> {
        if self.ledger.faults().is_empty() {
            return Ok(());
        }
        let at = if step == u32::MAX { "the end".to_owned() } else { format!("step {step}") };
        Err(format!("at {at}: {}", self.ledger.faults().join("\n")))
    }

    /// One thing happens.
    fn step(&mut self, step: u32, rng: &mut SmallRng) {
        self.tally.steps += 1;
        let dice = rng.random_range(0..1_000);
        match dice {
            0..380 => {
                let shard = rng.random_range(0..self.shards);
                if self.world.is_ready(shard) || rng.random_bool(0.05) {
                    self.world.turn(shard);
                    self.tally.turns += 1;
                }
            }
            380..400 => self.act_strangers(rng),
            400..690 => self.act(rng.random_range(0..self.seats.len()), Phase::Load, rng),
            690..705 => self.caller.call(&mut self.ledger, rng),
            705..720 => self.hear_caller(),
            720..800 => self.act_device(rng),
            800..880 => {
                let requests = if rng.random_bool(0.3) { ALL } else { rng.random_range(1..6) };
                self.world.write_group(requests);
            }
            880..910 => self.world.leap(Duration::from_micros(rng.random_range(0..5_000))),
            910..940 => self.world.advance(Duration::from_millis(rng.random_range(1..1_500))),
            940..945 => self.world.leap(Duration::from_millis(rng.random_range(0..20_000))),
            945..980 => self.disturb(rng),
            980..988 => {
                let shard = rng.random_range(0..self.shards);
                self.world.starve(shard, rng.random_range(1..4));
            }
            988..991 => self.settle_all(),
            991 => self.set_wall_clock(rng),
            992..996 => self.fail_disk(rng),
            996..998 => self.crash(rng),
            998 => self.stop(),
            _ => self.world.wake(rng.random_range(0..self.shards)),
        }
        if rng.random_bool(MOVES) {
            self.move_client(rng);
        }
        trace(|| format!("step {step}: {dice}, at {:?}", self.world.now()));
        self.watch();
    }

    /// A connection moves to any shard, whoever's it is and whatever is under way on it; or a session does whose client
    /// is away.
    fn move_client(&mut self, rng: &mut SmallRng) {
        let to = rng.random_range(0..self.shards);
        let begins = if rng.random_bool(0.2) {
            let names = self.seats.iter().map(|seat| seat.client.name());
            let names: Vec<_> = names.chain(self.devices.iter().map(|one| &*one.name)).collect();
            self.world.move_session(names[rng.random_range(0..names.len())], to)
        } else {
            self.move_connection(to, rng)
        };
        trace(|| format!("a move to shard {to} has begun: {begins}"));
        self.tally.moves += u64::from(begins);
        if begins && rng.random_bool(SETTLED_MOVES) {
            self.settle_all();
        }
    }

    fn move_connection(&mut self, to: u16, rng: &mut SmallRng) -> bool {
        let seats = self.seats.iter().filter_map(|seat| seat.link.as_ref());
        let devices = self.devices.iter().filter_map(Device::link);
        let links = seats.chain(devices).chain(self.strangers.links());
        let peers: Vec<&Peer> = links.map(|link| &link.peer).chain(&self.abandoned).collect();
        if peers.is_empty() {
            return false;
        }
        self.world.move_client(peers[rng.random_range(0..peers.len())], to)
    }

    /// After each step.
    fn watch(&mut self) {
        let now = self.world.now();
        if self.world.is_disk_failing() {
            self.devices.iter_mut().for_each(Device::disk_failed);
        } else if self.world.store_waiting() == 0 {
            // What shards have to write they file at the end of each turn.
            self.devices.iter_mut().for_each(|device| device.all_is_written(now));
        }
        self.note_expired();
        self.digest.write_u64(now.0);
        self.digest.write_u64(self.ledger.moment());
    }

    fn note_expired(&mut self) {
        let now = self.world.now();
        for seat in &mut self.seats {
            if let Client::Publisher(publisher) = &mut seat.client {
                publisher.note_expired(&mut self.ledger, now);
            }
        }
    }

    /// A client of those with long sessions does something.
    fn act(&mut self, at: usize, phase: Phase, rng: &mut SmallRng) {
        self.note_expired();
        let seat = &mut self.seats[at];
        if seat.link.is_none() {
            if phase == Phase::Drain || rng.random_bool(0.4) {
                self.connect(at, rng);
            }
            return;
        }
        let packets = match phase {
            Phase::Load if rng.random_bool(0.4) => rng.random_range(0..6),
            _ => usize::MAX,
        };
        for _ in 0..packets {
            let Some(packet) = seat.link.as_mut().and_then(Link::receive) else { break };
            hash(&mut self.digest, &packet);
            trace(|| format!("{}: {packet:?}", seat.client.name()));
            seat.hear(&mut self.ledger, packet);
        }
        let now = self.world.now();
        for id in seat.client.take_wills() {
            let device = id.publisher.checked_sub(FIRST_INDEX).map(|at| at as usize);
            match device.and_then(|at| self.devices.get_mut(at)) {
                Some(device) => device.will_came(id.number, now, &mut self.ledger),
                None => self.ledger.fault(format_args!("a will of nobody: {id:?}")),
            }
        }
        let seat = &mut self.seats[at];
        let Some(link) = &mut seat.link else { return };
        if let Some(fault) = link.take_fault() {
            self.ledger.fault(format_args!("{}: {fault}", seat.client.name()));
        }
        if link.is_over() {
            link.peer.end();
            seat.link = None;
            return;
        }
        if link.is_accepted {
            seat.client.go_on(&mut self.ledger, link, (phase, now), rng);
        }
        match phase {
            Phase::Load => link.flush_some(rng),
            Phase::Drain => {
                link.peer.set_window(usize::MAX);
                link.flush();
            }
        }
    }

    fn connect(&mut self, at: usize, rng: &mut SmallRng) {
        let seat = &mut self.seats[at];
        let version = seat.client.version();
        let (begins_anew, properties) = seat.client.choose_connect(rng);
        // In 3.1.1 a clean session would end with its connection.
        let clean = begins_anew || (seat.is_clean && version == Version::V5);
        let connect = wire::connect(version, seat.client.name(), 0, clean, None, &properties);
        trace(|| format!("{} connects, clean {clean}, {properties:?}", seat.client.name()));
        let mut link = Link::open(&mut self.world, self.shards, version, connect, rng);
        link.flush();
        seat.link = Some(link);
        seat.connects_clean = clean;
        seat.life = self.life;
    }

    fn act_device(&mut self, rng: &mut SmallRng) {
        let at = rng.random_range(0..self.devices.len());
        let now = self.world.now();
        let device = &mut self.devices[at];
        device.listen(now, &mut self.ledger);
        if device.link().is_some_and(|link| link.may_be_read(&self.world)) {
            // A CONNECT that the server reads after the next one's would take over from that.
            return;
        }
        match rng.random_range(0..100) {
            0..35 if device.link().is_none() => {
                device.connect(&mut self.world, self.shards, rng);
            }
            // It has no patience.
            0..35 if device.waits() => {
                device.vanish(now, rng);
                device.connect(&mut self.world, self.shards, rng);
            }
            0..70 => device.ping(&mut self.world, rng),
            70..75 if device.link().is_some() => {
                self.tally.take_overs += 1;
                device.connect(&mut self.world, self.shards, rng);
            }
            75..85 => device.vanish(now, rng),
            85..92 => device.leave(now, rng),
            _ => {}
        }
    }

    fn act_strangers(&mut self, rng: &mut SmallRng) {
        self.strangers.listen(&self.world, &mut self.ledger);
        self.strangers.act(&mut self.world, self.shards, rng);
    }

    /// Whoever has called by a door takes the replies.
    fn hear_caller(&mut self) {
        let digest = &mut self.digest;
        self.caller.hear(&mut self.ledger, |reply| digest.write(format!("{reply:?}").as_bytes()));
    }

    /// Everything that can be done without time passing.
    fn settle_all(&mut self) {
        self.world.settle();
        while self.world.store_waiting() > 0 {
            self.world.write_group(ALL);
            self.world.settle();
        }
    }

    fn count_turns(&mut self) {
        for shard in 0..self.shards {
            let counters = self.world.counters(shard);
            self.tally.expired += counters.expired.value();
            self.tally.handed_on += counters.shared_passed_on.value();
            self.tally.too_large += counters.dropped_too_large.value();
            self.tally.full_mailboxes += counters.limit_mailbox.value();
            self.tally.moved += counters.sessions_moved.value();
            self.tally.stayed += counters.moves_refused.value();
        }
    }

    fn report(mut self) -> Report {
        self.count_turns();
        let Counts {
            acknowledged, delivered, repeated, resumed, retained, shared, expired, ..
        } = self.ledger.counts();
        Report {
            virtual_time: self.world.now() - self.begun,
            acknowledged,
            delivered,
            repeated,
            resumed,
            retained,
            shared,
            timed_out: expired,
            wills: self.devices.iter().map(Device::wills_seen).sum(),
            wills_kept: self.devices.iter().map(Device::wills_kept).sum(),
            kernel_pings: self.devices.iter().map(Device::kernel_pings).sum(),
            called: self.caller.tally(),
            strangers: self.strangers.tally(),
            digest: self.digest.finish(),
            ..self.tally
        }
    }
}

fn hash(digest: &mut DefaultHasher, packet: &Packet) {
    digest.write(format!("{packet:?}").as_bytes());
}
