//! Filters of ended sessions that are still in the tables. They are removed in turns.
//!
//! It takes milliseconds to remove a thousand filters, and hundreds of clients end when a network fails. So a
//! session is forgotten at once, and from then on its filters lead to no session. Its key is not given again before
//! the last of them is removed, so none of them can lead to a later session. They count against
//! `--subscription-bytes-total` as long as they take memory. A client that subscribes and needs that memory gets it
//! at once if a few filters of this shard are enough; otherwise its SUBSCRIBE waits, a turn at a time, until this
//! shard and others have given back what is missing.
//!
//! A group that chooses such a session removes it, and chooses another (`share`).

use std::sync::Arc;

use super::Shard;
use super::errand::Errand;
use crate::broker::{Budget, Holder, NoMemory, TopicFilter, subscription_weight_bytes};
use crate::mqtt::SubscriptionList;
use crate::shard::agenda::{Flow, Progress};
use crate::shard::ports::Ports;
use crate::shard::publish::filter_units;

/// Units of filters that are removed with their session: some ten filters, and nearly all sessions have no more.
const AT_ONCE_UNITS: u32 = 512;

/// How many filters are removed at once to make room for a new one.
const FOR_ONE_MAX: usize = 16;

/// Why a new subscription gets no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSubscriptionMemory {
    /// Filters that are about to be removed have it.
    Yet,
    /// Other sessions have it.
    Used(NoMemory),
}

impl<P: Ports> Shard<P> {
    /// A session has ended and is out of the shard's table: removes its filters, the first of them at once, the
    /// others in turns.
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

    /// Removes filters of an ended session until the budget is spent, or the server stops.
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
    /// There is none, or not yet.
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

    /// Removes one filter of an ended session, and with the last one releases its key.
    fn forget_one(&mut self, key: u32) -> Option<TopicFilter> {
        let (filter, was_last) = self.publishing.pop_remains(key)?;
        self.drop_subscription(key, &filter);
        // Behind the removal: in between, the memory must not look as if a session that stays had it.
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
