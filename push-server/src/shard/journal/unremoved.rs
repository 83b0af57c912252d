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
mod tests {
    use super::*;

    const SESSION: SessionNumber = SessionNumber(7);

    fn filter(text: &str) -> UnremovedFilter {
        (3, SESSION, TopicFilter::parse(text, 8).expect("valid"))
    }

    #[test]
    fn a_filter_waits_once_until_it_is_taken_or_replaced() {
        let mut unremoved = UnremovedFilters::default();
        for text in ["a", "b", "a"] {
            assert!(unremoved.push(filter(text)));
        }
        unremoved.replaced(SESSION, &filter("b").2);
        unremoved.replaced(SESSION, &filter("c").2);
        assert_eq!(unremoved.take(5), [filter("a")]);
        assert!(unremoved.is_empty() && unremoved.bytes == 0);
    }

    #[test]
    fn there_is_room_for_so_many_bytes() {
        let mut unremoved = UnremovedFilters::default();
        let long = |n: usize| filter(&format!("{n}{}", "x".repeat(60_000)));
        let kept = (0..).take_while(|n| unremoved.push(long(*n))).count();
        assert!(unremoved.bytes <= UNREMOVED_FILTER_BYTES_MAX && kept > 200, "{kept}");
        assert!(unremoved.push(long(0)), "it is there already");
        assert_eq!(unremoved.take(1).len(), 1);
        assert!(unremoved.push(long(kept)));
    }
}
