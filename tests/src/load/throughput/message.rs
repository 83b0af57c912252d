//! A message: its sender, when it was due, and its slot among those on their way.

use super::super::frames::Frame;
use super::super::wire::{self, DUP, PUBLISH_QOS0, PUBLISH_QOS1, RETAIN};
use super::flight::Departure;

/// Bytes of a payload with content: due time, publisher, sequence, slot.
const SAID_BYTES: usize = 8 + 4 + 4 + 2;

/// The packets of one publisher, whose message is filled in for each.
#[derive(Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    /// The offset of the packet id, at QoS 1.
    id_at: Option<usize>,
    due_at: usize,
    sequence_at: usize,
}

impl Template {
    /// Messages of `payload_bytes`, at least [`SAID_BYTES`].
    pub(super) fn new(topic: &str, qos: u8, publisher: u32, payload_bytes: usize) -> Self {
        let mut bytes = Vec::new();
        let (first, id_bytes) = if qos == 0 { (PUBLISH_QOS0, 0) } else { (PUBLISH_QOS1, 2) };
        wire::begin(&mut bytes, first, 2 + topic.len() + id_bytes + payload_bytes);
        wire::string(&mut bytes, topic);
        let id_at = (qos > 0).then_some(bytes.len());
        let due_at = bytes.len() + id_bytes;
        bytes.resize(due_at + payload_bytes.max(SAID_BYTES), b'.');
        bytes[due_at + 8..due_at + 12].copy_from_slice(&publisher.to_be_bytes());
        Self { bytes, id_at, due_at, sequence_at: due_at + 12 }
    }

    /// Appends a message.
    pub(super) fn append(&self, out: &mut Vec<u8>, message: Departure, due_ns: u64) {
        let begin = out.len();
        out.extend_from_slice(&self.bytes);
        let packet = &mut out[begin..];
        if let Some(at) = self.id_at {
            // The window leaves 65,535 out, so that one more is not zero.
            packet[at..at + 2].copy_from_slice(&(message.slot + 1).to_be_bytes());
        }
        packet[self.due_at..self.due_at + 8].copy_from_slice(&due_ns.to_be_bytes());
        let (sequence, rest) = packet[self.sequence_at..].split_at_mut(4);
        sequence.copy_from_slice(&message.sequence.to_be_bytes());
        rest[..2].copy_from_slice(&message.slot.to_be_bytes());
    }
}

/// A message as a subscriber sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// At QoS 1.
    pub(super) packet_id: Option<[u8; 2]>,
    pub(super) publisher: u32,
    pub(super) departure: Departure,
    pub(super) due_ns: u64,
}

impl Message {
    /// Reads the message in a PUBLISH that a [`Template`] made.
    pub(super) fn of(frame: Frame<'_>) -> Option<Self> {
        let (length, rest) = frame.body.split_first_chunk::<2>()?;
        let rest = rest.get(usize::from(u16::from_be_bytes(*length))..)?;
        let (packet_id, payload) = match frame.first & !(DUP | RETAIN) {
            PUBLISH_QOS0 => (None, rest),
            PUBLISH_QOS1 => {
                let (id, payload) = rest.split_first_chunk::<2>()?;
                (Some(*id), payload)
            }
            _ => return None,
        };
        let (due, rest) = payload.split_first_chunk::<8>()?;
        let (publisher, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<4>()?;
        let slot = rest.first_chunk::<2>()?;
        Some(Self {
            packet_id,
            publisher: u32::from_be_bytes(*publisher),
            departure: Departure {
                slot: u16::from_be_bytes(*slot),
                sequence: u32::from_be_bytes(*sequence),
            },
            due_ns: u64::from_be_bytes(*due),
        })
    }
}

#[cfg(test)]
mod tests;
