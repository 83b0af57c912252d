//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446), the server's side: the peer's records in; the bytes inside
//! of them, and what to send to the peer, out.
//!
//! rustls speaks the protocol, by its unbuffered interface: it opens records where they are, in a
//! buffer of the shard's, so an idle connection owns no buffer. What has come of a record whose rest
//! is missing stays here, and as little as that.
//!
//! A handshake goes on only by [`Tls::step`], because a step may sign, which takes as long as hundreds
//! of pings: the shard decides when. `take` collects until then.
//!
//! What is wrapped is sealed in one piece of memory, and never more of it than the caller says: the
//! rest waits as it is, which costs nothing where many connections share it.
//!
//! The keys in use are with the connection's [`Numbers`], and secrets with rustls. Both are dropped as soon as
//! nothing more can be said, and wipe what they have; ring does not wipe the keys that it has expanded.

mod fault;
mod numbers;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod pair;
mod suites;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use push_common::heartbeat::Heartbeat;
use rustls::server::{ServerConnectionData as ServerData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedStatus, WriteTraffic,
};
use rustls::{HandshakeKind, ProtocolVersion};

use super::end::Ended;
use super::stranger::Stranger;
pub(crate) use fault::TlsFault;
pub(crate) use numbers::{Cipher, Numbers, Seal, Table};
pub(crate) use suites::numbered;

/// Bytes of a handshake that are kept before it goes on. rustls allows 64 KiB for one message; a
/// client's chain of certificates takes some 5 KiB.
pub(crate) const HANDSHAKE_INPUT_BYTES_MAX: usize = 64 << 10;

/// Type, version and length, in front of every record.
const HEADER_BYTES: usize = 5;

/// The longest fragment that a record's header may announce: 16 KiB, and what sealing adds in TLS 1.2
/// [RFC 5246, 6.2.3]. rustls is stricter where TLS 1.3 is.
const FRAGMENT_BYTES_MAX: usize = (16 << 10) + 2_048;

/// What connections are made with: certificates, what is asked of clients, ticket keys.
pub(crate) type ServerTls = rustls::ServerConfig;

/// A certificate (X.509, in DER).
pub(crate) type Certificate<'a> = rustls::pki_types::CertificateDer<'a>;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// How far a handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TlsHandshake {
    /// Both sides have the keys, and the inside begins.
    pub(crate) is_done: bool,
    /// The version, once the server has chosen it.
    pub(crate) version: Option<TlsVersion>,
    /// Whether the client has shown a ticket that the server took.
    pub(crate) is_resumed: bool,
}

/// One connection, from its first byte on.
pub(super) struct Tls {
    session: Session,
    handshake: TlsHandshake,
    /// Why nothing more is taken from the peer.
    ended: Option<Ended>,
    /// The server has ended it, and takes nothing more.
    is_closed: bool,
    /// A close_notify is due behind all that waits to be sealed.
    says_goodbye: bool,
    /// A step of the handshake is due.
    is_step_due: bool,
    /// Bytes that wait, in either direction, if there are any.
    waiting: Option<Box<Waiting>>,
}

/// Bytes that wait.
#[derive(Default)]
struct Waiting {
    /// What has come and rustls has not used up: part of a record, or records with parts of a message of
    /// the handshake. rustls knows places in it, so only what it has used up may be taken from its
    /// front.
    input: Vec<u8>,
    /// Records to send before anything else: flights of the handshake, tickets, alerts.
    output: Vec<u8>,
    /// Bytes of the inside that are not sealed yet.
    unsealed: VecDeque<Bytes>,
}

/// What rustls has of a connection.
enum Session {
    /// Nothing: no whole record has come.
    New(Arc<ServerTls>),
    /// All.
    Live(Box<Live>),
    /// Nothing any more: neither side can say more.
    Over,
}

/// A connection that can still say something.
struct Live {
    connection: UnbufferedServerConnection,
    numbers: Numbers,
}

impl Tls {
    /// A new connection, whose handshake uses `config`.
    pub(super) fn new(config: Arc<ServerTls>) -> Self {
        Self {
            session: Session::New(config),
            handshake: TlsHandshake { is_done: false, version: None, is_resumed: false },
            ended: None,
            is_closed: false,
            says_goodbye: false,
            is_step_due: false,
            waiting: None,
        }
    }

    /// Takes received bytes, and appends what is inside to `inside`; `records` is scratch. Before the
    /// handshake is done it only collects: look at `wants_step` then. Look at `ended` and `owes`
    /// afterwards.
    pub(super) fn take(&mut self, bytes: &[u8], records: &mut Vec<u8>, inside: &mut Vec<u8>) {
        if self.takes_nothing() {
            return;
        }
        let mut waiting = self.take_waiting();
        if !self.handshake.is_done {
            self.collect(bytes, &mut waiting.input);
        } else if waiting.input.is_empty() {
            records.clear();
            records.extend_from_slice(bytes);
            self.open(records, inside, &mut waiting);
        } else {
            waiting.input.extend_from_slice(bytes);
            if begins_with_whole_record(&waiting.input) {
                let mut records = mem::take(&mut waiting.input);
                self.open(&mut records, inside, &mut waiting);
            }
        }
        self.put_back(waiting);
    }

    /// Whether what has come lets the handshake go on.
    pub(super) fn wants_step(&self) -> bool {
        self.is_step_due && !self.takes_nothing()
    }

    /// Goes on with the handshake, as far as what has come allows. If that ends it, appends what is
    /// inside of further records to `inside`. Look at `ended` and `owes` afterwards.
    pub(super) fn step(&mut self, inside: &mut Vec<u8>) {
        if !self.wants_step() {
            return;
        }
        self.is_step_due = false;
        if let Session::New(config) = &self.session {
            match UnbufferedServerConnection::new(Arc::clone(config)) {
                Ok(connection) => {
                    let numbers = Numbers::new();
                    self.session = Session::Live(Box::new(Live { connection, numbers }));
                }
                Err(error) => return self.end(TlsFault::from(&error)),
            }
        }
        let mut waiting = self.take_waiting();
        let mut records = mem::take(&mut waiting.input);
        self.open(&mut records, inside, &mut waiting);
        self.put_back(waiting);
    }

    /// How far the handshake has come.
    pub(super) fn handshake(&self) -> TlsHandshake {
        self.handshake
    }

    /// The certificates that the client has shown, now or in the handshake that its ticket is of, its own first. They
    /// were found valid. `None`: none, or the handshake is not done, or the connection is over.
    pub(super) fn client_chain(&self) -> Option<&[Certificate<'static>]> {
        match &self.session {
            Session::Live(live) if self.handshake.is_done => live.connection.peer_certificates(),
            Session::Live(_) | Session::New(_) | Session::Over => None,
        }
    }

    /// Bytes that have come and wait for others.
    pub(super) fn held_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.input.len())
    }

    /// Why nothing more is taken from the peer. `None`: it still is, or `close` was called.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended.filter(|_| !self.is_closed)
    }

    /// Takes no more input. If both sides have keys, close_notify follows the bytes that are wrapped
    /// next, whoever ended it; behind a fatal alert nothing is said.
    pub(super) fn close(&mut self) {
        if mem::replace(&mut self.is_closed, true) {
            return;
        }
        self.leave_numbers();
        self.says_goodbye = self.handshake.is_done && matches!(self.session, Session::Live(_));
        if !self.says_goodbye {
            self.session = Session::Over;
        }
    }

    /// What a heartbeat is in a record, if the inside is MQTT alone. In WebSocket's frames it cannot be known ahead:
    /// the client picks the mask. `None` also if nothing more is taken, or the cryptography is not of [`numbered`].
    pub(super) fn around(&self, inside: Heartbeat) -> Option<Heartbeat> {
        let Session::Live(live) = &self.session else { return None };
        let can_come = self.handshake.is_done && !self.takes_nothing();
        live.numbers.heartbeat().filter(|_| can_come && inside == Heartbeat::PLAIN)
    }

    /// The record numbers, as long as a heartbeat can come.
    pub(super) fn numbers(&mut self) -> Option<&mut Numbers> {
        self.around(Heartbeat::PLAIN)?;
        match &mut self.session {
            Session::Live(live) => Some(&mut live.numbers),
            Session::New(_) | Session::Over => None,
        }
    }

    /// Whether there is something to send besides new bytes of the inside.
    pub(super) fn owes(&self) -> bool {
        let has_output = self.waiting.as_ref().is_some_and(|waiting| !waiting.output.is_empty());
        has_output || self.says_goodbye || self.has_unsealed()
    }

    /// Whether bytes of the inside wait to be sealed.
    pub(super) fn has_unsealed(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.unsealed.is_empty())
    }

    /// Seals `chunks`, behind those that wait already, and adds what else must be sent before and
    /// after them. Seals at most `bytes_max` bytes, in records of at most 16 KiB; others wait for the
    /// next call.
    pub(super) fn wrap(&mut self, chunks: &mut Vec<Bytes>, bytes_max: usize) {
        let mut waiting = self.take_waiting();
        let mut out = mem::take(&mut waiting.output);
        if let Session::Over = self.session {
            chunks.clear();
        }
        let plain = waiting.next_plain(chunks, self.handshake.is_done, bytes_max.max(1));
        if !plain.is_empty() {
            let sealed = self.write(&mut waiting.input, &mut out, |mut traffic, out| {
                fill(out, |room| traffic.encrypt(&plain, room))
            });
            if sealed.is_err() {
                self.end(TlsFault::KeysUsedUp);
            }
        }
        if self.says_goodbye && waiting.unsealed.is_empty() {
            self.says_goodbye = false;
            // What cannot be said is not missed: FIN follows.
            let _ = self.write(&mut waiting.input, &mut out, |mut traffic, out| {
                fill(out, |room| traffic.queue_close_notify(room))
            });
            self.session = Session::Over;
        }
        if let Session::Over = self.session {
            waiting.unsealed = VecDeque::new();
        }
        self.put_back(waiting);
        if let Session::Live(live) = &mut self.session {
            live.numbers.given_out(&out);
        }
        if !out.is_empty() {
            chunks.push(out.into());
        }
    }

    /// Whether no record has come in part.
    pub(super) fn is_whole(&self) -> bool {
        self.handshake.is_done && self.held_bytes() == 0
    }

    fn takes_nothing(&self) -> bool {
        self.ended.is_some() || self.is_closed
    }

    /// Takes what waits, to be put back.
    fn take_waiting(&mut self) -> Waiting {
        self.waiting.take().map_or_else(Waiting::default, |waiting| *waiting)
    }

    fn put_back(&mut self, waiting: Waiting) {
        let Waiting { input, output, unsealed } = &waiting;
        let is_empty = input.is_empty() && output.is_empty() && unsealed.is_empty();
        self.waiting = (!is_empty).then(|| Box::new(waiting));
    }

    /// Keeps bytes of a handshake, behind the others, until a step is due.
    fn collect(&mut self, bytes: &[u8], input: &mut Vec<u8>) {
        if input.len() + bytes.len() > HANDSHAKE_INPUT_BYTES_MAX {
            *input = Vec::new();
            return self.end(TlsFault::TooLong);
        }
        input.extend_from_slice(bytes);
        if let Session::New(_) = self.session
            && let Some(stranger) = Stranger::of(input).filter(|one| *one != Stranger::Tls)
        {
            self.session = Session::Over;
            self.ended = Some(Ended::Stranger(stranger));
        }
        self.is_step_due = begins_with_whole_record(input);
    }

    /// Passes `records` to rustls, and keeps what is left of them as input, which is empty.
    fn open(&mut self, records: &mut [u8], inside: &mut Vec<u8>, waiting: &mut Waiting) {
        let Session::Live(live) = &mut self.session else { return };
        let Live { connection, numbers } = &mut **live;
        let output = &mut waiting.output;
        let (used, end) = numbers.during(|| use_up(connection, records, inside, output));
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => Some(TlsVersion::Tls12),
            Some(ProtocolVersion::TLSv1_3) => Some(TlsVersion::Tls13),
            _ => None,
        };
        let is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let is_done = self.handshake.is_done || !connection.is_handshaking();
        self.handshake = TlsHandshake { is_done, version, is_resumed };
        if end.is_none() {
            waiting.input = records[used..].to_vec();
            return;
        }
        self.leave_numbers();
        self.ended = end;
        // A peer that has left says nothing more, but may still be told something.
        if end != Some(Ended::LeftTls) {
            self.session = Session::Over;
        }
    }

    /// rustls writes what `write` asks of it, behind what it has to write anyway. `input`: what it has not used up.
    fn write(
        &mut self,
        input: &mut [u8],
        out: &mut Vec<u8>,
        write: impl FnOnce(WriteTraffic<'_, ServerData>, &mut Vec<u8>) -> Result<(), EncryptError>,
    ) -> Result<(), EncryptError> {
        let Session::Live(live) = &mut self.session else {
            return Err(EncryptError::EncryptExhausted);
        };
        let Live { connection, numbers } = &mut **live;
        numbers.during(|| write_behind(connection, input, out, write))
    }

    /// Nothing more is taken: what is still said has numbers that no program takes.
    fn leave_numbers(&mut self) {
        if let Session::Live(live) = &mut self.session {
            live.numbers.leave();
        }
    }

    /// Takes and says nothing more, because of the peer or of the server.
    fn end(&mut self, fault: TlsFault) {
        self.leave_numbers();
        self.ended = Some(Ended::Tls(fault));
        self.session = Session::Over;
    }
}

impl Waiting {
    /// Takes what is to be sealed next, in one piece: of what waits, and behind that of `chunks`, all of
    /// which is taken over. Nothing before both sides have keys.
    fn next_plain(&mut self, chunks: &mut Vec<Bytes>, has_keys: bool, bytes_max: usize) -> Bytes {
        let len: usize = chunks.iter().map(Bytes::len).sum();
        let fits = has_keys && self.unsealed.is_empty() && len <= bytes_max;
        if fits && chunks.len() == 1 {
            return chunks.pop().unwrap_or_default();
        }
        if fits {
            let plain = chunks.concat();
            chunks.clear();
            return plain.into();
        }
        self.unsealed.extend(chunks.drain(..).filter(|chunk| !chunk.is_empty()));
        if !has_keys {
            return Bytes::new();
        }
        if let Some(front) = self.unsealed.front_mut().filter(|front| front.len() > bytes_max) {
            return front.split_to(bytes_max);
        }
        let len: usize = self.unsealed.iter().map(Bytes::len).sum();
        let mut plain = Vec::with_capacity(len.min(bytes_max));
        while let Some(chunk) = self.unsealed.front_mut() {
            let room = bytes_max - plain.len();
            if chunk.len() > room {
                plain.extend_from_slice(&chunk.split_to(room));
                break;
            }
            plain.extend_from_slice(chunk);
            self.unsealed.pop_front();
        }
        plain.into()
    }
}

impl fmt::Debug for Tls {
    /// Without bytes: some are secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("handshake", &self.handshake)
            .field("ended", &self.ended)
            .field("is_closed", &self.is_closed)
            .finish_non_exhaustive()
    }
}

/// Whether `bytes` begin with a whole record, or with none at all, which rustls says.
fn begins_with_whole_record(bytes: &[u8]) -> bool {
    let Some([_, _, _, high, low]) = bytes.first_chunk::<HEADER_BYTES>() else { return false };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    len > FRAGMENT_BYTES_MAX || bytes.len() >= HEADER_BYTES + len
}

/// Passes records to rustls, as far as it takes them. Appends their contents, and what rustls sends. Returns how many
/// bytes it has used, and whether the connection ends.
fn use_up(
    connection: &mut UnbufferedServerConnection,
    records: &mut [u8],
    inside: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> (usize, Option<Ended>) {
    let mut used = 0;
    loop {
        let UnbufferedStatus { discard, state } =
            connection.process_tls_records(&mut records[used..]);
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(Ok(record)) = traffic.next_record() {
                    inside.extend_from_slice(record.payload);
                    used += record.discard;
                }
            }
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, output),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => return (used + discard, Some(Ended::LeftTls)),
            // It waits for more, or for what the server has to say. Early data is never accepted.
            Ok(_) => return (used + discard, None),
            Err(error) => {
                used += discard;
                // An alert is all that it still says. Asked for more it would look at the same bytes again.
                while connection.wants_write() {
                    let UnbufferedStatus { discard, state } =
                        connection.process_tls_records(&mut records[used..]);
                    let Ok(ConnectionState::EncodeTlsData(data)) = state else { break };
                    encode(data, output);
                    used += discard;
                }
                return (used, Some(Ended::Tls(TlsFault::from(&error))));
            }
        }
        used += discard;
    }
}

/// rustls writes what it has to write anyway, and then what `write` asks of it.
fn write_behind(
    connection: &mut UnbufferedServerConnection,
    input: &mut [u8],
    out: &mut Vec<u8>,
    write: impl FnOnce(WriteTraffic<'_, ServerData>, &mut Vec<u8>) -> Result<(), EncryptError>,
) -> Result<(), EncryptError> {
    let written = loop {
        // No whole record is in there, so it has nothing to read.
        match connection.process_tls_records(input).state {
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, out),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::WriteTraffic(traffic)) => break write(traffic, out),
            _ => break Err(EncryptError::EncryptExhausted),
        }
    };
    while written.is_err() && connection.wants_write() {
        let state = connection.process_tls_records(input).state;
        let Ok(ConnectionState::EncodeTlsData(data)) = state else { break };
        encode(data, out);
    }
    written
}

/// Appends a record that rustls has ready.
fn encode(mut data: EncodeTlsData<'_, ServerData>, out: &mut Vec<u8>) {
    let begin = out.len();
    while let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut out[begin..]) {
        out.resize(begin + size.required_size, 0);
    }
}

/// Appends what `write` writes, once it has the room that it asks for.
fn fill(
    out: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), EncryptError> {
    let begin = out.len();
    loop {
        match write(&mut out[begin..]) {
            Ok(written) => {
                out.truncate(begin + written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                out.reserve_exact(required_size);
                out.resize(begin + required_size, 0);
            }
            Err(exhausted) => {
                out.truncate(begin);
                return Err(exhausted);
            }
        }
    }
}
