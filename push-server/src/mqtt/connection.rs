//! One served connection: decodes packets on demand, answers them, and turns the session's outbox
//! into frames. It owns what dies with the socket; sockets and timers are its driver's.

use std::num::NonZeroU32;

use bytes::BytesMut;
use push_common::clock::Monotonic;

use super::codec::{self, AckKind, Audience, Auth, Context, Input, Reason};
use super::handshake::Connecting;
use super::keep_alive::KeepAlive;
use super::session::Session;
use super::will::Will;
use super::{Limits, PublishRefusal, Version};
use crate::broker::Message;
use crate::mutant::{Rule, is_left_out};
pub use alive::Timeout;
use dialect::Dialect;
use extras::Extras;
pub use subscribe::{Subscribe, SubscribeEntry, Unsubscribe};

/// A connection after CONNECT.
#[derive(Debug)]
pub struct Connection {
    input: Input,
    /// Answers (CONNACK, PUBACK, PINGRESP, ...) not moved into a `Transmit` yet: whole frames.
    answers: BytesMut,
    /// About how many bytes the answers will take that the shard has not given yet.
    owed_bytes: u32,
    parsed_bytes: u64,
    /// `None` for a client without will and aliases, as nearly every idle one is.
    extras: Option<Box<Extras>>,
    /// The client's Maximum Packet Size.
    packet_bytes_max: Option<NonZeroU32>,
    /// The client's Receive Maximum.
    receive_max: u16,
    /// The client's Topic Alias Maximum.
    topic_alias_max: u16,
    /// QoS 1 and 2 publishes of this client that we have not fully acknowledged; our Receive
    /// Maximum limits them.
    unacknowledged: u16,
    /// When the next ping is due by the ping rate.
    ping_due: Monotonic,
    /// Pings that the kernel answered and `ping_due` already counts. Wraps; differences matter.
    pings_elsewhere: u32,
    keep_alive: KeepAlive,
    /// Bytes of an incomplete packet that came since `last_heard`.
    unheard_bytes: u16,
    /// When the last packet, or `HEARD_BYTES_MIN` bytes of one, had arrived; or when the kernel
    /// last heard the client, as far as the caller has said.
    last_heard: Monotonic,
    dialect: Dialect,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// An answer did not fit the client's Maximum Packet Size: the connection is about to fail.
    Unanswerable,
    /// The connection parses nothing any more, and sends nothing but queued answers.
    Over,
}

/// What a client did.
#[derive(Debug)]
pub enum Event {
    /// It published. Route the message, then call `publish_done` with the receipt, if any.
    Publish(Message, Option<PublishReceipt>),
    /// It published what it may not publish, so the message is dropped. Call `publish_done` with
    /// the receipt, if any, and the reason if the protocol has a code for it.
    PublishRefused(PublishRefusal, Option<PublishReceipt>),
    /// It subscribes; answer with `subscribed`.
    Subscribe(Subscribe),
    /// It unsubscribes; answer with `unsubscribed`.
    Unsubscribe(Unsubscribe),
    /// It acknowledged, and the server owes an answer to that (PUBREL, PUBCOMP). Give the answer to
    /// `answer_now` as soon as the session's change is safe.
    Owes(Answer),
    /// PINGREQ; the answer is queued already.
    Ping,
    /// A client that has authenticated sent AUTH; pass it to `authenticate`.
    Authenticate(Auth),
    /// It sent DISCONNECT: close. The connection has dropped the will unless the client wanted it
    /// published.
    Disconnected,
    /// It broke the protocol, or a limit. DISCONNECT is queued if its version has one. Send what is
    /// queued, close, publish the will.
    Failed(Reason),
}

/// The promise to answer a QoS 1 or 2 publish. Give it back to `publish_done`.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct PublishReceipt {
    /// The publish's packet id.
    pub packet_id: u16,
    /// Whether PUBREC answers the publish; otherwise PUBACK does.
    pub exactly_once: bool,
}

/// An acknowledgement that the server owes a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    kind: AckKind,
    packet_id: u16,
    reason: Reason,
}

impl Connection {
    /// Begins to serve: queues CONNACK (with the assigned client id, server keep alive and limits),
    /// sets the session's expiry to what CONNECT asked for and its rights to the client's, and makes the session
    /// send its unacknowledged messages again. Poll events at once: packets may follow the CONNECT.
    ///
    /// Do not call this for a client that is `Connecting::unanswerable`: no DISCONNECT may come
    /// before a CONNACK that accepts [MQTT-3.14.0-1].
    pub fn accept(
        connecting: Connecting,
        session: &mut Session,
        session_present: bool,
        limits: &Limits,
        now: Monotonic,
    ) -> Self {
        let Connecting { mut connect, rest, wire_bytes } = connecting;
        session.restart();
        session.set_expiry_secs(connect.session_expiry_secs);
        session.set_rights(connect.identity.rights().clone());
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

    /// Stores received bytes. Then call `poll_event`.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Monotonic) {
        if self.state != State::Over {
            self.input.extend(bytes);
            self.hear(bytes.len(), now);
        }
    }

    /// Bytes received and not yet parsed; 0 once the connection is over, which parses no more.
    pub fn input_len(&self) -> usize {
        if self.state == State::Over { 0 } else { self.input.len() }
    }

    /// Takes out the unparsed input of a connection that is over. The caller frees it: it may be as
    /// large as a packet, and freeing that takes time.
    pub fn take_input(&mut self) -> Vec<u8> {
        self.input.take_memory()
    }

    /// Parses the next whole packet. `None`: more bytes are needed, or the connection is over. Call
    /// it after every `handle_bytes` until it returns `None`; that keeps the input within
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

    /// The client's Maximum Packet Size, if it gave one.
    pub fn packet_bytes_max(&self) -> Option<u32> {
        self.packet_bytes_max.map(NonZeroU32::get)
    }

    /// The server ends the connection: queues DISCONNECT for MQTT 5. From now on the connection
    /// parses nothing and sends only queued answers.
    pub fn close(&mut self, reason: Reason) {
        if self.state != State::Over {
            let audience = self.audience();
            self.answer(|out| codec::disconnect(out, audience, reason));
            self.end();
        }
    }

    /// Like `close`, when the server stops and names another server (Server Reference).
    pub fn redirect(&mut self, reference: &str) {
        if self.state != State::Over {
            let audience = self.audience();
            self.answer(|out| codec::disconnect_to(out, audience, reference));
            self.end();
        }
    }

    /// Bytes of whole packets parsed since accept, CONNECT included: the slot's `rx`.
    pub fn parsed_bytes(&self) -> u64 {
        self.parsed_bytes
    }

    /// The keep alive that the server has granted.
    pub fn keep_alive(&self) -> KeepAlive {
        self.keep_alive
    }

    /// Whether the client's CONNECT said that it is the bridge of another broker.
    pub fn is_bridge(&self) -> bool {
        self.dialect.is_bridge()
    }

    /// The protocol spoken.
    pub fn version(&self) -> Version {
        self.dialect.version()
    }

    /// The will, while it may still have to be published.
    pub fn will(&self) -> Option<&Will> {
        self.extras.as_ref()?.will.as_deref()
    }

    /// Takes the will out, while it may still have to be published.
    pub fn take_will(&mut self) -> Option<Box<Will>> {
        self.extras.as_mut().and_then(|extras| extras.will.take())
    }

    fn audience(&self) -> Audience {
        let bytes_max = self.packet_bytes_max().filter(|_| !is_left_out(Rule::PacketBytesMax));
        Audience::new(self.dialect.version(), bytes_max, self.dialect.wants_words())
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
mod packets;
mod reauthentication;
mod send;
mod subscribe;
#[cfg(test)]
mod tests;
