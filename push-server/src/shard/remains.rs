//! What sessions that have ended leave in the tables: filters, which go in turns.
//!
//! A thousand filters take milliseconds to go, and clients end by the hundred when a network fails. So a
//! session is forgotten at once, with all that it is owed and all that the store has of it, and its
//! filters lead to nobody from then on. Its key stays its own until the last of them is gone, so none
//! of them can ever lead to a session that comes after it. They count against
//! `--subscription-bytes-total` as long as they take memory; who subscribes does not have to wait for
//! them, though.
//!
//! A group that chooses such a session loses it by that, and chooses another (`share`).

use std::collections::BTreeMap;

use super::fair_queue::Flow;
use super::subscribe::filter_units;
use super::turn::{Errand, Progress};
use super::worker::Worker;
use crate::broker::{Budget, Holder, NoMemory, TopicFilter};
use crate::mqtt::SubscriptionList;

/// As many filters go with their session as this pays for: some ten, as nearly all sessions have.
const AT_ONCE_UNITS: u32 = 512;

/// So many filters go at once to make room for a new one.
const FOR_ONE_MAX: usize = 16;

/// Filters of ended sessions, by their keys.
#[derive(Debug, Default)]
pub(super) struct Remains(BTreeMap<u32, SubscriptionList>);

impl Worker {
    /// A session has ended, and is no longer one of the shard's: takes its filters out of the tables, the
    /// first of them at once, the others in turns.
    pub(super) fn drop_subscriptions(&mut self, key: u32, filters: SubscriptionList) {
        if filters.is_empty() {
            self.sessions.release_key(key);
            return;
        }
        self.remains.0.insert(key, filters);
        if self.forget_remains(key, &mut Budget::new(AT_ONCE_UNITS)) != Progress::Done {
            self.work.push(Flow::ended(self.index, key), Errand::Forget(key));
        }
    }

    /// Takes filters of an ended session out of the tables until the budget is spent, or the server
    /// stops.
    pub(super) fn forget_remains(&mut self, key: u32, budget: &mut Budget) -> Progress {
        while !self.stopping && self.remains.0.contains_key(&key) {
            if budget.is_spent() {
                return Progress::Spent;
            }
            let Some(filter) = self.forget_one(key) else { break };
            budget.charge(filter_units(&filter));
        }
        Progress::Done
    }

    /// Takes memory for a new subscription, if need be from those of ended sessions.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn take_subscription_memory(
        &mut self,
        holder: Holder,
        weight_bytes: u64,
    ) -> Result<(), NoMemory> {
        for _ in 0..FOR_ONE_MAX {
            let taken = self.shared.memory.subscriptions.take_for(holder, weight_bytes);
            let Some((&key, _)) = self.remains.0.first_key_value() else { return taken };
            if taken.is_ok() {
                return taken;
            }
            self.forget_one(key);
        }
        self.shared.memory.subscriptions.take_for(holder, weight_bytes)
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
