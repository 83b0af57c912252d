//! Filters that their sessions have unsubscribed from, and that the disk still has, because the write of
//! their removal failed. They are offered again as soon as the store serves (`retry`).
//!
//! The client was told that it failed, and memory has forgotten the filter all the same: nothing comes by
//! it any more. If the server dies before the disk is back, the subscription is there again after the
//! next start, as its client was told.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::FixedState;

use crate::broker::TopicFilter;
use crate::store::SessionNumber;

/// Bytes of filters of a shard whose removal failed. Further ones are not tried again
/// (`limit="filter_removals"`): a restart finds them on disk, unless their clients unsubscribe again.
pub(crate) const UNREMOVED_FILTER_BYTES_MAX: usize = 16 << 20;

/// What one takes beside its text.
const ENTRY_BYTES: usize = 96;

/// A filter of the session with this key and number.
pub(crate) type UnremovedFilter = (u32, SessionNumber, TopicFilter);

/// Those of a shard.
#[derive(Debug, Default)]
pub(crate) struct UnremovedFilters {
    keys: HashMap<(SessionNumber, TopicFilter), u32, FixedState>,
    bytes: usize,
}

impl UnremovedFilters {
    /// A removal has failed. Returns whether there was room to remember it.
    pub(crate) fn push(&mut self, (key, number, filter): UnremovedFilter) -> bool {
        let bytes = self.bytes + weight_bytes(&filter);
        if let Entry::Vacant(place) = self.keys.entry((number, filter)) {
            if bytes > UNREMOVED_FILTER_BYTES_MAX {
                return false;
            }
            place.insert(key);
            self.bytes = bytes;
        }
        true
    }

    /// Whether a session has any.
    pub(crate) fn has(&self, number: SessionNumber) -> bool {
        self.keys.keys().any(|(other, _)| *other == number)
    }

    /// A later subscription to the filter is on disk in the place of the one to be removed.
    pub(crate) fn replaced(&mut self, number: SessionNumber, filter: &TopicFilter) {
        if !self.keys.is_empty() && self.keys.remove(&(number, filter.clone())).is_some() {
            self.bytes -= weight_bytes(filter);
        }
    }

    /// Takes some of them, so many at the most.
    pub(crate) fn take(&mut self, filters_max: usize) -> Vec<UnremovedFilter> {
        let some: Vec<_> = self
            .keys
            .iter()
            .take(filters_max)
            .map(|((number, filter), key)| (*key, *number, filter.clone()))
            .collect();
        for (_, number, filter) in &some {
            self.replaced(*number, filter);
        }
        some
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

fn weight_bytes(filter: &TopicFilter) -> usize {
    ENTRY_BYTES + filter.as_str().len()
}

#[cfg(test)]
mod tests;
