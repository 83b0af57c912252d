//! Subscriptions of durable sessions that memory has and the disk perhaps not yet: what is to be
//! forgotten should the write fail.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::broker::TopicFilter;
use crate::store::SessionNumber;

/// New subscriptions whose write is not back, by session. Each ends with the last SUBSCRIBE for it.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    last: u64,
    touched: HashMap<(SessionNumber, TopicFilter), Touched, foldhash::fast::RandomState>,
}

/// By which SUBSCRIBE it came, and which was the last for it, in the order they came in.
#[derive(Clone, Copy, Debug)]
struct Touched {
    first: u64,
    last: u64,
}

impl Fresh {
    /// A SUBSCRIBE begins; what tells it from others.
    pub(crate) fn begin(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// It subscribes to a filter, which `is_new` to the session. Returns whether it is to say what
    /// became of it.
    pub(crate) fn touch(
        &mut self,
        subscribe: u64,
        number: SessionNumber,
        filter: &TopicFilter,
        is_new: bool,
    ) -> bool {
        let touched = Touched { first: subscribe, last: subscribe };
        match self.touched.entry((number, filter.clone())) {
            Entry::Occupied(mut known) => {
                known.get_mut().last = subscribe;
                true
            }
            Entry::Vacant(free) if is_new => {
                free.insert(touched);
                true
            }
            Entry::Vacant(_) => false,
        }
    }

    /// The session has unsubscribed.
    pub(crate) fn end(&mut self, number: SessionNumber, filter: &TopicFilter) {
        if !self.touched.is_empty() {
            self.touched.remove(&(number, filter.clone()));
        }
    }

    /// The SUBSCRIBE is on disk, and with it the filter: later ones only replace it.
    pub(crate) fn written(&mut self, subscribe: u64, number: SessionNumber, filter: TopicFilter) {
        if let Entry::Occupied(known) = self.touched.entry((number, filter))
            && known.get().first <= subscribe
        {
            known.remove();
        }
    }

    /// The SUBSCRIBE has failed. Returns whether the filter is to be forgotten: an earlier one may
    /// have it on disk, and a later one may yet.
    pub(crate) fn failed(
        &mut self,
        subscribe: u64,
        number: SessionNumber,
        filter: &TopicFilter,
    ) -> bool {
        match self.touched.entry((number, filter.clone())) {
            Entry::Occupied(known) if known.get().last == subscribe => {
                known.remove();
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionNumber = SessionNumber(7);

    fn filter() -> TopicFilter {
        TopicFilter::parse("a/+", 8).expect("valid")
    }

    /// One SUBSCRIBE, to a filter that the session has or not.
    fn subscribe(fresh: &mut Fresh, is_new: bool) -> u64 {
        let subscribe = fresh.begin();
        assert!(fresh.touch(subscribe, SESSION, &filter(), is_new));
        subscribe
    }

    #[test]
    fn a_filter_whose_first_subscribe_failed_is_left_to_the_second() {
        let mut fresh = Fresh::default();
        let (first, second) = (subscribe(&mut fresh, true), subscribe(&mut fresh, false));
        assert!(!fresh.failed(first, SESSION, &filter()), "the second may have it written");
        fresh.written(second, SESSION, filter());
        assert!(fresh.touched.is_empty());

        let (first, second) = (subscribe(&mut fresh, true), subscribe(&mut fresh, false));
        assert!(!fresh.failed(first, SESSION, &filter()));
        assert!(fresh.failed(second, SESSION, &filter()), "no SUBSCRIBE has it written");
        assert!(fresh.touched.is_empty());
    }

    #[test]
    fn a_filter_that_is_on_disk_is_not_forgotten_for_a_later_failure() {
        let mut fresh = Fresh::default();
        let (first, second) = (subscribe(&mut fresh, true), subscribe(&mut fresh, false));
        fresh.written(first, SESSION, filter());
        assert!(!fresh.failed(second, SESSION, &filter()));
        let third = fresh.begin();
        assert!(!fresh.touch(third, SESSION, &filter(), false), "it is not in question any more");
        assert!(fresh.touched.is_empty());
    }

    #[test]
    fn an_unsubscribe_begins_anew() {
        let mut fresh = Fresh::default();
        let first = subscribe(&mut fresh, true);
        fresh.end(SESSION, &filter());
        let second = subscribe(&mut fresh, true);
        fresh.written(first, SESSION, filter());
        assert!(fresh.failed(second, SESSION, &filter()), "what was written is unsubscribed");
        assert!(fresh.touched.is_empty());
    }
}
