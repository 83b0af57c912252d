//! The messages of publishing: made from a template, and read.

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
    /// Of messages with so many bytes of payload, at least 8.
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
    /// The message in a PUBLISH at QoS 1 that a [`Template`] made.
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
mod tests {
    use super::super::super::frames::split;
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_made() {
        for payload_bytes in [8, 128, 20_000] {
            let mut out = Vec::new();
            Template::new(payload_bytes).append(&mut out, 1_234, 0xABCD, 77);
            Template::new(payload_bytes).append(&mut out, 99_999_999, 1, 78);
            let (first, rest) = split(&out).unwrap().unwrap();
            assert_eq!(&first.body[2..15], b"load/00001234");
            assert_eq!(first.body.len(), 2 + 13 + 2 + payload_bytes);
            let expected = Message { packet_id: [0xAB, 0xCD], dup: false, time_ns: 77 };
            assert_eq!(Message::of(first), Some(expected));
            let (second, rest) = split(rest).unwrap().unwrap();
            assert_eq!(&second.body[2..15], topic(99_999_999).as_bytes());
            assert!(rest.is_empty());
            for cut in 0..first.body.len().min(200) {
                assert_eq!(split(&out[..cut]), Ok(None), "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_message_of_ours_is_none() {
        for (first, body) in [
            (0x30, &b"\0\x01axxxxxxxx"[..]),
            (0x34, b"\0\x01a\0\x01xxxxxxxx"),
            (0x32, b"\0\x01a\0\x01xxxxxxx"),
            (0x32, b"\0\xFFa\0\x01xxxxxxxx"),
            (0x32, b"\0"),
            (0x40, b"\0\x01"),
        ] {
            assert_eq!(Message::of(Frame { first, body }), None, "{first:#04x} {body:02x?}");
        }
    }
}
