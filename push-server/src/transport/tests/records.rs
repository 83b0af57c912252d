//! A layer that stands for TLS: it begins with a handshake, its records are numbered, sealed, read only
//! when they are whole, and may ask for an answer of the layer itself. Without any secret.

use bytes::Bytes;

use crate::transport::end::Ended;
use push_common::heartbeat::Heartbeat;

/// What a client begins with, and the server's answer.
const HELLO: &[u8] = b"hello, what are you?";
const FLIGHT: &[u8] = b"a server; here are its certificates, and they are long";

/// Type and length in front of a record, its check behind it.
const HEADER_BYTES: usize = 3;
const CHECK_BYTES: usize = 2;

/// So much is sealed in one record.
const RECORD_BYTES_MAX: usize = 50;

const DATA: u8 = 23;
const UPDATE: u8 = 24;
const ALERT: u8 = 21;

/// The server's end of such a layer.
#[derive(Debug, Default)]
pub(in crate::transport) struct Records {
    has_begun: bool,
    /// A flight or a record that has not come whole.
    input: Vec<u8>,
    owed: Vec<u8>,
    farewell: Vec<u8>,
    next_in: u8,
    next_out: u8,
    ended: Option<Ended>,
    is_closed: bool,
}

impl Records {
    pub(in crate::transport) fn take(&mut self, bytes: &[u8], inside: &mut Vec<u8>) {
        if self.is_closed || self.ended.is_some() {
            return;
        }
        self.input.extend_from_slice(bytes);
        if !self.has_begun {
            if self.input.len() < HELLO.len() {
                return;
            }
            self.has_begun = true;
            self.input.drain(..HELLO.len());
            self.owed.extend_from_slice(FLIGHT);
        }
        while let Some(len) = record_len(&self.input).filter(|len| *len <= self.input.len()) {
            let record: Vec<u8> = self.input.drain(..len).collect();
            let kind = record[0];
            inside.extend(opened(&record, self.next_in).expect("it was sealed for this number"));
            self.next_in = self.next_in.wrapping_add(1);
            match kind {
                // Sealed at once, and sent with what is sent next, as rustls does.
                UPDATE => self.owed.extend(sealed(UPDATE, b"", &mut self.next_out)),
                ALERT => {
                    self.ended = Some(Ended::Left);
                    self.input.clear();
                }
                _ => {}
            }
        }
    }

    pub(in crate::transport) fn wrap(&mut self, chunks: &mut Vec<Bytes>) {
        let inside = chunks.concat();
        let mut out = std::mem::take(&mut self.owed);
        for piece in inside.chunks(RECORD_BYTES_MAX) {
            out.extend(sealed(DATA, piece, &mut self.next_out));
        }
        if !std::mem::take(&mut self.farewell).is_empty() {
            out.extend(sealed(ALERT, b"", &mut self.next_out));
        }
        chunks.clear();
        if !out.is_empty() {
            chunks.push(out.into());
        }
    }

    pub(in crate::transport) fn owes(&self) -> bool {
        !self.owed.is_empty() || !self.farewell.is_empty()
    }

    pub(in crate::transport) fn close(&mut self) {
        if self.has_begun && !self.is_closed {
            self.farewell.push(ALERT);
        }
        self.is_closed = true;
    }

    pub(in crate::transport) fn ended(&self) -> Option<Ended> {
        self.ended.filter(|_| !self.is_closed)
    }

    pub(in crate::transport) fn around(&self, inside: Heartbeat) -> Option<Heartbeat> {
        let more = (HEADER_BYTES + CHECK_BYTES) as u8;
        self.has_begun.then(|| inside.lengthened(more, more))
    }

    pub(in crate::transport) fn is_whole(&self) -> bool {
        self.has_begun && self.input.is_empty()
    }
}

/// The other end of such a layer.
#[derive(Debug, Default)]
pub(in crate::transport) struct Peer {
    next_in: u8,
    next_out: u8,
}

impl Peer {
    /// A whole conversation that says `inside`, asking for new keys `updates` times, the first time at
    /// once.
    pub(in crate::transport) fn wrap(&mut self, inside: &[u8], updates: usize) -> Vec<u8> {
        let mut out = HELLO.to_vec();
        for _ in 0..updates {
            out.extend(sealed(UPDATE, b"", &mut self.next_out));
        }
        for piece in inside.chunks(RECORD_BYTES_MAX + 7) {
            out.extend(sealed(DATA, piece, &mut self.next_out));
        }
        out
    }

    /// What is inside of all that the server has sent, and how many other records there were.
    pub(in crate::transport) fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, usize) {
        let (mut inside, mut others) = (Vec::new(), 0);
        let mut rest = bytes.strip_prefix(FLIGHT).unwrap_or(bytes);
        while let Some(len) = record_len(rest) {
            let record = &rest[..len];
            others += usize::from(record[0] != DATA);
            inside.extend(opened(record, self.next_in).expect("numbers are in order"));
            self.next_in = self.next_in.wrapping_add(1);
            rest = &rest[len..];
        }
        assert!(rest.is_empty(), "only whole records leave");
        (inside, others)
    }
}

fn record_len(bytes: &[u8]) -> Option<usize> {
    let [_, high, low, ..] = bytes else { return None };
    Some(HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low])) + CHECK_BYTES)
}

/// A record: its content and check depend on its number.
fn sealed(kind: u8, content: &[u8], number: &mut u8) -> Vec<u8> {
    let mut record = vec![kind];
    record.extend((content.len() as u16).to_be_bytes());
    record.extend(content.iter().map(|byte| byte ^ *number ^ 0x5C));
    record.extend([*number, content.len() as u8]);
    *number = number.wrapping_add(1);
    record
}

fn opened(record: &[u8], number: u8) -> Option<Vec<u8>> {
    let (content, check) = record[HEADER_BYTES..].split_at_checked(record.len() - 5)?;
    (check == [number, content.len() as u8])
        .then(|| content.iter().map(|byte| byte ^ number ^ 0x5C).collect())
}
