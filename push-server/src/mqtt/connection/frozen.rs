//! A connection as a plain value, for a client that moves. Input received in part and answers not
//! sent yet go along. The session does not; the caller that thaws the connection has it.

use std::num::NonZeroU32;

use bytes::BytesMut;
use push_common::clock::Monotonic;

use super::{Connection, Dialect, Extras, State};
use crate::mqtt::codec::Input;
use crate::mqtt::keep_alive::KeepAlive;

/// Everything that a `Connection` consists of.
#[derive(Debug)]
pub(crate) struct FrozenConnection {
    /// Input of an incomplete packet, or packets not parsed yet.
    input: Vec<u8>,
    /// Answers not sent yet: whole packets.
    answers: Vec<u8>,
    owed_bytes: u32,
    parsed_bytes: u64,
    /// Will, topic aliases and identity, which are plain values already.
    extras: Option<Box<Extras>>,
    packet_bytes_max: Option<u32>,
    receive_max: u16,
    topic_alias_max: u16,
    unacknowledged: u16,
    ping_due: Monotonic,
    pings_elsewhere: u32,
    keep_alive: KeepAlive,
    unheard_bytes: u16,
    last_heard: Monotonic,
    dialect: Dialect,
    state: State,
}

impl Connection {
    /// Turns the connection into a value.
    pub(crate) fn freeze(mut self) -> FrozenConnection {
        FrozenConnection {
            input: self.input.take_rest().into(),
            answers: self.answers.into(),
            owed_bytes: self.owed_bytes,
            parsed_bytes: self.parsed_bytes,
            extras: self.extras,
            packet_bytes_max: self.packet_bytes_max.map(NonZeroU32::get),
            receive_max: self.receive_max,
            topic_alias_max: self.topic_alias_max,
            unacknowledged: self.unacknowledged,
            ping_due: self.ping_due,
            pings_elsewhere: self.pings_elsewhere,
            keep_alive: self.keep_alive,
            unheard_bytes: self.unheard_bytes,
            last_heard: self.last_heard,
            dialect: self.dialect,
            state: self.state,
        }
    }

    /// Turns the value back into a connection. It owns a buffer only if bytes are under way.
    pub(crate) fn thaw(frozen: FrozenConnection) -> Self {
        Self {
            input: Input::new(BytesMut::from(&frozen.input[..])),
            answers: BytesMut::from(&frozen.answers[..]),
            owed_bytes: frozen.owed_bytes,
            parsed_bytes: frozen.parsed_bytes,
            extras: frozen.extras,
            packet_bytes_max: frozen.packet_bytes_max.and_then(NonZeroU32::new),
            receive_max: frozen.receive_max,
            topic_alias_max: frozen.topic_alias_max,
            unacknowledged: frozen.unacknowledged,
            ping_due: frozen.ping_due,
            pings_elsewhere: frozen.pings_elsewhere,
            keep_alive: frozen.keep_alive,
            unheard_bytes: frozen.unheard_bytes,
            last_heard: frozen.last_heard,
            dialect: frozen.dialect,
            state: frozen.state,
        }
    }
}
