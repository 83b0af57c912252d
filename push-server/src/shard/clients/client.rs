//! One accepted socket, from accept to close.

mod frozen;

pub(in crate::shard) use frozen::FrozenClient;

use bytes::Bytes;
use push_common::clock::Monotonic;

use super::intake::Intake;
use super::output::Output;
use super::receipts::Receipts;
use crate::access::scram::Nonce;
use crate::mqtt::codec::Reason;
use crate::mqtt::{Connection, Handshake, PublishReceipt};
use crate::shard::agenda::FlowNumber;
use crate::shard::connect_order::ConnectNumber;
use crate::shard::ports::{Ports, SlotOf, SocketOf, Token};
use crate::transport::Transport;

/// How long a closing connection waits for its last bytes to be taken and for the peer's FIN.
/// Closing at once would let a RST (for bytes we did not read) overtake the last DISCONNECT.
pub(crate) const LINGER_MILLIS: u64 = 1_000;

/// A socket and its state. An idle one owns no buffer.
#[derive(Debug)]
pub(crate) struct Client<P: Ports> {
    pub(crate) socket: SocketOf<P>,
    pub(crate) generation: u32,
    pub(crate) phase: Phase,
    /// What lies between the socket and MQTT.
    pub(crate) transport: Transport,
    /// Its place among the CONNECTs of all shards: of two connections of a client the later one stays.
    pub(crate) connect_number: ConnectNumber,
    /// Bytes of whole frames that the socket has accepted, with those of the layers: the slot's `tx`.
    sent_bytes: u64,
    pub(crate) slot: Option<SlotOf<P>>,
    /// The tick of the one timer of this client that counts; others are stale.
    timer_tick: u64,
    /// Publishes of this connection whose acknowledgement waits.
    receipts: Option<Box<Receipts>>,
    pub(crate) intake: Intake,
    pub(crate) output: Output,
}

/// The phases of a client's life.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Not served yet: CONNECT has not come whole, or the client is being authenticated. Closed at the deadline.
    Handshake(PendingClient),
    /// Served, with this session, whose flow is kept here because all input asks for it.
    Serving { connection: Connection, session: u32, flow: FlowNumber },
    /// The last bytes (a CONNACK with a reason, a DISCONNECT) are on their way; then FIN.
    Flushing { deadline: Monotonic, frames: Vec<Bytes> },
    /// FIN is sent, or the socket failed; waiting for the peer's FIN and the ring's operations.
    Lingering { deadline: Monotonic },
}

/// A client that is not served yet.
#[derive(Debug)]
pub(crate) struct PendingClient {
    pub(crate) handshake: Handshake,
    pub(crate) deadline: Monotonic,
    /// What is to be sent meanwhile (AUTH).
    pub(crate) frames: Vec<Bytes>,
    /// It is with the shard of its session.
    pub(crate) is_home: bool,
}

impl PendingClient {
    /// Of a new socket; `nonce` is random.
    pub(crate) fn new(nonce: Nonce, deadline: Monotonic) -> Self {
        Self { handshake: Handshake::new(nonce), deadline, frames: Vec::new(), is_home: false }
    }
}

impl<P: Ports> Client<P> {
    pub(crate) fn new(socket: SocketOf<P>, generation: u32, phase: Phase) -> Self {
        Self {
            socket,
            generation,
            phase,
            transport: Transport::default(),
            connect_number: ConnectNumber::default(),
            sent_bytes: 0,
            slot: None,
            timer_tick: 0,
            receipts: None,
            intake: Intake::default(),
            output: Output::default(),
        }
    }

    pub(crate) fn token(&self, index: u32) -> Token {
        Token { index, generation: self.generation }
    }

    /// A served client's session has this key from now on.
    pub(crate) fn set_session(&mut self, key: u32) {
        if let Phase::Serving { session, .. } = &mut self.phase {
            *session = key;
        }
    }

    /// Bytes of whole frames that the socket has accepted.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// The socket has accepted so many bytes.
    pub(crate) fn count_sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }

    /// The tick of its one timer that counts.
    pub(crate) fn timer(&self) -> u64 {
        self.timer_tick
    }

    /// Its one timer is armed with this tick; an earlier one is stale from now on.
    pub(crate) fn set_timer(&mut self, tick: u64) {
        self.timer_tick = tick;
    }

    /// Whether a timer with this tick is the one that counts.
    pub(crate) fn is_timer(&self, tick: u64) -> bool {
        self.timer_tick == tick
    }

    /// Whether publishes wait for their acknowledgement.
    pub(crate) fn has_receipts(&self) -> bool {
        self.receipts.is_some()
    }

    /// The receipt of a publish waits; returns what tells it from others.
    pub(crate) fn wait_receipt(&mut self, receipt: PublishReceipt) -> u64 {
        self.receipts.get_or_insert_default().push(receipt)
    }

    /// What one waits for is done.
    pub(crate) fn settle_receipt(&mut self, number: u64, reason: Reason) {
        if let Some(receipts) = &mut self.receipts {
            receipts.settle(number, reason);
        }
    }

    /// Takes the first one, if what it waits for is done.
    pub(crate) fn pop_settled(&mut self) -> Option<(PublishReceipt, Reason)> {
        let receipts = self.receipts.as_mut()?;
        let settled = receipts.pop_settled()?;
        if receipts.is_empty() {
            self.receipts = None;
        }
        Some(settled)
    }

    /// Takes all of them: the connection is over.
    pub(crate) fn take_receipts(&mut self) -> Option<Box<Receipts>> {
        self.receipts.take()
    }

    /// Whether somebody has yet to say who the client is. It may leave for another shard by that, so nothing is begun
    /// on its socket: what it sends waits, and so does what WebSocket owes it.
    pub(crate) fn is_asking(&self) -> bool {
        matches!(&self.phase, Phase::Handshake(pending) if pending.handshake.is_asking())
    }

    /// Whether no operation of the ring refers to the socket any more.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.intake.is_receiving() && !self.output.is_sending()
    }
}
