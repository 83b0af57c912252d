//! Shards on ports in memory: the same code that serves on the ring, in one thread, with a clock that
//! stands still unless it is told to move. [`World`] holds the shards and says whose turn it is; a
//! [`Peer`] is a client's end of a connection, in bytes.
//!
//! Nothing is left to chance: the same calls with the same seed bring the same bytes. Faults are the
//! callers' to make: which shard turns when, how far the clock moves, how far a peer reads.
//!
//! Of tests only: it exists for unit tests and, by the feature `simulation`, for other crates' tests.

mod answerer;
mod bell;
mod clock;
mod path;
mod randomness;
mod store;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use push_common::clock::Monotonic;

use super::counters::ShardCounters;
use super::door::Doors;
use super::entrance::EntranceSetup;
use super::journal::{Completions, OpenRequests, StoreSink};
use super::listeners::{Listener, Listeners};
use super::ports::{Ports, Wire as _};
use super::post::{MAILBOX_MESSAGES_MAX, Mail, Mailbox};
use super::proxies::Proxies;
use super::reviews::Scope;
use super::sessions::RecoveredPart;
use super::turn::{Shard, ShardSetup};
use super::{ShardStore, Shared, SharedSetup, TlsConfigs};
use crate::access::Access;
use crate::broker::{Retained, SessionMemory};
use crate::config::{Config, TrustedProxy};
use crate::store::{Recovered, SessionNumber, Store as _};
use crate::transport::Kind;
use bell::Bell;
use clock::VirtualClock;
use path::{MemoryPath, Slots};
use randomness::SeededRandomness;
use store::{Disk, SimulatedStore, Timing};
use wire::{
    LISTENER_PROXIED, LISTENER_TCP, LISTENER_TLS, LISTENER_WEBSOCKET, MemoryWire, NETWORK,
    OTHER_NETWORK,
};

pub use answerer::{LateAnswerer, Question};
pub use store::Written;
pub use wire::Peer;

/// Turns of all shards without the clock moving, after which they are believed never to come to rest.
const TURNS_MAX: u32 = 1_000_000;

/// Slots of the kernel path.
const SLOTS: usize = 4_096;

/// Ports in memory.
#[derive(Debug)]
enum Simulated {}

impl Ports for Simulated {
    type Wire = MemoryWire;
    type Liveness = MemoryPath;
    type Clock = VirtualClock;
    type Randomness = SeededRandomness;
}

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the shards run with.
    pub config: Arc<Config>,
    /// Of everything random.
    pub seed: u64,
    /// Whether there is a store.
    pub is_durable: bool,
    /// Messages that a mailbox between shards holds.
    pub mailbox_messages_max: usize,
}

/// The shards of one process, their clients and their clock. The process may crash or stop, and begin again
/// with what it had on disk.
#[derive(Debug)]
pub struct World {
    setup: Setup,
    /// Says who clients are that come with a user name.
    answerer: LateAnswerer,
    clock: VirtualClock,
    randomness: SeededRandomness,
    shared: Arc<Shared>,
    store: Option<Arc<SimulatedStore>>,
    shards: Vec<SimulatedShard>,
    doors: Arc<Doors>,
}

#[derive(Debug)]
struct SimulatedShard {
    shard: Shard<Simulated>,
    counters: Arc<ShardCounters>,
    bell: Arc<Bell>,
    /// When it turns, if nothing comes before.
    due: Monotonic,
    clock: VirtualClock,
    has_ended: bool,
}

impl World {
    /// As many shards as `config` says, without store; each accepts. `seed`: of everything random.
    pub fn new(config: &Arc<Config>, seed: u64) -> Self {
        let mailbox_messages_max = MAILBOX_MESSAGES_MAX;
        let config = Arc::clone(config);
        Self::with(Setup { config, seed, is_durable: false, mailbox_messages_max })
    }

    /// As many shards as the configuration says; each accepts. Nothing is on disk yet.
    pub fn with(setup: Setup) -> Self {
        let clock = VirtualClock::new();
        let mut randomness = SeededRandomness(setup.seed);
        let answerer = LateAnswerer::default();
        let found = (Disk::default(), SessionNumber(0));
        let (shared, store, shards) = start(&setup, &answerer, &clock, &mut randomness, found);
        let doors = Doors::new(&setup.config, shared.journal.all_completions());
        let mut world = Self { setup, answerer, clock, randomness, shared, store, shards, doors };
        world.begin();
        world
    }

    /// Not before every shard is there.
    fn begin(&mut self) {
        for shard in &mut self.shards {
            shard.shard.begin();
            shard.begin_turn();
        }
    }

    /// The process ends at once, and begins again. Of what waited for the disk a part got there, and nobody was
    /// told.
    pub fn crash(&mut self, written: Written) {
        self.doors.close();
        let disk = self.store.as_ref().map(|store| store.left_on_disk(written));
        // Numbers of sessions are not used again.
        let next_number = self.shared.journal.next_number();
        // Its sockets go with it.
        self.shards.clear();
        let found = (disk.unwrap_or_default(), next_number);
        // Nobody answers what the process had asked.
        self.answerer = LateAnswerer::default();
        let (shared, store, shards) =
            start(&self.setup, &self.answerer, &self.clock, &mut self.randomness, found);
        self.doors = Doors::new(&self.setup.config, shared.journal.all_completions());
        (self.shared, self.store, self.shards) = (shared, store, shards);
        self.begin();
    }

    /// The ways in from outside the shards, until the process ends.
    pub fn doors(&self) -> &Arc<Doors> {
        &self.doors
    }

    /// The same befalls the machine, which has booted so long before the process begins again: the monotonic
    /// clock says so.
    pub fn crash_machine(&mut self, written: Written, uptime: Duration) {
        self.clock = self.clock.booted(uptime);
        self.crash(written);
    }

    /// The wall clock is set, by so many milliseconds; the store is told, unless there is no process that could
    /// notice.
    pub fn set_wall_clock(&mut self, by_millis: i64, is_noticed: bool) {
        self.clock.set_wall(by_millis);
        if let Some(store) = self.store.as_ref().filter(|_| is_noticed) {
            store.clock_was_set();
        }
    }

    /// What waits for the disk, in bytes.
    pub fn store_waiting_bytes(&self) -> u64 {
        self.store.as_ref().map_or(0, |store| store.backlog_bytes())
    }

    /// How many requests wait for the disk.
    pub fn store_waiting(&self) -> usize {
        self.store.as_ref().map_or(0, |store| store.waiting())
    }

    /// The disk takes a group of so many requests at most.
    pub fn write_group(&mut self, requests_max: usize) {
        if let Some(store) = &self.store {
            store.write_group(requests_max);
        }
    }

    /// The disk fails with a group of so many requests, which `is_written` all the same, and goes on failing
    /// until it heals.
    pub fn fail_disk(&mut self, requests_max: usize, is_written: bool) {
        if let Some(store) = &self.store {
            store.fail(requests_max, is_written);
        }
    }

    /// The disk works again.
    pub fn heal_disk(&mut self) {
        if let Some(store) = &self.store {
            store.heal();
        }
    }

    /// Whether the disk fails.
    pub fn is_disk_failing(&self) -> bool {
        self.store.as_ref().is_some_and(|store| store.is_failing())
    }

    /// Every look of a shard at the clock moves it so far: a turn takes time.
    pub fn set_clock_step(&mut self, step: Duration) {
        self.clock.set_step(step);
    }

    /// So many receives of this shard find no buffer.
    pub fn starve(&mut self, shard: u16, receives: u32) {
        self.shards[usize::from(shard)].shard.wire.starve(receives);
    }

    /// Moves the clock, and no shard turns meanwhile: the machine was asleep.
    pub fn leap(&mut self, by: Duration) {
        self.clock.set(self.clock.peek().after(by));
    }

    /// Wakes a shard that has nothing to do: the machine may do so at any time.
    pub fn wake(&mut self, shard: u16) {
        self.shards[usize::from(shard)].bell.ring();
    }

    /// What has not been given back, by what it is: all of it is gone when every client is, for good.
    pub fn leftovers(&self) -> Vec<(String, u64)> {
        let mut left = Vec::new();
        for (index, shard) in self.shards.iter().enumerate() {
            left.extend(shard.leftovers().map(|(name, n)| (format!("{name} of shard {index}"), n)));
        }
        let memory = self.shared.memory.kinds();
        left.extend(memory.map(|(name, kind)| (format!("bytes of {name}"), kind.used_bytes())));
        left.push(("open sockets".to_owned(), self.shared.entrance.open().into()));
        left.push(("owners".to_owned(), self.shared.entrance.owners().len() as u64));
        left.push(("unanswered questions".to_owned(), self.shared.questions.waiting().into()));
        if let Some(store) = &self.store {
            let kept = store.kept().map(|kept| kept as u64);
            let names = ["sessions on disk", "messages on disk", "wills on disk"];
            left.extend(names.map(str::to_owned).into_iter().zip(kept));
        }
        left.retain(|(_, count)| *count > 0);
        left
    }

    /// Whoever says who clients are that come with a user name. After a crash it is another one.
    pub fn answerer(&self) -> &LateAnswerer {
        &self.answerer
    }

    /// The time, whatever the clocks of the machine say.
    pub fn now(&self) -> Monotonic {
        self.clock.time()
    }

    /// A client connects, over TCP, to a shard's listener.
    pub fn connect(&mut self, shard: u16) -> Peer {
        self.shards[usize::from(shard)].shard.wire.connect(LISTENER_TCP)
    }

    /// A client moves to a shard with its session, within its shard if that is it, if it is served: as soon as its
    /// operations have ended, and all shards have come to rest. Returns whether that has begun.
    pub fn move_client(&mut self, peer: &Peer, to: u16) -> bool {
        if peer.is_closed() {
            return false;
        }
        let address = peer.address();
        self.shards.iter_mut().any(|one| one.begins(|shard| shard.move_client_of(address, to)))
    }

    /// Whether a shard has received bytes of this client, and has not read its CONNECT whole: it may yet do so though
    /// the client resets the connection.
    pub fn may_read_connect(&self, peer: &Peer) -> bool {
        let address = peer.address();
        let mut shards = self.shards.iter().filter(|one| !one.has_ended);
        !peer.is_closed()
            && peer.is_heard()
            && shards.any(|one| one.shard.awaits_connect_of(address))
    }

    /// The session of a client that is away moves to another shard, when all of them have come to rest. Returns
    /// whether that has begun.
    pub fn move_session(&mut self, client_id: &str, to: u16) -> bool {
        self.shards.iter_mut().any(|one| one.begins(|shard| shard.move_session_of(client_id, to)))
    }

    /// A client connects over WebSocket, whose request and frames the client has to send.
    pub fn connect_websocket(&mut self, shard: u16) -> Peer {
        self.shards[usize::from(shard)].shard.wire.connect(LISTENER_WEBSOCKET)
    }

    /// What clients over TLS are served with, until the process ends; before, none is.
    pub fn serve_tls(&self, configs: TlsConfigs) {
        self.shared.entrance.shared_tls().replace(configs);
    }

    /// The same as `connect`, by the shard's listener for TLS. The handshake's bytes are not the seed's.
    pub fn connect_tls(&mut self, shard: u16) -> Peer {
        self.shards[usize::from(shard)].shard.wire.connect(LISTENER_TLS)
    }

    /// A proxy connects, by the shard's listener for those, or somebody else does.
    pub fn connect_proxied(&mut self, shard: u16, is_trusted: bool) -> Peer {
        let network = if is_trusted { NETWORK } else { OTHER_NETWORK };
        self.shards[usize::from(shard)].shard.wire.connect_from(network, LISTENER_PROXIED)
    }

    /// The same by its listener for WebSocket, where a request says for whom it is.
    pub fn connect_forwarded(&mut self, shard: u16, is_trusted: bool) -> Peer {
        let network = if is_trusted { NETWORK } else { OTHER_NETWORK };
        self.shards[usize::from(shard)].shard.wire.connect_from(network, LISTENER_WEBSOCKET)
    }

    /// The shard that a client's session lives with.
    pub fn home_of(&self, client_id: &str) -> u16 {
        self.shared.home_of(client_id)
    }

    /// A shard's counters.
    pub fn counters(&self, shard: u16) -> &ShardCounters {
        &self.shards[usize::from(shard)].counters
    }

    /// How often a shard looked for something to send to one of its clients.
    pub fn flushes(&self, shard: u16) -> u64 {
        self.shards[usize::from(shard)].shard.flushes()
    }

    /// The kernel answers a ping of this client, unless it may not: returns whether it has.
    pub fn answer_ping(&mut self, peer: &Peer) -> bool {
        let now = self.clock.peek();
        // Of an earlier process another one may have the address.
        if peer.is_closed() {
            return false;
        }
        let mut paths = self.shards.iter().filter_map(|shard| shard.shard.path.port());
        paths.any(|path| path.answer_ping(peer.address(), now))
    }

    /// How far the server has parsed this client's bytes, as the kernel is told; `None`: it is told nothing.
    pub fn rx_of(&self, peer: &Peer) -> Option<u64> {
        let mut paths = self.shards.iter().filter_map(|shard| shard.shard.path.port());
        paths.find_map(|path| path.rx_of(peer.address()))
    }

    /// What is not given back: slots of the kernel path and receive buffers, of all shards.
    pub fn on_loan(&self) -> usize {
        let loans = self.shards.iter().map(|shard| {
            let slots = shard.shard.path.port().map_or(0, MemoryPath::taken);
            slots + shard.shard.wire.pieces_lent()
        });
        loans.sum()
    }

    /// Whether a shard has something to do now.
    pub fn is_ready(&mut self, shard: u16) -> bool {
        let now = self.clock.peek();
        self.shards[usize::from(shard)].is_ready(now)
    }

    /// One turn of a shard, whether or not it has something to do.
    pub fn turn(&mut self, shard: u16) {
        self.shards[usize::from(shard)].turn();
    }

    /// Lets shards turn, one after the other, until none has something to do now.
    ///
    /// # Panics
    /// If they never come to rest: a bug.
    pub fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let now = self.clock.peek();
            let mut rests = true;
            for shard in &mut self.shards {
                if shard.is_ready(now) {
                    shard.turn();
                    rests = false;
                }
            }
            if rests {
                return;
            }
        }
        panic!("the shards do not come to rest");
    }

    /// Moves the clock, and lets each shard turn whenever it is due in between.
    pub fn advance(&mut self, by: Duration) {
        let end = self.clock.peek().after(by);
        self.settle();
        while let Some(due) = self.next_due().filter(|due| *due <= end) {
            self.clock.set(due);
            self.settle();
        }
        self.clock.set(end);
        self.settle();
    }

    /// The files say something else from now on, and shards look at their clients.
    pub fn reload(&mut self, access: Access) {
        self.answerer.set_access(access);
        self.shared.entrance.reviews().begin(Scope { certificates: true });
        for shard in &self.shards {
            shard.bell.ring();
        }
    }

    /// Orders the shards to stop.
    pub fn stop(&mut self) {
        self.shared.entrance.stop();
        for shard in &self.shards {
            shard.bell.ring();
        }
    }

    /// Whether all of them have stopped.
    pub fn has_stopped(&self) -> bool {
        self.shards.iter().all(|shard| shard.has_ended)
    }

    fn next_due(&self) -> Option<Monotonic> {
        self.shards.iter().filter(|shard| !shard.has_ended).map(|shard| shard.due).min()
    }
}

/// A process: what all shards share, its store and the shards, none of which has begun.
fn start(
    setup: &Setup,
    answerer: &LateAnswerer,
    clock: &VirtualClock,
    randomness: &mut SeededRandomness,
    (mut disk, next_number): (Disk, SessionNumber),
) -> (Arc<Shared>, Option<Arc<SimulatedStore>>, Vec<SimulatedShard>) {
    let config = &setup.config;
    let bells: Vec<Arc<Bell>> = (0..config.shards).map(|_| Arc::default()).collect();
    let completions = bells.iter().map(|bell| Completions::new(Box::new(Arc::clone(bell))));
    let completions: Arc<Vec<_>> = Arc::new(completions.collect());
    let reading = clock.reading();
    let retained = Retained::new(config.retained_messages_max, config.retained_bytes_max);
    let retained = Arc::new(retained);
    let memory = SessionMemory::new(config.totals.into());
    let open_requests = OpenRequests::default();
    let (store, recovered) = if setup.is_durable {
        let inflight_max = config.limits.inflight_max;
        let watch = disk.resume_clock(reading);
        let recovered = disk.recover(next_number, inflight_max, &memory, &retained, clock.peek());
        let sink = StoreSink::new(Arc::clone(&completions), open_requests.clone());
        let timing = Timing { clock: clock.clone(), watch };
        (Some(Arc::new(SimulatedStore::new(disk, sink, Arc::clone(&retained), timing))), recovered)
    } else {
        let clocks = reading.clocks;
        (None, Recovered { clocks, next_number, ..Recovered::default() })
    };
    let shared_setup = SharedSetup {
        config: Arc::clone(config),
        entrance: EntranceSetup {
            connections_max: config.connections_max.unwrap_or(u32::MAX),
            listeners: listeners(),
            tls: Arc::default(),
        },
        answerer: Arc::new(answerer.clone()),
        retained,
        memory,
        store: store.clone().map(|store| -> Arc<ShardStore> { store }),
        open_requests,
        completions,
        hash_seed: randomness.next(),
        networks_seed: randomness.next(),
    };
    let (shared, parts) = Shared::new(shared_setup, recovered);
    let mailboxes: Arc<[_]> =
        bells.iter().map(|_| Mailbox::with_room(setup.mailbox_messages_max)).collect();
    let slots = Slots::new(SLOTS);
    let shards = (0..config.shards).zip(parts).map(|(index, recovered)| {
        let path = MemoryPath::new(index, slots.clone());
        let begun = (index, path, recovered);
        SimulatedShard::new(&shared, &mailboxes, clock, randomness, &bells, begun)
    });
    let shards = shards.collect();
    (shared, store, shards)
}

/// One of each kind that a test connects to, in the order of the wire's.
fn listeners() -> Listeners {
    let kinds = [("mqtt", Kind::Plain), ("websocket", Kind::WebSocket), ("tls", Kind::Tls)];
    let direct = kinds.map(|(name, kind)| Listener::of_kind(name, kind));
    let proxied = Listener::of_kind("proxied", Kind::Plain).behind_proxies();
    let network = IpNet::new_assert(NETWORK.into(), 24);
    let proxies = Proxies::new(&[TrustedProxy::Network(network)]);
    Listeners::of(direct.into_iter().chain([proxied]), proxies)
}

impl SimulatedShard {
    fn new(
        shared: &Arc<Shared>,
        mailboxes: &Arc<[Mailbox<Mail<Simulated>>]>,
        clock: &VirtualClock,
        randomness: &mut SeededRandomness,
        bells: &[Arc<Bell>],
        (index, path, recovered): (u16, MemoryPath, RecoveredPart),
    ) -> Self {
        let counters = Arc::new(ShardCounters::default());
        let bell = Arc::clone(&bells[usize::from(index)]);
        let shard = Shard::new(ShardSetup {
            index,
            shared: Arc::clone(shared),
            mailboxes: Arc::clone(mailboxes),
            wire: MemoryWire::new(
                shared.entrance.listeners().len(),
                Arc::clone(&bell),
                bells.to_vec(),
            ),
            path: Some(path),
            clock: clock.clone(),
            randomness: SeededRandomness(randomness.next()),
            counters: Arc::clone(&counters),
            recovered,
        });
        let due = clock.peek();
        Self { shard, counters, bell, due, clock: clock.clone(), has_ended: false }
    }

    /// What it holds, by what it is.
    fn leftovers(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let Self { shard, counters, .. } = self;
        let slots = shard.path.port().map_or(0, MemoryPath::taken);
        let gauges = [
            ("connections", counters.connections.value()),
            ("sessions", counters.sessions.value()),
            ("subscriptions", counters.subscriptions.value()),
            ("armed", counters.armed.value()),
        ];
        let counts = [
            ("slots of the kernel path", slots),
            ("receive buffers", shard.wire.pieces_lent()),
            ("operations on sockets", shard.wire.under_way()),
        ];
        let counts = counts.into_iter().chain(shard.leftovers());
        gauges.into_iter().chain(counts.map(|(name, count)| (name, count as u64)))
    }

    fn is_ready(&mut self, now: Monotonic) -> bool {
        !self.has_ended && (self.due <= now || self.shard.wire.is_ready())
    }

    fn turn(&mut self) {
        if self.has_ended {
            return;
        }
        self.shard.wire.collect();
        self.shard.turn();
        if self.shard.has_stopped() {
            self.shard.end();
            self.has_ended = true;
            return;
        }
        self.begin_turn();
    }

    /// Calls `begin` between two turns. If that has begun something, submits what it asked of the ring, and wakes the
    /// shard. Returns whether it has.
    fn begins(&mut self, begin: impl FnOnce(&mut Shard<Simulated>) -> bool) -> bool {
        if self.has_ended || !begin(&mut self.shard) {
            return false;
        }
        self.shard.wire.submit();
        self.bell.ring();
        true
    }

    /// Up to the wait, which is the caller's.
    fn begin_turn(&mut self) {
        let timeout = self.shard.begin_turn();
        self.shard.wire.submit();
        self.due = self.clock.peek().after(timeout);
    }
}
