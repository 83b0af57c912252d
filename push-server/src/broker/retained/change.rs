//! Changes to retained messages, for a store that keeps them as well.
//!
//! Memory decides the order of a topic's changes. A store gets them later, and perhaps in another
//! order: a change may wait until other shards have added to its write, and two shards may queue
//! theirs in either order. So changes have numbers, and those of one topic share a note of the last
//! one that the store has taken. The note goes when none of them is under way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use hashbrown::HashMap;

use super::super::topic::TopicName;
use super::kept::Kept;

/// How many topics with changes may be noted before the first sweep for those with none under way.
const SWEEP_FROM: usize = 1_024;

/// A change to a topic's retained message.
#[derive(Clone, Debug)]
pub struct RetainedChange {
    topic: TopicName,
    kept: Option<Kept>,
    number: u64,
    taken: Arc<LastTaken>,
}

/// The highest number among a topic's changes that the store has taken.
#[derive(Debug, Default)]
struct LastTaken(AtomicU64);

impl RetainedChange {
    /// The topic.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// The retained message; `None`: the topic has none any more.
    pub fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// The store takes the change, to write it or to fail it. Returns whether it may write it: it
    /// has taken no later change of the topic.
    pub fn take(&self) -> bool {
        // Only the store's thread takes changes.
        self.taken.0.fetch_max(self.number, Ordering::Relaxed) <= self.number
    }

    /// Bytes that it weighs while it waits.
    pub(crate) fn weight_bytes(&self) -> usize {
        let message_bytes = self.kept.as_ref().map_or(0, |kept| kept.message.weight_bytes());
        message_bytes.max(self.topic.as_str().len())
    }
}

/// The next number, and the topics with changes under way.
#[derive(Debug, Default)]
pub(super) struct Changes {
    made: u64,
    under_way: HashMap<TopicName, Weak<LastTaken>, foldhash::fast::RandomState>,
    sweep_at: usize,
}

impl Changes {
    /// The change that was just made to a topic, with the next number.
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

    /// Forgets topics without changes under way, once the table may hold as many of them as others.
    fn sweep(&mut self) {
        if self.under_way.len() >= self.sweep_at.max(SWEEP_FROM) {
            self.under_way.retain(|_, taken| taken.strong_count() > 0);
            self.sweep_at = 2 * self.under_way.len();
        }
    }
}

#[cfg(test)]
mod tests;
