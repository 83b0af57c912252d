//! The server's packets but PUBLISH, written by mqttbytes. Reason codes that a packet type does not
//! have become the nearest one it has.

use bytes::BytesMut;
use mqttbytes::{v4, v5};

use super::Reason;
use crate::broker::{QoS, TopicName};
use crate::mqtt::{Connect, Limits, Version};

/// The least that an answer takes, in bytes; a PINGRESP, which is never owed, takes two.
pub(in crate::mqtt) const ANSWER_BYTES: u32 = 4;

/// The least that a SUBACK or UNSUBACK for so many filters takes.
pub(in crate::mqtt) fn answer_bytes(filters: usize) -> u32 {
    // A packet has 16,384 filters at most.
    ANSWER_BYTES + filters as u32
}

/// The packets that acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mqtt) enum AckKind {
    /// PUBACK.
    Ack,
    /// PUBREC.
    Received,
    /// PUBREL.
    Release,
    /// PUBCOMP.
    Complete,
}

/// Runs an encoder of mqttbytes. They fail only on packets longer than 256 MB and on packet id 0,
/// neither of which is ever written here; should it happen, nothing is written, not half a frame.
fn write(
    out: &mut BytesMut,
    encoder: impl FnOnce(&mut BytesMut) -> Result<usize, mqttbytes::Error>,
) {
    let len = out.len();
    if encoder(out).is_err() {
        debug_assert!(false, "mqttbytes refused a packet of the server's");
        out.truncate(len);
    }
}

/// The client that a packet is for: its version, its longest packet, and whether it wants reason
/// strings.
#[derive(Clone, Copy, Debug)]
pub(in crate::mqtt) struct Audience {
    pub version: Version,
    /// The longest packet it takes, in bytes.
    pub packet_len_max: usize,
    /// Whether it wants reason strings. If not, it gets them in CONNACK and DISCONNECT only
    /// [MQTT-3.1.2-29].
    pub wants_words: bool,
}

impl Audience {
    /// A client that takes packets of so many bytes; `None`: of any length.
    pub(in crate::mqtt) fn new(
        version: Version,
        packet_bytes_max: Option<u32>,
        wants_words: bool,
    ) -> Self {
        let packet_len_max = packet_bytes_max.map_or(usize::MAX, |max| max as usize);
        Self { version, packet_len_max, wants_words }
    }

    /// The client that sent this CONNECT.
    pub(in crate::mqtt) fn of(connect: &Connect) -> Self {
        let wants_words = connect.request_problem_information;
        Self::new(connect.version, connect.packet_bytes_max, wants_words)
    }

    /// A client of which only the version is known: it is sent no more than needs be.
    pub(in crate::mqtt) fn unknown(version: Version) -> Self {
        Self { version, packet_len_max: CONNACK_BARE_LEN, wants_words: false }
    }

    /// Writes a packet with the optional `words`, or without them where the packet would be longer
    /// than the client takes: words must not make a packet too long [MQTT-3.2.2-19] [MQTT-3.9.2-1]
    /// [MQTT-3.11.2-1] [MQTT-3.14.2-3].
    pub(super) fn write(
        self,
        out: &mut BytesMut,
        words: Option<String>,
        encoder: impl Fn(&mut BytesMut, Option<String>) -> Result<usize, mqttbytes::Error>,
    ) {
        let start = out.len();
        if words.is_some() {
            write(out, |out| encoder(out, words));
            if out.len() - start <= self.packet_len_max {
                return;
            }
            out.truncate(start);
        }
        write(out, |out| encoder(out, None));
    }
}

/// The length of a CONNACK of MQTT 5 without properties.
const CONNACK_BARE_LEN: usize = 5;

/// The CONNACK of an accepted MQTT 3.1.1 client, and of one of MQTT 3.1.
fn connack_v311(out: &mut BytesMut, session_present: bool) {
    let code = v4::ConnectReturnCode::Success;
    write(out, |out| v4::ConnAck::new(code, session_present).write(out));
}

/// Writes the CONNACK that accepts. MQTT 5 is told what differs from what it would take for
/// granted [MQTT5 3.2.2.3], and the limits in any case.
pub(in crate::mqtt) fn connack(
    out: &mut BytesMut,
    connect: &Connect,
    session_present: bool,
    keep_alive_secs: u16,
    limits: &Limits,
) {
    if connect.version != Version::V5 {
        // That byte is reserved in MQTT 3.1.
        return connack_v311(out, session_present && connect.version != Version::V31);
    }
    let mut properties = v5::ConnAckProperties::new();
    properties.session_expiry_interval =
        connect.session_expiry_capped.then_some(connect.session_expiry_secs);
    properties.receive_max = Some(limits.receive_max);
    properties.max_packet_size = Some(limits.packet_bytes_max);
    properties.assigned_client_identifier =
        connect.client_id_assigned.then(|| connect.client_id.clone());
    properties.topic_alias_max = (limits.topic_alias_max != 0).then_some(limits.topic_alias_max);
    properties.server_keep_alive =
        (keep_alive_secs != connect.keep_alive_secs).then_some(keep_alive_secs);
    // [MQTT-4.12.0-5]
    if let Some(authenticated) = &connect.authenticated {
        properties.authentication_method = Some(authenticated.method.as_ref().to_owned());
        properties.authentication_data = authenticated.data.clone();
    }
    let features = limits.features;
    let unless = |there: bool| (!there).then_some(0);
    properties.retain_available = unless(features.retain);
    properties.wildcard_subscription_available = unless(features.wildcard_subscriptions);
    properties.shared_subscription_available = unless(features.shared_subscriptions);
    Audience::of(connect).write(out, response_information(connect, limits), |out, information| {
        let code = v5::ConnectReturnCode::Success;
        let properties =
            v5::ConnAckProperties { response_information: information, ..properties.clone() };
        v5::ConnAck { session_present, code, properties: Some(properties) }.write(out)
    });
}

/// The topic below which this client may have its responses, if it asked for one and the server has
/// one [MQTT-3.1.2-28]. A client id that is no part of a topic has none.
fn response_information(connect: &Connect, limits: &Limits) -> Option<String> {
    let prefix = limits.response_topic_prefix.as_deref()?;
    let information = format!("{prefix}/{}", connect.client_id);
    let is_topic = TopicName::parse(&information, limits.topic_levels_max).is_ok();
    (connect.request_response_information && is_topic).then_some(information)
}

/// Writes the CONNACK that refuses, the reason in words too. 3.1.1 knows five reasons; for others
/// nothing is written and the connection just closes [MQTT-3.2.2-6], as for a client that takes no
/// packet as long as this [MQTT-3.1.2-24].
pub(in crate::mqtt) fn connack_refusal(out: &mut BytesMut, audience: Audience, reason: Reason) {
    if audience.version == Version::V5 {
        if audience.packet_len_max < CONNACK_BARE_LEN {
            return;
        }
        let words = Some(reason.to_string());
        return audience.write(out, words, |out, reason_string| {
            let code = connect_code_v5(reason);
            // mqttbytes leaves out the length of no properties, which MQTT 5 does not allow here.
            let properties =
                Some(v5::ConnAckProperties { reason_string, ..v5::ConnAckProperties::new() });
            v5::ConnAck { session_present: false, code, properties }.write(out)
        });
    }
    let code = match reason {
        Reason::UnsupportedProtocolVersion => v4::ConnectReturnCode::RefusedProtocolVersion,
        Reason::ClientIdentifierNotValid => v4::ConnectReturnCode::BadClientId,
        Reason::ServerUnavailable
        | Reason::ServerBusy
        | Reason::ServerShuttingDown
        | Reason::QuotaExceeded => v4::ConnectReturnCode::ServiceUnavailable,
        // The will's topic is one that nobody may publish to.
        Reason::NotAuthorized | Reason::TopicNameInvalid => v4::ConnectReturnCode::NotAuthorized,
        _ => return,
    };
    write(out, |out| v4::ConnAck::new(code, false).write(out));
}

/// [MQTT-3.2.2-8]
fn connect_code_v5(reason: Reason) -> v5::ConnectReturnCode {
    use v5::ConnectReturnCode as Code;
    match reason {
        Reason::MalformedPacket => Code::MalformedPacket,
        Reason::ProtocolError => Code::ProtocolError,
        Reason::ImplementationSpecificError => Code::ImplementationSpecificError,
        Reason::UnsupportedProtocolVersion => Code::UnsupportedProtocolVersion,
        Reason::ClientIdentifierNotValid => Code::ClientIdentifierNotValid,
        Reason::NotAuthorized => Code::NotAuthorized,
        Reason::ServerUnavailable | Reason::ServerShuttingDown => Code::ServerUnavailable,
        Reason::ServerBusy => Code::ServerBusy,
        Reason::BadAuthenticationMethod => Code::BadAuthenticationMethod,
        Reason::TopicNameInvalid => Code::TopicNameInvalid,
        Reason::PacketTooLarge => Code::PacketTooLarge,
        Reason::QuotaExceeded => Code::QuotaExceeded,
        Reason::RetainNotSupported => Code::RetainNotSupported,
        _ => Code::UnspecifiedError,
    }
}

/// Writes PUBACK, PUBREC, PUBREL or PUBCOMP. 3.1.1 has no reason codes.
pub(in crate::mqtt) fn ack(
    out: &mut BytesMut,
    version: Version,
    kind: AckKind,
    packet_id: u16,
    reason: Reason,
) {
    if version != Version::V5 {
        return write(out, |out| match kind {
            AckKind::Ack => v4::PubAck::new(packet_id).write(out),
            AckKind::Received => v4::PubRec::new(packet_id).write(out),
            AckKind::Release => v4::PubRel::new(packet_id).write(out),
            AckKind::Complete => v4::PubComp::new(packet_id).write(out),
        });
    }
    let known = reason != Reason::PacketIdentifierNotFound;
    write(out, |out| match kind {
        AckKind::Ack => {
            let mut ack = v5::PubAck::new(packet_id);
            ack.reason = puback_reason(reason);
            ack.write(out)
        }
        AckKind::Received => {
            let mut ack = v5::PubRec::new(packet_id);
            ack.reason = pubrec_reason(reason);
            ack.write(out)
        }
        AckKind::Release => {
            let mut ack = v5::PubRel::new(packet_id);
            if !known {
                ack.reason = v5::PubRelReason::PacketIdentifierNotFound;
            }
            ack.write(out)
        }
        AckKind::Complete => {
            let mut ack = v5::PubComp::new(packet_id);
            if !known {
                ack.reason = v5::PubCompReason::PacketIdentifierNotFound;
            }
            ack.write(out)
        }
    });
}

/// [MQTT-3.4.2-1]
fn puback_reason(reason: Reason) -> v5::PubAckReason {
    use v5::PubAckReason as Code;
    match reason {
        Reason::NoMatchingSubscribers => Code::NoMatchingSubscribers,
        Reason::ImplementationSpecificError => Code::ImplementationSpecificError,
        Reason::NotAuthorized => Code::NotAuthorized,
        Reason::TopicNameInvalid => Code::TopicNameInvalid,
        Reason::QuotaExceeded => Code::QuotaExceeded,
        reason if reason.is_error() => Code::UnspecifiedError,
        _ => Code::Success,
    }
}

/// [MQTT-3.5.2-1]
fn pubrec_reason(reason: Reason) -> v5::PubRecReason {
    use v5::PubRecReason as Code;
    match reason {
        Reason::NoMatchingSubscribers => Code::NoMatchingSubscribers,
        Reason::ImplementationSpecificError => Code::ImplementationSpecificError,
        Reason::NotAuthorized => Code::NotAuthorized,
        Reason::TopicNameInvalid => Code::TopicNameInvalid,
        Reason::QuotaExceeded => Code::QuotaExceeded,
        reason if reason.is_error() => Code::UnspecifiedError,
        _ => Code::Success,
    }
}

/// Writes SUBACK, with the first refusal in words too. 3.1.1 has one code for every failure
/// [MQTT-3.9.3-2]; 3.1 has none, and there a refused subscription is acknowledged as one of QoS 0 [MQTT 3.1, 3.8].
pub(in crate::mqtt) fn suback(
    out: &mut BytesMut,
    audience: Audience,
    packet_id: u16,
    results: &[Result<QoS, Reason>],
) {
    if audience.version != Version::V5 {
        let code = |result: &Result<QoS, Reason>| match result {
            Ok(QoS::AtMostOnce) => v4::SubscribeReasonCode::Success(mqttbytes::QoS::AtMostOnce),
            Ok(QoS::AtLeastOnce) => v4::SubscribeReasonCode::Success(mqttbytes::QoS::AtLeastOnce),
            Ok(QoS::ExactlyOnce) => v4::SubscribeReasonCode::Success(mqttbytes::QoS::ExactlyOnce),
            Err(_) if audience.version == Version::V31 => {
                v4::SubscribeReasonCode::Success(mqttbytes::QoS::AtMostOnce)
            }
            Err(_) => v4::SubscribeReasonCode::Failure,
        };
        let suback = v4::SubAck::new(packet_id, results.iter().map(code).collect());
        return write(out, |out| suback.write(out));
    }
    let code = |result: &Result<QoS, Reason>| match *result {
        Ok(QoS::AtMostOnce) => v5::SubscribeReasonCode::QoS0,
        Ok(QoS::AtLeastOnce) => v5::SubscribeReasonCode::QoS1,
        Ok(QoS::ExactlyOnce) => v5::SubscribeReasonCode::QoS2,
        Err(reason) => (reason as u8)
            .try_into()
            .ok()
            .filter(|_| reason.is_error())
            .unwrap_or(v5::SubscribeReasonCode::Unspecified),
    };
    let codes: Vec<_> = results.iter().map(code).collect();
    let words = refusal_words(audience, results.iter().map(|result| result.as_ref().err()));
    audience.write(out, words, |out, words| {
        let mut suback = v5::SubAck::new(packet_id, codes.clone());
        suback.properties = words.map(|words| v5::SubAckProperties {
            reason_string: Some(words),
            user_properties: Vec::new(),
        });
        suback.write(out)
    });
}

/// The first filter that was refused, and why. `None`: none was, or the client does not want reason
/// strings.
fn refusal_words<'a>(
    audience: Audience,
    refusals: impl Iterator<Item = Option<&'a Reason>>,
) -> Option<String> {
    if !audience.wants_words {
        return None;
    }
    let (number, reason) = (1..).zip(refusals).find_map(|(n, refusal)| Some((n, refusal?)))?;
    Some(format!("filter {number}: {reason}"))
}

/// Writes UNSUBACK; 3.1.1 has no codes in it.
pub(in crate::mqtt) fn unsuback(
    out: &mut BytesMut,
    audience: Audience,
    packet_id: u16,
    results: &[Reason],
) {
    if audience.version != Version::V5 {
        return write(out, |out| v4::UnsubAck::new(packet_id).write(out));
    }
    let code = |reason: &Reason| match reason {
        Reason::Success => v5::UnsubAckReason::Success,
        Reason::NoSubscriptionExisted => v5::UnsubAckReason::NoSubscriptionExisted,
        Reason::ImplementationSpecificError => v5::UnsubAckReason::ImplementationSpecificError,
        Reason::NotAuthorized => v5::UnsubAckReason::NotAuthorized,
        Reason::TopicFilterInvalid => v5::UnsubAckReason::TopicFilterInvalid,
        _ => v5::UnsubAckReason::UnspecifiedError,
    };
    let codes: Vec<_> = results.iter().map(code).collect();
    let refusals = results.iter().map(|reason| Some(reason).filter(|reason| reason.is_error()));
    audience.write(out, refusal_words(audience, refusals), |out, words| {
        let mut unsuback = v5::UnsubAck::new(packet_id);
        unsuback.reasons = codes.clone();
        unsuback.properties = words.map(|words| v5::UnsubAckProperties {
            reason_string: Some(words),
            user_properties: Vec::new(),
        });
        unsuback.write(out)
    });
}

/// Writes PINGRESP.
pub(in crate::mqtt) fn pingresp(out: &mut BytesMut) {
    write(out, |out| v4::PingResp.write(out));
}

/// Writes the server's DISCONNECT, which only MQTT 5 has. The reason goes in words too, as far as
/// the client takes the packet: people read it, and paho 2.1 reads a reason only from a body of
/// three bytes or more.
pub(in crate::mqtt) fn disconnect(out: &mut BytesMut, audience: Audience, reason: Reason) {
    if audience.version != Version::V5 {
        return;
    }
    audience.write(out, Some(reason.to_string()), |out, words| {
        let reason_code = disconnect_code(reason);
        let properties = words.map(|words| v5::DisconnectProperties {
            reason_string: Some(words),
            ..v5::DisconnectProperties::new()
        });
        v5::Disconnect { reason_code, properties }.write(out)
    });
}

/// [MQTT-3.14.2-1]
fn disconnect_code(reason: Reason) -> v5::DisconnectReasonCode {
    (reason as u8).try_into().unwrap_or(v5::DisconnectReasonCode::UnspecifiedError)
}
