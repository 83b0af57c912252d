//! Who comes in, over all shards: how many sockets are open, what handshakes of TLS use, in what order CONNECTs
//! were read, which shard a client's session lives with, whether the server stops, and whether its shards are to
//! rest.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::connect_order::{ConnectNumber, ConnectOrder};
use super::owners::Owners;
use super::rest::Rest;
use super::shared_tls::SharedTls;
use crate::mutant::{Rule, is_left_out};
use crate::transport::{Kind, ServerTls};

/// One for all shards.
#[derive(Debug)]
pub(super) struct Entrance {
    connections_max: u32,
    /// Open sockets of all shards.
    open: AtomicU32,
    tls: Arc<SharedTls>,
    /// Tells which connection of a client is the later one.
    connect_order: ConnectOrder,
    is_stopping: AtomicBool,
    shards: u16,
    /// Random per process, so that clients cannot choose colliding ids.
    hash_seed: u64,
    /// Sessions that live elsewhere than their client ids hash to.
    owners: Owners,
    rest: Rest,
}

impl Entrance {
    /// To so many shards; `hash_seed` is random.
    pub(super) fn new(
        connections_max: u32,
        shards: u16,
        hash_seed: u64,
        tls: Arc<SharedTls>,
    ) -> Self {
        Self {
            connections_max,
            open: AtomicU32::new(0),
            tls,
            connect_order: ConnectOrder::default(),
            is_stopping: AtomicBool::new(false),
            shards,
            hash_seed,
            owners: Owners::default(),
            rest: Rest::new(shards),
        }
    }

    pub(super) fn connections_max(&self) -> u32 {
        self.connections_max
    }

    /// Open sockets of all shards.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Takes a place for a socket, if there is one.
    pub(super) fn take_place(&self) -> bool {
        let has_place = self.open.fetch_add(1, Ordering::Relaxed) < self.connections_max;
        if !has_place {
            self.give_place_back();
        }
        has_place
    }

    /// A socket is closed, or was not let in.
    pub(super) fn give_place_back(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// What handshakes of TLS use.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn shared_tls(&self) -> &SharedTls {
        &self.tls
    }

    /// What a new connection of a listener of this kind does its handshake with; `None`: it has none.
    pub(super) fn tls(&self, kind: Kind) -> Option<Arc<ServerTls>> {
        self.tls.current(kind)
    }

    /// The number of a connection whose CONNECT has just been read whole. One that has a number keeps it.
    pub(super) fn number(&self, known: ConnectNumber) -> ConnectNumber {
        self.connect_order.number(known)
    }

    /// Every shard is to stop.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// The shard that a client's session lives with: the one that its client id hashes to, unless the session
    /// has moved.
    pub(super) fn home_of(&self, client_id: &str) -> u16 {
        let owner = self.owners.owner(client_id).filter(|_| !is_left_out(Rule::OwnerAsked));
        owner.unwrap_or_else(|| self.first_home_of(client_id))
    }

    /// The shard that a client id hashes to. There a start looks for the session, whichever shard it lived with
    /// before.
    pub(super) fn first_home_of(&self, client_id: &str) -> u16 {
        // Not the seed of the shards' own index: there the ids of one shard must spread again.
        let hasher = foldhash::fast::FixedState::with_seed(self.hash_seed ^ 0x5EED);
        // There are at most 64 shards, so the remainder fits.
        (hasher.hash_one(client_id) % u64::from(self.shards)) as u16
    }

    /// The sessions that have moved.
    pub(super) fn owners(&self) -> &Owners {
        &self.owners
    }

    /// Whether shards are to come to rest.
    pub(super) fn rest(&self) -> &Rest {
        &self.rest
    }

    /// The seed of a shard's own index of client ids.
    pub(super) fn hash_seed(&self) -> u64 {
        self.hash_seed
    }
}
