//! Parses the client's packets and acts on them: a packet changes the session, is answered, or
//! becomes an event.

use push_common::clock::Monotonic;

use super::{Answer, Connection, Event, PublishReceipt};
use crate::broker::{QoS, TopicName};
use crate::mqtt::codec::{
    self, ANSWER_BYTES, Ack, AckKind, Context, Header, Packet, Reason, answer_bytes,
};
use crate::mqtt::inflight::ReceivedPublish;
use crate::mqtt::session::Session;
use crate::mqtt::{Limits, Version};

impl Connection {
    /// Parses the next packet if it is complete. Checks its header as soon as that is there.
    pub(super) fn next_packet(&mut self, context: &Context) -> Result<Option<Packet>, Reason> {
        let Some(header) = Header::parse(self.input.bytes(), context.version)? else {
            return Ok(None);
        };
        codec::check_header(header, context)?;
        let len = header.packet_len();
        if self.input.len() < len {
            return Ok(None);
        }
        let packet = if len >= codec::SHARE_BYTES_MIN {
            let shared = self.input.take(len);
            codec::packet(header.first, &shared[header.len..], Some(&shared), context)?
        } else {
            let body = &self.input.bytes()[header.len..len];
            let packet = codec::packet(header.first, body, None, context)?;
            self.input.advance(len);
            packet
        };
        self.parsed_bytes += len as u64;
        self.hear_whole(context.now);
        Ok(Some(packet))
    }

    /// Acts on a packet. `Ok(None)`: there is no event.
    pub(super) fn handle_packet(
        &mut self,
        packet: Packet,
        session: &mut Session,
        limits: &Limits,
        now: Monotonic,
    ) -> Result<Option<Event>, Reason> {
        match packet {
            Packet::Publish(publish) => self.handle_publish(publish, session, limits),
            Packet::PubAck(Ack { packet_id, is_error }) => {
                session.acknowledge(packet_id, is_error)?;
                Ok(None)
            }
            Packet::PubRec(Ack { packet_id, is_error }) => {
                let reason = session.receive(packet_id, is_error)?;
                let kind = AckKind::Release;
                Ok(reason.map(|reason| self.owe(Answer { kind, packet_id, reason })))
            }
            Packet::PubRel(Ack { packet_id, .. }) => {
                let known = session.release(packet_id);
                self.unacknowledged = self.unacknowledged.saturating_sub(u16::from(known));
                let reason = if known { Reason::Success } else { Reason::PacketIdentifierNotFound };
                Ok(Some(self.owe(Answer { kind: AckKind::Complete, packet_id, reason })))
            }
            Packet::PubComp(Ack { packet_id, .. }) => {
                session.complete(packet_id)?;
                Ok(None)
            }
            Packet::Subscribe(mut subscribe) => {
                subscribe.deny(limits, session.subject());
                if self.dialect.is_bridge() {
                    subscribe.suit_bridge();
                }
                self.owed_bytes += answer_bytes(subscribe.entries.len());
                Ok(Some(Event::Subscribe(subscribe)))
            }
            Packet::Unsubscribe(unsubscribe) => {
                self.owed_bytes += answer_bytes(unsubscribe.filters.len());
                Ok(Some(Event::Unsubscribe(unsubscribe)))
            }
            Packet::PingReq => {
                self.charge_ping(limits, now)?;
                self.answer(codec::pingresp);
                Ok(Some(Event::Ping))
            }
            // [MQTT-4.12.0-6]: a client that did not authenticate by an exchange gets none.
            Packet::Auth(auth) => match self.reauthentication_mut() {
                Some(_) => Ok(Some(Event::Authenticate(auth))),
                None => Err(Reason::ProtocolError),
            },
            Packet::Disconnect(disconnect) => {
                self.handle_disconnect(disconnect, session, limits)?;
                Ok(Some(Event::Disconnected))
            }
        }
    }

    fn handle_publish(
        &mut self,
        publish: codec::Publish,
        session: &mut Session,
        limits: &Limits,
    ) -> Result<Option<Event>, Reason> {
        let packet_id = publish.packet_id;
        let topic = self.topic_of(&publish, limits)?;
        let qos = publish.qos;
        // Clients of older versions are never told that a publish was refused.
        let is_new = !publish.is_repeated && self.dialect.version() == Version::V5;
        // A refused publish is acknowledged as every publish is.
        let refusal = limits.refuses_publish(&topic, session.subject());
        let event = |receipt| match refusal {
            Some(reason) => Event::PublishRefused(reason, receipt),
            None => Event::Publish(publish.into_message(topic), receipt),
        };
        if qos == QoS::AtMostOnce {
            return Ok(Some(event(None)));
        }
        let exactly_once = qos == QoS::ExactlyOnce;
        if exactly_once {
            match session.exactly_once(packet_id) {
                None => {}
                // A start may have found the id of a publish that was refused because the disk
                // failed, which ended its flow, and that is on disk all the same: the id now names
                // another publish [MQTT-4.3.3-9].
                Some(ReceivedPublish::Found) if is_new => {}
                // The answer follows when the receipt comes back.
                Some(ReceivedPublish::Pending | ReceivedPublish::Asked) => {
                    session.ask_exactly_once(packet_id);
                    return Ok(None);
                }
                Some(ReceivedPublish::Done | ReceivedPublish::Found) => {
                    self.acknowledge(AckKind::Received, packet_id, Reason::Success);
                    return Ok(None);
                }
            }
        }
        // [MQTT-3.3.4-7]; in 3.1.1 only the number of packet ids limits this.
        if self.dialect.version() == Version::V5 && self.unacknowledged >= limits.receive_max {
            return Err(Reason::ReceiveMaximumExceeded);
        }
        if exactly_once {
            session.begin_exactly_once(packet_id);
        }
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        self.owed_bytes += ANSWER_BYTES;
        Ok(Some(event(Some(PublishReceipt { packet_id, exactly_once }))))
    }

    /// The topic of a PUBLISH. A publish that is refused or repeated sets its alias all the same. Of a
    /// topic that is too long no more is kept than tells that.
    fn topic_of(&mut self, publish: &codec::Publish, limits: &Limits) -> Result<TopicName, Reason> {
        let topic = publish.topic.clone();
        match publish.topic_alias {
            Some(alias) => {
                let topic =
                    topic.map(|topic| topic.cut_behind(usize::from(limits.topic_bytes_max)));
                let extras = self.extras.get_or_insert_default();
                extras.inbound.resolve(topic, alias, limits.topic_alias_max)
            }
            None => topic.ok_or(Reason::ProtocolError),
        }
    }

    fn handle_disconnect(
        &mut self,
        disconnect: codec::Disconnect,
        session: &mut Session,
        limits: &Limits,
    ) -> Result<(), Reason> {
        if let Some(secs) = disconnect.session_expiry_secs {
            // A session that was to end with its connection cannot be kept now [MQTT5 3.14.2.2.2].
            if session.expiry_secs() == 0 && secs != 0 {
                return Err(Reason::ProtocolError);
            }
            session.set_expiry_secs(secs.min(limits.session_expiry_max_secs));
        }
        if !disconnect.keeps_will {
            self.take_will();
        }
        self.end();
        Ok(())
    }
}
