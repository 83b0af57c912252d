//! Values by session and filter, sorted, so that whether a session has any is found without walking those of others:
//! all shards may wait to know, and there may be a hundred thousand.

use std::collections::BTreeMap;

use crate::broker::TopicFilter;
use crate::store::SessionNumber;

/// Values by session and filter.
#[derive(Debug)]
pub(super) struct FiltersBySession<V>(BTreeMap<Key, V>);

/// Each has a filter. None stands before every filter of its session, where a search begins.
type Key = (SessionNumber, Option<TopicFilter>);

impl<V> FiltersBySession<V> {
    pub(super) fn get_mut(
        &mut self,
        number: SessionNumber,
        filter: &TopicFilter,
    ) -> Option<&mut V> {
        // Nearly always there is none at all.
        if self.0.is_empty() {
            return None;
        }
        self.0.get_mut(&(number, Some(filter.clone())))
    }

    pub(super) fn insert(&mut self, number: SessionNumber, filter: TopicFilter, value: V) {
        self.0.insert((number, Some(filter)), value);
    }

    /// Returns whether it was there.
    pub(super) fn remove(&mut self, number: SessionNumber, filter: &TopicFilter) -> bool {
        !self.0.is_empty() && self.0.remove(&(number, Some(filter.clone()))).is_some()
    }

    /// Whether a session has any.
    pub(super) fn has(&self, number: SessionNumber) -> bool {
        self.0.range((number, None)..).next().is_some_and(|((other, _), _)| *other == number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionNumber, &TopicFilter, &V)> {
        self.0
            .iter()
            .filter_map(|((number, filter), value)| Some((*number, filter.as_ref()?, value)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> Default for FiltersBySession<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

#[cfg(test)]
mod tests;
