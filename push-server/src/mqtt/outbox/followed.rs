//! The slips of messages that a session is owed, by the messages' places: they wait here until the messages are
//! acknowledged, wherever those are meanwhile, in memory or on disk. So a message without a slip pays nothing.
//!
//! A restart forgets them, and that is meant: whoever waits for a slip has gone with the process.

use std::collections::VecDeque;

use crate::broker::Slip;

/// Slips in the order of their places.
#[derive(Debug, Default)]
pub(super) struct Followed(VecDeque<(u64, Slip)>);

impl Followed {
    /// A slip of the message in this place.
    pub(super) fn insert(&mut self, position: u64, slip: Slip) {
        // Nearly always behind all others.
        let at = self.0.partition_point(|(before, _)| *before < position);
        self.0.insert(at, (position, slip));
    }

    /// Takes the slip of the message in this place, if it has one.
    pub(super) fn take(&mut self, position: u64) -> Option<Slip> {
        let at = self.0.binary_search_by_key(&position, |(at, _)| *at).ok()?;
        self.0.remove(at).map(|(_, slip)| slip)
    }

    /// Others, of other messages.
    pub(super) fn append(&mut self, mut others: Self) {
        if self.0.is_empty() {
            *self = others;
            return;
        }
        while let Some((position, slip)) = others.0.pop_front() {
            self.insert(position, slip);
        }
    }

    /// Keeps those whose messages are still owed.
    pub(super) fn retain(&mut self, is_owed: impl Fn(u64) -> bool) {
        self.0.retain(|(position, _)| is_owed(*position));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What they take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<(u64, Slip)>()
    }
}
