//! Which of two connections of one client is the later one: the one whose CONNECT the server finished
//! reading later, on whichever shard, and however long the client then took to authenticate.
//!
//! Each connection gets a number at that moment, from one counter for all shards: a shard reads its clock
//! once a turn, so clocks of two shards do not compare. A client that has seen the server answer its
//! first CONNECT, by AUTH or CONNACK, and then sends a second one, is served on the second. Of two that
//! it sends without waiting, on connections of two shards, the shards may read the second first. The
//! server cannot know better then, and takes the first for the later one. Exactly one of them stays,
//! either way.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers connections in the order in which their CONNECTs were read.
#[derive(Debug, Default)]
pub(super) struct ConnectOrder(AtomicU64);

/// A connection's place in that order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ConnectNumber(u64);

impl ConnectOrder {
    /// The number of a connection whose CONNECT has just been read whole. One that has a number keeps it.
    pub(super) fn number(&self, known: ConnectNumber) -> ConnectNumber {
        match known {
            // A counter of one per connection takes longer than any machine lives.
            ConnectNumber(0) => ConnectNumber(self.0.fetch_add(1, Ordering::Relaxed) + 1),
            known => known,
        }
    }
}

impl ConnectNumber {
    /// Whether the other connection of the same client came later.
    pub(super) fn is_overtaken_by(self, other: Self) -> bool {
        other.0 > self.0
    }
}

#[cfg(test)]
mod tests;
