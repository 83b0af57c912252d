//! Shards on ports in memory: the same code that serves on the ring, in one thread, with a clock that
//! stands still unless it is told to move. [`World`] holds the shards and says whose turn it is; a
//! [`Peer`] is a client's end of a connection, in bytes.
//!
//! Nothing is left to chance: the same calls with the same seed bring the same bytes. Faults are the
//! callers' to make: which shard turns when, how far the clock moves, how far a peer reads.
//!
//! Of tests only: it exists for unit tests and, by the feature `simulation`, for other crates' tests.

mod bell;
mod path;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use push_common::clock::Monotonic;

use super::accept::Transport;
use super::counters::ShardCounters;
use super::mail::Mail;
use super::mailbox::Mailbox;
use super::ports::{Clock, Ports, Randomness, Waker};
use super::recovered::RecoveredPart;
use super::ticket::Completions;
use super::worker::{Worker, WorkerSetup};
use super::{Shared, SharedSetup};
use crate::broker::{Retained, SessionMemory};
use crate::config::Config;
use crate::mqtt::Access;
use crate::store::{Clocks, Recovered, WallMillis};
use bell::Bell;
use path::MemoryPath;
use wire::{LISTENER_TCP, MemorySocket, MemoryWire};

pub use wire::Peer;

/// When the clock begins. Not at 0, which the shard takes for never.
const BEGINNING: Monotonic = Monotonic(1_000_000_000_000);

/// The wall clock's time then: 2026-01-01.
const BEGINNING_WALL: WallMillis = WallMillis(1_767_225_600_000);

/// Turns of all shards without the clock moving, after which they are believed never to come to rest.
const TURNS_MAX: u32 = 1_000_000;

/// Slots of the kernel path, a shard.
const SLOTS: usize = 1_024;

/// Ports in memory.
#[derive(Debug)]
enum Simulated {}

impl Ports for Simulated {
    type Wire = MemoryWire;
    type Liveness = MemoryPath;
    type Clock = VirtualClock;
    type Randomness = SeededRandomness;
}

/// The shards of one process, their clients and their clock.
#[derive(Debug)]
pub struct World {
    clock: VirtualClock,
    shared: Arc<Shared>,
    shards: Vec<Shard>,
}

#[derive(Debug)]
struct Shard {
    worker: Worker<Simulated>,
    counters: Arc<ShardCounters>,
    bell: Arc<Bell>,
    /// When it turns, if nothing comes before.
    due: Monotonic,
    has_ended: bool,
}

impl World {
    /// As many shards as `config` says, without store; each accepts. `seed`: of everything random.
    pub fn new(config: &Arc<Config>, seed: u64) -> Self {
        let clock = VirtualClock::new(BEGINNING);
        let mut randomness = SeededRandomness(seed);
        let bells: Vec<Arc<Bell>> = (0..config.shards).map(|_| Arc::default()).collect();
        let completions = bells.iter().map(|bell| Completions::new(Box::new(Arc::clone(bell))));
        let clocks = Clocks { monotonic: BEGINNING, wall: BEGINNING_WALL };
        let retained = Retained::new(config.retained_messages_max, config.retained_bytes_max);
        let setup = SharedSetup {
            config: Arc::clone(config),
            access: Access::default(),
            connections_max: config.connections_max.unwrap_or(u32::MAX),
            retained: Arc::new(retained),
            memory: SessionMemory::new(config.totals.into()),
            store: None,
            completions: Arc::new(completions.collect()),
            hash_seed: randomness.next(),
            networks_seed: randomness.next(),
        };
        let recovered = Recovered { clocks, ..Recovered::default() };
        let (shared, parts) = Shared::new(setup, recovered);
        let mailboxes: Arc<[_]> = bells.iter().map(|_| Mailbox::new()).collect();
        let shards = (0..config.shards).zip(parts).map(|(index, recovered)| {
            Shard::new(&shared, &mailboxes, &clock, &mut randomness, &bells, (index, recovered))
        });
        let shards = shards.collect();
        let mut world = Self { clock, shared, shards };
        // Not before: every shard is there now.
        for shard in &mut world.shards {
            shard.worker.begin();
            shard.begin_turn();
        }
        world
    }

    /// The time.
    pub fn now(&self) -> Monotonic {
        self.clock.now()
    }

    /// A client connects, over TCP, to a shard's listener.
    pub fn connect(&mut self, shard: u16) -> Peer {
        self.shards[usize::from(shard)].worker.wire.connect(LISTENER_TCP)
    }

    /// The shard that a client's session lives with.
    pub fn home_of(&self, client_id: &str) -> u16 {
        self.shared.home_of(client_id)
    }

    /// A shard's counters.
    pub fn counters(&self, shard: u16) -> &ShardCounters {
        &self.shards[usize::from(shard)].counters
    }

    /// The kernel answers a ping of this client, unless it may not: returns whether it has.
    pub fn answer_ping(&mut self, peer: &Peer) -> bool {
        let now = self.clock.now();
        let mut paths = self.shards.iter().filter_map(|shard| shard.worker.path.port());
        paths.any(|path| path.answer_ping(peer.address(), now))
    }

    /// What is not given back: slots of the kernel path and receive buffers, of all shards.
    pub fn on_loan(&self) -> usize {
        let loans = self.shards.iter().map(|shard| {
            let slots = shard.worker.path.port().map_or(0, MemoryPath::taken);
            slots + shard.worker.wire.pieces_lent()
        });
        loans.sum()
    }

    /// Whether a shard has something to do now.
    pub fn is_ready(&mut self, shard: u16) -> bool {
        let now = self.clock.now();
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
        let now = self.clock.now();
        for _ in 0..TURNS_MAX {
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
        let end = self.clock.now().after(by);
        self.settle();
        while let Some(due) = self.next_due().filter(|due| *due <= end) {
            self.clock.set(due);
            self.settle();
        }
        self.clock.set(end);
        self.settle();
    }

    /// Orders the shards to stop.
    pub fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        for shard in &self.shards {
            shard.bell.wake();
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

impl Shard {
    fn new(
        shared: &Arc<Shared>,
        mailboxes: &Arc<[Mailbox<Mail<MemorySocket>>]>,
        clock: &VirtualClock,
        randomness: &mut SeededRandomness,
        bells: &[Arc<Bell>],
        (index, recovered): (u16, RecoveredPart),
    ) -> Self {
        let counters = Arc::new(ShardCounters::default());
        let bell = Arc::clone(&bells[usize::from(index)]);
        let worker = Worker::new(WorkerSetup {
            index,
            shared: Arc::clone(shared),
            mailboxes: Arc::clone(mailboxes),
            transports: vec![Transport::Tcp],
            wire: MemoryWire::new(1, Arc::clone(&bell), bells.to_vec()),
            path: Some(MemoryPath::new(SLOTS)),
            clock: clock.clone(),
            randomness: SeededRandomness(randomness.next()),
            counters: Arc::clone(&counters),
            recovered,
        });
        Self { worker, counters, bell, due: clock.now(), has_ended: false }
    }

    fn is_ready(&mut self, now: Monotonic) -> bool {
        !self.has_ended && (self.due <= now || self.worker.wire.is_ready())
    }

    fn turn(&mut self) {
        if self.has_ended {
            return;
        }
        self.worker.wire.collect();
        self.worker.turn();
        if self.worker.has_stopped() {
            self.worker.end();
            self.has_ended = true;
            return;
        }
        self.begin_turn();
    }

    /// Up to the wait, which is the caller's.
    fn begin_turn(&mut self) {
        let timeout = self.worker.begin_turn();
        self.worker.wire.submit();
        self.due = self.worker.read_clock().after(timeout);
    }
}

/// A clock that stands still unless it is set. Clones are the same clock.
#[derive(Clone, Debug)]
struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    fn new(now: Monotonic) -> Self {
        Self(Arc::new(AtomicU64::new(now.0)))
    }

    fn set(&self, now: Monotonic) {
        self.0.store(now.0, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Monotonic {
        Monotonic(self.0.load(Ordering::Relaxed))
    }
}

/// Numbers that follow from a seed (splitmix64).
#[derive(Debug)]
struct SeededRandomness(u64);

impl SeededRandomness {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Randomness for SeededRandomness {
    fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            let next = self.next().to_le_bytes();
            part.copy_from_slice(&next[..part.len()]);
        }
    }
}
