//! One served connection: decodes packets on demand, answers them, and turns the session's outbox
//! into frames.

use std::num::NonZeroU32;

use bytes::BytesMut;
use push_common::clock::Monotonic;

use super::codec::{
    self, ANSWER_BYTES, Ack, AckKind, Audience, Auth, Context, Header, Input, OutgoingPublish,
    Packet, Reason, answer_bytes,
};
use super::delivery::Delivery;
use super::handshake::Connecting;
use super::inflight::ReceivedPublish;
use super::keep_alive::KeepAlive;
use super::session::{Next, SendOutcome, Session};
use super::topic_alias::TopicForm;
use super::transmit::{Transmit, Writer};
use super::will::Will;
use super::{Limits, PublishRefusal, Version};
use crate::broker::{Message, QoS, TopicName};
use crate::mutant::{Rule, is_left_out};
pub use alive::Timeout;
use dialect::Dialect;
use extras::{Extras, form};
pub(crate) use frozen::FrozenConnection;
pub use subscribe::{Subscribe, SubscribeEntry, Unsubscribe};

/// A connection after CONNECT.
#[derive(Debug)]
pub struct Connection {
    input: Input,
    /// Answers (CONNACK, PUBACK, PINGRESP, ...) not moved into a `Transmit` yet: whole frames.
    answers: BytesMut,
    /// About how many bytes the answers will take that the shard still owes.
    owed_bytes: u32,
    parsed_bytes: u64,
    /// Empty for a client without will and aliases, as nearly every idle one is.
    extras: Option<Box<Extras>>,
    /// The client's Maximum Packet Size.
    packet_bytes_max: Option<NonZeroU32>,
    /// The client's Receive Maximum.
    receive_max: u16,
    /// The client's Topic Alias Maximum.
    topic_alias_max: u16,
    /// The client's QoS 1 and 2 publishes of this connection that we have not acknowledged to the
    /// end: what our Receive Maximum limits.
    unacknowledged: u16,
    /// When the next ping is due by the ping rate.
    ping_due: Monotonic,
    /// Pings answered elsewhere that are charged already; the low half is enough.
    pings_elsewhere: u32,
    keep_alive: KeepAlive,
    /// Bytes that came since `last_heard`, of a packet that is not whole.
    unheard_bytes: u16,
    /// When the last packet came whole, or a good part of one; or when the kernel heard the client, as far as
    /// we were told.
    last_heard: Monotonic,
    dialect: Dialect,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// An answer did not fit the client's Maximum Packet Size: about to fail.
    Unanswerable,
    /// Nothing is parsed any more, and nothing but queued answers sent.
    Over,
}

/// What a client did.
#[derive(Debug)]
pub enum Event {
    /// It published. Route the message, then call `publish_done` with the receipt, if any.
    Publish(Message, Option<PublishReceipt>),
    /// It published what no client may publish: the message is dropped. Call `publish_done` with the
    /// receipt, if any, and the reason where the protocol has a word for it.
    PublishRefused(PublishRefusal, Option<PublishReceipt>),
    /// It subscribes; answer by `subscribed`.
    Subscribe(Subscribe),
    /// It unsubscribes; answer by `unsubscribed`.
    Unsubscribe(Unsubscribe),
    /// It acknowledged, and is owed an answer to that (PUBREL, PUBCOMP): give it to `answer_now` as
    /// soon as what the session changed by it is safe.
    Owes(Answer),
    /// PINGREQ; the answer is queued already.
    Ping,
    /// AUTH of a client that was authenticated; give it to `authenticate`.
    Authenticate(Auth),
    /// It sent DISCONNECT: close. The will is dropped unless the client asked for it.
    Disconnected,
    /// It broke the protocol, or a limit: a DISCONNECT is queued where the protocol has one. Send
    /// what is left, close, publish the will.
    Failed(Reason),
}

/// The promise to answer a QoS 1 or 2 publish. Must be given back.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct PublishReceipt {
    /// The publish's packet id.
    pub packet_id: u16,
    /// Whether PUBREC answers it, else PUBACK.
    pub exactly_once: bool,
}

/// An acknowledgement that the server owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    kind: AckKind,
    packet_id: u16,
    reason: Reason,
}

impl Connection {
    /// Begins to serve: queues CONNACK (with the assigned client id, server keep alive and limits),
    /// and has the session send again what it is owed. The session's expiry becomes what CONNECT
    /// asked for. Poll events at once: there may be packets behind the CONNECT.
    ///
    /// Not for a client that is `Connecting::unanswerable`: no DISCONNECT may come before a CONNACK
    /// that accepts [MQTT-3.14.0-1].
    pub fn accept(
        connecting: Connecting,
        session: &mut Session,
        session_present: bool,
        limits: &Limits,
        now: Monotonic,
    ) -> Self {
        let Connecting { mut connect, rest, wire_bytes } = connecting;
        session.restart();
        session.expiry_secs = connect.session_expiry_secs;
        let keep_alive = connect.keep_alive(limits);
        let mut connection = Self {
            input: Input::new(rest),
            answers: BytesMut::new(),
            owed_bytes: 0,
            parsed_bytes: wire_bytes,
            extras: Extras::of(&mut connect),
            packet_bytes_max: connect.packet_bytes_max.and_then(NonZeroU32::new),
            receive_max: connect.receive_max,
            topic_alias_max: connect.topic_alias_max,
            unacknowledged: 0,
            ping_due: now,
            pings_elsewhere: 0,
            keep_alive,
            unheard_bytes: 0,
            last_heard: now,
            dialect: Dialect::new(
                connect.version,
                connect.is_bridge,
                connect.request_problem_information,
            ),
            state: State::Open,
        };
        connection.answer(|out| {
            codec::connack(out, &connect, session_present, keep_alive.0, limits);
        });
        connection
    }

    /// Takes what arrived; parse it by `poll_event`.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Monotonic) {
        if self.state != State::Over {
            self.input.extend(bytes);
            self.hear(bytes.len(), now);
        }
    }

    /// Bytes taken and not yet parsed; those of a connection that is over never will be.
    pub fn input_len(&self) -> usize {
        if self.state == State::Over { 0 } else { self.input.len() }
    }

    /// Takes out the input that a connection which is over will never parse, for the caller to free: it
    /// may be as large as a packet, and freeing that takes time.
    pub fn take_input(&mut self) -> Vec<u8> {
        self.input.take_memory()
    }

    /// Parses the next whole packet. `None`: more bytes are needed (or the connection is over).
    /// To be called until then after every `handle_bytes`: that is what keeps the input within
    /// `Limits::packet_bytes_max`.
    pub fn poll_event(
        &mut self,
        session: &mut Session,
        limits: &Limits,
        now: Monotonic,
    ) -> Option<Event> {
        let context = Context {
            version: self.dialect.version(),
            packet_bytes_max: limits.packet_bytes_max,
            topic_levels_max: limits.topic_levels_max,
            features: limits.features,
            now,
        };
        loop {
            match self.state {
                State::Open => {}
                State::Unanswerable => return Some(self.fail(Reason::PacketTooLarge)),
                State::Over => return None,
            }
            if self.answers.len() > limits.answers_bytes_max as usize {
                return Some(self.fail(Reason::QuotaExceeded));
            }
            let event = match self.next_packet(&context) {
                Ok(Some(packet)) => self.handle_packet(packet, session, limits, now),
                Ok(None) => return None,
                Err(reason) => Err(reason),
            };
            match event {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(reason) => return Some(self.fail(reason)),
            }
        }
    }

    /// Moves frames into `out` until it holds about `bytes_max` bytes (at least one frame, if any):
    /// answers first, then the outbox as far as the client's receive maximum allows.
    pub fn poll_transmit(
        &mut self,
        session: &mut Session,
        out: &mut Transmit,
        bytes_max: usize,
        limits: &Limits,
        now: Monotonic,
    ) {
        let window = self.window(limits);
        let Audience { version, packet_len_max, .. } = self.audience();
        let topic_alias_max = self.topic_alias_max.min(limits.topic_alias_send_max);
        let mut writer = Writer::new(out, std::mem::take(&mut self.answers));
        while self.state != State::Over && writer.len() < bytes_max.max(1) {
            let (mut topic, mut len) = (TopicForm::Whole, 0);
            let next = session.next(window, |delivery, dup, receiver| {
                // Delivery once begun goes on, whatever the time [MQTT-3.3.2-5].
                let is_expired =
                    delivery.message.is_expired(now) && !is_left_out(Rule::ExpiredUnsent);
                if !dup && is_expired {
                    writer.dropped_expired();
                    return SendOutcome::Dropped;
                }
                if !dup && limits.policy.receive(&delivery.message.topic, receiver).is_err() {
                    return writer.denied(delivery);
                }
                topic = form(&mut self.extras, &delivery.message.topic, topic_alias_max);
                let publish = OutgoingPublish { delivery, topic, packet_id: 0, dup, version, now };
                match publish.fitting(packet_len_max) {
                    Some(fitting) => {
                        (topic, len) = fitting;
                        SendOutcome::Sent
                    }
                    None => writer.too_large(delivery, dup),
                }
            });
            match next {
                Some(Next::Publish { delivery, packet_id, dup }) => {
                    if let (TopicForm::Introduced(alias), Some(extras)) = (topic, &mut self.extras)
                    {
                        extras.outbound.introduced(&delivery.message.topic, alias);
                    }
                    let delivery = &delivery;
                    writer.publish(
                        &OutgoingPublish { delivery, topic, packet_id, dup, version, now },
                        len,
                    );
                }
                Some(Next::Release(packet_id)) => {
                    let kind = AckKind::Release;
                    codec::ack(writer.frames(), version, kind, packet_id, Reason::Success);
                }
                None => break,
            }
        }
        writer.finish();
        session.tidy();
    }

    /// Whether `poll_transmit` would move anything: a session's outbox may be full and yet wait for
    /// acknowledgements.
    pub fn has_transmit(&self, session: &Session, limits: &Limits) -> bool {
        !self.answers.is_empty()
            || (self.state != State::Over && session.has_next(self.window(limits)))
    }

    /// The client's Maximum Packet Size, if it gave one.
    pub fn packet_bytes_max(&self) -> Option<u32> {
        self.packet_bytes_max.map(NonZeroU32::get)
    }

    /// Whether a message is no larger than the client takes, its topic said in full
    /// [MQTT-3.1.2-24].
    pub fn takes(&self, delivery: &Delivery, now: Monotonic) -> bool {
        let Audience { version, packet_len_max, .. } = self.audience();
        let topic = TopicForm::Whole;
        let publish = OutgoingPublish { delivery, topic, packet_id: 0, dup: false, version, now };
        publish.fitting(packet_len_max).is_some()
    }

    /// Whether answers, CONNACK the first of them, wait to be moved out.
    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The publish was routed (`Success`, `NoMatchingSubscribers`) or refused.
    pub fn publish_done(&mut self, session: &mut Session, receipt: PublishReceipt, reason: Reason) {
        let PublishReceipt { packet_id, exactly_once } = receipt;
        self.answered(ANSWER_BYTES);
        // 3.1.1 cannot refuse a publish, only acknowledge it [MQTT-3.3.5-2].
        let refused = reason.is_error() && self.dialect.version() == Version::V5;
        let (kind, owed) = if exactly_once {
            (AckKind::Received, session.routed_exactly_once(packet_id, refused))
        } else {
            (AckKind::Ack, true)
        };
        if !exactly_once || (owed && refused) {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
        }
        if owed {
            self.acknowledge(kind, packet_id, reason);
        }
    }

    /// Queues what an event owed.
    pub fn answer_now(&mut self, answer: Answer) {
        let Answer { kind, packet_id, reason } = answer;
        self.answered(ANSWER_BYTES);
        self.acknowledge(kind, packet_id, reason);
    }

    /// Queues SUBACK. Granted QoS as `Ok`, a refusal as `Err`.
    pub fn subscribed(&mut self, packet_id: u16, results: &[Result<QoS, Reason>]) {
        self.answered(answer_bytes(results.len()));
        let audience = self.audience();
        self.answer(|out| codec::suback(out, audience, packet_id, results));
    }

    /// Queues UNSUBACK.
    pub fn unsubscribed(&mut self, packet_id: u16, results: &[Reason]) {
        self.answered(answer_bytes(results.len()));
        let audience = self.audience();
        self.answer(|out| codec::unsuback(out, audience, packet_id, results));
    }

    /// The server ends the connection: queues DISCONNECT for MQTT 5; nothing but queued answers is
    /// sent from now on, and nothing parsed.
    pub fn close(&mut self, reason: Reason) {
        if self.state != State::Over {
            let audience = self.audience();
            self.answer(|out| codec::disconnect(out, audience, reason));
            self.end();
        }
    }

    /// The server stops and names another one: as `close`, with the Server Reference.
    pub fn redirect(&mut self, reference: &str) {
        if self.state != State::Over {
            let audience = self.audience();
            self.answer(|out| codec::disconnect_to(out, audience, reference));
            self.end();
        }
    }

    /// Bytes of whole packets parsed since the socket was accepted, CONNECT included: the slot's
    /// `rx`.
    pub fn parsed_bytes(&self) -> u64 {
        self.parsed_bytes
    }

    /// The keep alive in force.
    pub fn keep_alive(&self) -> KeepAlive {
        self.keep_alive
    }

    /// Whether the client is the bridge of another broker, by what it said.
    pub fn is_bridge(&self) -> bool {
        self.dialect.is_bridge()
    }

    /// The protocol spoken.
    pub fn version(&self) -> Version {
        self.dialect.version()
    }

    /// The will, if it is still to be published when the connection ends.
    pub fn will(&self) -> Option<&Will> {
        self.extras.as_ref()?.will.as_deref()
    }

    /// Takes the will, if it is still to be published when the connection ends.
    pub fn take_will(&mut self) -> Option<Box<Will>> {
        self.extras.as_mut().and_then(|extras| extras.will.take())
    }

    /// Parses the next packet, if it is there whole. Its header is judged as soon as it is there.
    fn next_packet(&mut self, context: &Context) -> Result<Option<Packet>, Reason> {
        let Some(header) = Header::parse(self.input.bytes(), context.version)? else {
            return Ok(None);
        };
        codec::check_header(header, context)?;
        let len = header.packet_len();
        if self.input.len() < len {
            return Ok(None);
        }
        let packet = if len >= codec::SHARE_BYTES_MIN {
            let shared = self.input.take(len);
            codec::packet(header.first, &shared[header.len..], Some(&shared), context)?
        } else {
            let body = &self.input.bytes()[header.len..len];
            let packet = codec::packet(header.first, body, None, context)?;
            self.input.advance(len);
            packet
        };
        self.parsed_bytes += len as u64;
        self.hear_whole(context.now);
        Ok(Some(packet))
    }

    /// Acts on a packet. `Ok(None)`: there is no event.
    fn handle_packet(
        &mut self,
        packet: Packet,
        session: &mut Session,
        limits: &Limits,
        now: Monotonic,
    ) -> Result<Option<Event>, Reason> {
        match packet {
            Packet::Publish(publish) => self.handle_publish(publish, session, limits),
            Packet::PubAck(Ack { packet_id, is_error }) => {
                session.acknowledge(packet_id, is_error)?;
                Ok(None)
            }
            Packet::PubRec(Ack { packet_id, is_error }) => {
                let reason = session.receive(packet_id, is_error)?;
                let kind = AckKind::Release;
                Ok(reason.map(|reason| self.owe(Answer { kind, packet_id, reason })))
            }
            Packet::PubRel(Ack { packet_id, .. }) => {
                let known = session.release(packet_id);
                self.unacknowledged = self.unacknowledged.saturating_sub(u16::from(known));
                let reason = if known { Reason::Success } else { Reason::PacketIdentifierNotFound };
                Ok(Some(self.owe(Answer { kind: AckKind::Complete, packet_id, reason })))
            }
            Packet::PubComp(Ack { packet_id, .. }) => {
                session.complete(packet_id)?;
                Ok(None)
            }
            Packet::Subscribe(mut subscribe) => {
                subscribe.deny(&limits.policy, session.subject());
                if self.dialect.is_bridge() {
                    subscribe.suit_bridge();
                }
                self.owed_bytes += answer_bytes(subscribe.entries.len());
                Ok(Some(Event::Subscribe(subscribe)))
            }
            Packet::Unsubscribe(unsubscribe) => {
                self.owed_bytes += answer_bytes(unsubscribe.filters.len());
                Ok(Some(Event::Unsubscribe(unsubscribe)))
            }
            Packet::PingReq => {
                self.charge_ping(limits, now)?;
                self.answer(codec::pingresp);
                Ok(Some(Event::Ping))
            }
            // [MQTT-4.12.0-6]: who asked for no authentication does not get any.
            Packet::Auth(auth) => match self.reauthentication_mut() {
                Some(_) => Ok(Some(Event::Authenticate(auth))),
                None => Err(Reason::ProtocolError),
            },
            Packet::Disconnect(disconnect) => {
                self.handle_disconnect(disconnect, session, limits)?;
                Ok(Some(Event::Disconnected))
            }
        }
    }

    fn handle_publish(
        &mut self,
        publish: codec::Publish,
        session: &mut Session,
        limits: &Limits,
    ) -> Result<Option<Event>, Reason> {
        let packet_id = publish.packet_id;
        let topic = self.topic_of(&publish, limits)?;
        let qos = publish.qos;
        // Older clients are refused nothing.
        let is_new = !publish.is_repeated && self.dialect.version() == Version::V5;
        // Dropped or not, it is acknowledged as every publish is.
        let refusal = limits.refuses_publish(&topic, session.subject());
        let event = |receipt| match refusal {
            Some(reason) => Event::PublishRefused(reason, receipt),
            None => Event::Publish(publish.into_message(topic), receipt),
        };
        if qos == QoS::AtMostOnce {
            return Ok(Some(event(None)));
        }
        let exactly_once = qos == QoS::ExactlyOnce;
        if exactly_once {
            match session.exactly_once(packet_id) {
                None => {}
                // What a start has found may be of one that was refused, which ended its flow, because the disk failed,
                // and which is on disk all the same: another one has the packet id by now [MQTT-4.3.3-9].
                Some(ReceivedPublish::Found) if is_new => {}
                // The answer follows when the receipt comes back.
                Some(ReceivedPublish::Pending | ReceivedPublish::Asked) => {
                    session.ask_exactly_once(packet_id);
                    return Ok(None);
                }
                Some(ReceivedPublish::Done | ReceivedPublish::Found) => {
                    self.acknowledge(AckKind::Received, packet_id, Reason::Success);
                    return Ok(None);
                }
            }
        }
        // [MQTT-3.3.4-7]; 3.1.1 has no such limit but that of its packet ids.
        if self.dialect.version() == Version::V5 && self.unacknowledged >= limits.receive_max {
            return Err(Reason::ReceiveMaximumExceeded);
        }
        if exactly_once {
            session.begin_exactly_once(packet_id);
        }
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        self.owed_bytes += ANSWER_BYTES;
        Ok(Some(event(Some(PublishReceipt { packet_id, exactly_once }))))
    }

    /// What a PUBLISH is about: every one that comes counts for its alias, whatever else becomes
    /// of it.
    fn topic_of(&mut self, publish: &codec::Publish, limits: &Limits) -> Result<TopicName, Reason> {
        let topic = publish.topic.clone();
        match publish.topic_alias {
            Some(alias) => {
                let extras = self.extras.get_or_insert_default();
                extras.inbound.resolve(topic, alias, limits.topic_alias_max)
            }
            None => topic.ok_or(Reason::ProtocolError),
        }
    }

    fn handle_disconnect(
        &mut self,
        disconnect: codec::Disconnect,
        session: &mut Session,
        limits: &Limits,
    ) -> Result<(), Reason> {
        if let Some(secs) = disconnect.session_expiry_secs {
            // A session that was to end with its connection cannot be kept now [MQTT5 3.14.2.2.2].
            if session.expiry_secs == 0 && secs != 0 {
                return Err(Reason::ProtocolError);
            }
            session.expiry_secs = secs.min(limits.session_expiry_max_secs);
        }
        if !disconnect.keeps_will {
            self.take_will();
        }
        self.end();
        Ok(())
    }

    /// How many publishes may be unacknowledged towards the client.
    fn window(&self, limits: &Limits) -> u16 {
        if is_left_out(Rule::ReceiveMaximum) {
            return limits.inflight_max;
        }
        self.receive_max.min(limits.inflight_max)
    }

    fn audience(&self) -> Audience {
        let bytes_max = self.packet_bytes_max().filter(|_| !is_left_out(Rule::PacketBytesMax));
        Audience::new(self.dialect.version(), bytes_max, self.dialect.wants_words())
    }

    fn acknowledge(&mut self, kind: AckKind, packet_id: u16, reason: Reason) {
        let version = self.dialect.version();
        self.answer(|out| codec::ack(out, version, kind, packet_id, reason));
    }

    /// Queues an answer. One that is larger than the client takes must not be sent
    /// [MQTT-3.1.2-24]; the client would wait for it in vain, so the connection fails.
    fn answer(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        if self.state == State::Over {
            return;
        }
        let len = self.answers.len();
        encode(&mut self.answers);
        let answer_len = self.answers.len() - len;
        if answer_len > self.audience().packet_len_max {
            self.answers.truncate(len);
            self.state = State::Unanswerable;
        }
    }

    fn fail(&mut self, reason: Reason) -> Event {
        self.close(reason);
        Event::Failed(reason)
    }

    fn end(&mut self) {
        self.state = State::Over;
    }
}

mod alive;
mod answers;
mod authenticate;
mod dialect;
mod extras;
mod frozen;
mod reauthentication;
mod subscribe;
#[cfg(test)]
mod tests;
