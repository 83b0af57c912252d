//! Which shards have a subscriber for a topic. All shards share this table, and every publish reads
//! it. Shards count their own subscribers, and change it only for the first and the last of a
//! filter. `shares` has the shared subscriptions.

use std::cell::Cell;

use super::budget::Budget;
use super::filter_table::{Cursor, Visited};
use super::level_tree::Vacant;
use super::locked_filters::LockedFilters;
use super::topic::{TopicFilter, TopicName};

/// Most shards in a set: the bits of its word.
pub(crate) const SHARDS_MAX: u16 = 64;

/// A set of shards, at most 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(u64);

impl ShardSet {
    /// The set of one shard, which must be below `SHARDS_MAX`.
    pub fn of(shard: u16) -> Self {
        debug_assert!(shard < SHARDS_MAX, "config admits 1 to 64 shards");
        Self(1 << (shard % SHARDS_MAX))
    }

    /// The set of the first `shards` shards, at most `SHARDS_MAX`.
    pub fn first(shards: usize) -> Self {
        (0..SHARDS_MAX).take(shards).fold(Self::default(), Self::with)
    }

    /// The shards of the set, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let shard = (left != 0).then(|| left.trailing_zeros() as u16)?;
            left &= left - 1;
            Some(shard)
        })
    }

    /// The set with one more shard.
    pub fn with(self, shard: u16) -> Self {
        Self(self.0 | Self::of(shard).0)
    }

    /// The set without one shard.
    pub fn without(self, shard: u16) -> Self {
        Self(self.0 & !Self::of(shard).0)
    }

    /// Whether no shard is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `shard` is in the set.
    pub fn contains(self, shard: u16) -> bool {
        self.0 & Self::of(shard).0 != 0
    }
}

impl Vacant for ShardSet {
    fn is_vacant(&self) -> bool {
        self.is_empty()
    }
}

/// The table.
#[derive(Debug, Default)]
pub struct Routing(LockedFilters<ShardSet>);

impl Routing {
    /// `shard` now has a first subscriber of `filter`.
    pub fn add(&self, filter: &TopicFilter, shard: u16) {
        self.0.make(filter, |shards| *shards = shards.with(shard));
    }

    /// `shard` has lost its last subscriber of `filter`.
    pub fn remove(&self, filter: &TopicFilter, shard: u16) {
        self.0.change(filter, |shards| *shards = shards.without(shard));
    }

    /// Searches for the shards that must get `topic`, until it has found `all`, no more exist, or
    /// the budget is spent. Returns whether the search is over.
    pub fn search(
        &self,
        topic: &TopicName,
        all: ShardSet,
        search: &mut ShardSearch,
        budget: &mut Budget,
    ) -> bool {
        let ShardSearch { cursor, found } = search;
        if topic.is_out_of_reach() {
            cursor.end();
        }
        let found = Cell::from_mut(found);
        self.0.walk(topic, cursor, budget, |shards, (), _| {
            found.set(ShardSet(found.get().0 | shards.0));
            if found.get() == all { Visited::Enough } else { Visited::Whole }
        })
    }
}

/// A search for the shards that must get a topic, in one or several steps.
#[derive(Debug, Default)]
pub struct ShardSearch {
    cursor: Cursor<()>,
    found: ShardSet,
}

impl ShardSearch {
    /// The shards found so far.
    pub fn found(&self) -> ShardSet {
        self.found
    }
}

#[cfg(test)]
mod tests;
