//! What clients ask for, and what becomes of messages: subscribe, publish, route, deliver, send.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Shared;
use super::client::Phase;
use super::mailbox::Mail;
use super::sessions::Presence;
use super::worker::Worker;
use crate::broker::{Message, QoS, SubscriptionOptions, TopicFilter};
use crate::mqtt::codec::Reason;
use crate::mqtt::{
    Delivered, Delivery, Event, PublishReceipt, Session, Subscribe, SubscribeEntry, Transmit,
    Unsubscribe,
};

/// Bytes handed to a socket at a time; a larger single frame goes alone.
const FLUSH_BYTES_MAX: usize = 128 << 10;

/// Retained messages of a new subscription wait outside the outbox while it holds this many.
const BACKLOG_FEED_MESSAGES: usize = 64;

impl Worker {
    pub(super) fn on_event(&mut self, index: u32, key: u32, event: Event) {
        match event {
            Event::Publish(message, receipt) => self.on_publish(index, key, message, receipt),
            Event::Subscribe(subscribe) => self.on_subscribe(index, key, subscribe),
            Event::Unsubscribe(unsubscribe) => self.on_unsubscribe(index, key, unsubscribe),
            Event::Ping => self.counters.pings_user.add(1),
            Event::Authenticate(auth) => self.on_authenticate(index, key, &auth),
            Event::Disconnected => self.close_client(index, None),
            Event::Failed(reason) => {
                match reason {
                    Reason::PacketTooLarge => self.counters.limit_packet_bytes.add(1),
                    Reason::MessageRateTooHigh => self.counters.limit_ping_rate.add(1),
                    Reason::QuotaExceeded => self.counters.limit_answers.add(1),
                    _ => {}
                }
                tracing::debug!(shard = self.index, ?reason, "closing a client for its fault");
                self.close_client(index, None);
            }
        }
    }

    fn on_publish(
        &mut self,
        index: u32,
        key: u32,
        message: Message,
        receipt: Option<PublishReceipt>,
    ) {
        self.counters.publishes_received.add(1);
        let routed = self.publish(message, Some(key));
        let Some(receipt) = receipt else { return };
        let reason = if routed { Reason::Success } else { Reason::NoMatchingSubscribers };
        let Phase::Serving { connection, .. } = &mut self.clients[index as usize].phase else {
            return;
        };
        if let Some(session) = self.sessions.session_mut(key) {
            connection.publish_done(session, receipt, reason);
        }
    }

    /// Retains a message if it asks for it, and sends it to every shard with a subscriber. `from`:
    /// the session of this shard that published it. Returns whether there was any subscriber.
    pub(super) fn publish(&mut self, message: Message, from: Option<u32>) -> bool {
        let message = Arc::new(message);
        if message.retain
            && let Err(error) = self.shared.retained.set(&message)
        {
            self.counters.limit_retained.add(1);
            tracing::debug!(%error, topic = message.topic.as_str(), "not retained");
        }
        let shards = self.shared.routing.shards_for(&message.topic);
        for shard in shards.iter() {
            if shard == self.index {
                self.deliver_here(&message, from);
            } else {
                self.post(shard, Mail::Publish(Arc::clone(&message)));
            }
        }
        shards.iter().next().is_some()
    }

    /// Delivers to this shard's subscribers.
    pub(super) fn deliver_here(&mut self, message: &Arc<Message>, from: Option<u32>) {
        let mut matches = std::mem::take(&mut self.matches);
        self.subscriptions.matches(&message.topic, &mut matches);
        for found in matches.drain(..) {
            if found.options.no_local && from == Some(found.subscriber) {
                continue;
            }
            let delivery = Delivery {
                message: Arc::clone(message),
                qos: message.qos.min(found.options.qos),
                retain: message.retain && found.options.retain_as_published,
            };
            self.deliver_to(found.subscriber, delivery);
        }
        self.matches = matches;
    }

    fn deliver_to(&mut self, key: u32, delivery: Delivery) {
        let Some(entry) = self.sessions.entry_mut(key) else { return };
        let client = match entry.presence {
            Presence::Connected(client) => Some(client),
            Presence::Absent { .. } => None,
        };
        if client.is_none() && delivery.qos == QoS::AtMostOnce {
            self.counters.dropped_absent.add(1);
            return;
        }
        let limits = &self.shared.config.limits;
        match entry.session.deliver(delivery, client.is_some(), limits) {
            Delivered::Queued => {}
            Delivered::QueuedDropping(dropped) => {
                self.counters.dropped_outbox_full.add(u64::from(dropped));
            }
            Delivered::Dropped => self.counters.dropped_outbox_full.add(1),
            Delivered::Overflow => {
                self.counters.dropped_outbox_full.add(1);
                // Not here: the close publishes a will, which may overflow another, and so on.
                if let Some(index) = client
                    && !std::mem::replace(&mut self.clients[index as usize].overflowed, true)
                {
                    self.counters.limit_outbox.add(1);
                    self.overflowed.push(index);
                }
            }
        }
        if let Some(index) = client {
            self.mark_dirty(index);
        }
    }

    /// Closes the clients that did not keep up in this turn.
    pub(super) fn close_overflowed(&mut self) {
        while let Some(index) = self.overflowed.pop() {
            // The flag tells it from one that has come into its place since.
            if let Some(client) = self.clients.get_mut(index as usize)
                && std::mem::take(&mut client.overflowed)
            {
                self.close_client(index, Some(Reason::QuotaExceeded));
            }
        }
    }

    fn on_subscribe(&mut self, index: u32, key: u32, subscribe: Subscribe) {
        let mut results = Vec::with_capacity(subscribe.entries.len());
        for entry in subscribe.entries {
            results.push(entry.and_then(|entry| self.subscribe_one(index, key, &entry)));
        }
        let client = &mut self.clients[index as usize];
        if let Phase::Serving { connection, .. } = &mut client.phase {
            connection.subscribed(subscribe.packet_id, &results);
        }
    }

    /// Subscribes, and has the retained messages sent that this brings; they leave behind SUBACK,
    /// because answers go first.
    fn subscribe_one(
        &mut self,
        index: u32,
        key: u32,
        entry: &SubscribeEntry,
    ) -> Result<QoS, Reason> {
        let options = entry.options;
        if options.retain_handling == 2 {
            self.add_subscription(key, &entry.filter, options)?;
            return Ok(options.qos);
        }
        let waiting =
            self.clients[index as usize].backlog.as_ref().map_or(0, |backlog| backlog.len());
        if waiting > self.shared.config.retained_messages_max {
            // It is owed all there is already, and asks again without taking it.
            self.counters.limit_backlog.add(1);
            return Err(Reason::QuotaExceeded);
        }
        let is_new = self.add_subscription(key, &entry.filter, options)?;
        if options.retain_handling == 0 || is_new {
            self.queue_retained(index, &entry.filter, options.qos);
        }
        Ok(options.qos)
    }

    /// Returns whether the session did not have the filter before.
    fn add_subscription(
        &mut self,
        key: u32,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) -> Result<bool, Reason> {
        let subscriptions_max = self.shared.config.limits.subscriptions_max as usize;
        let session = self.sessions.session_mut(key).ok_or(Reason::UnspecifiedError)?;
        let known = session.subscriptions.iter().position(|(have, _)| have == filter);
        match known {
            Some(at) => session.subscriptions[at].1 = options,
            None if session.subscriptions.len() >= subscriptions_max => {
                self.counters.limit_subscriptions.add(1);
                return Err(Reason::QuotaExceeded);
            }
            None => session.subscriptions.push((filter.clone(), options)),
        }
        let (replaced, is_first) = self.subscriptions.insert(filter, key, options);
        if is_first {
            self.shared.routing.add(filter, self.index);
        }
        if replaced.is_none() {
            self.counters.subscriptions.add(1);
        }
        Ok(replaced.is_none())
    }

    fn on_unsubscribe(&mut self, index: u32, key: u32, unsubscribe: Unsubscribe) {
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for filter in unsubscribe.filters {
            reasons.push(match filter {
                Ok(filter) => {
                    if let Some(session) = self.sessions.session_mut(key) {
                        session.subscriptions.retain(|(have, _)| *have != filter);
                    }
                    if self.drop_subscription(key, &filter) {
                        Reason::Success
                    } else {
                        Reason::NoSubscriptionExisted
                    }
                }
                Err(reason) => reason,
            });
        }
        if let Phase::Serving { connection, .. } = &mut self.clients[index as usize].phase {
            connection.unsubscribed(unsubscribe.packet_id, &reasons);
        }
    }

    /// Returns whether there was one.
    fn drop_subscription(&mut self, key: u32, filter: &TopicFilter) -> bool {
        let (existed, was_last) = self.subscriptions.remove(filter, key);
        if was_last {
            self.shared.routing.remove(filter, self.index);
        }
        if existed {
            self.counters.subscriptions.sub(1);
        }
        existed
    }

    /// Forgets a session and all it is owed.
    pub(super) fn end_session(&mut self, key: u32) {
        let Some(session) = self.sessions.remove(key) else { return };
        for (filter, _) in &session.subscriptions {
            self.drop_subscription(key, filter);
        }
        self.counters.dropped_session_ended.add(session.owed() as u64);
        self.counters.sessions.sub(1);
        self.shared.sessions.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// Has the retained messages of a filter sent, as the client takes them: a wide filter may match
    /// more than an outbox holds.
    fn queue_retained(&mut self, index: u32, filter: &TopicFilter, qos: QoS) {
        let mut found = Vec::new();
        self.shared.retained.matches(filter, self.now, &mut found);
        if found.is_empty() {
            return;
        }
        let backlog = self.clients[index as usize].backlog.get_or_insert_default();
        backlog.extend(found.into_iter().map(|message| Delivery {
            qos: message.qos.min(qos),
            message,
            retain: true,
        }));
        self.mark_dirty(index);
    }

    /// Sends what a client is owed, unless a send is under way: its end calls again.
    pub(super) fn flush(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        if client.sending {
            return;
        }
        if client.send_failed {
            if matches!(client.phase, Phase::Flushing { .. }) {
                self.abort(index);
            }
            return;
        }
        let mut feeding = false;
        let chunks = match &mut client.phase {
            Phase::Serving { connection, session } => {
                let Some(session) = self.sessions.session_mut(*session) else { return };
                let limits = &self.shared.config.limits;
                if let Some(backlog) = &mut client.backlog {
                    let fed = feed_outbox(backlog, session, &self.shared);
                    self.counters.dropped_outbox_full.add(fed.dropped);
                    feeding = fed.moved > 0 && !backlog.is_empty();
                    if backlog.is_empty() {
                        client.backlog = None;
                    }
                }
                let mut transmit = Transmit::default();
                connection.poll_transmit(session, &mut transmit, FLUSH_BYTES_MAX, limits, self.now);
                self.counters.publishes_sent.add(u64::from(transmit.publishes));
                self.counters.dropped_too_large.add(u64::from(transmit.dropped_too_large));
                self.counters.dropped_expired.add(u64::from(transmit.dropped_expired));
                transmit.chunks
            }
            Phase::Flushing { frames, .. } => {
                if frames.is_empty() {
                    self.send_fin(index);
                    return;
                }
                std::mem::take(frames)
            }
            Phase::Handshake(introduction) => std::mem::take(&mut introduction.frames),
            Phase::Lingering { .. } => return,
        };
        if !chunks.is_empty() {
            client.sending = true;
            let (fd, token) = (client.fd(), client.token(index));
            self.ring.send(fd, token, chunks);
        } else if feeding {
            // All that was fed was dropped (expired, too large), so no end of a send calls again.
            self.mark_dirty(index);
        }
    }
}

/// What `feed_outbox` did.
struct Fed {
    moved: usize,
    dropped: u64,
}

/// Moves retained messages on into the outbox while it is nearly empty and takes them. One that
/// has been replaced meanwhile is left out: the subscription has brought the new one already.
fn feed_outbox(backlog: &mut VecDeque<Delivery>, session: &mut Session, shared: &Shared) -> Fed {
    let limits = &shared.config.limits;
    let mut fed = Fed { moved: 0, dropped: 0 };
    while session.owed() < BACKLOG_FEED_MESSAGES
        && let Some(delivery) = backlog.pop_front()
    {
        fed.moved += 1;
        if !shared.retained.holds(&delivery.message) {
            continue;
        }
        match session.deliver(delivery.clone(), true, limits) {
            Delivered::Queued => {}
            Delivered::QueuedDropping(others) => fed.dropped += u64::from(others),
            // A session that is owed nothing takes any message, so this one's turn comes.
            Delivered::Dropped | Delivered::Overflow => {
                fed.moved -= 1;
                backlog.push_front(delivery);
                break;
            }
        }
    }
    fed
}
