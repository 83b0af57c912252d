//! Answers: those that wait to be sent, and about how many bytes those will take that the shard has
//! not given yet. This bounds how far a client may run ahead of its answers.

use bytes::BytesMut;

use super::{Answer, Connection, Event, PublishReceipt, State};
use crate::broker::QoS;
use crate::mqtt::Version;
use crate::mqtt::codec::{self, ANSWER_BYTES, AckKind, Reason, answer_bytes};
use crate::mqtt::session::Session;

impl Connection {
    /// Bytes of answers that wait, or will wait once the shard has answered the open events. A
    /// driver may stop reading from a client while these are many; when more than
    /// `Limits::answers_bytes_max` wait already, `poll_event` fails.
    pub fn answers_due_bytes(&self) -> usize {
        self.answers.len() + self.owed_bytes as usize
    }

    /// Whether answers wait to be sent, CONNACK included.
    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The publish was routed (`Success`, `NoMatchingSubscribers`) or refused.
    pub fn publish_done(&mut self, session: &mut Session, receipt: PublishReceipt, reason: Reason) {
        let PublishReceipt { packet_id, exactly_once } = receipt;
        self.answered(ANSWER_BYTES);
        // 3.1.1 cannot refuse a publish, only acknowledge it [MQTT-3.3.5-2].
        let refused = reason.is_error() && self.dialect.version() == Version::V5;
        let (kind, owed) = if exactly_once {
            (AckKind::Received, session.routed_exactly_once(packet_id, refused))
        } else {
            (AckKind::Ack, true)
        };
        if !exactly_once || (owed && refused) {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
        }
        if owed {
            self.acknowledge(kind, packet_id, reason);
        }
    }

    /// Queues the answer that an event owed.
    pub fn answer_now(&mut self, answer: Answer) {
        let Answer { kind, packet_id, reason } = answer;
        self.answered(ANSWER_BYTES);
        self.acknowledge(kind, packet_id, reason);
    }

    /// Queues SUBACK. `Ok` is the granted QoS, `Err` a refusal.
    pub fn subscribed(&mut self, packet_id: u16, results: &[Result<QoS, Reason>]) {
        self.answered(answer_bytes(results.len()));
        let audience = self.audience();
        self.answer(|out| codec::suback(out, audience, packet_id, results));
    }

    /// Queues UNSUBACK.
    pub fn unsubscribed(&mut self, packet_id: u16, results: &[Reason]) {
        self.answered(answer_bytes(results.len()));
        let audience = self.audience();
        self.answer(|out| codec::unsuback(out, audience, packet_id, results));
    }

    pub(super) fn owe(&mut self, answer: Answer) -> Event {
        self.owed_bytes += ANSWER_BYTES;
        Event::Owes(answer)
    }

    /// These bytes are no longer owed. It may have been an earlier connection of the session that
    /// owed them, so the count stops at 0.
    pub(super) fn answered(&mut self, bytes: u32) {
        self.owed_bytes = self.owed_bytes.saturating_sub(bytes);
    }

    pub(super) fn acknowledge(&mut self, kind: AckKind, packet_id: u16, reason: Reason) {
        let version = self.dialect.version();
        self.answer(|out| codec::ack(out, version, kind, packet_id, reason));
    }

    /// Queues an answer. If it is larger than the client's Maximum Packet Size, the server must not
    /// send it [MQTT-3.1.2-24]; then the connection fails, since the client would wait for the
    /// answer in vain.
    pub(super) fn answer(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        if self.state == State::Over {
            return;
        }
        let len = self.answers.len();
        encode(&mut self.answers);
        let answer_len = self.answers.len() - len;
        if answer_len > self.audience().packet_len_max {
            self.answers.truncate(len);
            self.state = State::Unanswerable;
        }
    }
}
