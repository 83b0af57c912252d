//! First fragments that come before their connection has a flow: with CONNECT in the same datagram, or
//! right behind it. The flow does not know of them, so it cannot wait for the stream to go beyond
//! (rule 16), and the rest of such a datagram may come when pings have been answered. What was sent
//! before the first answer needs no translation, and is old by then, unless the datagram itself has a
//! ping that came once more, in a segment of its own, and was answered: then the stack would take it
//! for new, and bytes of the stream for old.
//!
//! So the programs note when such a fragment came, in a place that its addresses and ports lead to, and
//! user space leaves a connection unarmed if one came there in the time that the stack waits for the
//! rest. Others may have come there, too; who sends many of them for that has connections served by user
//! space, and nothing else. Which place it is depends on a seed that nobody outside knows, so that nobody
//! can choose fragments for the places of others, or for one place each. To take two places of three at
//! random it takes as many fragments as there are places in `INCOMPLETE_SECS_MAX`: 546 a second.

use crate::clock::Monotonic;
use crate::flow::FlowKey;
use crate::mutant::{Part, is_left_out};

/// How many places there are; a power of two.
pub const PLACES: u32 = 65_536;

/// Twice as long as the stack waits for the rest of a datagram, in seconds (Linux:
/// `net.ipv6.ip6frag_time` and `nf_conntrack_frag6_timeout`, 60 s; `net.ipv4.ipfrag_time`, 30 s).
pub const INCOMPLETE_SECS_MAX: u64 = 120;

/// One place in the map (`EARLY_FRAGMENTS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EarlyFragment {
    /// When one came here last (`CLOCK_MONOTONIC`, nanoseconds); 0: never.
    pub seen: u64,
}

/// The place of a connection. `seed` is random to each load of the programs.
#[inline(always)]
#[must_use]
pub const fn place(key: &FlowKey, seed: u64) -> u32 {
    // The peer's end tells connections apart.
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = key.peer;
    let [high, low] = key.peer_port;
    let hash = mixed(seed, u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    let hash = mixed(hash, u64::from_le_bytes([i, j, k, l, m, n, o, p]));
    let hash = mixed(hash, u64::from_le_bytes([high, low, 0, 0, 0, 0, 0, 0]));
    (hash >> 32) as u32 & (PLACES - 1)
}

/// A step of MurmurHash's finish: each bit of what it mixes in reaches the upper half.
#[inline(always)]
const fn mixed(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

/// Whether the rest of a datagram may still come whose first fragment came at `seen` (0: never).
#[inline(always)]
#[must_use]
pub fn may_be_incomplete(seen: u64, now: Monotonic) -> bool {
    const INCOMPLETE_NS_MAX: u64 = INCOMPLETE_SECS_MAX * 1_000_000_000;
    seen != 0
        && now.0.saturating_sub(seen) <= INCOMPLETE_NS_MAX
        && !is_left_out(Part::EarlyFragment)
}

// SAFETY: an integer.
#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya's marker for plain old data")]
unsafe impl aya::Pod for EarlyFragment {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_datagram_may_be_incomplete_for_two_minutes() {
        let seen = 7_000_000_000;
        let at = |secs: u64| Monotonic(seen).after_millis(secs * 1_000);
        assert!(!may_be_incomplete(0, Monotonic(1)), "none came");
        assert!(may_be_incomplete(seen, Monotonic(seen - 1)), "it came while the clock was read");
        assert!(may_be_incomplete(seen, at(0)) && may_be_incomplete(seen, at(120)));
        assert!(!may_be_incomplete(seen, at(121)));
    }

    /// Clients of four addresses, 256 ports each.
    fn keys() -> impl Iterator<Item = FlowKey> {
        (0..1_024_u16).map(|number| {
            let [high, low] = number.to_be_bytes();
            let mut key = FlowKey { peer_port: [0x9C, low], ..FlowKey::default() };
            key.peer[15] = high;
            key
        })
    }

    fn places_taken(keys: impl Iterator<Item = FlowKey>, seed: u64) -> HashSet<u32> {
        let places = keys.map(|key| place(&key, seed));
        places.inspect(|place| assert!(*place < PLACES)).collect()
    }

    #[test]
    fn clients_are_spread_over_the_places() {
        for seed in [0, 1, u64::MAX, 0x0123_4567_89AB_CDEF] {
            // As many as by chance, about: 1,016.
            let taken = places_taken(keys(), seed).len();
            assert!(taken > 1_000, "{taken} with {seed:x}");
        }
    }

    #[test]
    fn who_shares_a_place_by_one_seed_is_spread_by_another() {
        let seeds = [1, 2, 3 << 40];
        for one in seeds {
            let shared: Vec<_> = every_key().filter(|key| place(key, one) == 0).collect();
            assert!(shared.len() > 4, "{} with {one:x}", shared.len());
            for other in seeds.into_iter().filter(|other| *other != one) {
                let taken = places_taken(shared.iter().copied(), other).len();
                assert!(taken > shared.len() - 3, "{taken} with {other:x}, one with {one:x}");
            }
        }
    }

    #[test]
    fn who_has_a_place_each_by_one_seed_has_not_by_another() {
        let mut chosen = std::collections::HashMap::new();
        for key in every_key() {
            chosen.entry(place(&key, 1)).or_insert(key);
        }
        assert!(chosen.len() as u32 > PLACES / 10 * 9, "{}", chosen.len());
        let taken = places_taken(chosen.values().copied(), 2).len();
        let by_chance = chosen.len() / 100 * 66;
        assert!(taken < by_chance, "{taken} of {}", chosen.len());
    }

    /// Clients of 16 addresses, every port.
    fn every_key() -> impl Iterator<Item = FlowKey> {
        (0..16_u32 << 16).map(|number| {
            let [_, address, high, low] = number.to_be_bytes();
            let mut key = FlowKey { peer_port: [high, low], ..FlowKey::default() };
            key.peer[15] = address;
            key
        })
    }
}
