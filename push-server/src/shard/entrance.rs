//! Who comes in, over all shards: how many sockets are open, what handshakes of TLS use, in what order CONNECTs
//! were read, which shard a client's session lives with, whether the server stops, and whether its shards are to
//! rest, or to look at their clients again.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::addresses::Addresses;
use super::connect_order::{ConnectNumber, ConnectOrder};
use super::connect_rate::ConnectRate;
use super::listeners::Listeners;
use super::owners::Owners;
use super::rest::Rest;
use super::reviews::Reviews;
use super::shared_tls::{SharedTls, TlsSource};
use crate::config::Config;
use crate::mutant::{Rule, is_left_out};
use crate::transport::ServerTls;

/// One for all shards.
#[derive(Debug)]
pub(super) struct Entrance {
    places: Places,
    listeners: Listeners,
    tls: Arc<SharedTls>,
    connect_rate: ConnectRate,
    addresses: Arc<Addresses>,
    /// Tells which connection of a client is the later one.
    connect_order: ConnectOrder,
    is_stopping: AtomicBool,
    shards: u16,
    /// Random per process, so that clients cannot choose colliding ids.
    hash_seed: u64,
    /// Sessions that live elsewhere than their client ids hash to.
    owners: Owners,
    rest: Rest,
    reviews: Reviews,
}

/// How many sockets there may be, and are.
#[derive(Debug)]
struct Places {
    max: u32,
    /// Of all shards.
    open: AtomicU32,
}

/// What it is made of.
#[derive(Debug)]
pub(super) struct EntranceSetup {
    pub(super) connections_max: u32,
    pub(super) listeners: Listeners,
    pub(super) tls: Arc<SharedTls>,
}

/// Why a socket has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// The server has as many as it may have.
    Server,
    /// Its listener has.
    Listener,
}

impl Entrance {
    /// To the shards of these settings; `hash_seed` is random.
    pub(super) fn new(setup: EntranceSetup, config: &Config, hash_seed: u64) -> Self {
        let Config { shards, admission, .. } = *config;
        let EntranceSetup { connections_max, listeners, tls } = setup;
        Self {
            places: Places { max: connections_max, open: AtomicU32::new(0) },
            listeners,
            tls,
            connect_rate: ConnectRate::new(admission.connect_rate),
            addresses: Addresses::new(admission, hash_seed ^ 0xADD2),
            connect_order: ConnectOrder::default(),
            is_stopping: AtomicBool::new(false),
            shards,
            hash_seed,
            owners: Owners::default(),
            rest: Rest::new(shards),
            reviews: Reviews::default(),
        }
    }

    pub(super) fn connections_max(&self) -> u32 {
        self.places.max
    }

    /// Open sockets of all shards.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn open(&self) -> u32 {
        self.places.open.load(Ordering::Relaxed)
    }

    /// How fast newcomers are let in.
    pub(super) fn connect_rate(&self) -> &ConnectRate {
        &self.connect_rate
    }

    /// What is counted for the addresses of clients.
    pub(super) fn addresses(&self) -> &Arc<Addresses> {
        &self.addresses
    }

    /// The listeners that sockets come from.
    pub(super) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Takes a place for a socket of a listener.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn take_place(&self, listener: u16) -> Result<(), NoRoom> {
        if !self.listeners[listener].take_place() {
            return Err(NoRoom::Listener);
        }
        if self.places.open.fetch_add(1, Ordering::Relaxed) >= self.places.max {
            self.give_place_back(listener);
            return Err(NoRoom::Server);
        }
        Ok(())
    }

    /// A socket of a listener is closed, or was not let in.
    pub(super) fn give_place_back(&self, listener: u16) {
        self.places.open.fetch_sub(1, Ordering::Relaxed);
        self.listeners[listener].give_place_back();
    }

    /// Whether the server has a place for a socket.
    pub(super) fn has_place(&self) -> bool {
        self.places.open.load(Ordering::Relaxed) < self.places.max
    }

    /// What handshakes of TLS use.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn shared_tls(&self) -> &SharedTls {
        &self.tls
    }

    /// What a new connection of a listener does its handshake with; `None`: it has none.
    pub(super) fn tls(&self, listener: u16) -> Option<Arc<ServerTls>> {
        let listener = &self.listeners[listener];
        self.tls.current(listener.kind(), listener.client_auth())
    }

    /// What gives new connections of a listener what they do their handshake with; `None`: nothing does.
    pub(super) fn tls_source(&self, listener: u16) -> Option<Arc<dyn TlsSource>> {
        let listener = &self.listeners[listener];
        self.tls.source(listener.kind(), listener.client_auth())
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

    /// Whether clients are to be looked at again.
    pub(super) fn reviews(&self) -> &Reviews {
        &self.reviews
    }

    /// The seed of a shard's own index of client ids.
    pub(super) fn hash_seed(&self) -> u64 {
        self.hash_seed
    }
}
