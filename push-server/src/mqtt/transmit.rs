//! Bytes to send: whole frames; small ones are copied together, large payloads shared.

use bytes::{Bytes, BytesMut};

use super::codec::{OutgoingPublish, SHARE_BYTES_MIN};
use super::delivery::Delivery;
use super::session::SendOutcome;

/// Whole frames to write, in order, and how many messages were dropped instead.
#[derive(Debug, Default)]
pub struct Transmit {
    /// Chunks in wire order; small frames are merged into one chunk.
    pub chunks: Vec<Bytes>,
    /// Sum of the chunks' lengths.
    pub len: usize,
    /// Memory of the chunks that are copies, in bytes: their capacity. The others are payloads of
    /// messages, which outboxes count.
    pub copied_bytes: usize,
    /// PUBLISH packets among the frames, those sent again included.
    pub publishes: u32,
    /// Messages dropped because they exceed the client's Maximum Packet Size [MQTT-3.1.2-25]. Not
    /// counted: messages of a shared subscription that were never sent, which go to other members.
    pub dropped_too_large: u32,
    /// Messages dropped because their expiry interval had passed [MQTT-3.3.2-5].
    pub dropped_expired: u32,
    /// Messages dropped because the policy denies them to the client. Not counted: messages of a
    /// shared subscription, which go to other members.
    pub dropped_denied: u32,
    /// Messages that the client's rights let it have.
    pub allowed: u32,
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

/// Appends frames to a `Transmit`; `finish` adds the last of them.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    out: &'a mut Transmit,
    small: BytesMut,
}

impl<'a> Writer<'a> {
    /// Begins with frames that are encoded already.
    pub(super) fn new(out: &'a mut Transmit, frames: BytesMut) -> Self {
        Self { out, small: frames }
    }

    /// Bytes in the `Transmit`, those not handed over yet included.
    pub(super) fn len(&self) -> usize {
        self.out.len + self.small.len()
    }

    /// The buffer for frames without payload.
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

    /// The message exceeds the client's Maximum Packet Size. `dup`: the client may have received it
    /// on an earlier connection.
    #[cold]
    pub(super) fn too_large(&mut self, delivery: &Delivery, dup: bool) -> SendOutcome {
        if !dup && delivery.via.group().is_some() {
            return SendOutcome::Left;
        }
        self.out.dropped_too_large += 1;
        SendOutcome::Dropped
    }

    /// The policy denies the client a message that was never sent.
    #[cold]
    pub(super) fn denied(&mut self, delivery: &Delivery) -> SendOutcome {
        if delivery.via.group().is_some() {
            return SendOutcome::Left;
        }
        self.out.dropped_denied += 1;
        SendOutcome::Dropped
    }

    /// The client's rights let it have a message.
    pub(super) fn allowed(&mut self) {
        self.out.allowed += 1;
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
