//! What sessions that have ended leave in the tables: filters, which go in turns.
//!
//! A thousand filters take milliseconds to go, and clients end by the hundred when a network fails. So a
//! session is forgotten at once, with all that it is owed and all that the store has of it, and its
//! filters lead to nobody from then on. Its key stays its own until the last of them is gone, so none
//! of them can ever lead to a session that comes after it. They count against
//! `--subscription-bytes-total` as long as they take memory; who subscribes does not have to wait for
//! them, though.
//!
//! A session leaves its shared groups at once: they are not to choose it any more.

use std::collections::BTreeMap;

use super::fair_queue::Flow;
use super::turn::Errand;
use super::worker::Worker;
use crate::broker::{Budget, TopicFilter};
use crate::mqtt::SubscriptionList;

/// So many filters, about 0.1 ms, go with their session.
const AT_ONCE_MAX: usize = 64;

/// What it costs to take a filter out of the tables, and each of its levels.
const FILTER_UNITS: u32 = 24;
const LEVEL_UNITS: u32 = 16;

/// So many filters go at once to make room for a new one.
const FOR_ONE_MAX: usize = 16;

/// Filters of ended sessions, by their keys.
#[derive(Debug, Default)]
pub(super) struct Remains(BTreeMap<u32, SubscriptionList>);

impl Worker {
    /// A session has ended, and is no longer one of the shard's: takes its filters out of the tables, or
    /// has that done in turns. Its shared ones stay in the list.
    pub(super) fn drop_subscriptions(&mut self, key: u32, subscriptions: &mut SubscriptionList) {
        let mut filters = subscriptions.split_off_unshared();
        for (filter, _) in &*subscriptions {
            self.drop_subscription(key, filter);
        }
        if filters.len() > AT_ONCE_MAX {
            self.remains.0.insert(key, filters);
            if !self.stopping {
                self.work.push(Flow::ended(self.index, key), Errand::Forget(key));
            }
            return;
        }
        while let Some(filter) = filters.pop() {
            self.drop_subscription(key, &filter);
        }
        self.sessions.release_key(key);
    }

    /// Takes filters of an ended session out of the tables until the budget is spent. Returns whether
    /// it is over; so it is when the server stops.
    pub(super) fn forget_remains(&mut self, key: u32, budget: &mut Budget) -> bool {
        while !self.stopping && !budget.is_spent() {
            let Some(filter) = self.forget_one(key) else { return true };
            let levels = filter.as_str().split('/').count() as u32;
            budget.charge(FILTER_UNITS + levels * LEVEL_UNITS);
        }
        self.stopping
    }

    /// Takes memory for a new subscription, if need be from those of ended sessions. Returns whether it
    /// was there.
    pub(super) fn take_subscription_memory(&mut self, weight_bytes: u64) -> bool {
        for _ in 0..FOR_ONE_MAX {
            if self.shared.memory.subscriptions.take(weight_bytes) {
                return true;
            }
            let Some((&key, _)) = self.remains.0.first_key_value() else { return false };
            self.forget_one(key);
        }
        self.shared.memory.subscriptions.take(weight_bytes)
    }

    /// Takes out one filter of an ended session, and lets go of its key with the last one.
    fn forget_one(&mut self, key: u32) -> Option<TopicFilter> {
        let filters = self.remains.0.get_mut(&key)?;
        let filter = filters.pop()?;
        let was_last = filters.is_empty();
        self.drop_subscription(key, &filter);
        if was_last {
            self.remains.0.remove(&key);
            self.sessions.release_key(key);
        }
        Some(filter)
    }
}
