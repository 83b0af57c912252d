//! The loop that joins transport, mqtt, broker and store: one thread a shard, with its connections and
//! its sessions.
//!
//! A shard asks the world (sockets, who is alive, the time, randomness) by ports (`ports`). So the same code runs
//! on the ring and the kernel path, which `thread` binds, and in memory, which is `simulation`.
//!
//! A client's session lives with the shard that its client id hashes to, unless it has moved
//! (`owners`). Any shard accepts; it reads no further
//! than CONNECT, then hands socket and request to the session's shard. So a session and its connection are always
//! together, and a take-over is a local matter. Messages travel between shards by mailbox, only to shards with a
//! subscriber; and for a group that shares a subscription, to the shard of the member whose turn it is.

mod accept;
mod addresses;
mod agenda;
mod answers;
mod clients;
mod connect_order;
mod connect_rate;
pub mod counters;
pub mod door;
mod entrance;
mod here;
mod journal;
mod listeners;
mod liveness;
mod notices;
mod owners;
mod ports;
mod post;
mod proxies;
mod publish;
mod rest;
mod reviews;
mod sessions;
mod shared_access;
mod shared_tls;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod stop;
#[cfg(test)]
mod tests;
mod thread;
mod timers;
mod tls_places;
mod totals;
mod turn;

pub(crate) use accept::{PARKED_MAX, WAITING_ROOM_MAX};
pub(crate) use addresses::ADDRESSES_MAX;
pub use answers::{Answerer, Asker, Queue};
pub(crate) use answers::{
    HOOK_QUESTIONS_MAX, HOOK_UNDER_WAY_MAX, QUESTIONS_MAX, TOKEN_QUESTIONS_MAX,
};
pub(crate) use journal::{
    CHANGES_MAX, STORE_BACKLOG_BYTES_MAX, UNPUBLISHED_WILL_BYTES_MAX, UNREMOVED_FILTER_BYTES_MAX,
    UNREMOVED_MAX,
};
pub(crate) use owners::OWNERS_MAX;
pub(crate) use post::{LETTERS_MAX, MAILBOX_MESSAGES_MAX};
pub(crate) use reviews::WITHDRAWALS_PER_SEC_MAX;
pub use shared_access::SharedAccess;
pub use shared_tls::{SharedTls, TlsConfigs, TlsSource, TlsSources};
pub use thread::{
    Listening, Reviewer, ShardError, Shards, SocketFile, StoreView, listen_unix, probe_bind,
    probe_unix,
};

use std::sync::Arc;

use crate::broker::{Holders, Retained, Routing, SessionMemory, Shares};
use crate::config::Config;
use crate::store::{Recovered, RecoveredSession, Store};
use crate::transport::ServerTls;
use answers::Questions;
use entrance::{Entrance, EntranceSetup};
use journal::{Completions, JournalStart, OpenRequests, SharedJournal, Waiters};
use notices::Notices;
use sessions::RecoveredPart;
use totals::Totals;

/// What all shards share.
#[derive(Debug)]
pub(crate) struct Shared {
    config: Arc<Config>,
    /// Who may connect.
    questions: Questions,
    entrance: Entrance,
    routing: Routing,
    shares: Shares,
    retained: Arc<Retained>,
    memory: Arc<SessionMemory>,
    /// Tells networks and users apart.
    holders: Holders,
    totals: Totals,
    notices: Notices,
    /// The store of durable sessions; none with `--durability off`.
    store: Option<Arc<ShardStore>>,
    journal: SharedJournal,
}

/// The store, as shards see it.
pub(crate) type ShardStore = dyn Store<Waiters>;

/// What the shards start from.
#[derive(Debug)]
struct SharedSetup {
    config: Arc<Config>,
    entrance: EntranceSetup,
    /// Says who clients are.
    answerer: Arc<dyn Answerer>,
    retained: Arc<Retained>,
    memory: Arc<SessionMemory>,
    store: Option<Arc<ShardStore>>,
    open_requests: OpenRequests,
    completions: Arc<Vec<Completions>>,
    /// Random, so that no client can choose ids that meet in one bucket.
    hash_seed: u64,
    /// Random, so that no client can choose whose bucket its network shares.
    networks_seed: u64,
}

impl Shared {
    /// Makes the state that shards share. Returns with it what was found on disk, by the shard that it lives with
    /// from now on.
    fn new(setup: SharedSetup, mut recovered: Recovered) -> (Arc<Self>, Vec<RecoveredPart>) {
        let SharedSetup {
            config,
            entrance,
            answerer,
            retained,
            memory,
            store,
            open_requests,
            completions,
            hash_seed,
            networks_seed,
        } = setup;
        let left_out = std::mem::take(&mut recovered.left_out);
        let (next_number, clocks) = (recovered.next_number, recovered.clocks);
        let start = JournalStart { next_number, clocks, left_out };
        let shared = Self {
            questions: Questions::new(answerer, Arc::clone(&completions)),
            entrance: Entrance::new(entrance, &config, hash_seed),
            routing: Routing::default(),
            shares: Shares::default(),
            retained,
            memory,
            holders: Holders::new(networks_seed),
            totals: Totals::new(&config),
            notices: Notices::default(),
            store,
            journal: SharedJournal::new(completions, open_requests, start),
            config,
        };
        let recovered = shared.sort_by_home(recovered);
        (Arc::new(shared), recovered)
    }

    /// What was found on disk, by the shard that it lives with from now on.
    fn sort_by_home(&self, recovered: Recovered) -> Vec<RecoveredPart> {
        let Recovered { sessions, wills, .. } = recovered;
        let mut by_shard: Vec<_> =
            (0..self.config.shards).map(|_| RecoveredPart::default()).collect();
        for will in wills {
            // Sessions are in the order of their numbers. A will whose session is gone goes to any shard.
            let found = sessions.binary_search_by_key(&will.session, |session| session.number);
            let home = found.map_or(0, |at| self.first_home_of(&sessions[at]));
            by_shard[usize::from(home)].wills.push(will);
        }
        for session in sessions {
            by_shard[usize::from(self.first_home_of(&session))].sessions.push(session);
        }
        by_shard
    }

    /// Whichever shard it has lived with before: who has moved is known in memory alone.
    fn first_home_of(&self, session: &RecoveredSession) -> u16 {
        self.entrance.first_home_of(&session.record.client_id)
    }

    /// What a new connection of a listener does its handshake with; `None`: it has none.
    fn tls(&self, listener: u16) -> Option<Arc<ServerTls>> {
        self.entrance.tls(listener)
    }

    /// The shard that a client's session lives with.
    fn home_of(&self, client_id: &str) -> u16 {
        self.entrance.home_of(client_id)
    }
}
