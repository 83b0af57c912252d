//! PUBLISH, in both directions. Done by hand: mqttbytes reads properties past the end of their
//! section into the payload, and copies the topic when reading and the payload when writing.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use push_common::clock::Monotonic;

use super::frame::{
    REMAINING_LENGTH_MAX, SHARE_BYTES_MIN, packet_type, put_binary, put_variable_int,
    variable_int_len,
};
use super::properties::{self, Allowed, Passing, Value, id};
use super::read::Reader;
use super::{Context, Reason};
use crate::broker::{Held, Message, MessageProperties, QoS, SubscriptionId, TopicName};
use crate::mqtt::topic_alias::TopicForm;
use crate::mqtt::{Delivery, Version};

/// A client's PUBLISH.
#[derive(Debug)]
pub(in crate::mqtt) struct Publish {
    /// `None`: the alias stands for it.
    pub topic: Option<TopicName>,
    pub topic_alias: Option<u16>,
    /// 0 with QoS 0.
    pub packet_id: u16,
    pub payload: Bytes,
    pub qos: QoS,
    pub retain: bool,
    /// DUP: perhaps not for the first time.
    pub is_repeated: bool,
    pub properties: Option<Arc<MessageProperties>>,
    pub expires_at: Option<Monotonic>,
}

impl Publish {
    /// Makes the message, now that its topic is known.
    pub(in crate::mqtt) fn into_message(self, topic: TopicName) -> Message {
        let Self { payload, qos, retain, properties, expires_at, .. } = self;
        Message { topic, payload, qos, retain, properties, expires_at, held: Held::default() }
    }
}

/// The QoS of two bits; 3 is malformed [MQTT-3.3.1-4].
pub(super) fn qos(bits: u8) -> Result<QoS, Reason> {
    match bits {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        _ => Err(Reason::MalformedPacket),
    }
}

/// Parses the body of a PUBLISH. The payload is a slice of `shared`, which contains `body`, if it
/// is large enough and most of it; otherwise a small message would keep a large buffer in memory.
pub(super) fn publish(
    flags: u8,
    body: &[u8],
    shared: Option<&Bytes>,
    context: &Context,
) -> Result<Publish, Reason> {
    let qos = qos((flags >> 1) & 3)?;
    // [MQTT-3.3.1-2]; in MQTT 3.1 the flag means nothing with QoS 0.
    if flags & 0x08 != 0 && qos == QoS::AtMostOnce && context.version != Version::V31 {
        return Err(Reason::MalformedPacket);
    }
    let (retain, is_repeated) = (flags & 0x01 != 0, flags & 0x08 != 0);
    // CONNACK said that retained messages are off [MQTT-3.2.2-14]. 3.1.1 has no other way to refuse
    // [MQTT-3.3.5-2].
    if retain && !context.features.retain {
        return Err(Reason::RetainNotSupported);
    }
    let mut reader = Reader::new(body);
    let name = reader.text()?;
    let packet_id = if qos == QoS::AtMostOnce { 0 } else { reader.packet_id()? };
    let mut passing = Passing::default();
    let mut expires_at = None;
    let mut topic_alias = None;
    if context.version == Version::V5 {
        properties::for_each(&mut reader, Allowed::PUBLISH, |id, value| match (id, value) {
            (id::TOPIC_ALIAS, Value::Int(alias)) => {
                topic_alias = u16::try_from(alias).ok();
                Ok(())
            }
            (id::MESSAGE_EXPIRY_INTERVAL, Value::Int(secs)) => {
                expires_at = Some(context.now.after_millis(u64::from(secs) * 1_000));
                Ok(())
            }
            _ => passing.take(id, value),
        })?;
    }
    let topic = match name {
        // [MQTT-4.7.3-1]; MQTT 5 asks for an alias instead [MQTT5 3.3.2.1].
        "" if topic_alias.is_none() => return Err(Reason::ProtocolError),
        "" => None,
        name => {
            // A topic with too many levels is well-formed: only this publish is refused.
            let topic = TopicName::parse_any_depth(name);
            Some(topic.map_err(|_| Reason::TopicNameInvalid)?)
        }
    };
    let payload = match shared {
        Some(shared) if reader.rest().len() >= SHARE_BYTES_MIN.max(shared.len() / 2) => {
            shared.slice_ref(reader.rest())
        }
        _ => Bytes::copy_from_slice(reader.rest()),
    };
    let properties = passing.finish();
    Ok(Publish {
        topic,
        topic_alias,
        packet_id,
        payload,
        qos,
        retain,
        is_repeated,
        properties,
        expires_at,
    })
}

/// A PUBLISH to a client.
#[derive(Clone, Copy, Debug)]
pub(in crate::mqtt) struct OutgoingPublish<'a> {
    pub delivery: &'a Delivery,
    pub topic: TopicForm,
    /// 0 with QoS 0.
    pub packet_id: u16,
    pub dup: bool,
    pub version: Version,
    pub now: Monotonic,
}

impl OutgoingPublish<'_> {
    /// Length of the packet, in bytes. `None`: the wire format cannot express it, which only
    /// happens to a message that the server made itself.
    pub(in crate::mqtt) fn packet_len(&self) -> Option<usize> {
        let body_len = self.head_len() + self.delivery.message.payload.len();
        let fits = body_len <= REMAINING_LENGTH_MAX && self.fields_fit();
        fits.then(|| 1 + variable_int_len(body_len) + body_len)
    }

    /// The form of the topic and the packet's length in bytes, within `packet_len_max`. If
    /// introducing an alias made the packet too long, the topic goes without [MQTT-3.1.2-24].
    pub(in crate::mqtt) fn fitting(mut self, packet_len_max: usize) -> Option<(TopicForm, usize)> {
        let fits = |publish: &Self| publish.packet_len().filter(|len| *len <= packet_len_max);
        if matches!(self.topic, TopicForm::Introduced(_)) && fits(&self).is_none() {
            self.topic = TopicForm::Whole;
        }
        fits(&self).map(|len| (self.topic, len))
    }

    /// Whether every text and binary field fits its two-byte length. User properties always fit.
    fn fields_fit(&self) -> bool {
        let fits = |len: usize| len <= usize::from(u16::MAX);
        self.delivery.message.properties.as_ref().is_none_or(|properties| {
            properties.content_type.as_ref().is_none_or(|text| fits(text.len()))
                && properties.response_topic.as_ref().is_none_or(|text| fits(text.len()))
                && properties.correlation_data.as_ref().is_none_or(|data| fits(data.len()))
        })
    }

    /// Writes everything before the payload.
    pub(in crate::mqtt) fn write_head(&self, out: &mut BytesMut) {
        let Delivery { message, qos, retain, .. } = self.delivery;
        let flags = u8::from(self.dup) << 3 | (*qos as u8) << 1 | u8::from(*retain);
        out.put_u8(packet_type::PUBLISH << 4 | flags);
        put_variable_int(out, self.head_len() + message.payload.len());
        put_binary(out, self.topic().as_bytes());
        if *qos != QoS::AtMostOnce {
            out.put_u16(self.packet_id);
        }
        if self.version == Version::V5 {
            self.write_properties(out);
        }
    }

    /// The topic in the packet: empty if its alias stands for it.
    fn topic(&self) -> &str {
        match self.topic {
            TopicForm::Whole | TopicForm::Introduced(_) => self.delivery.message.topic.as_str(),
            TopicForm::Alias(_) => "",
        }
    }

    /// Length of the variable header.
    fn head_len(&self) -> usize {
        let packet_id_len = if self.delivery.qos == QoS::AtMostOnce { 0 } else { 2 };
        let properties_len = match self.version {
            Version::V31 | Version::V311 => 0,
            Version::V5 => {
                let len = self.properties_len();
                variable_int_len(len) + len
            }
        };
        2 + self.topic().len() + packet_id_len + properties_len
    }

    fn properties_len(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, |text| 3 + text.len());
        let expiry_len = self.delivery.message.expires_at.map_or(0, |_| 5);
        let id_len = |id: &SubscriptionId| 1 + variable_int_len(id.value() as usize);
        let ids_len = self.delivery.via.ids().iter().map(id_len).sum::<usize>();
        let own_len = expiry_len + ids_len + self.topic.alias().map_or(0, |_| 3);
        let Some(properties) = &self.delivery.message.properties else { return own_len };
        let MessageProperties {
            payload_format,
            content_type,
            response_topic,
            correlation_data,
            user_properties,
        } = &**properties;
        own_len
            + payload_format.map_or(0, |_| 2)
            + text(content_type)
            + text(response_topic)
            + correlation_data.as_ref().map_or(0, |data| 3 + data.len())
            + user_properties.encoded().len()
    }

    fn write_properties(&self, out: &mut BytesMut) {
        put_variable_int(out, self.properties_len());
        if let Some(expires_at) = self.delivery.message.expires_at {
            out.put_u8(id::MESSAGE_EXPIRY_INTERVAL as u8);
            out.put_u32(secs_left(expires_at, self.now));
        }
        for id in self.delivery.via.ids() {
            out.put_u8(id::SUBSCRIPTION_IDENTIFIER as u8);
            put_variable_int(out, id.value() as usize);
        }
        if let Some(alias) = self.topic.alias() {
            out.put_u8(id::TOPIC_ALIAS as u8);
            out.put_u16(alias.get());
        }
        let Some(properties) = &self.delivery.message.properties else { return };
        if let Some(format) = properties.payload_format {
            out.put_slice(&[id::PAYLOAD_FORMAT_INDICATOR as u8, format]);
        }
        if let Some(content_type) = &properties.content_type {
            out.put_u8(id::CONTENT_TYPE as u8);
            put_binary(out, content_type.as_bytes());
        }
        if let Some(response_topic) = &properties.response_topic {
            out.put_u8(id::RESPONSE_TOPIC as u8);
            put_binary(out, response_topic.as_bytes());
        }
        if let Some(data) = &properties.correlation_data {
            out.put_u8(id::CORRELATION_DATA as u8);
            put_binary(out, data);
        }
        out.put_slice(properties.user_properties.encoded());
    }
}

/// The message expiry interval to send: the received one minus the time that the message waited
/// here [MQTT-3.3.2-6]. Rounded up, so that a message passed on at once keeps its interval.
fn secs_left(expires_at: Monotonic, now: Monotonic) -> u32 {
    let left = expires_at.since(now);
    let secs = left.as_secs() + u64::from(left.subsec_nanos() != 0);
    u32::try_from(secs).unwrap_or(u32::MAX)
}
