//! Filters that their sessions have unsubscribed from, and that the disk still has, because the write of
//! their removal failed. They are offered again as soon as the store serves (`retry`).
//!
//! The client was told that its UNSUBSCRIBE failed, and memory has forgotten the filter all the same: the filter
//! brings no messages any more. If the server dies before the disk is back, the subscription is there again after
//! the next start, as the client was told.

use super::filters_by_session::FiltersBySession;
use crate::broker::TopicFilter;
use crate::store::SessionNumber;

/// Bytes of filters of a shard whose removal failed. Further ones are not tried again
/// (`limit="filter_removals"`): a restart finds them on disk, unless their clients unsubscribe again.
pub(crate) const UNREMOVED_FILTER_BYTES_MAX: usize = 16 << 20;

/// Bytes that a filter takes beside its text.
const ENTRY_BYTES: usize = 96;

/// A filter of the session with this key and number.
pub(crate) type UnremovedFilter = (u32, SessionNumber, TopicFilter);

/// A shard's filters whose removal failed.
#[derive(Debug, Default)]
pub(crate) struct UnremovedFilters {
    /// The keys that their sessions have or had.
    keys: FiltersBySession<u32>,
    bytes: usize,
}

impl UnremovedFilters {
    /// A removal has failed. Returns whether there was room to remember it.
    pub(crate) fn push(&mut self, (key, number, filter): UnremovedFilter) -> bool {
        if self.keys.get_mut(number, &filter).is_some() {
            return true;
        }
        let bytes = self.bytes + weight_bytes(&filter);
        if bytes > UNREMOVED_FILTER_BYTES_MAX {
            return false;
        }
        self.keys.insert(number, filter, key);
        self.bytes = bytes;
        true
    }

    /// Whether a session has any.
    pub(crate) fn has(&self, number: SessionNumber) -> bool {
        self.keys.has(number)
    }

    /// A later subscription to the filter is on disk, in the place of the one to be removed.
    pub(crate) fn replaced(&mut self, number: SessionNumber, filter: &TopicFilter) {
        if self.keys.remove(number, filter) {
            self.bytes -= weight_bytes(filter);
        }
    }

    /// Takes at most so many of them.
    pub(crate) fn take(&mut self, filters_max: usize) -> Vec<UnremovedFilter> {
        let some: Vec<_> = self
            .keys
            .iter()
            .take(filters_max)
            .map(|(number, filter, key)| (*key, number, filter.clone()))
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
