//! The client's side of TLS, by rustls without buffers of its own: an idle connection keeps its keys
//! and nothing else.

use std::fmt;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedStatus,
};
use rustls::{HandshakeKind, ProtocolVersion};

use super::outcome::{Fault, Goodbye, Handshake};
use super::trust::Peer;

/// Room for a flight of a handshake, before rustls says how much it takes.
const FLIGHT_BYTES: usize = 1 << 10;
/// Most plaintext in a record (RFC 8446, section 5.1).
const RECORD_BYTES_MAX: usize = 16 << 10;
/// Most bytes that a record adds to its plaintext: header, explicit nonce, type, tag.
const SEAL_BYTES_MAX: usize = 5 + 8 + 1 + 16;
/// Room for an answer to a KeyUpdate, which rustls sends with the next data.
const KEY_UPDATE_BYTES_MAX: usize = 64;

/// One connection.
pub(super) struct Tls {
    connection: UnbufferedClientConnection,
    /// A record that has come in part.
    partial: Vec<u8>,
    /// Records to send beside bytes of MQTT.
    owed: Vec<u8>,
    is_open: bool,
    has_ended: bool,
    goodbye: Goodbye,
}

/// What to seal, and where to.
enum Outgoing<'a> {
    Data(&'a [u8], &'a mut Vec<u8>),
    /// close_notify.
    Goodbye(&'a mut Vec<u8>),
    /// KeyUpdate, which is owed then.
    NewKeys,
}

impl Tls {
    /// Owes its ClientHello at once.
    pub(super) fn new(peer: &Peer) -> Result<Self, Fault> {
        let connection = UnbufferedClientConnection::new(peer.config(), peer.name())?;
        let mut tls = Self {
            connection,
            partial: Vec::new(),
            owed: Vec::new(),
            is_open: false,
            has_ended: false,
            goodbye: Goodbye::Unsaid,
        };
        tls.turn(&mut [], &mut Vec::new(), None)?;
        Ok(tls)
    }

    /// Whether data may be sealed.
    pub(super) fn is_open(&self) -> bool {
        self.is_open && !self.has_ended && self.goodbye != Goodbye::Said
    }

    /// Whether the server has sent close_notify.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    pub(super) fn owes(&self) -> bool {
        !self.owed.is_empty() || self.goodbye == Goodbye::Wanted
    }

    /// `None`: it is not over.
    pub(super) fn handshake(&self) -> Option<Handshake> {
        Some(Handshake {
            is_resumed: self.connection.handshake_kind()? == HandshakeKind::Resumed,
            is_tls_1_3: self.connection.protocol_version()? == ProtocolVersion::TLSv1_3,
        })
    }

    /// Takes received bytes, and appends the data in them to `clear`.
    pub(super) fn take(&mut self, bytes: &mut [u8], clear: &mut Vec<u8>) -> Result<(), Fault> {
        if self.partial.is_empty() {
            let taken = self.turn(bytes, clear, None)?;
            self.partial.extend_from_slice(&bytes[taken..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(bytes);
        let taken = self.turn(&mut joined, clear, None)?;
        if taken < joined.len() {
            joined.drain(..taken);
            self.partial = joined;
        }
        Ok(())
    }

    /// Appends what is owed, then `bytes` sealed, if any, then the goodbye, if it is to be said.
    pub(super) fn wrap(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if !self.owed.is_empty() {
            // Frees the memory: thousands of connections have once shaken hands.
            out.extend(std::mem::take(&mut self.owed));
        }
        if !bytes.is_empty() {
            if !self.is_open() {
                return Err(Fault::NotOpen);
            }
            self.send(Outgoing::Data(bytes, out))?;
        }
        if self.goodbye == Goodbye::Wanted {
            self.goodbye = Goodbye::Said;
            self.send(Outgoing::Goodbye(out))?;
        }
        Ok(())
    }

    /// Says goodbye after what is wrapped next.
    pub(super) fn close(&mut self) {
        if self.is_open() {
            self.goodbye = Goodbye::Wanted;
        }
    }

    /// Owes a KeyUpdate that asks for new keys of the server, too (TLS 1.3).
    pub(super) fn renew(&mut self) -> Result<(), Fault> {
        if self.is_open() { self.send(Outgoing::NewKeys) } else { Err(Fault::NotOpen) }
    }

    fn send(&mut self, outgoing: Outgoing<'_>) -> Result<(), Fault> {
        // rustls remembers places in a record that has come in part.
        let mut partial = std::mem::take(&mut self.partial);
        let taken = self.turn(&mut partial, &mut Vec::new(), Some(outgoing))?;
        partial.drain(..taken);
        self.partial = partial;
        Ok(())
    }

    /// Goes on until rustls wants bytes of the server, or has sealed `outgoing`. Returns how many of
    /// `bytes` it has done with.
    fn turn(
        &mut self,
        bytes: &mut [u8],
        clear: &mut Vec<u8>,
        mut outgoing: Option<Outgoing<'_>>,
    ) -> Result<usize, Fault> {
        let mut taken = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut bytes[taken..]);
            match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        clear.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => encode(&mut data, &mut self.owed)?,
                // What is owed is sent before anything else.
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::BlockedHandshake => return Ok(taken + discard),
                ConnectionState::WriteTraffic(mut traffic) => {
                    self.is_open = true;
                    match outgoing.take() {
                        None => {}
                        Some(Outgoing::NewKeys) => {
                            traffic.refresh_traffic_keys()?;
                            taken += discard;
                            continue;
                        }
                        Some(Outgoing::Data(data, out)) => {
                            // What rustls has sealed before goes first.
                            out.append(&mut self.owed);
                            let room = sealed_bytes_max(data.len());
                            append(out, room, |room| traffic.encrypt(data, room))?;
                        }
                        Some(Outgoing::Goodbye(out)) => {
                            let room = sealed_bytes_max(1);
                            append(out, room, |room| traffic.queue_close_notify(room))?;
                        }
                    }
                    return Ok(taken + discard);
                }
                ConnectionState::PeerClosed | ConnectionState::Closed => {
                    self.has_ended = true;
                    // Nothing after it counts.
                    return Ok(bytes.len());
                }
                _ => return Err(Fault::NotOpen),
            }
            taken += discard;
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without keys.
        let Self { is_open, has_ended, goodbye, .. } = self;
        f.debug_struct("Tls")
            .field("is_open", is_open)
            .field("has_ended", has_ended)
            .field("goodbye", goodbye)
            .finish_non_exhaustive()
    }
}

fn encode(
    data: &mut EncodeTlsData<'_, ClientConnectionData>,
    owed: &mut Vec<u8>,
) -> Result<(), Fault> {
    let at = owed.len();
    let mut room = FLIGHT_BYTES;
    loop {
        owed.resize(at + room, 0);
        match data.encode(&mut owed[at..]) {
            Ok(bytes) => {
                owed.truncate(at + bytes);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                room = required_size;
            }
            Err(EncodeError::AlreadyEncoded) => return Err(Fault::NotOpen),
        }
    }
}

/// Appends what `seal` writes into so much room.
fn append(
    out: &mut Vec<u8>,
    room: usize,
    seal: impl FnOnce(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Fault> {
    let at = out.len();
    out.resize(at + room, 0);
    let sealed = seal(&mut out[at..]);
    out.truncate(at + sealed.as_ref().copied().unwrap_or(0));
    sealed.map(drop).map_err(|_| Fault::NotOpen)
}

/// Most bytes that so much data takes, an answer to a KeyUpdate included.
fn sealed_bytes_max(length: usize) -> usize {
    length + length.div_ceil(RECORD_BYTES_MAX) * SEAL_BYTES_MAX + KEY_UPDATE_BYTES_MAX
}
