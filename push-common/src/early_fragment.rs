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
//! space, and nothing else.

use crate::clock::Monotonic;
use crate::flow::FlowKey;
use crate::mutant::{Part, is_left_out};

/// How many places there are; a power of two.
pub const PLACES: u32 = 4_096;

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

/// The place of a connection.
#[inline(always)]
#[must_use]
pub const fn place(key: &FlowKey) -> u32 {
    // FNV-1a (RFC 9923); the peer's end tells connections apart.
    let mut hash = 0x811C_9DC5_u32;
    let mut at = 0;
    while at < key.peer.len() {
        hash = (hash ^ key.peer[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash = (hash ^ key.peer_port[0] as u32).wrapping_mul(0x0100_0193);
    hash = (hash ^ key.peer_port[1] as u32).wrapping_mul(0x0100_0193);
    (hash ^ (hash >> 16)) & (PLACES - 1)
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

    #[test]
    fn clients_are_spread_over_the_places() {
        let mut taken = std::collections::HashSet::new();
        for number in 0..1_000_u16 {
            let [high, low] = number.to_be_bytes();
            let mut key = FlowKey { peer_port: [0x9C, low], ..FlowKey::default() };
            key.peer[15] = high;
            assert!(place(&key) < PLACES);
            taken.insert(place(&key));
        }
        // As many as by chance, about.
        assert!(taken.len() > 800, "{}", taken.len());
    }
}
