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
    taken: BTreeMap<PlaceId, Place>,
}

#[derive(Debug)]
struct Place {
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
        self.taken.insert(id, Place { network: network(peer), asked_at: now });
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
mod tests {
    use std::time::Duration;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn nobody_gives_way_while_there_is_room() {
        let now = Instant::now();
        let mut places = Places::new(2);
        let (first, victim) = places.take(ip("10.0.0.1"), now);
        assert_eq!(victim, None);
        assert_eq!(places.take(ip("10.0.0.1"), now).1, None);
        places.leave(first);
        assert_eq!(places.take(ip("10.0.0.1"), now).1, None);
        assert_eq!(places.len(), 2);
    }

    #[test]
    fn who_has_asked_for_nothing_the_longest_gives_way() {
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        let mut places = Places::new(3);
        let (first, _) = places.take(ip("10.0.0.1"), after(0));
        let (second, _) = places.take(ip("10.0.0.1"), after(1));
        let (third, _) = places.take(ip("10.0.0.1"), after(2));
        places.asked(first, after(3));
        assert_eq!(places.take(ip("10.0.0.1"), after(4)).1, Some(second));
        assert_eq!(places.take(ip("10.0.0.1"), after(5)).1, Some(third));
        assert_eq!(places.len(), 3);
    }

    #[test]
    fn a_network_with_many_connections_pushes_out_its_own() {
        let now = Instant::now();
        let mut places = Places::new(3);
        let (probe, _) = places.take(ip("10.0.0.1"), now);
        let mut own = Vec::new();
        for host in 0..20 {
            let (id, victim) = places.take(ip(&format!("2001:db8::{host:x}")), now);
            own.push(id);
            assert_ne!(victim, Some(probe));
            assert_eq!(victim, own.len().checked_sub(3).map(|at| own[at]));
        }
    }

    #[test]
    fn an_ipv4_address_is_the_same_however_it_is_written() {
        assert_eq!(network(ip("::ffff:10.0.0.1")), network(ip("10.0.0.1")));
        assert_ne!(network(ip("2001:db8:0:1::1")), network(ip("2001:db8:0:2::1")));
    }
}
