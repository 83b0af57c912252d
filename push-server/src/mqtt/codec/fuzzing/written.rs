//! Writes what a client's packet said, as a client does: by the codec where the server writes such
//! packets too, else by hand.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use push_common::clock::Monotonic;

use super::super::frame::{packet_type, put_binary, put_variable_int};
use super::super::properties::id;
use super::super::publish::OutgoingPublish;
use super::super::{Ack, AckKind, Auth, Disconnect, Packet, Publish, Reason, ack, put_auth};
use crate::broker::{Held, Message, MessageProperties, SubscriptionOptions, TopicName, Via};
use crate::mqtt::topic_alias::TopicForm;
use crate::mqtt::{Connect, Delivery, Subscribe, Unsubscribe, Version};

/// The packet, written again at `now`. `None`: it says something that nobody would write, such as an alias of 0 or a filter
/// that is not valid.
pub(super) fn written(packet: &Packet, version: Version, now: Monotonic) -> Option<BytesMut> {
    let mut out = BytesMut::new();
    match packet {
        Packet::Publish(publish) => return written_publish(publish, version, now),
        Packet::PubAck(parsed) => put_ack(&mut out, version, AckKind::Ack, *parsed),
        Packet::PubRec(parsed) => put_ack(&mut out, version, AckKind::Received, *parsed),
        Packet::PubRel(parsed) => put_ack(&mut out, version, AckKind::Release, *parsed),
        Packet::PubComp(parsed) => put_ack(&mut out, version, AckKind::Complete, *parsed),
        Packet::Subscribe(subscribe) => return written_subscribe(subscribe, version),
        Packet::Unsubscribe(unsubscribe) => return written_unsubscribe(unsubscribe, version),
        Packet::PingReq => out.put_slice(&[packet_type::PINGREQ << 4, 0]),
        Packet::Disconnect(disconnect) => put_disconnect(&mut out, *disconnect, version),
        Packet::Auth(Auth { reason, method, data }) => {
            put_auth(&mut out, *reason, method, data.as_deref());
        }
    }
    Some(out)
}

fn written_publish(publish: &Publish, version: Version, now: Monotonic) -> Option<BytesMut> {
    let Publish { topic, topic_alias, packet_id, payload, qos, retain, .. } = publish;
    let alias = match topic_alias {
        Some(alias) => Some(NonZeroU16::new(*alias)?),
        None => None,
    };
    let form = match (topic, alias) {
        (Some(_), None) => TopicForm::Whole,
        (Some(_), Some(alias)) => TopicForm::Introduced(alias),
        (None, Some(alias)) => TopicForm::Alias(alias),
        (None, None) => panic!("a PUBLISH without topic and alias was taken"),
    };
    let topic = topic.clone().unwrap_or_else(|| TopicName::parse("any", 1).expect("valid"));
    let message = Message {
        topic,
        payload: payload.clone(),
        qos: *qos,
        retain: *retain,
        properties: publish.properties.clone(),
        expires_at: publish.expires_at,
        held: Held::default(),
    };
    let delivery =
        Delivery { qos: *qos, retain: *retain, message: Arc::new(message), via: Via::default() };
    let outgoing = OutgoingPublish {
        delivery: &delivery,
        topic: form,
        packet_id: *packet_id,
        dup: publish.is_repeated,
        version,
        now,
    };
    let mut out = BytesMut::new();
    outgoing.write_head(&mut out);
    out.put_slice(payload);
    assert_eq!(outgoing.packet_len(), Some(out.len()), "its length is known ahead");
    Some(out)
}

fn put_ack(out: &mut BytesMut, version: Version, kind: AckKind, parsed: Ack) {
    let reason = match (parsed.is_error, kind) {
        (false, _) => Reason::Success,
        (true, AckKind::Ack | AckKind::Received) => Reason::QuotaExceeded,
        (true, AckKind::Release | AckKind::Complete) => Reason::PacketIdentifierNotFound,
    };
    ack(out, version, kind, parsed.packet_id, reason);
}

fn written_subscribe(subscribe: &Subscribe, version: Version) -> Option<BytesMut> {
    let mut body = BytesMut::new();
    body.put_u16(subscribe.packet_id);
    if version == Version::V5 {
        let mut properties = BytesMut::new();
        let first = subscribe.entries.iter().flatten().next()?;
        if let Some(number) = first.options.id {
            properties.put_u8(id::SUBSCRIPTION_IDENTIFIER as u8);
            put_variable_int(&mut properties, number.value() as usize);
        }
        put_section(&mut body, &properties);
    }
    for entry in &subscribe.entries {
        let entry = entry.as_ref().ok()?;
        let SubscriptionOptions { qos, no_local, retain_as_published, retain_handling, .. } =
            entry.options;
        put_binary(&mut body, entry.filter.as_str().as_bytes());
        body.put_u8(
            qos as u8
                | u8::from(no_local) << 2
                | u8::from(retain_as_published) << 3
                | retain_handling << 4,
        );
    }
    Some(framed(packet_type::SUBSCRIBE << 4 | 2, &body))
}

fn written_unsubscribe(unsubscribe: &Unsubscribe, version: Version) -> Option<BytesMut> {
    let mut body = BytesMut::new();
    body.put_u16(unsubscribe.packet_id);
    if version == Version::V5 {
        put_section(&mut body, &[]);
    }
    for filter in &unsubscribe.filters {
        put_binary(&mut body, filter.as_ref().ok()?.as_str().as_bytes());
    }
    Some(framed(packet_type::UNSUBSCRIBE << 4 | 2, &body))
}

fn put_disconnect(out: &mut BytesMut, disconnect: Disconnect, version: Version) {
    let mut body = BytesMut::new();
    if version == Version::V5 {
        body.put_u8(if disconnect.keeps_will { 0x04 } else { 0 });
        let mut properties = BytesMut::new();
        if let Some(secs) = disconnect.session_expiry_secs {
            put_u32_property(&mut properties, id::SESSION_EXPIRY_INTERVAL, secs);
        }
        put_section(&mut body, &properties);
    }
    out.put_slice(&framed(packet_type::DISCONNECT << 4, &body));
}

/// The body of a CONNECT.
pub(super) fn connect_body(connect: &Connect) -> BytesMut {
    let mut body = BytesMut::new();
    let (name, level): (&[u8], u8) = match connect.version {
        Version::V31 => (b"MQIsdp", 3),
        Version::V311 => (b"MQTT", 4),
        Version::V5 => (b"MQTT", 5),
    };
    put_binary(&mut body, name);
    body.put_u8(level | u8::from(connect.is_bridge) << 7);
    let will = connect.will.as_deref();
    let of_will = will.map_or(0, |will| {
        0x04 | (will.message.qos as u8) << 3 | u8::from(will.message.retain) << 5
    });
    body.put_u8(
        u8::from(connect.clean_start) << 1
            | of_will
            | u8::from(connect.password.is_some()) << 6
            | u8::from(connect.user_name.is_some()) << 7,
    );
    body.put_u16(connect.keep_alive_secs);
    let is_v5 = connect.version == Version::V5;
    if is_v5 {
        put_section(&mut body, &connect_properties(connect));
    }
    put_binary(&mut body, connect.client_id.as_bytes());
    if let Some(will) = will {
        if is_v5 {
            let mut properties = BytesMut::new();
            put_u32_property(&mut properties, id::WILL_DELAY_INTERVAL, will.delay_secs);
            if let Some(secs) = will.message_expiry_secs {
                put_u32_property(&mut properties, id::MESSAGE_EXPIRY_INTERVAL, secs);
            }
            if let Some(passing) = &will.message.properties {
                put_passing(&mut properties, passing);
            }
            put_section(&mut body, &properties);
        }
        put_binary(&mut body, will.message.topic.as_str().as_bytes());
        put_binary(&mut body, &will.message.payload);
    }
    if let Some(user_name) = &connect.user_name {
        put_binary(&mut body, user_name.as_bytes());
    }
    if let Some(password) = &connect.password {
        put_binary(&mut body, password.bytes());
    }
    body
}

fn connect_properties(connect: &Connect) -> BytesMut {
    let mut out = BytesMut::new();
    put_u32_property(&mut out, id::SESSION_EXPIRY_INTERVAL, connect.session_expiry_secs);
    for (id, number) in [
        (id::RECEIVE_MAXIMUM, connect.receive_max),
        (id::TOPIC_ALIAS_MAXIMUM, connect.topic_alias_max),
    ] {
        out.put_u8(id as u8);
        out.put_u16(number);
    }
    if let Some(bytes) = connect.packet_bytes_max {
        put_u32_property(&mut out, id::MAXIMUM_PACKET_SIZE, bytes);
    }
    for (id, flag) in [
        (id::REQUEST_PROBLEM_INFORMATION, connect.request_problem_information),
        (id::REQUEST_RESPONSE_INFORMATION, connect.request_response_information),
    ] {
        out.put_slice(&[id as u8, u8::from(flag)]);
    }
    if let Some(asked) = &connect.authentication {
        out.put_u8(id::AUTHENTICATION_METHOD as u8);
        put_binary(&mut out, asked.method.as_bytes());
        if let Some(data) = &asked.data {
            out.put_u8(id::AUTHENTICATION_DATA as u8);
            put_binary(&mut out, data);
        }
    }
    out
}

/// The properties that go on with a message.
fn put_passing(out: &mut BytesMut, properties: &MessageProperties) {
    if let Some(format) = properties.payload_format {
        out.put_slice(&[id::PAYLOAD_FORMAT_INDICATOR as u8, format]);
    }
    for (id, text) in [
        (id::CONTENT_TYPE, &properties.content_type),
        (id::RESPONSE_TOPIC, &properties.response_topic),
    ] {
        if let Some(text) = text {
            out.put_u8(id as u8);
            put_binary(out, text.as_bytes());
        }
    }
    if let Some(data) = &properties.correlation_data {
        out.put_u8(id::CORRELATION_DATA as u8);
        put_binary(out, data);
    }
    out.put_slice(properties.user_properties.encoded());
}

fn put_u32_property(out: &mut BytesMut, id: u32, number: u32) {
    out.put_u8(id as u8);
    out.put_u32(number);
}

/// A section of properties, with its length.
fn put_section(out: &mut BytesMut, properties: &[u8]) {
    put_variable_int(out, properties.len());
    out.put_slice(properties);
}

fn framed(first: u8, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u8(first);
    put_variable_int(&mut out, body.len());
    out.put_slice(body);
    out
}
