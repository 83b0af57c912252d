//! The part of the running server that `control` may read: facts from the start, the shards'
//! counters and the kernel path's. Nothing here can change what the server does.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::authenticator::AuthenticationCounts;
use super::http_counters::HttpCounters;
use super::line_queue::LinesLost;
use super::patience::Waited;
use super::reload::ReloadStatus;
use super::tls::TlsStatus;
use crate::broker::SessionMemory;
use crate::config::Config;
use crate::kernel::{EarlierGenerations, KernelCounter};
use crate::shard::counters::{Counter, ShardCounters, TURN_BUCKETS};
use crate::shard::door::DoorCounts;
use crate::shard::{Listening, StoreView};

/// How long a shard's loop may stand still before the process counts as unhealthy. A loop turns at
/// least once a second, for the kernel path's dead man's switch.
pub(crate) const SHARD_STALL_MAX: Duration = Duration::from_secs(5);

/// How long a session's work may wait for its turn before the process counts as unhealthy. Each
/// round, of some milliseconds, gives every session with waiting work a turn.
pub(crate) const WORK_WAIT_MAX: Duration = Duration::from_secs(5);

/// The label of heartbeats that the kernel answered.
const ANSWERED: &str = "answered";

/// Which path answers heartbeats.
pub enum PingPath {
    /// The kernel, if it can.
    Kernel {
        /// The interfaces that it serves.
        interfaces: Vec<String>,
        /// Reads the programs' counters.
        counters: Box<dyn Fn() -> Vec<KernelCounter> + Send + Sync>,
        /// Why the programs may not outlive a crash of the server; `None`: they do.
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

/// Facts that hold from the start on.
#[derive(Debug)]
pub struct Facts {
    /// The settings.
    pub config: Arc<Config>,
    /// The bound addresses for clients.
    pub listening: Vec<Listening>,
    /// The bound HTTP address, if there is one.
    pub http: Option<SocketAddr>,
    /// Most connections that are served.
    pub connections_max: u32,
    /// Which path answers heartbeats.
    pub path: PingPath,
    /// Dead servers whose programs are still needed by their sockets.
    pub generations: Arc<EarlierGenerations>,
    /// How long the start waited for addresses and directories of other processes.
    pub waited: Waited,
    /// The store; `None`: nothing is stored.
    pub store: Option<StoreView>,
    /// How often the limits of doors were reached.
    pub door_counts: Arc<DoorCounts>,
    /// Reloads of the files of TLS, and when certificates end; `None`: nobody listens for TLS.
    pub tls: Option<Arc<TlsStatus>>,
    /// When the files were last read again, and whether that went well.
    pub(crate) reload: Arc<ReloadStatus>,
    /// What was done to tell who clients are.
    pub(crate) authentication: Arc<AuthenticationCounts>,
    /// Lines of log and status that could not be written.
    pub lines_lost: LinesLost,
    /// The memory of sessions.
    pub memory: Arc<SessionMemory>,
    /// When the process started serving.
    pub started: SystemTime,
}

/// The running server as HTTP and the status line see it.
#[derive(Debug)]
pub struct Observed {
    /// The facts from the start.
    pub facts: Facts,
    /// The counters of the HTTP port.
    pub http: Arc<HttpCounters>,
    /// The counters of the socket for operators.
    pub admin: Arc<HttpCounters>,
    counters: Vec<Arc<ShardCounters>>,
    stopping: AtomicBool,
    turns: Mutex<Vec<TurnCount>>,
}

/// A shard's number of turns when last read, and since when it has not changed.
#[derive(Clone, Copy, Debug)]
struct TurnCount {
    count: u64,
    since: Instant,
}

impl Observed {
    /// Observes shards that serve from `now` on.
    pub fn new(facts: Facts, counters: Vec<Arc<ShardCounters>>, now: Instant) -> Self {
        let turns =
            counters.iter().map(|shard| TurnCount { count: shard.loop_turns.value(), since: now });
        let turns = Mutex::new(turns.collect());
        let (http, admin) = <(Arc<_>, Arc<_>)>::default();
        Self { facts, http, admin, counters, stopping: AtomicBool::new(false), turns }
    }

    /// Whether the store works; true if nothing is stored.
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

    /// Reads every shard's number of turns. Call it more often than `SHARD_STALL_MAX`, so that a
    /// stall is noticed even if nobody asks.
    pub fn observe_turns(&self, now: Instant) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        for (turns, shard) in turns.iter_mut().zip(&self.counters) {
            let count = shard.loop_turns.value();
            if count != turns.count {
                *turns = TurnCount { count, since: now };
            }
        }
    }

    /// The first shard whose loop has stood still for too long, and since when.
    pub fn stalled_shard(&self, now: Instant) -> Option<(usize, Duration)> {
        self.observe_turns(now);
        let turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let still = turns.iter().map(|turns| now.saturating_duration_since(turns.since));
        still.enumerate().find(|(_, still)| *still > SHARD_STALL_MAX)
    }
}

/// The number of heartbeats that the kernel answered, out of its counters.
pub(crate) fn pings_kernel(counters: &[KernelCounter]) -> u64 {
    counters.iter().filter(|counter| counter.name == ANSWERED).map(|counter| counter.value).sum()
}

#[cfg(test)]
pub(super) mod tests;
