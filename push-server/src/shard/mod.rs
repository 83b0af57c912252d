//! The loop that joins websocket, mqtt, broker and store: one thread a shard, with its connections and
//! its sessions.
//!
//! What a shard asks of the world (sockets, who is alive, the time, randomness) is a port (`ports`), so
//! that the same code runs on the ring and the kernel path, which `thread` binds, and in memory, which is
//! `simulation`.
//!
//! A client's session lives with the shard that its client id hashes to. Any shard accepts; it reads
//! no further than CONNECT, then hands socket and request to the session's shard. So a session and
//! its connection are always together, and a take-over is a local matter. Messages travel between
//! shards by mailbox, only to shards with a subscriber; of a group that shares a subscription, to the
//! shard of the one member whose turn it is.

mod accept;
mod agenda;
mod clients;
mod connect_order;
pub mod counters;
mod here;
mod journal;
mod liveness;
pub mod mutant;
mod notices;
mod ports;
mod post;
mod publish;
mod sessions;
mod shared_access;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod stop;
#[cfg(test)]
mod tests;
mod thread;
mod timers;
mod turn;

pub(crate) use accept::PARKED_MAX;
pub(crate) use journal::{
    STORE_BACKLOG_BYTES_MAX, UNPUBLISHED_WILL_BYTES_MAX, UNREMOVED_FILTER_BYTES_MAX, UNREMOVED_MAX,
};
pub(crate) use post::{LETTERS_MAX, MAILBOX_MESSAGES_MAX};
pub use shared_access::SharedAccess;
pub use thread::{LISTEN_FLAG, ShardError, Shards, StoreView, WS_LISTEN_FLAG, probe_bind};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use crate::broker::{Holders, Retained, Routing, SessionMemory, Shares};
use crate::config::Config;
use crate::mqtt::Access;
use crate::store::{Clocks, LeftOut, Recovered, Store};
use clients::InputBudget;
use connect_order::ConnectOrder;
use journal::{Completions, Waiting, Wholes};
use notices::Notices;
use sessions::{RecoveredPart, RemainsBytes, SessionShares, UnusedCounts};

/// What every shard sees of the whole.
#[derive(Debug)]
pub(crate) struct Shared {
    config: Arc<Config>,
    access: Arc<SharedAccess>,
    connections_max: u32,
    routing: Routing,
    shares: Shares,
    retained: Arc<Retained>,
    wholes: Wholes,
    input_budget: Arc<InputBudget>,
    memory: Arc<SessionMemory>,
    /// Of it, what filters of ended sessions take.
    remains_bytes: RemainsBytes,
    /// Sessions that the start has left on disk.
    left_out: LeftOut,
    notices: Notices,
    /// Durable sessions; none with `--durability off`.
    store: Option<Arc<ShardStore>>,
    /// What the store and other shards have done for each shard.
    completions: Arc<Vec<Completions>>,
    /// The next durable session's.
    next_number: AtomicU64,
    /// For what the store keeps by the wall clock.
    clocks: Clocks,
    /// Which connection of a client is the later one.
    connect_order: ConnectOrder,
    /// Open sockets of all shards.
    open: AtomicU32,
    /// Tells networks and users apart.
    holders: Holders,
    /// Sessions of all shards, and whose they are.
    session_shares: SessionShares,
    /// How many sessions of each shard nobody uses.
    unused_counts: UnusedCounts,
    stopping: AtomicBool,
    /// Random per process, so that clients cannot choose colliding ids.
    hash_seed: u64,
}

/// The store, as shards see it.
pub(crate) type ShardStore = dyn Store<Waiting>;

/// What the whole starts from.
#[derive(Debug)]
struct SharedSetup {
    config: Arc<Config>,
    access: Access,
    connections_max: u32,
    retained: Arc<Retained>,
    memory: Arc<SessionMemory>,
    store: Option<Arc<ShardStore>>,
    completions: Arc<Vec<Completions>>,
    /// Random.
    hash_seed: u64,
    /// Random.
    networks_seed: u64,
}

impl Shared {
    /// What shards start from, and what was found on disk, by the shard that it lives with from now on.
    fn new(setup: SharedSetup, mut recovered: Recovered) -> (Arc<Self>, Vec<RecoveredPart>) {
        let SharedSetup {
            config,
            access,
            connections_max,
            retained,
            memory,
            store,
            completions,
            hash_seed,
            networks_seed,
        } = setup;
        let shared = Self {
            access: Arc::new(SharedAccess::new(access)),
            connections_max,
            routing: Routing::default(),
            shares: Shares::default(),
            retained,
            wholes: Wholes::default(),
            input_budget: InputBudget::new(config.input_bytes_max),
            memory,
            remains_bytes: RemainsBytes::default(),
            left_out: std::mem::take(&mut recovered.left_out),
            notices: Notices::default(),
            connect_order: ConnectOrder::default(),
            open: AtomicU32::new(0),
            holders: Holders::new(networks_seed),
            session_shares: SessionShares::new(config.sessions_max, config.sessions_share_percent),
            unused_counts: UnusedCounts::new(config.shards),
            stopping: AtomicBool::new(false),
            hash_seed,
            store,
            completions,
            next_number: AtomicU64::new(recovered.next_number.0),
            clocks: recovered.clocks,
            config,
        };
        let recovered = shared.sort_by_home(recovered);
        (Arc::new(shared), recovered)
    }

    /// What was found on disk, by the shard that it lives with from now on.
    fn sort_by_home(&self, recovered: Recovered) -> Vec<RecoveredPart> {
        let Recovered { sessions, wills, .. } = recovered;
        let mut by_shard: Vec<_> =
            self.completions.iter().map(|_| RecoveredPart::default()).collect();
        for will in wills {
            // They are in the order of their numbers. A will whose session is gone goes to any.
            let found = sessions.binary_search_by_key(&will.session, |session| session.number);
            let home = found.map_or(0, |at| self.home_of(&sessions[at].record.client_id));
            by_shard[usize::from(home)].wills.push(will);
        }
        for session in sessions {
            by_shard[usize::from(self.home_of(&session.record.client_id))].sessions.push(session);
        }
        by_shard
    }

    /// The shard that a client's session lives with.
    fn home_of(&self, client_id: &str) -> u16 {
        use std::hash::BuildHasher;
        // Not the seed of the shards' own index: there the ids of one shard must spread again.
        let hasher = foldhash::fast::FixedState::with_seed(self.hash_seed ^ 0x5EED);
        let shards = self.completions.len() as u64;
        // At most 64 shards, so the remainder fits.
        (hasher.hash_one(client_id) % shards) as u16
    }
}
