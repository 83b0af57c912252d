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
mod tests;
