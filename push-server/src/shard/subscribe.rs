//! What a client subscribes to and unsubscribes from: its list, the tables, the disk, and the answer.

use super::client::Phase;
use super::ticket::{Done, Draft, Subscribed};
use super::worker::Worker;
use crate::broker::{QoS, SubscriptionOptions, TopicFilter, subscription_weight_bytes};
use crate::mqtt::codec::Reason;
use crate::mqtt::{ListFull, Subscribe, SubscribeEntry, Unsubscribe};
use crate::store::Write;

/// What it costs to put a filter into the tables or take it out, and each of its levels.
const FILTER_UNITS: u32 = 24;
const LEVEL_UNITS: u32 = 16;

/// What it costs to put a filter into the tables, or to take it out.
pub(super) fn filter_units(filter: &TopicFilter) -> u32 {
    // A filter has at most 65,535 bytes, and so levels.
    FILTER_UNITS + LEVEL_UNITS * filter.as_str().split('/').count() as u32
}

impl Worker {
    pub(super) fn on_subscribe(&mut self, index: u32, key: u32, subscribe: Subscribe) {
        let number = self.number_of(key);
        let mut results = Vec::with_capacity(subscribe.entries.len());
        let mut draft = self.owed_record(key);
        let (serial, mut fresh) = (self.fresh.begin(), Vec::new());
        for entry in subscribe.entries {
            let result = entry.and_then(|entry| {
                let (qos, is_new) = self.subscribe_one(key, &entry, serial)?;
                if let Some(number) = number {
                    let SubscribeEntry { filter, options } = entry;
                    if self.fresh.touch(serial, number, &filter, is_new) {
                        fresh.push(filter.clone());
                    }
                    draft.writes.push(Write::PutSubscription { number, filter, options });
                }
                Ok(qos)
            });
            results.push(result);
        }
        let subscribed = Subscribed {
            client: self.token_of(index),
            session: (key, number.unwrap_or_default()),
            packet_id: subscribe.packet_id,
            results,
            subscribe: serial,
            fresh,
        };
        draft.waiting.push((self.index, Done::Subscribe(Box::new(subscribed))));
        self.file(draft);
    }

    /// Subscribes, and has the retained messages sent that this brings; they leave behind SUBACK.
    /// Returns the QoS granted, and whether the filter is new to the session.
    fn subscribe_one(
        &mut self,
        key: u32,
        entry: &SubscribeEntry,
        subscribe: u64,
    ) -> Result<(QoS, bool), Reason> {
        let SubscribeEntry { filter, options } = entry;
        let options = *options;
        // Shared subscriptions bring no retained messages [MQTT5 4.8.2].
        if options.retain_handling == 2 || filter.is_shared() {
            let is_new = self.add_subscription(key, filter, options)?;
            return Ok((options.qos, is_new));
        }
        if !self.has_backlog_room(key) {
            // It asks again and again without taking what it is owed.
            self.counters.limit_backlog.add(1);
            return Err(Reason::QuotaExceeded);
        }
        let is_new = self.add_subscription(key, filter, options)?;
        if options.retain_handling == 0 || is_new {
            self.queue_retained(key, filter, options, subscribe);
        }
        Ok((options.qos, is_new))
    }

    /// Returns whether the session did not have the filter before.
    fn add_subscription(
        &mut self,
        key: u32,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) -> Result<bool, Reason> {
        let session = self.sessions.session(key).ok_or(Reason::UnspecifiedError)?;
        let weight_bytes = match session.subscriptions.contains(filter) {
            true => 0,
            false => subscription_weight_bytes(filter) as u64,
        };
        if !self.take_subscription_memory(weight_bytes) {
            self.counters.limit_subscription_bytes_total.add(1);
            return Err(Reason::QuotaExceeded);
        }
        let (limits, total) = (&self.shared.config.limits, &self.shared.memory.subscriptions);
        let session = self.sessions.session_mut(key).ok_or(Reason::UnspecifiedError)?;
        if let Err(full) = session.subscriptions.set(filter, options, limits) {
            total.give_back(weight_bytes);
            let counter = match full {
                ListFull::Number => &self.counters.limit_subscriptions,
                ListFull::Bytes => &self.counters.limit_subscription_bytes,
            };
            counter.add(1);
            return Err(Reason::QuotaExceeded);
        }
        Ok(self.index_subscription(key, filter, options))
    }

    /// Has messages come to a session by a filter that it has, and that is counted against the total of
    /// subscriptions. Returns whether it is a new one.
    pub(super) fn index_subscription(
        &mut self,
        key: u32,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) -> bool {
        let replaced = if filter.is_shared() {
            let presence = self.sessions.entry_mut(key).map(|entry| &entry.presence);
            let is_online = presence.is_some_and(|presence| presence.client().is_some());
            let replaced = self.shared.shares.join(filter, self.member(key), options, is_online);
            if let Some(bytes) = self.packet_bytes_max(key) {
                let member = self.member(key);
                self.shared.shares.set_packet_bytes_max(filter, member, bytes);
            }
            replaced
        } else {
            let (replaced, is_first) = self.subscriptions.insert(filter, key, options);
            if is_first {
                self.shared.routing.add(filter, self.index);
            }
            replaced
        };
        self.counters.subscriptions.add(u64::from(!replaced));
        !replaced
    }

    /// The largest packet that a session's client takes, if it is here and said so.
    fn packet_bytes_max(&mut self, key: u32) -> Option<u32> {
        let index = self.sessions.entry_mut(key)?.presence.client()?;
        match &self.clients.get(index as usize)?.phase {
            Phase::Serving { connection, .. } => connection.packet_bytes_max(),
            _ => None,
        }
    }

    pub(super) fn on_unsubscribe(&mut self, index: u32, key: u32, unsubscribe: Unsubscribe) {
        let number = self.number_of(key);
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        let mut writes = Vec::new();
        for filter in unsubscribe.filters {
            let filter = match filter {
                Ok(filter) => filter,
                Err(reason) => {
                    reasons.push(reason);
                    continue;
                }
            };
            let existed = self.forget_subscription(key, &filter);
            if existed && filter.is_shared() {
                self.pass_on_unsent(key, &filter);
            }
            reasons.push(if existed { Reason::Success } else { Reason::NoSubscriptionExisted });
            if let Some(number) = number {
                self.fresh.end(number, &filter);
                // Also of one that memory does not know: an earlier removal may have failed.
                writes.push(Write::RemoveSubscription { number, filter });
            }
        }
        let client = self.token_of(index);
        let done = Done::Unsubscribe { client, packet_id: unsubscribe.packet_id, reasons };
        self.file(Draft { writes, waiting: vec![(self.index, done)] });
    }

    /// Ends a session's subscription. Returns whether there was one.
    pub(super) fn forget_subscription(&mut self, key: u32, filter: &TopicFilter) -> bool {
        if let Some(session) = self.sessions.session_mut(key) {
            session.subscriptions.remove(filter);
        }
        self.drop_subscription(key, filter)
    }

    /// Returns whether there was one.
    pub(super) fn drop_subscription(&mut self, key: u32, filter: &TopicFilter) -> bool {
        let existed = if filter.is_shared() {
            self.shared.shares.leave(filter, self.member(key))
        } else {
            let (existed, was_last) = self.subscriptions.remove(filter, key);
            if was_last {
                self.shared.routing.remove(filter, self.index);
            }
            existed
        };
        if existed {
            self.counters.subscriptions.sub(1);
            let weight_bytes = subscription_weight_bytes(filter) as u64;
            self.shared.memory.subscriptions.give_back(weight_bytes);
        }
        existed
    }
}
