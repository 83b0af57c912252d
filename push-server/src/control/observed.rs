//! What the rest of `control` may see of the running server: facts fixed at start-up, the shards'
//! counters and the kernel path's. Nothing in here can change what the server does.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::http_counters::HttpCounters;
use super::line_queue::LinesLost;
use super::patience::Waited;
use crate::broker::SessionMemory;
use crate::config::Config;
use crate::kernel::{EarlierGenerations, KernelCounter};
use crate::shard::StoreView;
use crate::shard::counters::{Counter, ShardCounters, TURN_BUCKETS};
use crate::shard::door::DoorCounts;

/// How long a shard's loop may stand still before the process counts as unhealthy. A loop turns at
/// least once a second, by the kernel path's dead-man switch.
pub const SHARD_STALL_MAX: Duration = Duration::from_secs(5);

/// How long the work of a session may wait for its turn before the process counts as unhealthy.
/// Every session that has work waiting has a turn in each round, which lasts some milliseconds.
pub const WORK_WAIT_MAX: Duration = Duration::from_secs(5);

/// The kernel's name for heartbeats that it answered.
const ANSWERED: &str = "answered";

/// Which path answers heartbeats.
pub enum PingPath {
    /// The kernel, where it can.
    Kernel {
        /// The interfaces that it serves.
        interfaces: Vec<String>,
        /// Reads the programs' counters.
        counters: Box<dyn Fn() -> Vec<KernelCounter> + Send + Sync>,
        /// Why the programs may not outlive a crash of the server; `None` when they do.
        doubt: Option<String>,
    },
    /// User space alone.
    User {
        /// Why not the kernel.
        reason: String,
    },
}

impl fmt::Debug for PingPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel { interfaces, .. } => {
                formatter.debug_struct("Kernel").field("interfaces", interfaces).finish()
            }
            Self::User { reason } => {
                formatter.debug_struct("User").field("reason", reason).finish()
            }
        }
    }
}

/// What was settled at start-up.
#[derive(Debug)]
pub struct Facts {
    /// The settings.
    pub config: Arc<Config>,
    /// Where clients connect, as bound.
    pub listening: Vec<SocketAddr>,
    /// Where clients connect over WebSocket.
    pub websocket_listening: Vec<SocketAddr>,
    /// Where HTTP is served, as bound, if it is.
    pub http: Option<SocketAddr>,
    /// The connections that are served at most.
    pub connections_max: u32,
    /// Which path answers heartbeats.
    pub path: PingPath,
    /// Servers that died whose programs are still needed, for what their sockets send.
    pub generations: Arc<EarlierGenerations>,
    /// How long the start waited for what others held.
    pub waited: Waited,
    /// The store; `None` where nothing is kept.
    pub store: Option<StoreView>,
    /// How often limits of doors were reached.
    pub door_counts: Arc<DoorCounts>,
    /// Lines of the log and of the status that could not be written.
    pub lines_lost: LinesLost,
    /// What sessions take of memory.
    pub memory: Arc<SessionMemory>,
    /// When the process started serving.
    pub started: SystemTime,
}

/// The running server as HTTP and the status line see it.
#[derive(Debug)]
pub struct Observed {
    /// What was settled at start-up.
    pub facts: Facts,
    /// What the HTTP port counts.
    pub http: HttpCounters,
    counters: Vec<Arc<ShardCounters>>,
    stopping: AtomicBool,
    turns: Mutex<Vec<TurnCount>>,
}

/// How far a shard's loop was when last looked at, and since when it is there.
#[derive(Clone, Copy, Debug)]
struct TurnCount {
    count: u64,
    since: Instant,
}

impl Observed {
    /// Begins to observe shards that serve at `now`.
    pub fn new(facts: Facts, counters: Vec<Arc<ShardCounters>>, now: Instant) -> Self {
        let turns =
            counters.iter().map(|shard| TurnCount { count: shard.loop_turns.value(), since: now });
        let turns = Mutex::new(turns.collect());
        let http = HttpCounters::default();
        Self { facts, http, counters, stopping: AtomicBool::new(false), turns }
    }

    /// Whether what must be kept can be written; also true where nothing is kept.
    pub fn is_storing(&self) -> bool {
        self.facts.store.as_ref().is_none_or(StoreView::is_serving)
    }

    /// A counter over all shards.
    pub fn sum(&self, pick: impl Fn(&ShardCounters) -> &Counter) -> u64 {
        self.counters.iter().map(|shard| pick(shard).value()).sum()
    }

    /// Turns of all shards by how long they took, and seconds of all of them together.
    pub fn turn_times(&self) -> (Vec<(f64, u64)>, f64) {
        let ends = TURN_BUCKETS.into_iter().chain([f64::INFINITY]);
        let mut buckets: Vec<_> = ends.map(|end| (end, 0)).collect();
        for shard in &self.counters {
            let counts = shard.turn_times.buckets();
            buckets.iter_mut().zip(counts).for_each(|((_, sum), count)| *sum += count);
        }
        (buckets, self.counters.iter().map(|shard| shard.turn_times.sum_secs()).sum())
    }

    /// The shard where a session's work has waited longest for its turn, and how long.
    pub fn longest_wait(&self) -> (usize, Duration) {
        let waits = self.counters.iter().map(|shard| shard.longest_wait_millis.value());
        let longest = waits.enumerate().max_by_key(|(_, millis)| *millis);
        longest
            .map_or((0, Duration::ZERO), |(shard, millis)| (shard, Duration::from_millis(millis)))
    }

    /// The shard that starves a session, if any, and since when.
    pub fn starving_shard(&self) -> Option<(usize, Duration)> {
        Some(self.longest_wait()).filter(|(_, wait)| *wait > WORK_WAIT_MAX)
    }

    /// The kernel path's counters; none on the user path.
    pub fn kernel_counters(&self) -> Vec<KernelCounter> {
        match &self.facts.path {
            PingPath::Kernel { counters, .. } => counters(),
            PingPath::User { .. } => Vec::new(),
        }
    }

    /// The orderly stop has begun.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the orderly stop has begun.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Looks at every shard's loop. To be called more often than `SHARD_STALL_MAX`, by whoever has a
    /// clock, so that a stall is noticed even if nobody asks.
    pub fn observe_turns(&self, now: Instant) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        for (turns, shard) in turns.iter_mut().zip(&self.counters) {
            let count = shard.loop_turns.value();
            if count != turns.count {
                *turns = TurnCount { count, since: now };
            }
        }
    }

    /// The first shard whose loop stands still for too long, and since when.
    pub fn stalled_shard(&self, now: Instant) -> Option<(usize, Duration)> {
        self.observe_turns(now);
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let still = turns.iter().map(|turns| now.saturating_duration_since(turns.since));
        still.enumerate().find(|(_, still)| *still > SHARD_STALL_MAX)
    }
}

/// The heartbeats that the kernel answered, out of its counters.
pub fn pings_kernel(counters: &[KernelCounter]) -> u64 {
    counters.iter().filter(|counter| counter.name == ANSWERED).map(|counter| counter.value).sum()
}

#[cfg(test)]
pub(super) mod tests;
