//! One run: shards and clients in one thread, a scheduler that decides by the plan's randomness whose turn it
//! is and what goes wrong, and a judgement whenever everything has been brought to an end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use push_common::clock::Monotonic;
use push_server::config::Config;
use push_server::shard::simulation::{Peer, Setup, World};
use push_tests::ledger::message::{self, MessageId};
use push_tests::ledger::{Counts, Ledger};
use push_tests::wire::{self, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet, Properties, Version};
use push_tests::wire::{Publish, Value, property};
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::device::{Device, FIRST_INDEX, PENDING_MAX};
use crate::link::Link;
use crate::plan::Plan;
use crate::publisher::Publisher;
use crate::subscriber::Subscriber;
use crate::trace::trace;

/// How long sessions of publishers and subscribers outlive their connection.
const SESSION_EXPIRY_SECS: u32 = 24 * 3_600;

/// Everything is brought to an end once in so many steps.
const DRAIN_EVERY: u32 = 400;

/// While everything comes to an end the clock moves so far at a time.
const DRAIN_STEP: Duration = Duration::from_millis(500);

/// How often, before what is missing then is lost.
const DRAIN_STEPS_MAX: u32 = 400;

/// How often a client moves, of all steps.
const MOVES: f64 = 0.03;

/// How long a disk that has failed is not tried again, in steps of the clock.
const REOPEN_STEPS: u32 = 4;

/// A stop takes no longer, in steps of the clock.
const STOP_STEPS_MAX: u32 = 100;
const STOP_STEP: Duration = Duration::from_millis(50);

/// Requests that are all there are.
const ALL: usize = usize::MAX;

/// What a run was made of, for the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) runs: u64,
    pub(crate) steps: u64,
    pub(crate) turns: u64,
    pub(crate) virtual_time: Duration,
    pub(crate) acknowledged: [u64; 2],
    pub(crate) delivered: u64,
    pub(crate) repeated: u64,
    pub(crate) resumed: u64,
    pub(crate) retained: u64,
    pub(crate) wills: u64,
    pub(crate) wills_kept: u64,
    pub(crate) expired: u64,
    pub(crate) kernel_pings: u64,
    pub(crate) crashes: u64,
    pub(crate) stops: u64,
    pub(crate) disk_failures: u64,
    pub(crate) resets: u64,
    pub(crate) take_overs: u64,
    pub(crate) full_mailboxes: u64,
    pub(crate) moves: u64,
    /// Of every packet that clients with long sessions were sent, and of when everything happened.
    pub(crate) digest: u64,
}

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
    /// Connections that clients have turned away from, without ending them.
    abandoned: Vec<Peer>,
    life: u32,
    begun: Monotonic,
    digest: DefaultHasher,
    tally: Report,
}

/// A client with a session that outlives its connections.
struct Seat {
    client: Client,
    link: Option<Link>,
    is_clean: bool,
    connects_clean: bool,
    /// The server's life that the connection is with.
    life: u32,
}

enum Client {
    Publisher(Publisher),
    Subscriber(Subscriber),
    Witness(Witness),
}

/// Subscribes to all wills.
#[derive(Default)]
struct Witness {
    is_subscribed: bool,
    unreleased: BTreeSet<u16>,
    seen: Vec<MessageId>,
}

/// What goes wrong in a run beside the network. Not both: what a disk that fails does not take (a release, a
/// removal from an outbox) and nobody waits for is not offered to it again, so that a start after it may
/// find, and deliver, a message that was received before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Faults {
    /// There is no store.
    None,
    /// The disk fails now and then.
    Disk,
    /// The server crashes and stops.
    Endings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Load,
    Drain,
}

const SUBSCRIBERS: [&str; 4] = ["all-once-v5", "all-least-v311", "overlapping-v5", "changing-v311"];

impl Run {
    fn new(plan: &Plan) -> Self {
        let mut rng = plan.rng();
        let shards = rng.random_range(1..=4);
        let faults = [Faults::None, Faults::Disk, Faults::Endings, Faults::Endings];
        let faults = faults[rng.random_range(0..faults.len())];
        let mut config = Config { shards, ..Config::default() };
        config.limits.outbox_messages_max = 1_000_000;
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
        ];
        clients.extend(subscribers.map(Client::Subscriber));
        clients.push(Client::Witness(Witness::default()));
        let mut ledger = Ledger::new(&SUBSCRIBERS);
        if faults == Faults::Disk {
            ledger.disk_may_fail();
        }
        let begun = world.now();
        let mut run = Self {
            world,
            shards,
            faults,
            ledger,
            seats: clients.into_iter().map(Seat::new).collect(),
            devices: (0..rng.random_range(2..=4)).map(Device::new).collect(),
            abandoned: Vec::new(),
            life: 0,
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
            0..400 => {
                let shard = rng.random_range(0..self.shards);
                if self.world.is_ready(shard) || rng.random_bool(0.05) {
                    self.world.turn(shard);
                    self.tally.turns += 1;
                }
            }
            400..720 => self.act(rng.random_range(0..self.seats.len()), Phase::Load, rng),
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
            988..992 => self.settle_all(),
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

    /// A connection moves, whoever's it is and whatever is under way on it.
    fn move_client(&mut self, rng: &mut SmallRng) {
        let seats = self.seats.iter().filter_map(|seat| seat.link.as_ref());
        let devices = self.devices.iter().filter_map(Device::link);
        let peers: Vec<&Peer> =
            seats.chain(devices).map(|link| &link.peer).chain(&self.abandoned).collect();
        if peers.is_empty() {
            return;
        }
        let peer = peers[rng.random_range(0..peers.len())];
        self.tally.moves += u64::from(self.world.move_client(peer));
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
        self.digest.write_u64(now.0);
        self.digest.write_u64(self.ledger.moment());
    }

    /// A client of those with long sessions does something.
    fn act(&mut self, at: usize, phase: Phase, rng: &mut SmallRng) {
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
        if link.is_over() {
            link.peer.end();
            seat.link = None;
            return;
        }
        if link.is_accepted {
            seat.client.go_on(&mut self.ledger, link, phase, rng);
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
        let expiry = (property::SESSION_EXPIRY_INTERVAL, Value::Number(SESSION_EXPIRY_SECS));
        let properties = Properties(vec![expiry]);
        // In 3.1.1 a clean session would end with its connection.
        let clean = seat.is_clean && version == Version::V5;
        let connect = wire::connect(version, seat.client.name(), 0, clean, None, &properties);
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

    /// A connection goes, slows down, or is left alone for another one.
    fn disturb(&mut self, rng: &mut SmallRng) {
        let at = rng.random_range(0..self.seats.len());
        let seat = &mut self.seats[at];
        let Some(mut link) = seat.link.take() else { return };
        match rng.random_range(0..10) {
            0..2 => {
                link.peer.reset();
                self.tally.resets += 1;
            }
            // A CONNECT that the server reads after the next one's would take over from that.
            _ if !link.is_accepted => link.peer.reset(),
            2 => link.peer.end(),
            3 => {
                if link.is_accepted && link.unsent() == 0 {
                    link.say(&wire::disconnect());
                    link.flush();
                }
                link.peer.end();
            }
            4 if link.is_accepted && link.unsent() == 0 => {
                self.abandoned.push(link.peer);
                self.tally.take_overs += 1;
                self.connect(at, rng);
            }
            5 => {
                link.peer.set_piece_bytes(rng.random_range(1..64));
                seat.link = Some(link);
            }
            _ => {
                let windows = [0, 1, 100, 4_000, usize::MAX];
                link.peer.set_window(windows[rng.random_range(0..windows.len())]);
                seat.link = Some(link);
            }
        }
    }

    fn fail_disk(&mut self, rng: &mut SmallRng) {
        if self.faults != Faults::Disk {
            return;
        }
        if self.world.is_disk_failing() {
            self.heal_disk();
        } else {
            self.tally.disk_failures += 1;
            self.world.fail_disk(rng.random_range(0..20), rng.random_bool(0.5));
        }
        self.devices.iter_mut().for_each(Device::disk_failed);
    }

    /// The disk works again: as with the embedded store, which tries again after seconds, not before shards
    /// have heard of the failure.
    fn heal_disk(&mut self) {
        if !self.world.is_disk_failing() {
            return;
        }
        for _ in 0..REOPEN_STEPS {
            self.settle_all();
            self.world.advance(DRAIN_STEP);
        }
        self.settle_all();
        self.world.heal_disk();
    }

    /// The process is killed, and begins again.
    fn crash(&mut self, rng: &mut SmallRng) {
        if self.faults != Faults::Endings {
            return;
        }
        self.tally.crashes += 1;
        if rng.random_bool(0.5) {
            // Shards have filed all they can, and the disk has written none of it; a will is among it.
            let now = self.world.now();
            let is_served =
                |device: &&mut Device| device.link().is_some_and(|link| link.is_accepted);
            if let Some(device) = self.devices.iter_mut().find(is_served) {
                device.vanish(now, rng);
            }
            self.world.settle();
        }
        let waiting = self.world.store_waiting();
        // What was filed last is what is still under way: often the crash comes close to the end.
        let lost_max = if rng.random_bool(0.5) { waiting.min(3) } else { waiting };
        let lost = rng.random_range(0..=lost_max);
        self.begin_life(waiting - lost, rng.random_bool(0.5));
    }

    /// The process stops in order, and begins again.
    fn stop(&mut self) {
        if self.faults != Faults::Endings {
            return;
        }
        self.tally.stops += 1;
        self.world.stop();
        self.end_all_sockets();
        for _ in 0..STOP_STEPS_MAX {
            self.world.settle();
            self.world.write_group(ALL);
            self.world.settle();
            if self.world.has_stopped() {
                break;
            }
            self.world.advance(STOP_STEP);
        }
        if !self.world.has_stopped() {
            self.ledger.fault("the shards do not stop");
        }
        self.begin_life(ALL, false);
    }

    /// Has every client's FIN sent, which a stop waits for.
    fn end_all_sockets(&mut self) {
        self.seats.iter().filter_map(|seat| seat.link.as_ref()).for_each(|link| link.peer.end());
        self.devices.iter().filter_map(Device::link).for_each(|link| link.peer.end());
        self.abandoned.iter().for_each(Peer::end);
    }

    fn begin_life(&mut self, written: usize, hears: bool) {
        self.count_turns();
        self.world.crash(written);
        self.life += 1;
        self.ledger.begin_round(self.life);
        let now = self.world.now();
        for device in &mut self.devices {
            device.server_ended(now);
        }
        if !hears {
            // What was on its way to clients is lost.
            self.seats.iter_mut().for_each(|seat| seat.link = None);
        }
        self.abandoned.clear();
    }

    /// Everything that can be done without time passing.
    fn settle_all(&mut self) {
        self.world.settle();
        while self.world.store_waiting() > 0 {
            self.world.write_group(ALL);
            self.world.settle();
        }
    }

    /// Nothing new is begun, everything under way comes to an end, and is judged.
    fn drain(&mut self) {
        self.heal_disk();
        self.abandoned.drain(..).for_each(|peer| peer.end());
        let until = self.world.now().after(PENDING_MAX);
        let mut rng = Plan::new(0, 0).rng();
        for _ in 0..DRAIN_STEPS_MAX {
            for at in 0..self.seats.len() {
                self.act(at, Phase::Drain, &mut rng);
            }
            self.settle_all();
            let now = self.world.now();
            for device in &mut self.devices {
                device.all_is_written(now);
                device.listen(now, &mut self.ledger);
            }
            let rests = self.seats.iter().all(Seat::is_at_rest) && self.ledger.missing() == 0;
            if rests && now > until {
                break;
            }
            self.world.advance(DRAIN_STEP);
        }
        self.settle_all();
        self.watch();
        for seat in self.seats.iter().filter(|seat| !seat.is_at_rest()) {
            let name = seat.client.name();
            self.ledger.fault(format_args!("{name}: it does not come to rest"));
        }
        self.ledger.settle();
        self.devices.iter().for_each(|device| device.judge(&mut self.ledger));
        self.judge_retained();
        self.judge_owners();
    }

    /// Each client that is there has one connection, and no session is nobody's.
    fn judge_owners(&mut self) {
        let served = self.seats.iter().filter(|seat| seat.link.is_some()).count() as u64;
        let sum = |gauge: fn(&World, u16) -> u64| -> u64 {
            (0..self.shards).map(|shard| gauge(&self.world, shard)).sum()
        };
        let open = sum(|world, shard| world.counters(shard).connections.value());
        if open != served {
            self.ledger.fault(format_args!("{served} clients have {open} connections"));
        }
        let sessions = sum(|world, shard| world.counters(shard).sessions.value());
        let clients = (self.seats.len() + self.devices.len()) as u64;
        if sessions > clients {
            self.ledger.fault(format_args!("{clients} clients have {sessions} sessions"));
        }
    }

    /// A new subscriber is sent what is retained.
    fn judge_retained(&mut self) {
        let mut rng = Plan::new(0, 0).rng();
        let mut found = BTreeMap::new();
        let Some(mut link) = self.visit("reader-of-retained", &mut rng) else { return };
        link.say(&wire::subscribe(Version::V311, 1, &[("r/#", 1)]));
        for _ in 0..DRAIN_STEPS_MAX {
            link.flush();
            self.settle_all();
            let mut is_quiet = true;
            while let Some(packet) = link.receive() {
                is_quiet = false;
                hash(&mut self.digest, &packet);
                let Packet::Publish(publish) = packet else { continue };
                link.say(&wire::ack(PUBACK, publish.packet_id));
                match message::read(&publish.payload) {
                    Ok(id) if publish.retain => {
                        found.insert(publish.topic, id);
                    }
                    _ => self.ledger.fault("a retained message that is none"),
                }
            }
            if is_quiet {
                break;
            }
        }
        self.ledger.judge_retained(&found);
        self.leave(link);
    }

    /// A client whose session ends with its connection.
    fn visit(&mut self, name: &str, rng: &mut SmallRng) -> Option<Link> {
        let connect = wire::connect(Version::V311, name, 0, true, None, &Properties::default());
        let mut link = Link::open(&mut self.world, self.shards, Version::V311, connect, rng);
        link.flush();
        self.settle_all();
        if let Some(Packet::Connack { code: 0, .. }) = link.receive() {
            return Some(link);
        }
        self.ledger.fault(format_args!("{name} could not connect"));
        None
    }

    fn leave(&mut self, mut link: Link) {
        link.say(&wire::disconnect());
        link.flush();
        link.peer.end();
        self.settle_all();
    }

    /// Every client goes for good; then nothing is left of them.
    fn end(&mut self) {
        let mut rng = Plan::new(0, 0).rng();
        let mut names: Vec<String> =
            self.seats.iter().map(|seat| seat.client.name().to_owned()).collect();
        names.extend(self.devices.iter().map(|device| device.name.clone()));
        if let Some(mut link) = self.visit("janitor", &mut rng) {
            for seat in &self.seats {
                let Client::Publisher(publisher) = &seat.client else { continue };
                for topic in publisher.retained_topics() {
                    let nothing = Publish { topic, retain: true, ..Publish::default() };
                    link.say(&wire::publish(Version::V311, &nothing));
                }
            }
            self.leave(link);
        }
        for seat in &mut self.seats {
            if let Some(link) = seat.link.take() {
                link.peer.end();
            }
        }
        self.settle_all();
        for name in names {
            if let Some(link) = self.visit(&name, &mut rng) {
                self.leave(link);
            }
        }
        // What is tidied up now and then is, by then.
        for _ in 0..20 {
            self.world.advance(DRAIN_STEP);
            self.settle_all();
        }
        let leftovers = self.world.leftovers();
        if !leftovers.is_empty() {
            self.ledger.fault(format_args!("every client has gone, and left {leftovers:?}"));
        }
    }

    fn count_turns(&mut self) {
        for shard in 0..self.shards {
            let counters = self.world.counters(shard);
            self.tally.expired += counters.expired.value();
            self.tally.full_mailboxes += counters.limit_mailbox.value();
        }
    }

    fn report(mut self) -> Report {
        self.count_turns();
        let Counts { acknowledged, delivered, repeated, resumed, retained, .. } =
            self.ledger.counts();
        Report {
            virtual_time: self.world.now() - self.begun,
            acknowledged,
            delivered,
            repeated,
            resumed,
            retained,
            wills: self.devices.iter().map(Device::wills_seen).sum(),
            wills_kept: self.devices.iter().map(Device::wills_kept).sum(),
            kernel_pings: self.devices.iter().map(Device::kernel_pings).sum(),
            digest: self.digest.finish(),
            ..self.tally
        }
    }
}

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.turns += other.turns;
        self.virtual_time += other.virtual_time;
        self.acknowledged[0] += other.acknowledged[0];
        self.acknowledged[1] += other.acknowledged[1];
        self.delivered += other.delivered;
        self.repeated += other.repeated;
        self.resumed += other.resumed;
        self.retained += other.retained;
        self.wills += other.wills;
        self.wills_kept += other.wills_kept;
        self.expired += other.expired;
        self.kernel_pings += other.kernel_pings;
        self.crashes += other.crashes;
        self.stops += other.stops;
        self.disk_failures += other.disk_failures;
        self.resets += other.resets;
        self.take_overs += other.take_overs;
        self.full_mailboxes += other.full_mailboxes;
        self.moves += other.moves;
        self.digest ^= other.digest;
    }
}

impl Report {
    /// The path taken: everything that can happen has.
    pub(crate) fn prove(&self) {
        let taken = [
            self.acknowledged[0],
            self.acknowledged[1],
            self.repeated,
            self.resumed,
            self.retained,
            self.wills,
            self.wills_kept,
            self.expired,
            self.kernel_pings,
            self.crashes,
            self.stops,
            self.disk_failures,
            self.resets,
            self.take_overs,
            self.full_mailboxes,
            self.moves,
        ];
        assert!(taken.iter().all(|&count| count > 0), "{self:?}");
    }
}

impl Seat {
    fn new(client: Client) -> Self {
        Self { client, link: None, is_clean: true, connects_clean: false, life: 0 }
    }

    fn hear(&mut self, ledger: &mut Ledger, packet: Packet) {
        let Some(link) = &mut self.link else { return };
        match packet {
            Packet::Connack { session_present, code: 0, .. } => {
                link.is_accepted = true;
                self.begin(ledger, session_present);
            }
            Packet::Connack { .. } => {}
            packet => self.client.hear(ledger, link, packet),
        }
    }

    fn begin(&mut self, ledger: &mut Ledger, present: bool) {
        self.is_clean = false;
        let clean = self.connects_clean;
        let Some(link) = &mut self.link else { return };
        match &mut self.client {
            Client::Publisher(publisher) => publisher.begin(ledger, link, clean, present),
            Client::Subscriber(subscriber) => subscriber.begin(ledger, clean, present, self.life),
            Client::Witness(witness) => {
                if witness.is_subscribed && !present {
                    ledger.fault("witness: its session is gone");
                }
                if !witness.is_subscribed {
                    link.say(&wire::subscribe(Version::V5, 1, &[("w/#", 2)]));
                }
            }
        }
    }

    fn is_at_rest(&self) -> bool {
        let is_served = self.link.as_ref().is_some_and(|link| link.is_accepted);
        is_served
            && match &self.client {
                Client::Publisher(publisher) => publisher.is_at_rest(),
                Client::Subscriber(subscriber) => subscriber.is_at_rest(),
                Client::Witness(witness) => witness.unreleased.is_empty(),
            }
    }
}

impl Client {
    fn name(&self) -> &str {
        match self {
            Self::Publisher(publisher) => &publisher.name,
            Self::Subscriber(subscriber) => subscriber.name,
            Self::Witness(_) => "witness",
        }
    }

    fn version(&self) -> Version {
        match self {
            Self::Publisher(publisher) => publisher.version,
            Self::Subscriber(subscriber) => subscriber.version,
            Self::Witness(_) => Version::V5,
        }
    }

    fn hear(&mut self, ledger: &mut Ledger, link: &mut Link, packet: Packet) {
        match self {
            Self::Publisher(publisher) => publisher.hear(ledger, link, &packet),
            Self::Subscriber(subscriber) => subscriber.hear(ledger, link, packet),
            Self::Witness(witness) => witness.hear(ledger, link, packet),
        }
    }

    fn go_on(&mut self, ledger: &mut Ledger, link: &mut Link, phase: Phase, rng: &mut SmallRng) {
        match self {
            Self::Publisher(publisher) if phase == Phase::Load => {
                publisher.publish(ledger, link, rng);
            }
            Self::Subscriber(subscriber) => {
                if phase == Phase::Load && rng.random_bool(0.1) {
                    subscriber.choose_change(rng);
                }
                subscriber.ask(ledger, link);
            }
            Self::Publisher(_) | Self::Witness(_) => {}
        }
    }

    /// Wills that have come.
    fn take_wills(&mut self) -> Vec<MessageId> {
        match self {
            Self::Witness(witness) => std::mem::take(&mut witness.seen),
            Self::Publisher(_) | Self::Subscriber(_) => Vec::new(),
        }
    }
}

impl Witness {
    fn hear(&mut self, ledger: &mut Ledger, link: &mut Link, packet: Packet) {
        match packet {
            Packet::Suback { codes, .. } if codes == [2] => self.is_subscribed = true,
            Packet::Publish(publish) => {
                match publish.qos {
                    2 => link.say(&wire::ack(PUBREC, publish.packet_id)),
                    _ => link.say(&wire::ack(PUBACK, publish.packet_id)),
                }
                if publish.qos == 2 && !self.unreleased.insert(publish.packet_id) {
                    return;
                }
                match message::read(&publish.payload) {
                    Ok(id) => self.seen.push(id),
                    Err(text) => ledger.fault(format_args!("witness: {text}")),
                }
            }
            Packet::Ack { kind: PUBREL, packet_id, .. } => {
                self.unreleased.remove(&packet_id);
                link.say(&wire::ack(PUBCOMP, packet_id));
            }
            Packet::Disconnect { .. } => {}
            other => ledger.fault(format_args!("witness: what is {other:?}?")),
        }
    }
}

fn hash(digest: &mut DefaultHasher, packet: &Packet) {
    digest.write(format!("{packet:?}").as_bytes());
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, steps, turns, acknowledged: [least, once], .. } = *self;
        let hours = self.virtual_time.as_secs_f64() / 3_600.0;
        write!(
            formatter,
            "simulation: {runs} runs, {steps} steps, {turns} turns, {hours:.1} hours of virtual time; \
             {least} QoS 1 and {once} QoS 2 messages acknowledged, {} delivered, {} again; {} sessions \
             resumed, {} retained topics compared, {} wills published and {} kept back, {} connections \
             expired, {} pings answered by the kernel; {} crashes, {} stops, {} failures of the disk, {} \
             resets, {} take-overs, {} moves, mailboxes full {} times",
            self.delivered,
            self.repeated,
            self.resumed,
            self.retained,
            self.wills,
            self.wills_kept,
            self.expired,
            self.kernel_pings,
            self.crashes,
            self.stops,
            self.disk_failures,
            self.resets,
            self.take_overs,
            self.moves,
            self.full_mailboxes,
        )
    }
}
