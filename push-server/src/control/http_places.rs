//! Decides which HTTP connection gives way when the places are full. It knows no sockets and no
//! clock.
//!
//! A new connection never waits: silent ones must not keep a probe out. The connection that gives
//! way belongs to the network with the most places, so that no network can push out another's; of
//! that network it is the one whose last complete request is the oldest.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

/// Names a connection while it holds a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlaceId(u64);

/// The connections that hold places.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    next: u64,
    taken: BTreeMap<PlaceId, HttpConnection>,
}

#[derive(Debug)]
struct HttpConnection {
    network: IpAddr,
    asked_at: Instant,
}

impl Places {
    pub(super) fn new(max: usize) -> Self {
        Self { max, next: 0, taken: BTreeMap::new() }
    }

    /// Gives `peer` a place, and returns the connection that has to give way for it.
    pub(super) fn take(&mut self, peer: IpAddr, now: Instant) -> (PlaceId, Option<PlaceId>) {
        let victim = if self.taken.len() < self.max { None } else { self.victim() };
        if let Some(victim) = victim {
            self.taken.remove(&victim);
        }
        let id = PlaceId(self.next);
        self.next += 1;
        self.taken.insert(id, HttpConnection { network: network(peer), asked_at: now });
        (id, victim)
    }

    /// A complete request came.
    pub(super) fn asked(&mut self, id: PlaceId, now: Instant) {
        if let Some(place) = self.taken.get_mut(&id) {
            place.asked_at = now;
        }
    }

    /// The connection has ended.
    pub(super) fn leave(&mut self, id: PlaceId) {
        self.taken.remove(&id);
    }

    /// How many places are taken.
    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }

    fn victim(&self) -> Option<PlaceId> {
        let mut held = HashMap::<IpAddr, usize>::new();
        for place in self.taken.values() {
            *held.entry(place.network).or_default() += 1;
        }
        let most = held.values().copied().max()?;
        let candidates = self.taken.iter().filter(|(_, place)| held[&place.network] == most);
        candidates.min_by_key(|(id, place)| (place.asked_at, **id)).map(|(id, _)| *id)
    }
}

/// The network that an address counts for: itself for IPv4, its /64 for IPv6, which one machine may
/// have.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
