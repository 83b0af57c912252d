//! Answers that wait, those that are still owed among them: how far a client may run ahead.

use bytes::BytesMut;

use super::{Answer, Connection, Event, PublishReceipt, State};
use crate::broker::QoS;
use crate::mqtt::Version;
use crate::mqtt::codec::{self, ANSWER_BYTES, AckKind, Reason, answer_bytes};
use crate::mqtt::session::Session;

impl Connection {
    /// Bytes of answers that wait to be moved out, or will, when the events that want one are
    /// answered. A client that sends more while these wait may be left unread: when more than
    /// `Limits::answers_bytes_max` wait already, `poll_event` fails.
    pub fn answers_due_bytes(&self) -> usize {
        self.answers.len() + self.owed_bytes as usize
    }

    /// Whether answers, CONNACK the first of them, wait to be moved out.
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

    /// Queues what an event owed.
    pub fn answer_now(&mut self, answer: Answer) {
        let Answer { kind, packet_id, reason } = answer;
        self.answered(ANSWER_BYTES);
        self.acknowledge(kind, packet_id, reason);
    }

    /// Queues SUBACK. Granted QoS as `Ok`, a refusal as `Err`.
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

    /// So many bytes are owed no longer. An earlier connection of the session may have been the one
    /// to owe them.
    pub(super) fn answered(&mut self, bytes: u32) {
        self.owed_bytes = self.owed_bytes.saturating_sub(bytes);
    }

    pub(super) fn acknowledge(&mut self, kind: AckKind, packet_id: u16, reason: Reason) {
        let version = self.dialect.version();
        self.answer(|out| codec::ack(out, version, kind, packet_id, reason));
    }

    /// Queues an answer. One that is larger than the client takes must not be sent
    /// [MQTT-3.1.2-24]; the client would wait for it in vain, so the connection fails.
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
