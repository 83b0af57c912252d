//! First fragments that come before their connection has a flow: with CONNECT in the same datagram,
//! or right after it. The flow does not know of them, so it cannot wait for the stream to go past
//! them (rule 16), and the rest of such a datagram may come after pings have been answered. What
//! was sent before the first answer needs no translation, and is old by then. The exception is a
//! datagram that contains a ping which was sent again in a segment of its own, and answered: the
//! stack would take the ping in the datagram for new, and bytes of the stream for old.
//!
//! So the programs note when such a fragment came, in a place given by its addresses and ports.
//! User space does not arm a connection if a fragment came to its place within the time that the
//! stack waits for the rest. Fragments of other connections may have come there, too; so an
//! attacker who sends many can make user space serve connections, and nothing else. A random seed,
//! which nobody outside knows, decides the place, so that nobody can aim at the places of others,
//! or hit a new place with each fragment. To occupy two places of three at random takes as many
//! fragments as there are places in `INCOMPLETE_SECS_MAX`: 546 a second.

use crate::clock::Monotonic;
use crate::flow::FlowKey;
use crate::mutant::{Part, is_left_out};

/// How many places there are. A power of two, because the hash is masked.
pub const PLACES: u32 = 65_536;

/// Seconds in which the rest of a datagram may come: twice as long as the stack waits for it
/// (Linux: `net.ipv6.ip6frag_time` and `nf_conntrack_frag6_timeout`, 60 s; `net.ipv4.ipfrag_time`,
/// 30 s).
pub const INCOMPLETE_SECS_MAX: u64 = 120;

/// One place in the map (`EARLY_FRAGMENTS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EarlyFragment {
    /// When the last one came here (`CLOCK_MONOTONIC`, nanoseconds); 0: never.
    pub seen: u64,
}

/// The place of a connection. `seed` is random for each load of the programs.
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

/// Whether the rest of a datagram whose first fragment came at `seen` (0: never) may still come.
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
