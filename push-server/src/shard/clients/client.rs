//! One accepted socket, from accept to close.

use std::num::{NonZeroU16, NonZeroU64};

use bytes::Bytes;
use push_common::clock::Monotonic;

use super::input_budget::InputCharge;
use super::receipts::Receipts;
use crate::mqtt::scram::Nonce;
use crate::mqtt::{Connection, Handshake};
use crate::shard::agenda::FlowNumber;
use crate::shard::connect_order::ConnectNumber;
use crate::shard::ports::{Ports, SlotOf, SocketOf, Token};
use crate::websocket::WebSocket;

/// How long a closing connection waits for its last bytes to be taken and for the peer's FIN.
/// Closing at once would let a RST (for bytes we did not read) overtake the last DISCONNECT.
pub(crate) const LINGER_MILLIS: u64 = 1_000;

/// What is kept of packets that are being done is counted in parts of 64 KiB: up to 16 MiB in a byte.
const HELD_PART_BITS: u32 = 16;

/// A socket and its state. An idle one owns no buffer.
#[derive(Debug)]
pub(crate) struct Client<P: Ports> {
    pub(crate) socket: SocketOf<P>,
    pub(crate) generation: u32,
    pub(crate) phase: Phase,
    /// What stands between the socket and MQTT, for those who came by WebSocket.
    pub(crate) websocket: Option<Box<WebSocket>>,
    /// When the last packet came whole, or a good part of one, as user space saw it.
    pub(crate) last_seen: Monotonic,
    /// Its place among the CONNECTs of all shards: of two connections of a client the later one stays.
    pub(crate) connect_number: ConnectNumber,
    /// Bytes of whole frames that the socket has accepted: the slot's `tx`. With WebSocket, which has
    /// no slot, its own bytes count, too.
    pub(crate) sent_bytes: u64,
    pub(crate) slot: Option<SlotOf<P>>,
    /// The tick of the one timer of this client that counts; others are stale.
    pub(crate) timer_tick: u64,
    /// Publishes of this connection whose acknowledgement waits.
    pub(crate) receipts: Option<Box<Receipts>>,
    /// Its part of the budget of input, while it has much waiting.
    pub(crate) input_charge: Option<Box<InputCharge>>,
    /// What is kept of a packet that is being done, in parts of 64 KiB.
    held_parts: u8,
    /// Bytes that came since, of a packet that is not whole.
    pub(crate) unheard_bytes: u16,
    /// A receive is under way in the ring.
    pub(crate) receiving: bool,
    /// A send is under way in the ring.
    pub(crate) sending: bool,
    /// The peer has ended the connection, or we no longer care whether it has.
    pub(crate) peer_gone: bool,
    /// A send has failed: nothing more is sent, but what came before the end is still read.
    pub(crate) send_failed: bool,
    /// Nothing is sent yet, as long as CONNACK waits for so much: the store, groups that hear of it.
    pub(crate) holds: u8,
    /// It is in the list of clients to close because their outbox is full.
    pub(crate) overflowed: bool,
    /// The tag of the flow on whose account it was put last into the list of clients to flush at the
    /// end of the turn.
    pub(crate) dirty_for: Option<NonZeroU16>,
    /// Its input waits: for the store, for its session's turn, or for its own answers to leave.
    pub(crate) stalled: bool,
    /// `throttled_since`, in nanoseconds.
    throttled_at: Option<NonZeroU64>,
}

/// Where a client's life is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// CONNECT has not come whole, or the client is being authenticated; closed at the deadline.
    Handshake(Introduction),
    /// Served, with this session, whose flow is kept here because all input asks for it.
    Serving { connection: Connection, session: u32, flow: FlowNumber },
    /// The last bytes (a CONNACK with a reason, a DISCONNECT) are on their way; then FIN.
    Flushing { deadline: Monotonic, frames: Vec<Bytes> },
    /// FIN is sent, or the socket failed; waiting for the peer's FIN and the ring's operations.
    Lingering { deadline: Monotonic },
}

/// A client that may come in, once it has introduced itself.
#[derive(Debug)]
pub(crate) struct Introduction {
    pub(crate) handshake: Handshake,
    pub(crate) deadline: Monotonic,
    /// What is to be sent meanwhile (AUTH).
    pub(crate) frames: Vec<Bytes>,
    /// It is with the shard of its session.
    pub(crate) is_home: bool,
}

impl Introduction {
    /// Of a new socket; `nonce` is random.
    pub(crate) fn new(nonce: Nonce, deadline: Monotonic) -> Self {
        Self { handshake: Handshake::new(nonce), deadline, frames: Vec::new(), is_home: false }
    }
}

impl<P: Ports> Client<P> {
    pub(crate) fn new(
        socket: SocketOf<P>,
        generation: u32,
        phase: Phase,
        last_seen: Monotonic,
    ) -> Self {
        Self {
            socket,
            generation,
            phase,
            websocket: None,
            last_seen,
            connect_number: ConnectNumber::default(),
            sent_bytes: 0,
            slot: None,
            timer_tick: 0,
            receipts: None,
            input_charge: None,
            held_parts: 0,
            unheard_bytes: 0,
            receiving: false,
            sending: false,
            peer_gone: false,
            send_failed: false,
            holds: 0,
            overflowed: false,
            dirty_for: None,
            stalled: false,
            throttled_at: None,
        }
    }

    pub(crate) fn token(&self, index: u32) -> Token {
        Token { index, generation: self.generation }
    }

    /// What is kept of a packet that is being done, in bytes: it counts like one that is not whole.
    pub(crate) fn held_bytes(&self) -> usize {
        usize::from(self.held_parts) << HELD_PART_BITS
    }

    pub(crate) fn set_held_bytes(&mut self, bytes: usize) {
        let parts = (bytes + (1 << HELD_PART_BITS) / 2) >> HELD_PART_BITS;
        self.held_parts = u8::try_from(parts).unwrap_or(u8::MAX);
    }

    /// Since when its input has waited for its answers to leave.
    pub(crate) fn throttled_since(&self) -> Option<Monotonic> {
        self.throttled_at.map(|nanos| Monotonic(nanos.get()))
    }

    /// Its input waits for its answers, or does so no longer. Nobody waits since the machine's start.
    pub(crate) fn set_throttled_since(&mut self, since: Option<Monotonic>) {
        self.throttled_at = since.and_then(|since| NonZeroU64::new(since.0));
    }

    /// Whether WebSocket has something to send that is not MQTT's.
    pub(crate) fn owes_frames(&self) -> bool {
        self.websocket.as_ref().is_some_and(|websocket| websocket.owes())
    }

    /// Whether no operation of the ring refers to the socket any more.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.receiving && !self.sending
    }
}
