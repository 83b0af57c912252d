//! Turns the session's outbox into frames, behind the answers.

use push_common::clock::Monotonic;

use super::extras::form;
use super::{Connection, State};
use crate::broker::TopicName;
use crate::mqtt::Limits;
use crate::mqtt::codec::{self, AckKind, Audience, OutgoingPublish, Reason};
use crate::mqtt::delivery::Delivery;
use crate::mqtt::session::{Next, SendOutcome, Session};
use crate::mqtt::topic_alias::TopicForm;
use crate::mqtt::transmit::{Transmit, Writer};
use crate::mutant::{Rule, is_left_out};

impl Connection {
    /// Moves frames into `out` until it holds about `bytes_max` bytes (at least one frame, if there
    /// is one): answers first, then the outbox as far as the client's Receive Maximum allows.
    pub fn poll_transmit(
        &mut self,
        session: &mut Session,
        out: &mut Transmit,
        bytes_max: usize,
        limits: &Limits,
        now: Monotonic,
    ) {
        let window = self.window(limits);
        let Audience { version, packet_len_max, .. } = self.audience();
        let topic_alias_max = self.topic_alias_max.min(limits.topic_alias_send_max);
        let is_judged = session.rights().has_rules();
        // Messages of one topic often follow each other.
        let mut last_judged: Option<(TopicName, bool)> = None;
        let mut writer = Writer::new(out, std::mem::take(&mut self.answers));
        while self.state != State::Over && writer.len() < bytes_max.max(1) {
            let (mut topic, mut len) = (TopicForm::Whole, 0);
            let next = session.next(window, |delivery, dup, receiver| {
                // A message sent before is sent again even if it has expired meanwhile
                // [MQTT-3.3.2-5].
                let is_expired =
                    delivery.message.is_expired(now) && !is_left_out(Rule::ExpiredUnsent);
                if !dup && is_expired {
                    writer.dropped_expired();
                    return SendOutcome::Dropped;
                }
                if is_judged && !dup {
                    let topic = &delivery.message.topic;
                    let may_receive = match &last_judged {
                        Some((last, may_receive)) if last == topic => *may_receive,
                        _ => {
                            let may_receive = limits.policy.receive(topic, receiver).is_ok();
                            last_judged = Some((topic.clone(), may_receive));
                            may_receive
                        }
                    };
                    if !may_receive {
                        return writer.denied(delivery);
                    }
                    writer.allowed();
                }
                topic = form(&mut self.extras, &delivery.message.topic, topic_alias_max);
                let publish = OutgoingPublish { delivery, topic, packet_id: 0, dup, version, now };
                match publish.fitting(packet_len_max) {
                    Some(fitting) => {
                        (topic, len) = fitting;
                        SendOutcome::Sent
                    }
                    None => writer.too_large(delivery, dup),
                }
            });
            match next {
                Some(Next::Publish { delivery, packet_id, dup }) => {
                    if let (TopicForm::Introduced(alias), Some(extras)) = (topic, &mut self.extras)
                    {
                        extras.outbound.introduced(&delivery.message.topic, alias);
                    }
                    let delivery = &delivery;
                    writer.publish(
                        &OutgoingPublish { delivery, topic, packet_id, dup, version, now },
                        len,
                    );
                }
                Some(Next::Release(packet_id)) => {
                    let kind = AckKind::Release;
                    codec::ack(writer.frames(), version, kind, packet_id, Reason::Success);
                }
                None => break,
            }
        }
        writer.finish();
        session.tidy();
    }

    /// Whether `poll_transmit` would move anything. An outbox may hold messages that wait for the
    /// client's acknowledgements.
    pub fn has_transmit(&self, session: &Session, limits: &Limits) -> bool {
        !self.answers.is_empty()
            || (self.state != State::Over && session.has_next(self.window(limits)))
    }

    /// Whether the client's Maximum Packet Size allows this message, its topic in full
    /// [MQTT-3.1.2-24].
    pub fn takes(&self, delivery: &Delivery, now: Monotonic) -> bool {
        let Audience { version, packet_len_max, .. } = self.audience();
        let topic = TopicForm::Whole;
        let publish = OutgoingPublish { delivery, topic, packet_id: 0, dup: false, version, now };
        publish.fitting(packet_len_max).is_some()
    }

    /// How many publishes the client may have unacknowledged.
    pub(super) fn window(&self, limits: &Limits) -> u16 {
        if is_left_out(Rule::ReceiveMaximum) {
            return limits.inflight_max;
        }
        self.receive_max.min(limits.inflight_max)
    }
}
