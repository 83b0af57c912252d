//! A filter table that all shards share and every publish reads.
//!
//! A million sessions with a topic of their own change such a table a million times, so filters
//! without wildcards are spread over many locks. Those with wildcards share one lock, which nobody
//! takes while there are none. A lock is held for one look-up; a poisoned one is recovered, not
//! propagated.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::budget::Budget;
use super::filter_table::{
    Cursor, ExactFilters, SEGMENTS, TextHasher, Visited, Way, WildcardFilters,
};
use super::level_tree::Vacant;
use super::topic::{TopicFilter, TopicName};

/// The table.
#[derive(Debug)]
pub(super) struct LockedFilters<V: Default> {
    hasher: TextHasher,
    exact: Box<[LockedSegment<V>]>,
    wildcard: RwLock<WildcardFilters<V>>,
    /// Whether `wildcard` has any; written under its lock, read without. A publish that misses a
    /// subscription here came before that subscription was answered.
    any_wildcard: AtomicBool,
}

/// Each lock has its own cache line, so that neighbours do not slow each other down.
#[derive(Debug)]
#[repr(align(64))]
struct LockedSegment<V>(RwLock<ExactFilters<V>>);

impl<V: Default> Default for LockedFilters<V> {
    fn default() -> Self {
        let segment = || LockedSegment(RwLock::new(ExactFilters::default()));
        Self {
            hasher: TextHasher::default(),
            exact: std::iter::repeat_with(segment).take(SEGMENTS).collect(),
            wildcard: RwLock::default(),
            any_wildcard: AtomicBool::new(false),
        }
    }
}

impl<V: Default + Vacant> LockedFilters<V> {
    /// Changes the value of `filter`, or a new default. `change` must not leave it vacant.
    pub(super) fn make<R>(&self, filter: &TopicFilter, change: impl FnOnce(&mut V) -> R) -> R {
        if filter.has_wildcards() {
            let mut wildcard = write(&self.wildcard);
            let result = change(wildcard.make(filter));
            self.any_wildcard.store(true, Ordering::Release);
            result
        } else {
            let hash = self.hasher.hash(filter.as_str());
            let mut segment = write(&self.exact[TextHasher::segment(hash)].0);
            change(segment.make(hash, filter, &self.hasher))
        }
    }

    /// Changes the value of `filter`, if there is one, and removes it if `change` left it vacant.
    pub(super) fn change<R>(
        &self,
        filter: &TopicFilter,
        change: impl FnOnce(&mut V) -> R,
    ) -> Option<R> {
        if filter.has_wildcards() {
            let mut wildcard = write(&self.wildcard);
            let result = wildcard.change(filter, change);
            self.any_wildcard.store(!wildcard.is_empty(), Ordering::Release);
            result
        } else {
            let hash = self.hasher.hash(filter.as_str());
            let mut segment = write(&self.exact[TextHasher::segment(hash)].0);
            segment.change(hash, filter, &self.hasher, change)
        }
    }

    /// Reads the value of `filter`, if there is one.
    pub(super) fn look<R>(&self, filter: &TopicFilter, look: impl FnOnce(&V) -> R) -> Option<R> {
        if filter.has_wildcards() {
            read(&self.wildcard).find(filter).map(look)
        } else {
            let hash = self.hasher.hash(filter.as_str());
            let segment = read(&self.exact[TextHasher::segment(hash)].0);
            segment.find(hash, filter.as_str()).map(look)
        }
    }

    /// Shows `visit` the value of each filter that matches `topic`, from `cursor` on, until the
    /// budget is spent; then it releases the lock. Returns whether everything is shown.
    pub(super) fn walk<P: Default>(
        &self,
        topic: &TopicName,
        cursor: &mut Cursor<P>,
        budget: &mut Budget,
        visit: impl Fn(&V, &mut P, &mut Budget) -> Visited,
    ) -> bool {
        let exact = |within: &mut P, budget: &mut Budget| {
            let hash = self.hasher.hash(topic.as_str());
            let segment = read(&self.exact[TextHasher::segment(hash)].0);
            let found = segment.find(hash, topic.as_str());
            found.map_or(Visited::Whole, |value| visit(value, within, budget))
        };
        let wildcard = |way: &mut Way<P>, budget: &mut Budget| {
            !self.any_wildcard.load(Ordering::Acquire)
                || read(&self.wildcard).walk(topic, way, budget, &visit)
        };
        cursor.step(budget, exact, wildcard)
    }

    /// Filters without wildcards, nodes of those with, and whether publishes look at them.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize, bool) {
        let exact = self.exact.iter().map(|segment| read(&segment.0).len()).sum();
        let any_wildcard = self.any_wildcard.load(Ordering::Relaxed);
        (exact, read(&self.wildcard).nodes_len(), any_wildcard)
    }

    /// Panics while it holds the lock of the wildcards.
    #[cfg(test)]
    pub(super) fn poison(&self)
    where
        V: Send + Sync,
    {
        let poisoning = std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _guard = write(&self.wildcard);
                panic!("with the lock held, on purpose");
            });
            holder.join()
        });
        assert!(poisoning.is_err() && self.wildcard.is_poisoned());
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
