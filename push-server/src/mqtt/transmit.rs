//! Bytes on their way out: whole frames, small ones copied together, large payloads shared.

use bytes::{Bytes, BytesMut};

use super::codec::{OutgoingPublish, SHARE_BYTES_MIN};
use super::delivery::Delivery;
use super::session::SendOutcome;

/// Whole frames to write, in order, and how many due messages were dropped instead.
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
    pub(super) fn publish(&mut self, publish: &OutgoingPublish<'_>, packet_len: usize) {
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

    /// A message is larger than the client takes. `dup`: the client may have received it on an
    /// earlier connection.
    #[cold]
    pub(super) fn too_large(&mut self, delivery: &Delivery, dup: bool) -> SendOutcome {
        if !dup && delivery.via.group().is_some() {
            return SendOutcome::Left;
        }
        self.out.dropped_too_large += 1;
        SendOutcome::Dropped
    }

    /// The client may not have a message, which it was never sent.
    #[cold]
    pub(super) fn denied(&mut self, delivery: &Delivery) -> SendOutcome {
        if delivery.via.group().is_some() {
            return SendOutcome::Left;
        }
        self.out.dropped_denied += 1;
        SendOutcome::Dropped
    }

    #[cold]
    pub(super) fn dropped_expired(&mut self) {
        self.out.dropped_expired += 1;
    }

    pub(super) fn finish(self) {
        self.out.push_copies(self.small);
    }
}

#[cfg(test)]
mod tests;
