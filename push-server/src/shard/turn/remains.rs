//! What sessions that have ended leave in the tables: filters, which go in turns.
//!
//! A thousand filters take milliseconds to go, and clients end by the hundred when a network fails. So a
//! session is forgotten at once, with all that it is owed and all that the store has of it, and its
//! filters lead to nobody from then on. Its key stays its own until the last of them is gone, so none
//! of them can ever lead to a session that comes after it. They count against
//! `--subscription-bytes-total` as long as they take memory. Who subscribes and needs that memory gets it
//! at once where a few filters of this shard's are enough; else its SUBSCRIBE waits, a turn at a time,
//! until this shard and others have given back what is missing.
//!
//! A group that chooses such a session loses it by that, and chooses another (`share`).

use std::sync::Arc;

use super::Shard;
use super::errand::Errand;
use crate::broker::{Budget, Holder, NoMemory, TopicFilter, subscription_weight_bytes};
use crate::mqtt::SubscriptionList;
use crate::shard::agenda::{Flow, Progress};
use crate::shard::ports::Ports;
use crate::shard::publish::filter_units;

/// As many filters go with their session as this pays for: some ten, as nearly all sessions have.
const AT_ONCE_UNITS: u32 = 512;

/// So many filters go at once to make room for a new one.
const FOR_ONE_MAX: usize = 16;

/// Why a new subscription gets no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSubscriptionMemory {
    /// Filters that are about to go have it.
    Yet,
    /// Others have.
    Used(NoMemory),
}

impl<P: Ports> Shard<P> {
    /// A session has ended, and is no longer one of the shard's: takes its filters out of the tables, the
    /// first of them at once, the others in turns.
    pub(super) fn drop_subscriptions(&mut self, key: u32, filters: SubscriptionList) {
        if filters.is_empty() {
            self.sessions.release_key(key);
            return;
        }
        self.here.shared().totals.remains_bytes().add(filters.bytes() as u64);
        self.publishing.add_remains(key, filters);
        if self.forget_remains(key, &mut Budget::new(AT_ONCE_UNITS)) != Progress::Done {
            self.agenda.push(Flow::ended(self.here.index(), key), Errand::Forget(key));
        }
    }

    /// Takes filters of an ended session out of the tables until the budget is spent, or the server
    /// stops.
    pub(super) fn forget_remains(&mut self, key: u32, budget: &mut Budget) -> Progress {
        while !self.stop.has_begun() && self.publishing.has_remains(key) {
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
    /// It is not there, or not yet.
    pub(super) fn take_subscription_memory(
        &mut self,
        holder: Holder,
        weight_bytes: u64,
    ) -> Result<(), NoSubscriptionMemory> {
        let shared = Arc::clone(self.here.shared());
        let memory = &shared.memory.subscriptions;
        let mut taken = memory.take_for(holder, weight_bytes);
        for _ in 0..FOR_ONE_MAX {
            let first = self.publishing.first_remains();
            let Some(key) = first.filter(|_| taken.is_err()) else { break };
            self.forget_one(key);
            taken = memory.take_for(holder, weight_bytes);
        }
        taken.map_err(|missing| {
            if shared.totals.remains_bytes().would_make_room(memory, missing, weight_bytes) {
                NoSubscriptionMemory::Yet
            } else {
                NoSubscriptionMemory::Used(missing)
            }
        })
    }

    /// Takes out one filter of an ended session, and lets go of its key with the last one.
    fn forget_one(&mut self, key: u32) -> Option<TopicFilter> {
        let (filter, was_last) = self.publishing.pop_remains(key)?;
        self.drop_subscription(key, &filter);
        // Not before: who looks in between would take it for somebody's that stays.
        self.here
            .shared()
            .totals
            .remains_bytes()
            .subtract(subscription_weight_bytes(&filter) as u64);
        if was_last {
            self.sessions.release_key(key);
        }
        Some(filter)
    }
}
