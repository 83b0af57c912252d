//! Subscriptions of durable sessions that are in memory and perhaps not on disk yet: they are
//! undone if the write fails.

use super::filters_by_session::FiltersBySession;
use crate::broker::TopicFilter;
use crate::store::SessionNumber;

/// New subscriptions whose write is still under way, by session. Each ends with the last SUBSCRIBE for it.
#[derive(Debug, Default)]
pub(crate) struct UnconfirmedFilters {
    last: u64,
    touched: FiltersBySession<Touched>,
}

/// The SUBSCRIBE that brought a subscription, and the last one for the same filter; later ones have larger numbers.
#[derive(Clone, Copy, Debug)]
struct Touched {
    first: u64,
    last: u64,
}

impl UnconfirmedFilters {
    /// A SUBSCRIBE begins. Returns its number.
    pub(crate) fn begin(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether a session has any.
    pub(crate) fn has(&self, number: SessionNumber) -> bool {
        self.touched.has(number)
    }

    /// A SUBSCRIBE subscribes to a filter; `is_new`: the session did not have it. Returns whether its write has to
    /// be reported, by `written` or `failed`.
    pub(crate) fn touch(
        &mut self,
        subscribe: u64,
        number: SessionNumber,
        filter: &TopicFilter,
        is_new: bool,
    ) -> bool {
        if let Some(known) = self.touched.get_mut(number, filter) {
            known.last = subscribe;
            return true;
        }
        if is_new {
            let touched = Touched { first: subscribe, last: subscribe };
            self.touched.insert(number, filter.clone(), touched);
        }
        is_new
    }

    /// The session has unsubscribed.
    pub(crate) fn end(&mut self, number: SessionNumber, filter: &TopicFilter) {
        self.touched.remove(number, filter);
    }

    /// The SUBSCRIBE is on disk, and with it the filter: later ones only replace it.
    pub(crate) fn written(&mut self, subscribe: u64, number: SessionNumber, filter: &TopicFilter) {
        let known = self.touched.get_mut(number, filter);
        if known.is_some_and(|known| known.first <= subscribe) {
            self.touched.remove(number, filter);
        }
    }

    /// The SUBSCRIBE has failed. Returns whether the session has to forget the filter. It keeps the filter if an
    /// earlier SUBSCRIBE has it on disk, or a later one is under way.
    pub(crate) fn failed(
        &mut self,
        subscribe: u64,
        number: SessionNumber,
        filter: &TopicFilter,
    ) -> bool {
        let known = self.touched.get_mut(number, filter);
        known.is_some_and(|known| known.last == subscribe) && self.touched.remove(number, filter)
    }
}

#[cfg(test)]
mod tests;
