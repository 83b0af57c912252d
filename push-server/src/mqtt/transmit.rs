//! Bytes on their way out: whole frames, small ones copied together, large payloads shared.

use bytes::{Bytes, BytesMut};

use super::codec::{Outgoing, SHARE_BYTES_MIN};
use super::delivery::Delivery;
use super::session::Verdict;

/// Whole frames to write, in order, and what else became of the messages that were due.
#[derive(Debug, Default)]
pub struct Transmit {
    /// Chunks in wire order; small frames are merged into one chunk.
    pub chunks: Vec<Bytes>,
    /// Sum of their lengths.
    pub len: usize,
    /// Memory of those that are copies, in bytes. The others are payloads of messages, which count with
    /// what outboxes hold.
    pub copied_bytes: usize,
    /// PUBLISH packets among the frames, those sent again included.
    pub publishes: u32,
    /// Messages dropped since they are larger than the client takes [MQTT-3.1.2-25]. Those among them
    /// that came by a shared subscription and were never sent are left to other members, and not counted.
    pub dropped_too_large: u32,
    /// Messages dropped since their expiry interval had passed [MQTT-3.3.2-5].
    pub dropped_expired: u32,
    /// Messages dropped since the policy does not let the client have them. Those that came by a shared subscription
    /// are left to other members, and not counted.
    pub dropped_denied: u32,
}

impl Transmit {
    fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.len += chunk.len();
            self.chunks.push(chunk);
        }
    }

    fn push_copies(&mut self, copies: BytesMut) {
        if !copies.is_empty() {
            self.copied_bytes += copies.capacity();
            self.push(copies.freeze());
        }
    }
}

/// Appends frames to a `Transmit`; `finish` hands over the last of them.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    out: &'a mut Transmit,
    small: BytesMut,
}

impl<'a> Writer<'a> {
    /// Begins with whole frames that are encoded already.
    pub(super) fn new(out: &'a mut Transmit, frames: BytesMut) -> Self {
        Self { out, small: frames }
    }

    /// Bytes in the `Transmit` and on their way into it.
    pub(super) fn len(&self) -> usize {
        self.out.len + self.small.len()
    }

    /// Where frames without payload are encoded.
    pub(super) fn frames(&mut self) -> &mut BytesMut {
        &mut self.small
    }

    /// Appends a PUBLISH of `packet_len` bytes.
    pub(super) fn publish(&mut self, publish: &Outgoing<'_>, packet_len: usize) {
        let payload = &publish.delivery.message.payload;
        if payload.len() < SHARE_BYTES_MIN {
            self.small.reserve(packet_len);
            publish.write_head(&mut self.small);
            self.small.extend_from_slice(payload);
        } else {
            self.small.reserve(packet_len - payload.len());
            publish.write_head(&mut self.small);
            self.out.push_copies(std::mem::take(&mut self.small));
            self.out.push(publish.delivery.message.sent_payload());
        }
        self.out.publishes += 1;
    }

    /// A message is larger than the client takes; `dup`: it may have got it by an earlier connection.
    pub(super) fn too_large(&mut self, delivery: &Delivery, dup: bool) -> Verdict {
        if !dup && delivery.via.group().is_some() {
            return Verdict::Left;
        }
        self.out.dropped_too_large += 1;
        Verdict::Dropped
    }

    /// The client may not have a message, which it was never sent.
    pub(super) fn denied(&mut self, delivery: &Delivery) -> Verdict {
        if delivery.via.group().is_some() {
            return Verdict::Left;
        }
        self.out.dropped_denied += 1;
        Verdict::Dropped
    }

    pub(super) fn dropped_expired(&mut self) {
        self.out.dropped_expired += 1;
    }

    pub(super) fn finish(self) {
        self.out.push_copies(self.small);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use push_common::clock::Monotonic;

    use super::*;
    use crate::broker::{Held, Message, QoS, TopicName, Via};
    use crate::mqtt::Version;
    use crate::mqtt::topic_alias::TopicForm;

    fn delivery(payload_len: usize) -> Delivery {
        let message = Message {
            topic: TopicName::parse("t", 8).expect("valid"),
            payload: vec![7; payload_len].into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            expires_at: None,
            held: Held::default(),
        };
        Delivery {
            message: Arc::new(message),
            qos: QoS::AtMostOnce,
            retain: false,
            via: Via::default(),
        }
    }

    fn write(deliveries: &[Delivery]) -> Transmit {
        let mut out = Transmit::default();
        let mut writer = Writer::new(&mut out, BytesMut::from(&[0xD0, 0][..]));
        for delivery in deliveries {
            let (version, now) = (Version::V311, Monotonic(0));
            let topic = TopicForm::Whole;
            let publish = Outgoing { delivery, topic, packet_id: 0, dup: false, version, now };
            writer.publish(&publish, publish.packet_len().expect("short"));
        }
        writer.finish();
        out
    }

    #[test]
    fn small_frames_become_one_chunk() {
        let out = write(&[delivery(0), delivery(10), delivery(SHARE_BYTES_MIN - 1)]);
        assert_eq!((out.chunks.len(), out.publishes), (1, 3));
        assert_eq!(out.len, 2 + 5 + 15 + (6 + SHARE_BYTES_MIN - 1));
        assert_eq!(out.chunks[0].len(), out.len);
        assert!((out.len..=2 * out.len).contains(&out.copied_bytes), "{}", out.copied_bytes);
    }

    #[test]
    fn large_payload_is_the_message_itself() {
        let large = delivery(SHARE_BYTES_MIN);
        let out = write(&[delivery(1), large.clone(), delivery(1)]);
        assert_eq!(out.chunks.len(), 3);
        assert_eq!(out.chunks[1].as_ptr(), large.message.payload.as_ptr(), "shared, not copied");
        assert_eq!(out.len, out.chunks.iter().map(Bytes::len).sum::<usize>());
        assert!(out.copied_bytes < 256, "{}", out.copied_bytes);
    }
}
