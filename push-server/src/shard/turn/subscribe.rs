//! SUBSCRIBE and UNSUBSCRIBE: the session's list, the tables, the disk, and the answer.
//!
//! A packet may have thousands of filters. So it is done in steps of a budget, which its session pays
//! (`fair_queue`), and the client's next packets wait behind it. Its writes are one write at the end, and the
//! answer waits for that. If the client goes meanwhile, the filters that were dealt with are written, and the
//! others are not; if the session ends, nothing of it remains. A member that unsubscribes from a group hands on its
//! messages within the same steps (`hand_on`).

use super::Shard;
use super::remains::NoSubscriptionMemory;
use crate::broker::{
    Budget, NoMemory, QoS, SubscriptionOptions, TopicFilter, subscription_weight_bytes,
};
use crate::mqtt::codec::Reason;
use crate::mqtt::{ListFull, Session, Subscribe, SubscribeEntry, Unsubscribe};
use crate::mutant::{Rule, is_left_out};
use crate::shard::agenda::Progress;
use crate::shard::clients::Client;
use crate::shard::journal::{Done, Draft, Giver};
use crate::shard::ports::{Ports, Token};
use crate::shard::publish::{Subscribing, Unsubscribing, filter_units};

/// Why a filter is not subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotSubscribed {
    /// Not yet: there will be memory for it.
    Waits,
    /// Not at all.
    Refused(Reason),
}

impl From<Reason> for NotSubscribed {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

impl<P: Ports> Shard<P> {
    /// Begins what a SUBSCRIBE asks for.
    pub(super) fn begin_subscribing(
        &mut self,
        index: u32,
        key: u32,
        mut subscribe: Subscribe,
    ) -> Box<Subscribing> {
        self.here.counters().unauthorized_subscribe.add(subscribe.denied.into());
        self.here.counters().authorized_subscribe.add(subscribe.allowed.into());
        self.here.counters().limit_topic_bytes.add(subscribe.too_long.into());
        self.refuse_beyond_rate(index, &mut subscribe);
        let session = (key, self.sessions.number(key));
        let number = self.journal.unconfirmed_mut().begin();
        Box::new(Subscribing::new(self.token_of(index), session, number, subscribe))
    }

    /// Refuses the filters of a SUBSCRIBE that are more than its client's rate allows.
    fn refuse_beyond_rate(&mut self, index: u32, subscribe: &mut Subscribe) {
        let (servers, now) = (&self.here.shared().config.client_limits, self.agenda.now());
        let Client { account, intake, .. } = &mut self.clients[index];
        let few = intake.few_filters_mut();
        for entry in subscribe.entries.iter_mut().filter(|entry| entry.is_ok()) {
            if !account.take_filter(few, servers, now) {
                *entry = Err(Reason::QuotaExceeded);
                self.here.counters().limit_subscribe_rate.add(1);
            }
        }
    }

    /// Goes on with a SUBSCRIBE until the budget is spent.
    pub(super) fn go_on_subscribing(
        &mut self,
        subscribing: &mut Subscribing,
        budget: &mut Budget,
    ) -> Progress {
        let (client, (key, number)) = (subscribing.client(), subscribing.session());
        let subscribe = subscribing.number();
        let Some(entry) = self.sessions.numbered(key, number) else {
            // Filters that it had subscribed to are gone with the session.
            for filter in subscribing.take_unconfirmed() {
                self.journal.unconfirmed_mut().failed(subscribe, number, &filter);
            }
            return Progress::Done;
        };
        let is_durable = entry.session.is_durable();
        while self.serves(client)
            && let Some(entry) = subscribing.next()
        {
            if budget.is_spent() {
                return Progress::Spent;
            }
            let units = entry.as_ref().map_or(1, |entry| filter_units(&entry.filter));
            budget.charge(units.saturating_add(self.list_units(key)));
            let subscribed = match entry {
                Ok(entry) => self.subscribe_one(key, entry, subscribe, subscribing.may_wait()),
                Err(reason) => Err(NotSubscribed::Refused(*reason)),
            };
            let result = match subscribed {
                Ok((qos, _)) => Ok(qos),
                Err(NotSubscribed::Refused(reason)) => Err(reason),
                Err(NotSubscribed::Waits) => {
                    subscribing.wait();
                    return Progress::Blocked;
                }
            };
            let entry = subscribing.answer(result);
            if is_durable && let (Ok((_, is_new)), Some(entry)) = (subscribed, entry) {
                let is_unconfirmed =
                    self.journal.unconfirmed_mut().touch(subscribe, number, &entry.filter, is_new);
                subscribing.write(entry, is_unconfirmed);
            }
        }
        self.end_subscribing(subscribing);
        Progress::Done
    }

    /// A SUBSCRIBE is done, or its client has gone: files its writes and its answer.
    fn end_subscribing(&mut self, subscribing: &mut Subscribing) {
        let (key, _) = subscribing.session();
        let mut draft = self.owed_record(key);
        let (writes, subscribed) = subscribing.end();
        draft.extend(writes);
        draft.wait(self.here.index(), Done::Subscribe(Box::new(subscribed)));
        self.file(draft);
    }

    /// Subscribes to a filter, and queues its retained messages, which leave behind SUBACK. Returns the QoS
    /// granted, and whether the filter is new to the session.
    ///
    /// # Errors
    /// The filter is refused, or, where the SUBSCRIBE `may_wait`, is to be tried again in another turn.
    fn subscribe_one(
        &mut self,
        key: u32,
        entry: &SubscribeEntry,
        subscribe: u64,
        may_wait: bool,
    ) -> Result<(QoS, bool), NotSubscribed> {
        let SubscribeEntry { filter, options } = entry;
        let options = *options;
        // Shared subscriptions bring no retained messages [MQTT5 4.8.2].
        if options.retain_handling == 2 || filter.is_shared() {
            let is_new = self.add_subscription(key, filter, options, may_wait)?;
            return Ok((options.qos, is_new));
        }
        if !self.has_backlog_room(key) {
            // It subscribes again and again without taking its messages.
            self.here.counters().limit_backlog.add(1);
            return Err(Reason::QuotaExceeded.into());
        }
        let is_new = self.add_subscription(key, filter, options, may_wait)?;
        if options.retain_handling == 0 || is_new {
            self.queue_retained(key, filter, options, subscribe);
        }
        Ok((options.qos, is_new))
    }

    /// Adds a filter to a session's list and to the tables. Returns whether the session did not have it before.
    fn add_subscription(
        &mut self,
        key: u32,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        may_wait: bool,
    ) -> Result<bool, NotSubscribed> {
        let session = self.sessions.session(key).ok_or(Reason::UnspecifiedError)?;
        let is_new = !session.subscriptions().contains(filter);
        let weight_bytes = if is_new { subscription_weight_bytes(filter) as u64 } else { 0 };
        let holder = self.holder(key);
        if is_new && let Err(missing) = self.take_subscription_memory(holder, weight_bytes) {
            let counter = match missing {
                NoSubscriptionMemory::Yet if may_wait => return Err(NotSubscribed::Waits),
                NoSubscriptionMemory::Yet | NoSubscriptionMemory::Used(NoMemory::Total) => {
                    &self.here.counters().limit_subscription_bytes_total
                }
                NoSubscriptionMemory::Used(NoMemory::Share) => {
                    &self.here.counters().limit_subscriptions_share
                }
            };
            counter.add(1);
            return Err(Reason::QuotaExceeded.into());
        }
        let (limits, total) =
            (&self.here.shared().config.limits, &self.here.shared().memory.subscriptions);
        let session = self.sessions.session_mut(key).ok_or(Reason::UnspecifiedError)?;
        if let Err(full) = session.subscribe(filter, options, limits) {
            total.give_back_for(holder, weight_bytes);
            let counter = match full {
                ListFull::Number => &self.here.counters().limit_subscriptions,
                ListFull::Bytes => &self.here.counters().limit_subscription_bytes,
            };
            counter.add(1);
            return Err(Reason::QuotaExceeded.into());
        }
        Ok(self.index_subscription(key, filter, options))
    }

    /// Puts a filter of a session into the tables, so that messages reach the session. The caller has put
    /// it into the session's list and charged its memory. Returns whether the filter was not there before.
    pub(super) fn index_subscription(
        &mut self,
        key: u32,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) -> bool {
        let replaced = if filter.is_shared() {
            let is_online = self.sessions.client(key).is_some();
            let replaced =
                self.here.shared().shares.join(filter, self.member(key), options, is_online);
            if let Some(bytes) = self.packet_bytes_max(key) {
                let member = self.member(key);
                self.here.shared().shares.set_packet_bytes_max(filter, member, bytes);
            }
            replaced
        } else {
            let (replaced, is_first) = self.publishing.insert(filter, key, options);
            if is_first {
                self.here.shared().routing.add(filter, self.here.index());
            }
            replaced
        };
        self.here.counters().subscriptions.add(u64::from(!replaced));
        !replaced
    }

    /// The largest packet that a session's client takes, if it is connected and has said so.
    fn packet_bytes_max(&mut self, key: u32) -> Option<u32> {
        let index = self.sessions.client(key)?;
        self.clients.get(index)?.connection()?.packet_bytes_max()
    }

    /// Begins what an UNSUBSCRIBE asks for.
    pub(super) fn begin_unsubscribing(
        &mut self,
        index: u32,
        key: u32,
        unsubscribe: Unsubscribe,
    ) -> Box<Unsubscribing> {
        let session = (key, self.sessions.number(key));
        Box::new(Unsubscribing::new(self.token_of(index), session, unsubscribe))
    }

    /// Goes on with an UNSUBSCRIBE until the budget is spent.
    pub(super) fn go_on_unsubscribing(
        &mut self,
        unsubscribing: &mut Unsubscribing,
        budget: &mut Budget,
    ) -> Progress {
        let (client, (key, number)) = (unsubscribing.client(), unsubscribing.session());
        let Some(entry) = self.sessions.numbered(key, number) else { return Progress::Done };
        let is_durable = entry.session.is_durable();
        let giver = Giver { key: Some(key), number };
        loop {
            // Messages of one filter are handed on before the next filter's turn, and UNSUBACK comes behind all of
            // them.
            let progress = self.hand_on(giver, budget);
            if progress != Progress::Done {
                return progress;
            }
            if !unsubscribing.is_withdrawal() && !self.serves(client) {
                break;
            }
            let Some(filter) = unsubscribing.next() else { break };
            if budget.is_spent() {
                return Progress::Spent;
            }
            let units = filter.as_ref().map_or(1, filter_units);
            budget.charge(units.saturating_add(self.list_units(key)));
            let Some(filter) = unsubscribing.take() else { break };
            let reason = match filter {
                Ok(filter) => {
                    let existed = self.forget_subscription(key, &filter);
                    if existed && filter.is_shared() {
                        budget.charge(self.owed_units(key));
                        self.hand_on_unsent(key, &filter);
                    }
                    if is_durable && !is_left_out(Rule::FilterRemoved) {
                        self.journal.unconfirmed_mut().end(number, &filter);
                        // Even if the session does not have it: an earlier removal may have failed.
                        unsubscribing.remove(filter);
                    }
                    if existed { Reason::Success } else { Reason::NoSubscriptionExisted }
                }
                Err(reason) => reason,
            };
            unsubscribing.answer(reason);
        }
        let (writes, unsubscribed) = unsubscribing.end();
        let done = Done::Unsubscribe(Box::new(unsubscribed));
        self.file(Draft::from_iter(writes).then(self.here.index(), done));
        Progress::Done
    }

    /// Units that it costs to change a session's list of filters.
    fn list_units(&self, key: u32) -> u32 {
        self.sessions.session(key).map_or(0, |session| session.subscriptions().change_units())
    }

    /// Units that it costs to look at all messages of an outbox.
    fn owed_units(&self, key: u32) -> u32 {
        let owed = self.sessions.session(key).map_or(0, Session::owed);
        u32::try_from(owed).unwrap_or(u32::MAX)
    }

    /// Whether a client is still served.
    fn serves(&self, client: Token) -> bool {
        self.resolve(client).is_some_and(|index| self.is_served(index))
    }

    /// Ends a session's subscription. Returns whether there was one.
    pub(super) fn forget_subscription(&mut self, key: u32, filter: &TopicFilter) -> bool {
        let session = self.sessions.session_mut(key);
        if session.is_some_and(|session| session.unsubscribe(filter)) {
            let weight_bytes = subscription_weight_bytes(filter) as u64;
            self.here.shared().memory.subscriptions.discount(self.holder(key), weight_bytes);
        }
        self.drop_subscription(key, filter)
    }

    /// A filter that is no group's leads to the session here no more. Returns whether it did.
    pub(super) fn drop_from_tables(&mut self, key: u32, filter: &TopicFilter) -> bool {
        let (existed, was_last) = self.publishing.remove(filter, key);
        if was_last {
            self.here.shared().routing.remove(filter, self.here.index());
        }
        existed
    }

    /// Returns whether there was one.
    pub(super) fn drop_subscription(&mut self, key: u32, filter: &TopicFilter) -> bool {
        let existed = if filter.is_shared() {
            self.here.shared().shares.leave(filter, self.member(key))
        } else {
            self.drop_from_tables(key, filter)
        };
        if existed {
            self.here.counters().subscriptions.sub(1);
            let weight_bytes = subscription_weight_bytes(filter) as u64;
            self.here.shared().memory.subscriptions.give_back(weight_bytes);
        }
        existed
    }
}
