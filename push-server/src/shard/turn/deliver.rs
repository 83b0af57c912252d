//! From a client's event to an outbox, and from there to the socket: publish, route, deliver, send.

use std::sync::Arc;

use bytes::Bytes;

use super::Shard;
use super::errand::Errand;
use crate::access::Subject;
use crate::broker::{Budget, Fate, Message, NoMemory, QoS, SessionMemory, Slip};
use crate::mqtt::codec::Reason;
use crate::mqtt::{
    Delivered, Delivery, Event, Filing, OutboxFull, PublishReceipt, PublishRefusal, Session,
    Transmit, Version,
};
use crate::mutant::{Rule, is_left_out};
use crate::shard::agenda::{Flow, Progress};
use crate::shard::clients::{Phase, SEND_BYTES_MAX};
use crate::shard::journal::{Done, Draft, Part, records};
use crate::shard::notices::Kind;
use crate::shard::ports::{Ports, Wire};
use crate::shard::publish::{Author, Fanout, Publisher};
use crate::store::Write;

/// The cost of a send: its part of a system call, and a completion.
const FLUSH_UNITS: u32 = 16;

/// The cost of sending a PUBLISH.
const PUBLISH_SENT_UNITS: u32 = 3;

/// Bytes that cost a unit to copy, and the system to send.
const BYTES_PER_UNIT: usize = 256;

impl<P: Ports> Shard<P> {
    /// Returns what is left of a packet when the budget is spent.
    pub(super) fn on_event(
        &mut self,
        index: u32,
        key: u32,
        event: Event,
        budget: &mut Budget,
    ) -> Option<(Errand, Progress)> {
        match event {
            Event::Publish(message, receipt) => {
                let left = self.on_publish(index, key, message, receipt, budget);
                return left.map(|(fanout, progress)| (Errand::Fanout(fanout), progress));
            }
            Event::Subscribe(subscribe) => {
                let mut subscribing = self.begin_subscribing(index, key, subscribe);
                let progress = self.go_on_subscribing(&mut subscribing, budget);
                return (progress != Progress::Done)
                    .then(|| (Errand::Subscribe(subscribing), progress));
            }
            Event::Unsubscribe(unsubscribe) => {
                let mut unsubscribing = self.begin_unsubscribing(index, key, unsubscribe);
                let progress = self.go_on_unsubscribing(&mut unsubscribing, budget);
                return (progress != Progress::Done)
                    .then(|| (Errand::Unsubscribe(unsubscribing), progress));
            }
            Event::PublishRefused(refusal, receipt) => {
                self.on_publish_refused(index, key, refusal, receipt);
            }
            Event::Owes(answer) => {
                let done = Done::Answer { client: self.token_of(index), answer };
                if is_left_out(Rule::AnswerWaits) {
                    self.file_changes(key, None);
                    self.file(Draft {
                        writes: Vec::new(),
                        waiting: vec![(self.here.index(), done)],
                    });
                    return None;
                }
                self.file_changes(key, Some(done));
            }
            Event::Ping => self.here.counters().pings_user.add(1),
            Event::Authenticate(auth) => self.on_authenticate(index, key, auth),
            Event::Disconnected => {
                self.tell_ordinary(index, "client disconnected");
                self.close_client(index, None);
            }
            Event::Failed(reason) => {
                match reason {
                    Reason::PacketTooLarge => self.here.counters().limit_packet_bytes.add(1),
                    Reason::MessageRateTooHigh => self.here.counters().limit_ping_rate.add(1),
                    Reason::QuotaExceeded => self.here.counters().limit_answers.add(1),
                    _ => {}
                }
                self.tell(index, Kind::Fault, &reason);
                self.close_client(index, None);
            }
        }
        None
    }

    fn on_publish(
        &mut self,
        index: u32,
        key: u32,
        message: Message,
        receipt: Option<PublishReceipt>,
        budget: &mut Budget,
    ) -> Option<(Box<Fanout>, Progress)> {
        self.here.counters().publishes_received.add(1);
        let mut draft = Draft::default();
        if let Some(receipt @ PublishReceipt { exactly_once: true, .. }) = receipt
            && let Err(no_memory) = self.check_inflight_room(key)
        {
            self.count_no_inflight(no_memory);
            self.refuse_exactly_once(index, key, receipt);
            return None;
        }
        if let Some(PublishReceipt { packet_id, exactly_once: true }) = receipt
            && let Some(number) = self.number_of(key)
        {
            self.save_if_owed(key);
            draft.writes.push(Write::PutExactlyOnce { number, packet_id });
        }
        let publisher = self.publisher(index, key, receipt);
        let message = Arc::new(message);
        self.retain(&message, Some(key), &mut draft);
        let flow = self.flow_of(index);
        let author = Author::Client { key, publisher };
        let fanout = Fanout::published(flow, message, author, draft);
        self.begin_fanout(fanout, budget)
    }

    /// The publisher that is told what became of a publish, if any.
    fn publisher(
        &mut self,
        index: u32,
        key: u32,
        receipt: Option<PublishReceipt>,
    ) -> Option<Publisher> {
        let receipt = receipt?;
        let number = self.sessions.entry_mut(key).map(|entry| entry.number).unwrap_or_default();
        Some(Publisher { client: self.token_of(index), key, number, receipt })
    }

    /// Counts what a session has unacknowledged: the packet id, say, of a QoS 2 publish that it has taken.
    ///
    /// # Errors
    /// There is no memory for more.
    fn check_inflight_room(&mut self, key: u32) -> Result<(), NoMemory> {
        let (network, shared) = (self.sessions.network(key), self.here.shared());
        let Some(session) = self.sessions.session_mut(key) else { return Ok(()) };
        let inflight = &shared.memory.inflight;
        session.charge_inflight(inflight, |user| shared.holders.holder(network, user));
        // What every session may have is not looked at, nor whose it is.
        if !session.is_charged() {
            return Ok(());
        }
        inflight.check_room_for(shared.holders.holder(network, session.user()))
    }

    fn count_no_inflight(&self, no_memory: NoMemory) {
        match no_memory {
            NoMemory::Total => self.here.counters().limit_inflight_bytes_total.add(1),
            NoMemory::Share => self.here.counters().limit_inflight_share.add(1),
        }
    }

    /// There is no memory for the packet id of a QoS 2 publish: it is not taken.
    fn refuse_exactly_once(&mut self, index: u32, key: u32, receipt: PublishReceipt) {
        let Phase::Serving { connection, .. } = &self.clients[index].phase else { return };
        let reason = match connection.version() {
            Version::V5 => Reason::QuotaExceeded,
            // An older client would take that for success, as it may for another session's full outbox. But
            // nobody has this message: the connection ends, and the client sends again.
            Version::V31 | Version::V311 => Reason::ImplementationSpecificError,
        };
        let Some(publisher) = self.publisher(index, key, Some(receipt)) else { return };
        let mut part = Part::default();
        self.answer_publisher(&publisher, reason, &mut part);
        self.finish_part(part);
    }

    /// Drops a publish that no client may make, and answers it in its turn. MQTT 3.1.1 cannot refuse a
    /// publish, and a client that is disconnected for one sends it again for ever, so it gets a normal
    /// acknowledgement [MQTT-3.3.5-2].
    fn on_publish_refused(
        &mut self,
        index: u32,
        key: u32,
        refusal: PublishRefusal,
        receipt: Option<PublishReceipt>,
    ) {
        let counters = self.here.counters();
        counters.publishes_received.add(1);
        match refusal {
            PublishRefusal::TopicLevels => counters.dropped_topic_levels.add(1),
            PublishRefusal::ReservedTopic => counters.dropped_reserved_topic.add(1),
            PublishRefusal::Denied => {
                counters.dropped_denied.add(1);
                counters.unauthorized_publish.add(1);
            }
        }
        let reason = refusal.reason();
        let Phase::Serving { connection, .. } = &self.clients[index].phase else { return };
        let told = if connection.version() == Version::V5 { reason } else { Reason::Success };
        let Some(publisher) = self.publisher(index, key, receipt) else { return };
        let mut part = Part::default();
        self.answer_publisher(&publisher, told, &mut part);
        self.finish_part(part);
    }

    /// Publishes a will, when it is its turn: retains it if it asks for that, and routes it. One on a
    /// topic that is the server's own comes from an earlier version, which took it, and is dropped. So is one that
    /// the policy does not allow: it may be from before a restart with another one. Of a session that has ended the
    /// user is not known any more, and only what nobody may do is looked at.
    pub(super) fn publish(
        &mut self,
        flow: Flow,
        message: Arc<Message>,
        author: Author,
        mut draft: Draft,
    ) {
        if message.topic.is_hidden() {
            self.here.counters().dropped_reserved_topic.add(1);
            self.file(draft);
            return;
        }
        let session = author.key().and_then(|key| self.sessions.session(key));
        let subject = session.map_or(Subject::NOBODY, Session::subject);
        if self.here.shared().config.limits.policy.will(&message.topic, subject).is_err() {
            self.here.counters().dropped_denied.add(1);
            self.here.counters().unauthorized_will.add(1);
            self.file(draft);
            return;
        }
        self.retain(&message, author.key(), &mut draft);
        self.queue_fanout(Fanout::published(flow, message, author, draft));
    }

    pub(super) fn retain(&mut self, message: &Arc<Message>, from: Option<u32>, draft: &mut Draft) {
        if !message.retain {
            return;
        }
        let publisher = from.and_then(|key| self.sessions.session_mut(key));
        let publisher = publisher.map(|session| session.client_id());
        let retained = &self.here.shared().retained;
        let set = if self.here.shared().store.is_some() {
            let change = retained.change(message, publisher);
            change.map(|change| draft.writes.push(Write::SaveRetained { change }))
        } else {
            retained.set_by(message, publisher)
        };
        if let Err(error) = set {
            self.here.counters().limit_retained.add(1);
            tracing::debug!(%error, topic = message.topic.as_str(), "not retained");
        }
    }

    /// Delivers to a session of this shard. `slip`: of a message that came in by a door; where the message goes
    /// into no outbox, it comes back at once.
    pub(super) fn deliver_to(
        &mut self,
        key: u32,
        delivery: Delivery,
        slip: Option<Slip>,
        part: &mut Part,
    ) {
        let Some(entry) = self.sessions.entry_mut(key) else { return };
        let client = entry.presence.client();
        if client.is_none() && delivery.qos == QoS::AtMostOnce {
            if let Some(slip) = slip {
                slip.send_back(entry.session.client_id(), Fate::Dropped);
            }
            self.here.counters().dropped_absent.add(1);
            return;
        }
        let qos = delivery.qos;
        let delivered = self.put_into_outbox(key, delivery, client.is_some(), part);
        if let Some(slip) = slip {
            self.follow(key, qos, slip, delivered);
        }
        match delivered {
            Delivered::Queued => {}
            Delivered::QueuedDropping(dropped) => {
                self.here.counters().dropped_outbox_full.add(u64::from(dropped));
            }
            Delivered::Dropped => self.here.counters().dropped_outbox_full.add(1),
            Delivered::Refused => {
                self.here.counters().dropped_outbox_full.add(1);
                self.here.counters().limit_outbox_refused.add(1);
                part.refuse();
            }
            Delivered::Overflow => {
                self.here.counters().dropped_outbox_full.add(1);
                // Not here: the close publishes a will, which may overflow another, and so on.
                if let Some(index) = client
                    && self.clients.push_overflowed(index)
                {
                    self.here.counters().limit_outbox.add(1);
                }
            }
        }
        if let Some(index) = client {
            self.mark_dirty(index);
        }
    }

    /// A session has taken a message with a slip, or has not.
    fn follow(&mut self, key: u32, qos: QoS, slip: Slip, delivered: Delivered) {
        let (network, shared) = (self.sessions.network(key), self.here.shared());
        let Some(entry) = self.sessions.entry_mut(key) else { return };
        let session = &mut entry.session;
        if !delivered.is_queued() {
            slip.send_back(session.client_id(), Fate::Dropped);
            return;
        }
        if is_left_out(Rule::SlipWaits) {
            slip.send_back(session.client_id(), Fate::Acknowledged);
            return;
        }
        if is_left_out(Rule::SlipOfAbsent) && entry.presence.client().is_none() {
            return;
        }
        if qos == QoS::AtMostOnce {
            slip.send_back(session.client_id(), Fate::Unconfirmed);
            return;
        }
        session.follow(slip);
        session
            .charge_inflight(&shared.memory.inflight, |user| shared.holders.holder(network, user));
    }

    /// Puts a message into a session's outbox, and what that means for the disk into `part`.
    pub(super) fn put_into_outbox(
        &mut self,
        key: u32,
        delivery: Delivery,
        connected: bool,
        part: &mut Part,
    ) -> Delivered {
        let queued_at = self.here.shared().journal.clocks().to_wall(self.agenda.now());
        let has_store = self.here.shared().store.is_some();
        let Some(entry) = self.sessions.entry_mut(key) else { return Delivered::Dropped };
        let number = entry.number;
        let is_written = entry.session.is_durable() && delivery.qos != QoS::AtMostOnce;
        if is_written {
            self.save_if_owed(key);
        }
        let filing = if is_written {
            part.filing
        } else if has_store && delivery.message.qos == QoS::ExactlyOnce {
            Filing::Held
        } else {
            Filing::Never
        };
        let limits = &self.here.shared().config.limits;
        let (network, shared) = (self.sessions.network(key), self.here.shared());
        let SessionMemory { inflight, outboxes, .. } = &*shared.memory;
        let Some(entry) = self.sessions.entry_mut(key) else { return Delivered::Dropped };
        let holder = |user: Option<&str>| shared.holders.holder(network, user);
        // A connected client is disconnected for it: not merely because others need memory, while there is
        // some.
        let is_bound = !connected || inflight.is_nearly_full();
        if is_bound
            && entry.session.is_charged()
            && let Err(no_memory) = inflight.check_room_for(holder(entry.session.user()))
        {
            self.count_no_inflight(no_memory);
            let is_refusing = limits.outbox_full == OutboxFull::Refuse;
            return match delivery.qos {
                QoS::AtMostOnce => Delivered::Dropped,
                _ if connected => Delivered::Overflow,
                _ if is_refusing => Delivered::Refused,
                _ => Delivered::Dropped,
            };
        }
        let outbox_entry = is_written.then(|| records::outbox_entry(&delivery, queued_at));
        // Whether it would be taken if it were not for the total of all.
        let fits_alone = outboxes.left_bytes() < limits.outbox_bytes_max
            && entry.session.has_room_of_its_own(&delivery, limits);
        let delivered = entry.session.deliver(delivery, connected, filing, limits, outboxes);
        if fits_alone && delivered != Delivered::Queued {
            self.here.counters().limit_outbox_bytes_total.add(1);
        }
        entry.session.charge_inflight(inflight, holder);
        if delivered.is_queued() && filing != Filing::Never {
            let position = entry.session.last_position();
            let put = outbox_entry.map(|entry| records::put_outbox(number, position, entry));
            part.draft.writes.extend(put);
            let done = Done::Written { session: key, number, position, filed: filing };
            part.draft.waiting.push((self.here.index(), done));
        }
        if matches!(delivered, Delivered::QueuedDropping(_)) {
            self.file_changes(key, None);
            self.begin_trim(key);
        }
        delivered
    }

    /// Writes the messages that the client has not acknowledged and that could not be written
    /// before they were sent.
    pub(super) fn file_unwritten(&mut self, key: u32) {
        let queued_at = self.here.shared().journal.clocks().to_wall(self.agenda.now());
        let Some(entry) = self.sessions.entry_mut(key) else { return };
        let number = entry.number;
        let mut draft = Draft::default();
        for (position, delivery) in entry.session.take_unwritten() {
            let entry = records::outbox_entry(&delivery, queued_at);
            draft.writes.push(records::put_outbox(number, position, entry));
            let filed = Filing::Queued;
            draft
                .waiting
                .push((self.here.index(), Done::Written { session: key, number, position, filed }));
        }
        self.file(draft);
    }

    /// Closes the clients that did not keep up in this turn.
    pub(super) fn close_overflowed(&mut self) {
        while let Some(index) = self.clients.pop_overflowed() {
            self.close_client_for(index, Reason::QuotaExceeded, "its outbox is full");
        }
    }

    /// Sends what a client is owed, unless a send is under way: its end calls again. Returns what that
    /// has cost.
    pub(super) fn flush(&mut self, index: u32) -> u32 {
        self.clients.count_flush();
        let is_moving = self.clients.is_moving(index);
        let client = &mut self.clients[index];
        let is_served = matches!(client.phase, Phase::Serving { .. });
        if client.output.is_sending()
            || is_moving
            || client.is_asking()
            || (client.output.is_held() && is_served)
        {
            return FLUSH_UNITS;
        }
        if client.output.has_failed() {
            if matches!(client.phase, Phase::Flushing { .. }) {
                self.abort(index);
            }
            return FLUSH_UNITS;
        }
        let feeding = self.feed_backlog(index);
        let mut units = FLUSH_UNITS + self.publishing.take_walked();
        let now = self.agenda.now();
        let (client, sending) = self.clients.with_sending(index);
        let (mut served, mut leaves, mut copied_bytes) = (None, false, None);
        let owes = client.transport.owes();
        let mut chunks = match &mut client.phase {
            Phase::Serving { connection, session, .. } => {
                served = Some(*session);
                let Some(session) = self.sessions.session_mut(*session) else { return units };
                let limits = &self.here.shared().config.limits;
                let had_left = session.has_left();
                let mut transmit = Transmit::default();
                let bytes_max = sending.bytes_max();
                connection.poll_transmit(
                    session,
                    &mut transmit,
                    bytes_max,
                    limits,
                    self.agenda.now(),
                );
                if bytes_max < SEND_BYTES_MAX && transmit.len >= bytes_max {
                    self.here.counters().limit_sending_bytes_total.add(1);
                }
                // Where it had, they are on their way.
                leaves = !had_left && session.has_left();
                self.here.counters().publishes_sent.add(u64::from(transmit.publishes));
                self.here.counters().dropped_too_large.add(u64::from(transmit.dropped_too_large));
                self.here.counters().dropped_expired.add(u64::from(transmit.dropped_expired));
                self.here.counters().dropped_denied.add(u64::from(transmit.dropped_denied));
                self.here.counters().unauthorized_receive.add(u64::from(transmit.dropped_denied));
                units += transmit.publishes * PUBLISH_SENT_UNITS;
                copied_bytes = Some(transmit.copied_bytes);
                transmit.chunks
            }
            Phase::Flushing { frames, .. } => {
                if frames.is_empty() && !owes {
                    self.send_fin(index);
                    return units;
                }
                std::mem::take(frames)
            }
            Phase::Handshake(pending) => std::mem::take(&mut pending.frames),
            Phase::Lingering { .. } => return units,
        };
        client.transport.wrap(&mut chunks);
        if !chunks.is_empty() {
            let bytes: usize = chunks.iter().map(Bytes::len).sum();
            units += (bytes / BYTES_PER_UNIT) as u32;
            client.output.begin_send();
            client.intake.throttle_again(now);
            let token = client.token(index);
            // Frames other than messages are made for this client alone.
            let weight = sending.begin(copied_bytes.unwrap_or(bytes));
            self.wire.send(&client.socket, token, chunks, weight);
        } else if feeding {
            // All that was fed was dropped (expired, too large), so no end of a send calls again.
            self.mark_dirty(index);
        }
        if let Some(key) = served {
            if leaves {
                self.queue_left(key);
            }
            self.unthrottle(index);
            self.file_changes(key, None);
            self.begin_page(key);
        }
        units
    }
    /// A send has ended, and nothing more could be sent: what waited for the send goes on.
    pub(super) fn on_all_sent(&mut self, index: u32, key: u32) {
        if self.clients[index].output.is_held() || self.clients.is_moving(index) {
            // It is flushed when that is over.
            return;
        }
        if let Some(session) = self.sessions.session_mut(key) {
            session.tidy();
        }
        self.unthrottle(index);
        self.begin_page(key);
    }
}
