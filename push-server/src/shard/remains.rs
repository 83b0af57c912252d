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

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::agenda::Progress;
use super::fair_queue::Flow;
use super::ports::Ports;
use super::subscribe::filter_units;
use super::turn::Errand;
use super::worker::Worker;
use crate::broker::{
    Budget, Holder, MemoryBudget, NoMemory, TopicFilter, subscription_weight_bytes,
};
use crate::mqtt::SubscriptionList;

/// As many filters go with their session as this pays for: some ten, as nearly all sessions have.
const AT_ONCE_UNITS: u32 = 512;

/// So many filters go at once to make room for a new one.
const FOR_ONE_MAX: usize = 16;

/// So many turns, of a millisecond each or longer, a SUBSCRIBE waits for filters to go.
pub(super) const REMAINS_WAITS_MAX: u16 = 2_000;

/// Filters of ended sessions, by their keys.
#[derive(Debug, Default)]
pub(super) struct Remains(BTreeMap<u32, SubscriptionList>);

/// What filters of ended sessions still take of `--subscription-bytes-total`, on all shards.
#[derive(Debug, Default)]
pub(super) struct RemainsBytes(AtomicU64);

impl RemainsBytes {
    fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether there would be room for so many bytes, were all of it given back. `missing`: why there was
    /// none; there may be some by now.
    fn would_make_room(&self, memory: &MemoryBudget, missing: NoMemory, bytes: u64) -> bool {
        let remains = self.0.load(Ordering::Relaxed);
        let bytes_max = match missing {
            NoMemory::Total => memory.bytes_max(),
            // Shares do not bind then.
            NoMemory::Share => memory.bytes_max() / 2,
        };
        let used = memory.used_bytes().saturating_sub(remains);
        used.saturating_add(bytes) <= bytes_max
    }
}

/// Why a new subscription gets no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSubscriptionMemory {
    /// Filters that are about to go have it.
    Yet,
    /// Others have.
    Used(NoMemory),
}

impl<P: Ports> Worker<P> {
    /// A session has ended, and is no longer one of the shard's: takes its filters out of the tables, the
    /// first of them at once, the others in turns.
    pub(super) fn drop_subscriptions(&mut self, key: u32, filters: SubscriptionList) {
        if filters.is_empty() {
            self.sessions.release_key(key);
            return;
        }
        self.shared.remains_bytes.add(filters.bytes() as u64);
        self.remains.0.insert(key, filters);
        if self.forget_remains(key, &mut Budget::new(AT_ONCE_UNITS)) != Progress::Done {
            self.agenda.push(Flow::ended(self.index, key), Errand::Forget(key));
        }
    }

    /// Takes filters of an ended session out of the tables until the budget is spent, or the server
    /// stops.
    pub(super) fn forget_remains(&mut self, key: u32, budget: &mut Budget) -> Progress {
        while !self.stop.has_begun() && self.remains.0.contains_key(&key) {
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
        let shared = Arc::clone(&self.shared);
        let memory = &shared.memory.subscriptions;
        let mut taken = memory.take_for(holder, weight_bytes);
        for _ in 0..FOR_ONE_MAX {
            let Some((&key, _)) = self.remains.0.first_key_value().filter(|_| taken.is_err())
            else {
                break;
            };
            self.forget_one(key);
            taken = memory.take_for(holder, weight_bytes);
        }
        taken.map_err(|missing| {
            if shared.remains_bytes.would_make_room(memory, missing, weight_bytes) {
                NoSubscriptionMemory::Yet
            } else {
                NoSubscriptionMemory::Used(missing)
            }
        })
    }

    /// Takes out one filter of an ended session, and lets go of its key with the last one.
    fn forget_one(&mut self, key: u32) -> Option<TopicFilter> {
        let filters = self.remains.0.get_mut(&key)?;
        let filter = filters.pop()?;
        let was_last = filters.is_empty();
        self.drop_subscription(key, &filter);
        // Not before: who looks in between would take it for somebody's that stays.
        self.shared.remains_bytes.subtract(subscription_weight_bytes(&filter) as u64);
        if was_last {
            self.remains.0.remove(&key);
            self.sessions.release_key(key);
        }
        Some(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_to_go_is_waited_for_if_it_is_enough() {
        let (memory, remains) = (MemoryBudget::new(100), RemainsBytes::default());
        memory.add(95);
        assert!(!remains.would_make_room(&memory, NoMemory::Total, 6), "nothing is about to go");
        remains.add(10);
        assert!(remains.would_make_room(&memory, NoMemory::Total, 15));
        assert!(!remains.would_make_room(&memory, NoMemory::Total, 16), "there is not enough");
        assert!(!remains.would_make_room(&memory, NoMemory::Share, 1), "shares bind all the same");
        remains.add(50);
        assert!(remains.would_make_room(&memory, NoMemory::Share, 15));
        remains.subtract(60);
        assert!(!remains.would_make_room(&memory, NoMemory::Total, 6));
    }
}
