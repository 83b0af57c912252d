//! One accepted socket, from accept to close.

use std::net::SocketAddr;

use bytes::Bytes;
use push_common::clock::Monotonic;

use super::account::Account;
use super::input_budget::InputCharge;
use super::intake::Intake;
use super::output::Output;
use super::receipts::Receipts;
use super::tls_handshakes::TlsPending;
use crate::access::CertificateFault;
use crate::access::Warrant;
use crate::access::scram::Nonce;
use crate::mqtt::codec::Reason;
use crate::mqtt::{Connection, Handshake, PublishReceipt, Will};
use crate::shard::addresses::{AddressKey, AddressPlace, Attempt};
use crate::shard::agenda::FlowNumber;
use crate::shard::connect_order::ConnectNumber;
use crate::shard::ports::{Ports, SlotOf, Socket, SocketOf, Token};
use crate::transport::{Goodbye, Stranger, Transport};

/// How long a closing connection waits for its last bytes to be taken and for the peer's FIN.
/// Closing at once would let a RST (for bytes we did not read) overtake the last DISCONNECT.
const LINGER_MILLIS: u64 = 1_000;

/// How often it is looked whether others wait for the place of a handshake that its client has left waiting for long.
const PATIENCE_LOOK_MILLIS: u64 = 250;

/// A socket and its state. An idle one owns no buffer. The open fields are parts, each the owner of what is in
/// it, and handles of ports, which the wire and the kernel path ask for.
#[derive(Debug)]
pub(crate) struct Client<P: Ports> {
    pub(crate) socket: SocketOf<P>,
    pub(crate) slot: Option<SlotOf<P>>,
    /// What lies between the socket and MQTT.
    pub(crate) transport: Transport,
    pub(crate) intake: Intake,
    pub(crate) output: Output,
    /// What it has used of its limits, while it is served.
    pub(crate) account: Account,
    current: Current,
    phase: Phase,
    /// Its place among the CONNECTs of all shards: of two connections of a client the later one stays.
    connect_number: ConnectNumber,
    /// Bytes of whole frames that the socket has accepted, with those of the layers: the slot's `tx`.
    sent_bytes: u64,
    /// Publishes of this connection whose acknowledgement waits.
    receipts: Option<Box<Receipts>>,
    /// By what it was let in, while it is served.
    warrant: Warrant,
}

/// What tells a client's tokens and its timer from stale ones.
#[derive(Debug)]
struct Current {
    generation: u32,
    /// The low half of the tick of the one timer that counts.
    timer_tick: u32,
}

/// The phases of a client's life. A client goes from one to the next by its own methods alone.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Not served yet: CONNECT has not come whole, or the client is being authenticated. Closed at the deadline.
    Handshake(PendingClient),
    /// Served, with this session. The session's flow is here because all input needs it. With by what it was let in.
    Serving { connection: Connection, session: u32, flow: FlowNumber },
    /// The last bytes (a CONNACK with a reason, a DISCONNECT) are on their way; then FIN.
    Flushing { deadline: Monotonic, frames: Vec<Bytes> },
    /// FIN is sent, or the socket failed; waiting for the peer's FIN and the ring's operations.
    Lingering { deadline: Monotonic },
}

/// A client that is not served yet.
#[derive(Debug)]
pub(crate) struct PendingClient {
    /// What the protocol knows of it.
    pub(crate) handshake: Handshake,
    /// Its handshake of TLS, until that has ended and was counted.
    pub(in crate::shard) tls: Option<Box<TlsPending>>,
    deadline: Monotonic,
    /// In a box, so that a client that is served does not pay for it.
    aside: Box<Aside>,
    /// It is with the shard of its session.
    is_home: bool,
}

/// What else there is of a client that is not served yet.
#[derive(Debug, Default)]
struct Aside {
    /// Replies to be sent meanwhile (AUTH).
    frames: Vec<Bytes>,
    /// `None`: its address is not known yet, or it has none.
    at: Option<AtAddress>,
    /// Whom its certificate names. Not kept longer than the handshake: then its session has the user.
    certificate: Option<Result<Box<str>, CertificateFault>>,
    /// The latest review when it came: who it is was judged by what files said then, or later.
    review: u32,
}

/// What counts for the address of a client that is not served yet.
#[derive(Debug)]
struct AtAddress {
    key: AddressKey,
    /// It counts as long as it is there.
    _place: Option<AddressPlace>,
    /// What it tries to authenticate as.
    attempt: Option<Attempt>,
}

/// A connection that is over, of a served client. Plain data: each part of the shard takes its piece.
#[derive(Debug)]
pub(crate) struct EndedConnection {
    pub(crate) session: u32,
    pub(crate) will: Option<Box<Will>>,
    /// Received bytes that were not parsed, and what they count against the budget of input.
    pub(crate) input: (Vec<u8>, Option<Box<InputCharge>>),
    /// Publishes whose acknowledgement waited.
    pub(crate) receipts: Option<Box<Receipts>>,
}

impl PendingClient {
    /// Of a new socket; `nonce` is random. `has_tls`: a handshake of TLS comes first. `review`: the number of the
    /// latest.
    pub(crate) fn new(nonce: Nonce, has_tls: bool, deadline: Monotonic, review: u32) -> Self {
        Self {
            handshake: Handshake::new(nonce),
            tls: has_tls.then(Box::default),
            deadline,
            aside: Box::new(Aside { review, ..Aside::default() }),
            is_home: false,
        }
    }

    /// The latest review when it came.
    pub(crate) fn review(&self) -> u32 {
        self.aside.review
    }

    /// Its address counts by this key; `place`: it is one of those that wait.
    pub(crate) fn count_at(&mut self, key: AddressKey, place: Option<AddressPlace>) {
        self.aside.at = Some(AtAddress { key, _place: place, attempt: None });
    }

    /// By what its address counts.
    pub(crate) fn address_key(&self) -> Option<AddressKey> {
        self.aside.at.as_ref().map(|at| at.key)
    }

    /// It tries to authenticate.
    pub(crate) fn set_attempt(&mut self, attempt: Option<Attempt>) {
        if let Some(at) = &mut self.aside.at {
            at.attempt = attempt;
        }
    }

    /// What it has tried last.
    pub(crate) fn attempt(&self) -> Option<Attempt> {
        self.aside.at.as_ref()?.attempt
    }

    /// When it is next to be looked at: it may have to give its handshake's place to others before the deadline.
    pub(crate) fn next_look(&self, now: Monotonic) -> Monotonic {
        let patience_ends = self.tls.as_ref().and_then(|tls| tls.patience_ends());
        // One whose time is over stays while nobody needs its place.
        let next = patience_ends.map(|ends| ends.max(now.after_millis(PATIENCE_LOOK_MILLIS)));
        next.map_or(self.deadline, |next| next.min(self.deadline))
    }

    /// Whether it has left the server waiting for too long, if others wait for its place.
    pub(crate) fn is_out_of_patience(&self, now: Monotonic) -> bool {
        let patience_ends = self.tls.as_ref().and_then(|tls| tls.patience_ends());
        patience_ends.is_some_and(|ends| ends <= now)
    }

    /// Its handshake of TLS is done: whom its certificate names, if it has shown one.
    pub(crate) fn show(&mut self, certificate: Option<Result<Box<str>, CertificateFault>>) {
        self.aside.certificate = certificate;
    }

    /// Whom its certificate names. `None`: it has shown none, or nobody asks for names in them.
    pub(crate) fn certificate(&self) -> Option<&Result<Box<str>, CertificateFault>> {
        self.aside.certificate.as_ref()
    }

    /// When it is closed.
    pub(crate) fn deadline(&self) -> Monotonic {
        self.deadline
    }

    /// It is closed at `latest`, if not before. Returns when.
    pub(crate) fn hasten(&mut self, latest: Monotonic) -> Monotonic {
        self.deadline = self.deadline.min(latest);
        self.deadline
    }

    /// A reply is to be sent. Returns whether it may be, being with the shard of its session.
    pub(crate) fn push_reply(&mut self, frame: Bytes) -> bool {
        self.aside.frames.push(frame);
        self.is_home
    }

    /// Takes the replies that were not sent.
    pub(crate) fn take_replies(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.aside.frames)
    }

    /// It is with the shard of its session.
    pub(crate) fn come_home(&mut self) {
        self.is_home = true;
    }
}

impl<P: Ports> Client<P> {
    /// A client of a listener whose CONNECT has not been read.
    pub(crate) fn new(
        (socket, listener): (SocketOf<P>, u16),
        generation: u32,
        transport: Transport,
        pending: PendingClient,
    ) -> Self {
        Self {
            socket,
            slot: None,
            transport,
            intake: Intake::new(listener),
            output: Output::default(),
            account: Account::default(),
            current: Current { generation, timer_tick: 0 },
            phase: Phase::Handshake(pending),
            connect_number: ConnectNumber::default(),
            sent_bytes: 0,
            receipts: None,
            warrant: Warrant::NOBODY,
        }
    }

    /// It has come to a place of its own, and is known by this generation: what the place that it has left knew it by
    /// counts no more.
    pub(in crate::shard::clients) fn settle(&mut self, generation: u32) {
        self.current = Current { generation, timer_tick: 0 };
        self.output.take_dirty();
    }

    /// What operations on its socket, and work that is begun for it, know it by.
    pub(crate) fn token(&self, index: u32) -> Token {
        Token { index, generation: self.current.generation }
    }

    /// Its address, as its proxy has told it if there is one; `None`: it comes by a Unix socket, or its socket has
    /// failed.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.transport.client().or_else(|| self.socket.peer_address().ok())
    }

    /// Whether a token of its index means it.
    pub(crate) fn is_meant_by(&self, token: Token) -> bool {
        self.current.generation == token.generation
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) fn is_served(&self) -> bool {
        matches!(self.phase, Phase::Serving { .. })
    }

    /// Its connection, while it is served.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        match &self.phase {
            Phase::Serving { connection, .. } => Some(connection),
            _ => None,
        }
    }

    /// Its connection, while it is served.
    pub(crate) fn connection_mut(&mut self) -> Option<&mut Connection> {
        self.served_mut().map(|(connection, _)| connection)
    }

    /// Its connection and the key of its session, while it is served.
    pub(crate) fn served_mut(&mut self) -> Option<(&mut Connection, u32)> {
        match &mut self.phase {
            Phase::Serving { connection, session, .. } => Some((connection, *session)),
            _ => None,
        }
    }

    /// Its handshake, until it is served.
    pub(crate) fn pending(&self) -> Option<&PendingClient> {
        match &self.phase {
            Phase::Handshake(pending) => Some(pending),
            _ => None,
        }
    }

    /// Its handshake, until it is served.
    pub(crate) fn pending_mut(&mut self) -> Option<&mut PendingClient> {
        match &mut self.phase {
            Phase::Handshake(pending) => Some(pending),
            _ => None,
        }
    }

    /// What a client speaks that begins with these bytes and is at the wrong address, with no layer around MQTT. `None`:
    /// MQTT, or nobody knows; or they are not its first.
    pub(crate) fn stranger(&self, bytes: &[u8]) -> Option<Stranger> {
        let Phase::Handshake(PendingClient { handshake, .. }) = &self.phase else { return None };
        let is_first = handshake.parsed_bytes() == 0 && handshake.input_len() == 0;
        let stranger = Stranger::of(bytes).filter(|stranger| *stranger != Stranger::Mqtt);
        stranger.filter(|_| is_first)
    }

    /// Its CONNECT was read, as the one with this number.
    pub(crate) fn set_connect_number(&mut self, number: ConnectNumber) {
        self.connect_number = number;
    }

    /// Its place among the CONNECTs of all shards.
    pub(crate) fn connect_number(&self) -> ConnectNumber {
        self.connect_number
    }

    /// It is served from now on, let in by `warrant`.
    pub(crate) fn serve(
        &mut self,
        connection: Connection,
        (session, flow): (u32, FlowNumber),
        warrant: Warrant,
        account: Account,
    ) {
        (self.account, self.warrant) = (account, warrant);
        self.phase = Phase::Serving { connection, session, flow };
    }

    /// The key of its session, while it is served.
    pub(crate) fn session(&self) -> Option<u32> {
        match &self.phase {
            Phase::Serving { session, .. } => Some(*session),
            _ => None,
        }
    }

    /// By what it was let in; while it is not served, by nobody's word.
    pub(crate) fn warrant(&self) -> Warrant {
        self.warrant
    }

    /// A served client is let in by this again.
    pub(crate) fn set_warrant(&mut self, warrant: Warrant) {
        self.warrant = warrant;
    }

    /// Its connection is over. Returns what others are to know of that. `None`: it was not served.
    pub(crate) fn end_connection(&mut self, now: Monotonic) -> Option<EndedConnection> {
        let (connection, session) = self.served_mut()?;
        let (will, input) = (connection.take_will(), connection.take_input());
        let input = (input, self.intake.end());
        self.account = Account::default();
        self.linger(now);
        Some(EndedConnection { session, will, input, receipts: self.receipts.take() })
    }

    /// The last frames are to be sent, behind them what its layers say at the end, and FIN. Returns by when.
    pub(crate) fn finish(
        &mut self,
        frames: Vec<Bytes>,
        goodbye: Goodbye,
        now: Monotonic,
    ) -> Monotonic {
        self.transport.close(goodbye);
        let deadline = now.after_millis(LINGER_MILLIS);
        self.phase = Phase::Flushing { deadline, frames };
        deadline
    }

    /// Takes what is to be sent while it is not served. `None`: nothing is sent any more.
    pub(crate) fn take_frames(&mut self) -> Option<Vec<Bytes>> {
        match &mut self.phase {
            Phase::Handshake(pending) => Some(pending.take_replies()),
            Phase::Flushing { frames, .. } => Some(std::mem::take(frames)),
            Phase::Serving { .. } | Phase::Lingering { .. } => None,
        }
    }

    /// All was sent: FIN, and then it waits for the peer's. Returns how long.
    pub(crate) fn end_sending(&mut self, now: Monotonic) -> Monotonic {
        self.socket.end_sending();
        self.linger(now)
    }

    /// It waits for nothing but the end of the ring's operations.
    pub(crate) fn give_up(&mut self, now: Monotonic) {
        self.intake.end_peer();
        self.linger(now);
    }

    fn linger(&mut self, now: Monotonic) -> Monotonic {
        let deadline = now.after_millis(LINGER_MILLIS);
        self.phase = Phase::Lingering { deadline };
        deadline
    }

    /// Whether it can be removed.
    pub(crate) fn is_over(&self) -> bool {
        let is_lingering = matches!(self.phase, Phase::Lingering { .. });
        is_lingering && self.intake.is_peer_gone() && self.is_quiet()
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
    pub(crate) fn timer(&self) -> u32 {
        self.current.timer_tick
    }

    /// Its one timer is armed with this tick; an earlier one is stale from now on.
    pub(crate) fn set_timer(&mut self, tick: u64) {
        self.current.timer_tick = tick as u32;
    }

    /// Whether a timer with this tick is the one that counts.
    pub(crate) fn is_timer(&self, tick: u64) -> bool {
        self.current.timer_tick == tick as u32
    }

    /// Whether publishes wait for their acknowledgement.
    pub(crate) fn has_receipts(&self) -> bool {
        self.receipts.is_some()
    }

    /// The receipt of a publish waits. Returns the number by which it is settled.
    pub(crate) fn wait_receipt(&mut self, receipt: PublishReceipt) -> u64 {
        self.receipts.get_or_insert_default().push(receipt)
    }

    /// The publish with this number can be acknowledged.
    pub(crate) fn settle_receipt(&mut self, number: u64, reason: Reason) {
        if let Some(receipts) = &mut self.receipts {
            receipts.settle(number, reason);
        }
    }

    /// Takes the first receipt, if it is settled.
    pub(crate) fn pop_settled(&mut self) -> Option<(PublishReceipt, Reason)> {
        let receipts = self.receipts.as_mut()?;
        let settled = receipts.pop_settled()?;
        if receipts.is_empty() {
            self.receipts = None;
        }
        Some(settled)
    }

    /// Whether the client waits for an answer to who it is. It may leave for another shard then, so no operation is
    /// begun on its socket: bytes that it sends wait, and so do those that WebSocket owes it.
    pub(crate) fn is_asking(&self) -> bool {
        matches!(&self.phase, Phase::Handshake(pending) if pending.handshake.is_asking())
    }

    /// Whether no operation of the ring refers to the socket any more.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.intake.is_receiving() && !self.output.is_sending()
    }
}
