//! A client's packets after CONNECT.

use super::auth::{Auth, auth};
use super::properties::{self, Allowed, Value, id};
use super::publish::{Publish, publish, qos};
use super::read::Reader;
use super::{Context, Header, Reason, packet_type};
use crate::broker::{SubscriptionId, SubscriptionOptions, TopicFilter};
use crate::mqtt::{Subscribe, SubscribeEntry, Unsubscribe, Version};
use bytes::Bytes;

/// Most filters in one SUBSCRIBE or UNSUBSCRIBE; more fail the connection with 0x97. 16,384,
/// because filters of one byte each take fifteen times the packet's size in memory.
const ENTRIES_MAX: usize = 16_384;

/// A client's packet.
#[derive(Debug)]
pub(in crate::mqtt) enum Packet {
    Publish(Publish),
    PubAck(Ack),
    PubRec(Ack),
    PubRel(Ack),
    PubComp(Ack),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    PingReq,
    Disconnect(Disconnect),
    Auth(Auth),
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mqtt) struct Ack {
    pub packet_id: u16,
    /// Whether its reason code is 0x80 or more.
    pub is_error: bool,
}

/// DISCONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mqtt) struct Disconnect {
    /// Whether to publish the will all the same: any reason code but 0x00 [MQTT-3.14.4-3].
    pub keeps_will: bool,
    /// A new session expiry interval, in seconds.
    pub session_expiry_secs: Option<u32>,
}

/// Checks a packet by its fixed header, before waiting for its body: its length, a type that
/// clients may send here, and the reserved flags [MQTT-2.2.2-2].
pub(in crate::mqtt) fn check_header(header: Header, context: &Context) -> Result<(), Reason> {
    if header.packet_len() > context.packet_bytes_max as usize {
        return Err(Reason::PacketTooLarge);
    }
    // MQTT 3.1 does not use some flags, and allows DUP on every packet that is sent again.
    let flags = header.first & 0x0F;
    let is_lax = context.version == Version::V31;
    match header.first >> 4 {
        0 => Err(Reason::MalformedPacket),
        packet_type::PUBLISH => Ok(()),
        packet_type::PUBREL | packet_type::SUBSCRIBE | packet_type::UNSUBSCRIBE
            if flags != 2 && !is_lax =>
        {
            Err(Reason::MalformedPacket)
        }
        packet_type::PUBREL | packet_type::SUBSCRIBE | packet_type::UNSUBSCRIBE => Ok(()),
        _ if flags != 0 && !is_lax => Err(Reason::MalformedPacket),
        packet_type::PINGREQ if header.body_len != 0 => Err(Reason::MalformedPacket),
        packet_type::PUBACK
        | packet_type::PUBREC
        | packet_type::PUBCOMP
        | packet_type::PINGREQ
        | packet_type::DISCONNECT => Ok(()),
        packet_type::AUTH if context.version == Version::V5 => Ok(()),
        // A second CONNECT [MQTT-3.1.0-2], or a type that only servers send.
        _ => Err(Reason::ProtocolError),
    }
}

/// Parses a packet whose header passed `check_header`. `shared` is the memory that `body` lies in;
/// payloads may be slices of it.
pub(in crate::mqtt) fn packet(
    first: u8,
    body: &[u8],
    shared: Option<&Bytes>,
    context: &Context,
) -> Result<Packet, Reason> {
    let reader = Reader::new(body);
    let version = context.version;
    match first >> 4 {
        packet_type::PUBLISH => publish(first & 0x0F, body, shared, context).map(Packet::Publish),
        packet_type::PUBACK => ack(reader, version, PUBLISH_REASONS).map(Packet::PubAck),
        packet_type::PUBREC => ack(reader, version, PUBLISH_REASONS).map(Packet::PubRec),
        packet_type::PUBREL => ack(reader, version, RELEASE_REASONS).map(Packet::PubRel),
        packet_type::PUBCOMP => ack(reader, version, RELEASE_REASONS).map(Packet::PubComp),
        packet_type::SUBSCRIBE => subscribe(reader, context).map(Packet::Subscribe),
        packet_type::UNSUBSCRIBE => unsubscribe(reader, context).map(Packet::Unsubscribe),
        packet_type::PINGREQ => reader.end().map(|()| Packet::PingReq),
        packet_type::DISCONNECT => disconnect(reader, version).map(Packet::Disconnect),
        packet_type::AUTH if version == Version::V5 => auth(reader).map(Packet::Auth),
        _ => Err(Reason::ProtocolError),
    }
}

/// Reason codes of PUBACK and PUBREC [MQTT-3.4.2-1] [MQTT-3.5.2-1].
const PUBLISH_REASONS: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
/// Reason codes of PUBREL and PUBCOMP [MQTT-3.6.2-1] [MQTT-3.7.2-1].
const RELEASE_REASONS: &[u8] = &[0x00, 0x92];
/// Reason codes of a client's DISCONNECT [MQTT-3.14.2-1].
const DISCONNECT_REASONS: &[u8] =
    &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];

/// Reads a reason code; 0x00 if it is missing.
fn reason(reader: &mut Reader<'_>, reasons: &[u8]) -> Result<u8, Reason> {
    if reader.is_empty() {
        return Ok(0);
    }
    let reason = reader.u8()?;
    if reasons.contains(&reason) { Ok(reason) } else { Err(Reason::ProtocolError) }
}

/// Reads properties to the packet's end. MQTT 5 lets the length 0 be left out at the end of some
/// packets.
fn optional_properties<'a>(
    mut reader: Reader<'a>,
    allowed: Allowed,
    take: impl FnMut(u32, Value<'a>) -> Result<(), Reason>,
) -> Result<(), Reason> {
    if reader.is_empty() {
        return Ok(());
    }
    properties::for_each(&mut reader, allowed, take)?;
    reader.end()
}

fn ack(mut reader: Reader<'_>, version: Version, reasons: &[u8]) -> Result<Ack, Reason> {
    let packet_id = reader.packet_id()?;
    let mut code = 0;
    match version {
        Version::V31 | Version::V311 => reader.end()?,
        Version::V5 => {
            code = reason(&mut reader, reasons)?;
            optional_properties(reader, Allowed::ACK, |_, _| Ok(()))?;
        }
    }
    Ok(Ack { packet_id, is_error: code >= 0x80 })
}

fn subscribe(mut reader: Reader<'_>, context: &Context) -> Result<Subscribe, Reason> {
    let packet_id = reader.packet_id()?;
    let mut subscription_id = None;
    if context.version == Version::V5 {
        properties::for_each(&mut reader, Allowed::SUBSCRIBE, |id, value| {
            if let (id::SUBSCRIPTION_IDENTIFIER, Value::Int(number)) = (id, value) {
                // 0 is a protocol error [MQTT5 3.8.2.1.2]; the encoding cannot express more than
                // the maximum.
                let id = SubscriptionId::new(number).ok_or(Reason::ProtocolError)?;
                subscription_id = Some(id);
            }
            Ok(())
        })?;
    }
    let mut entries = Vec::new();
    while !reader.is_empty() {
        let filter = filter(reader.text()?, context);
        let mut options = subscription_options(reader.u8()?, context.version)?;
        options.id = subscription_id;
        let is_shared = filter.as_ref().is_ok_and(TopicFilter::is_shared);
        // [MQTT-3.8.3-4]
        if is_shared && options.no_local {
            return Err(Reason::ProtocolError);
        }
        entries.push(filter.and_then(|filter| {
            available(&filter, context)?;
            Ok(SubscribeEntry { filter, options })
        }));
        // CONNACK said that the server does not offer this [MQTT5 3.2.2.3.11] [MQTT5 3.2.2.3.13].
        if let Some(&Err(
            reason @ (Reason::WildcardSubscriptionsNotSupported
            | Reason::SharedSubscriptionsNotSupported),
        )) = entries.last()
            && context.version == Version::V5
        {
            return Err(reason);
        }
        if entries.len() > ENTRIES_MAX {
            return Err(Reason::QuotaExceeded);
        }
    }
    // [MQTT-3.8.3-3]
    if entries.is_empty() {
        return Err(Reason::ProtocolError);
    }
    Ok(Subscribe { packet_id, entries, denied: 0, allowed: 0, too_long: 0 })
}

/// Checks that a filter uses no feature that is switched off.
fn available(filter: &TopicFilter, context: &Context) -> Result<(), Reason> {
    if filter.is_shared() && !context.features.shared_subscriptions {
        return Err(Reason::SharedSubscriptionsNotSupported);
    }
    if filter.has_wildcards() && !context.features.wildcard_subscriptions {
        return Err(Reason::WildcardSubscriptionsNotSupported);
    }
    Ok(())
}

/// Parses the options byte after a filter [MQTT-3.8.3-4] [MQTT5 3.8.3.1].
fn subscription_options(byte: u8, version: Version) -> Result<SubscriptionOptions, Reason> {
    let reserved = match version {
        // Not used.
        Version::V31 => {
            return Ok(SubscriptionOptions { qos: qos(byte & 3)?, ..Default::default() });
        }
        Version::V311 => 0xFC,
        Version::V5 => 0xC0,
    };
    if byte & reserved != 0 {
        return Err(Reason::MalformedPacket);
    }
    let retain_handling = (byte >> 4) & 3;
    if retain_handling == 3 {
        return Err(Reason::ProtocolError);
    }
    Ok(SubscriptionOptions {
        qos: qos(byte & 3)?,
        no_local: byte & 0x04 != 0,
        retain_as_published: byte & 0x08 != 0,
        retain_handling,
        id: None,
    })
}

fn unsubscribe(mut reader: Reader<'_>, context: &Context) -> Result<Unsubscribe, Reason> {
    let packet_id = reader.packet_id()?;
    if context.version == Version::V5 {
        properties::for_each(&mut reader, Allowed::UNSUBSCRIBE, |_, _| Ok(()))?;
    }
    let mut filters = Vec::new();
    while !reader.is_empty() {
        filters.push(filter(reader.text()?, context));
        if filters.len() > ENTRIES_MAX {
            return Err(Reason::QuotaExceeded);
        }
    }
    // [MQTT-3.10.3-2]
    if filters.is_empty() {
        return Err(Reason::ProtocolError);
    }
    Ok(Unsubscribe { packet_id, filters })
}

fn filter(text: &str, context: &Context) -> Result<TopicFilter, Reason> {
    TopicFilter::parse(text, context.topic_levels_max).map_err(|_| Reason::TopicFilterInvalid)
}

fn disconnect(mut reader: Reader<'_>, version: Version) -> Result<Disconnect, Reason> {
    let mut disconnect = Disconnect { keeps_will: false, session_expiry_secs: None };
    match version {
        Version::V31 | Version::V311 => reader.end()?,
        Version::V5 => {
            disconnect.keeps_will = reason(&mut reader, DISCONNECT_REASONS)? != 0;
            optional_properties(reader, Allowed::DISCONNECT, |id, value| {
                if let (id::SESSION_EXPIRY_INTERVAL, Value::Int(secs)) = (id, value) {
                    disconnect.session_expiry_secs = Some(secs);
                }
                Ok(())
            })?;
        }
    }
    Ok(disconnect)
}
