//! From a client's event to an outbox, and from there to the socket: publish, route, deliver, send.

use std::sync::Arc;

use bytes::Bytes;

use super::Shard;
use super::errand::Errand;
use crate::broker::{Budget, Fate, Message, NoMemory, QoS, SessionMemory, Slip};
use crate::config::PublishDeniedMode;
use crate::mqtt::codec::Reason;
use crate::mqtt::{
    Delivered, Delivery, Event, Filing, OutboxFull, PublishReceipt, PublishRefusal, Transmit,
    Version,
};
use crate::mutant::{Rule, is_left_out};
use crate::shard::agenda::{Flow, Progress};
use crate::shard::clients::{Phase, SEND_BYTES_MAX};
use crate::shard::journal::{Done, Draft, Part, records};
use crate::shard::notices::NoticeKind;
use crate::shard::ports::{Ports, Wire};
use crate::shard::publish::{Author, Fanout, Publisher};
use crate::store::Write;

/// Units that a send costs: its part of a system call, and a completion.
const FLUSH_UNITS: u32 = 16;

/// Units that it costs to send a PUBLISH.
const PUBLISH_SENT_UNITS: u32 = 3;

/// So many bytes cost a unit, to copy and for the system to send.
const BYTES_PER_UNIT: usize = 256;

impl<P: Ports> Shard<P> {
    /// Handles what a client did. Returns the rest of a packet that is not done when the budget is spent.
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
                    self.file(Draft::default().then(self.here.index(), done));
                    return None;
                }
                self.file_changes(key, Some(done));
            }
            Event::Ping => self.here.counters().pings_user.add(1),
            Event::Authenticate(auth) => self.on_authenticate(index, key, auth),
            Event::Disconnected => {
                self.tell_ordinary(index, &"client disconnected");
                self.close_client(index, None);
            }
            Event::Failed(reason) => {
                match reason {
                    Reason::PacketTooLarge => self.here.counters().limit_packet_bytes.add(1),
                    Reason::MessageRateTooHigh => self.here.counters().limit_ping_rate.add(1),
                    Reason::QuotaExceeded => self.here.counters().limit_answers.add(1),
                    _ => {}
                }
                self.tell(index, NoticeKind::Fault, &reason);
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
        let session = self.sessions.session(key);
        if session.is_some_and(|session| session.rights().has_rules()) {
            self.here.counters().authorized_publish.add(1);
        }
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
            draft.write(Write::PutExactlyOnce { number, packet_id });
        }
        let publisher = self.publisher(index, key, receipt);
        let message = Arc::new(message);
        self.retain(&message, Some(key), &mut draft);
        let flow = self.flow_of(index);
        let author = Author::Client { key, publisher };
        let fanout = Fanout::published(flow, message, author, draft);
        self.begin_fanout(fanout, budget)
    }

    /// The publisher of a publish that has to be answered.
    fn publisher(
        &mut self,
        index: u32,
        key: u32,
        receipt: Option<PublishReceipt>,
    ) -> Option<Publisher> {
        let receipt = receipt?;
        let number = self.sessions.number(key);
        Some(Publisher { client: self.token_of(index), key, number, receipt })
    }

    /// Charges a session for its unacknowledged packet ids, and checks that it may have one more of a QoS 2
    /// publish.
    ///
    /// # Errors
    /// There is no memory for more.
    fn check_inflight_room(&mut self, key: u32) -> Result<(), NoMemory> {
        let (network, shared) = (self.sessions.network(key), self.here.shared());
        let Some(session) = self.sessions.session_mut(key) else { return Ok(()) };
        let inflight = &shared.memory.inflight;
        session.charge_inflight(inflight, |user| shared.holders.holder(network, user));
        // A small session is not charged, and no holder is looked up for it.
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

    /// There is no memory for the packet id of a QoS 2 publish: refuses the publish.
    fn refuse_exactly_once(&mut self, index: u32, key: u32, receipt: PublishReceipt) {
        let Some(connection) = self.clients[index].connection() else { return };
        let reason = match connection.version() {
            Version::V5 => Reason::QuotaExceeded,
            // For an older client QuotaExceeded becomes success, as where another session's outbox is full. But
            // here no session has the message: the connection ends, and the client sends it again.
            Version::V31 | Version::V311 => Reason::ImplementationSpecificError,
        };
        let Some(publisher) = self.publisher(index, key, Some(receipt)) else { return };
        let mut part = Part::default();
        self.answer_publisher(&publisher, reason, &mut part);
        self.finish_part(part);
    }

    /// Drops a publish that is not allowed, and answers it in its turn. MQTT 3.1.1 cannot refuse a publish, and a
    /// client that is disconnected for one sends it again for ever, so it gets a normal acknowledgement
    /// [MQTT-3.3.5-2], unless the operator wants it closed.
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
            PublishRefusal::TopicBytes => {
                counters.dropped_topic_bytes.add(1);
                counters.limit_topic_bytes.add(1);
            }
            PublishRefusal::ReservedTopic => counters.dropped_reserved_topic.add(1),
            PublishRefusal::Denied => {
                counters.dropped_denied.add(1);
                counters.unauthorized_publish.add(1);
            }
        }
        let reason = refusal.reason();
        let Some(connection) = self.clients[index].connection() else { return };
        let is_told = connection.version() == Version::V5 && receipt.is_some();
        let closes = self.here.shared().config.publish_denied == PublishDeniedMode::Close;
        if refusal == PublishRefusal::Denied && closes && !is_told {
            self.close_client_for(index, reason, "it may not publish there");
            return;
        }
        let told = if is_told { reason } else { Reason::Success };
        let Some(publisher) = self.publisher(index, key, receipt) else { return };
        let mut part = Part::default();
        self.answer_publisher(&publisher, told, &mut part);
        self.finish_part(part);
    }

    /// Publishes a will, when it is its turn: retains it if it asks for that, and routes it. A will on a topic of
    /// the server's own comes from an earlier version, which took it, and is dropped.
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
            change.map(|change| draft.write(Write::SaveRetained { change }))
        } else {
            retained.set_by(message, publisher)
        };
        if let Err(error) = set {
            self.here.counters().limit_retained.add(1);
            tracing::debug!(%error, topic = message.topic.as_str(), "not retained");
        }
    }

    /// Delivers to a session of this shard. `slip`: of a message that came in by a door; it comes back at once if
    /// no outbox takes the message.
    pub(super) fn deliver_to(
        &mut self,
        key: u32,
        delivery: Delivery,
        slip: Option<Slip>,
        part: &mut Part,
    ) {
        let Some(slip) = slip else {
            self.deliver(key, delivery, part);
            return;
        };
        let qos = delivery.qos;
        let delivered = self.deliver(key, delivery, part);
        self.follow(key, qos, slip, delivered);
    }

    fn deliver(&mut self, key: u32, delivery: Delivery, part: &mut Part) -> Delivered {
        let Some(entry) = self.sessions.entry_mut(key) else { return Delivered::Dropped };
        let client = entry.client();
        if client.is_none() && delivery.qos == QoS::AtMostOnce {
            self.here.counters().dropped_absent.add(1);
            return Delivered::Dropped;
        }
        let delivered = self.put_into_outbox(key, delivery, client.is_some(), part);
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
                // It is closed later: the close publishes a will, which may overflow another outbox, and so on.
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
        delivered
    }

    /// A session has taken a message with a slip, or has not: keeps the slip, or sends it back.
    fn follow(&mut self, key: u32, qos: QoS, slip: Slip, delivered: Delivered) {
        let (network, shared) = (self.sessions.network(key), self.here.shared());
        let Some(entry) = self.sessions.entry_mut(key) else { return };
        let is_absent = entry.client().is_none();
        let session = &mut entry.session;
        if !delivered.is_queued() {
            slip.send_back(session.client_id(), Fate::Dropped);
            return;
        }
        if is_left_out(Rule::SlipWaits) {
            slip.send_back(session.client_id(), Fate::Acknowledged);
            return;
        }
        if is_left_out(Rule::SlipOfAbsent) && is_absent {
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

    /// Puts a message into a session's outbox, and its write into `part`.
    pub(super) fn put_into_outbox(
        &mut self,
        key: u32,
        delivery: Delivery,
        connected: bool,
        part: &mut Part,
    ) -> Delivered {
        let now = self.agenda.now();
        let has_store = self.here.shared().store.is_some();
        let Some(entry) = self.sessions.entry_mut(key) else { return Delivered::Dropped };
        let number = entry.number();
        let is_written = entry.session.is_durable() && delivery.qos != QoS::AtMostOnce;
        if is_written {
            self.save_if_owed(key);
        }
        let filing = if is_written {
            part.filing()
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
        // A connected client would be disconnected for it, so its share binds only when memory is nearly used up.
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
        let outbox_entry = is_written
            .then(|| records::outbox_entry(&delivery, shared.journal.clocks().to_wall(now)));
        // Whether the outbox would take it if there were no total of all outboxes.
        let fits_alone = outboxes.left_bytes() < limits.outbox_bytes_max
            && entry.session.has_room_of_its_own(&delivery, limits);
        let delivered = entry.session.deliver(delivery, connected, filing, limits, outboxes);
        if fits_alone && delivered != Delivered::Queued {
            self.here.counters().limit_queue_bytes.add(1);
        }
        entry.session.charge_inflight(inflight, holder);
        if delivered.is_queued() && filing != Filing::Never {
            let position = entry.session.last_position();
            if let Some(entry) = outbox_entry {
                part.write(records::put_outbox(number, position, entry));
            }
            let done = Done::Written { session: key, number, position, filed: filing };
            part.wait(self.here.index(), done);
        }
        if matches!(delivered, Delivered::QueuedDropping(_)) {
            self.file_changes(key, None);
            self.begin_trim(key);
        }
        delivered
    }

    /// Writes the unacknowledged messages that could not be written before they were sent.
    pub(super) fn file_unwritten(&mut self, key: u32) {
        let queued_at = self.here.shared().journal.clocks().to_wall(self.agenda.now());
        let Some(entry) = self.sessions.entry_mut(key) else { return };
        let number = entry.number();
        let mut draft = Draft::default();
        for (position, delivery) in entry.session.take_unwritten() {
            let entry = records::outbox_entry(&delivery, queued_at);
            draft.write(records::put_outbox(number, position, entry));
            let filed = Filing::Queued;
            let done = Done::Written { session: key, number, position, filed };
            draft.wait(self.here.index(), done);
        }
        self.file(draft);
    }

    /// Closes the clients that did not keep up in this turn.
    pub(super) fn close_overflowed(&mut self) {
        while let Some(index) = self.clients.pop_overflowed() {
            self.close_client_for(index, Reason::QuotaExceeded, "its outbox is full");
        }
    }

    /// Sends a client what it is owed. If a send is under way, its end calls again. Returns the units that this has
    /// cost.
    pub(super) fn flush(&mut self, index: u32) -> u32 {
        self.clients.count_flush();
        let is_moving = self.clients.is_moving(index);
        let client = &mut self.clients[index];
        let is_served = client.is_served();
        if client.output.is_sending()
            || is_moving
            || client.is_asking()
            || (client.output.is_held() && is_served)
        {
            return FLUSH_UNITS;
        }
        if client.output.has_failed() {
            if matches!(client.phase(), Phase::Flushing { .. }) {
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
        let has_unwrapped = client.transport.has_unwrapped();
        let bytes_max = sending.bytes_max();
        let mut chunks = match client.served_mut() {
            // The layers have enough.
            Some((_, key)) if has_unwrapped => {
                served = Some(key);
                Vec::new()
            }
            Some((connection, key)) => {
                served = Some(key);
                let Some(session) = self.sessions.session_mut(key) else { return units };
                let limits = &self.here.shared().config.limits;
                let had_left = session.has_left();
                let mut transmit = Transmit::default();
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
                // If it had messages to hand on before, their errand is queued.
                leaves = !had_left && session.has_left();
                self.here.counters().publishes_sent.add(u64::from(transmit.publishes));
                self.here.counters().dropped_too_large.add(u64::from(transmit.dropped_too_large));
                self.here.counters().dropped_expired.add(u64::from(transmit.dropped_expired));
                self.here.counters().dropped_denied.add(u64::from(transmit.dropped_denied));
                self.here.counters().unauthorized_receive.add(u64::from(transmit.dropped_denied));
                self.here.counters().authorized_receive.add(u64::from(transmit.allowed));
                units += transmit.publishes * PUBLISH_SENT_UNITS;
                copied_bytes = Some(transmit.copied_bytes);
                transmit.chunks
            }
            None => {
                let Some(frames) = client.take_frames() else { return units };
                let is_last = matches!(client.phase(), Phase::Flushing { .. });
                if is_last && frames.is_empty() && !owes {
                    self.send_fin(index);
                    return units;
                }
                frames
            }
        };
        client.transport.wrap(&mut chunks, bytes_max);
        let (is_sealed, has_ended) =
            (client.transport.is_sealed(), client.transport.ended().is_some());
        if !chunks.is_empty() {
            let bytes: usize = chunks.iter().map(Bytes::len).sum();
            units += (bytes / BYTES_PER_UNIT) as u32;
            client.output.begin_send();
            client.intake.throttle_again(now);
            let token = client.token(index);
            // Only messages may share their bytes with other clients, and not once they are sealed.
            let copied_bytes = copied_bytes.filter(|_| !is_sealed);
            let weight = sending.begin(copied_bytes.unwrap_or(bytes));
            self.wire.send(&client.socket, token, chunks, weight);
        } else if feeding {
            // All messages that were fed have been dropped (expired, too large), so no end of a send calls again.
            self.mark_dirty(index);
        }
        if let Some(key) = served {
            if leaves {
                self.queue_hand_on(key);
            }
            self.unthrottle(index);
            self.file_changes(key, None);
            self.begin_page(key);
        }
        if has_ended {
            // Perhaps only now: keys may be used up.
            self.after_layers(index);
        }
        units
    }

    /// A send has ended, and nothing more can be sent: input and pages that waited for that go on.
    pub(super) fn on_all_sent(&mut self, index: u32, key: u32) {
        if self.clients[index].output.is_held() || self.clients.is_moving(index) {
            // It is flushed when it is held no longer, or has moved.
            return;
        }
        if let Some(session) = self.sessions.session_mut(key) {
            session.tidy();
        }
        self.unthrottle(index);
        self.begin_page(key);
    }
}
