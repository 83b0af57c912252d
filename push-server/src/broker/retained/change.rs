//! Changes of what topics keep, for a store that keeps it as well.
//!
//! Memory makes the order of a topic's changes. A store hears of them later, and perhaps the other way
//! round: a change may wait for other shards' parts of its write, and two shards may queue theirs in
//! either order. So changes have numbers, and those of one topic share which of them the store has
//! taken last. That is forgotten when none of them is under way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use hashbrown::HashMap;

use super::super::topic::TopicName;
use super::kept::Kept;

/// Topics with changes known before the first look at which of them are still under way.
const SWEEP_FROM: usize = 1_024;

/// What a topic keeps from a moment on.
#[derive(Clone, Debug)]
pub struct RetainedChange {
    topic: TopicName,
    kept: Option<Kept>,
    number: u64,
    taken: Arc<Taken>,
}

/// The highest number of a topic's changes that the store has taken.
#[derive(Debug, Default)]
struct Taken(AtomicU64);

impl RetainedChange {
    /// The topic.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// Its retained message; `None`: it has none any more.
    pub fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// The store takes the change, to make it or to fail it. Returns whether it may still be made: no
    /// later one of its topic has been taken.
    pub fn take(&self) -> bool {
        // One thread takes them.
        self.taken.0.fetch_max(self.number, Ordering::Relaxed) <= self.number
    }

    /// What it weighs while it waits, in bytes.
    pub(crate) fn weight_bytes(&self) -> usize {
        let message_bytes = self.kept.as_ref().map_or(0, |kept| kept.message.weight_bytes());
        message_bytes.max(self.topic.as_str().len())
    }
}

/// Numbers for changes, and which of them are under way.
#[derive(Debug, Default)]
pub(super) struct Changes {
    made: u64,
    under_way: HashMap<TopicName, Weak<Taken>, foldhash::fast::RandomState>,
    sweep_at: usize,
}

impl Changes {
    /// The change of a topic that was made this moment: its number is above those before.
    pub(super) fn begin(&mut self, topic: &TopicName, kept: Option<Kept>) -> RetainedChange {
        self.made += 1;
        let taken = self.under_way.get(topic).and_then(Weak::upgrade).unwrap_or_else(|| {
            let taken = Arc::default();
            self.sweep();
            self.under_way.insert(topic.clone(), Arc::downgrade(&taken));
            taken
        });
        RetainedChange { topic: topic.clone(), kept, number: self.made, taken }
    }

    /// Forgets topics without changes under way, when there may be as many of them as others.
    fn sweep(&mut self) {
        if self.under_way.len() >= self.sweep_at.max(SWEEP_FROM) {
            self.under_way.retain(|_, taken| taken.strong_count() > 0);
            self.sweep_at = 2 * self.under_way.len();
        }
    }
}

#[cfg(test)]
mod tests;
