//! Which HTTP connections hold the places, and which one gives way when they are full. Knows no
//! sockets and no clock.
//!
//! A new connection is never kept waiting: silent ones must not keep a probe out. Who gives way is
//! with the network that holds the most places, so that one network cannot push out another's; of
//! its connections it is the one that has asked for nothing the longest.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

/// A connection, as long as it holds a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlaceId(u64);

/// The places.
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

    /// Gives `peer` a place, and says who has to give way for it.
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

    /// A whole request came.
    pub(super) fn asked(&mut self, id: PlaceId, now: Instant) {
        if let Some(place) = self.taken.get_mut(&id) {
            place.asked_at = now;
        }
    }

    /// Its connection has ended.
    pub(super) fn leave(&mut self, id: PlaceId) {
        self.taken.remove(&id);
    }

    /// How many there are.
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

/// What counts as one: an IPv4 address, or an IPv6 network of 64 bits, which one machine may have.
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
