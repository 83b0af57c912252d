//! The messages of `push-load publish`: made from a template, and read back.

use super::super::frames::Frame;
use super::super::wire::{self, DUP, PUBLISH_QOS1, RETAIN};

/// Digits of a session's number in its topic.
const DIGITS: usize = 8;

/// Bytes of a time in a payload.
const TIME_BYTES: usize = 8;

/// The topic of a session.
pub(super) fn topic(number: usize) -> String {
    format!("load/{number:0DIGITS$}")
}

/// A PUBLISH whose topic, packet id and time are filled in for each message.
#[derive(Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    digits_at: usize,
    id_at: usize,
}

impl Template {
    /// For messages with this many bytes of payload, at least 8.
    pub(super) fn new(payload_bytes: usize) -> Self {
        let topic = topic(0);
        let mut bytes = Vec::new();
        wire::begin(&mut bytes, PUBLISH_QOS1, 2 + topic.len() + 2 + payload_bytes);
        wire::string(&mut bytes, &topic);
        let id_at = bytes.len();
        bytes.resize(id_at + 2 + payload_bytes, b'.');
        Self { bytes, digits_at: id_at - DIGITS, id_at }
    }

    /// Appends a message to a session.
    pub(super) fn append(&self, out: &mut Vec<u8>, session: usize, packet_id: u16, time_ns: u64) {
        let begin = out.len();
        out.extend_from_slice(&self.bytes);
        let message = &mut out[begin..];
        let mut rest = session;
        for digit in message[self.digits_at..self.id_at].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let (id, payload) = message[self.id_at..].split_at_mut(2);
        id.copy_from_slice(&packet_id.to_be_bytes());
        payload[..TIME_BYTES].copy_from_slice(&time_ns.to_be_bytes());
    }
}

/// A message as a subscriber sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) packet_id: [u8; 2],
    pub(super) dup: bool,
    pub(super) time_ns: u64,
}

impl Message {
    /// Reads the message in a QoS 1 PUBLISH that a [`Template`] made.
    pub(super) fn of(frame: Frame<'_>) -> Option<Self> {
        if frame.first & !(DUP | RETAIN) != PUBLISH_QOS1 {
            return None;
        }
        let (length, rest) = frame.body.split_first_chunk::<2>()?;
        let rest = rest.get(usize::from(u16::from_be_bytes(*length))..)?;
        let (packet_id, payload) = rest.split_first_chunk::<2>()?;
        let time = payload.first_chunk::<TIME_BYTES>()?;
        let dup = frame.first & DUP != 0;
        Some(Self { packet_id: *packet_id, dup, time_ns: u64::from_be_bytes(*time) })
    }
}

#[cfg(test)]
mod tests;
