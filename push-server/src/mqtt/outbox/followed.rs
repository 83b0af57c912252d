//! The slips of messages that a session is owed, by position. They wait here until the client
//! acknowledges the messages, in memory or on disk. So a message without a slip pays nothing.
//!
//! A restart forgets them on purpose: the thread that waits for a slip has ended with the process.

use std::collections::VecDeque;

use crate::broker::Slip;

/// In the order of their positions.
#[derive(Debug, Default)]
pub(super) struct Followed(VecDeque<(u64, Slip)>);

impl Followed {
    /// Keeps the slip of the message at this position.
    pub(super) fn insert(&mut self, position: u64, slip: Slip) {
        // Nearly always at the end.
        let at = self.0.partition_point(|(before, _)| *before < position);
        self.0.insert(at, (position, slip));
    }

    /// Takes out the slip of the message at this position, if it has one.
    pub(super) fn take(&mut self, position: u64) -> Option<Slip> {
        let at = self.0.binary_search_by_key(&position, |(at, _)| *at).ok()?;
        self.0.remove(at).map(|(_, slip)| slip)
    }

    /// Adds the slips of other messages.
    pub(super) fn append(&mut self, mut others: Self) {
        if self.0.is_empty() {
            *self = others;
            return;
        }
        while let Some((position, slip)) = others.0.pop_front() {
            self.insert(position, slip);
        }
    }

    /// Keeps the slips of messages that the session still owes, and drops the others.
    pub(super) fn retain(&mut self, is_owed: impl Fn(u64) -> bool) {
        self.0.retain(|(position, _)| is_owed(*position));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that the slips take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<(u64, Slip)>()
    }
}
