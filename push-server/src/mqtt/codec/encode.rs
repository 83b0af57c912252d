//! The server's packets except PUBLISH, written by mqttbytes. A reason code that a packet type does
//! not have becomes the nearest that it has.

use bytes::BytesMut;
use mqttbytes::{v4, v5};

use super::Reason;
use crate::broker::{QoS, TopicName};
use crate::mqtt::{Connect, Limits, Version};

/// Bytes that the shortest owed answer takes. (A PINGRESP takes two, but is never owed.)
pub(in crate::mqtt) const ANSWER_BYTES: u32 = 4;

/// Bytes that the shortest SUBACK or UNSUBACK for this many filters takes.
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

/// Runs an encoder of mqttbytes. It fails only on packets longer than 256 MB and on packet id 0,
/// which this file never writes. If it fails all the same, nothing is written, rather than half a
/// frame.
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
    /// Whether it wants reason strings. Otherwise only CONNACK and DISCONNECT carry one
    /// [MQTT-3.1.2-29].
    pub wants_words: bool,
}

impl Audience {
    /// A client that accepts packets of this many bytes; `None`: of any length.
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

    /// A client of which only the version is known: it gets no optional text.
    pub(in crate::mqtt) fn unknown(version: Version) -> Self {
        Self { version, packet_len_max: CONNACK_BARE_LEN, wants_words: false }
    }

    /// Writes a packet with its optional `words`, or without them if the packet would exceed the
    /// client's Maximum Packet Size [MQTT-3.2.2-19] [MQTT-3.9.2-1] [MQTT-3.11.2-1] [MQTT-3.14.2-3].
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

/// Bytes of an MQTT 5 CONNACK without properties.
const CONNACK_BARE_LEN: usize = 5;

/// Writes the CONNACK that accepts a client of MQTT 3.1 or 3.1.1.
fn connack_v311(out: &mut BytesMut, session_present: bool) {
    let code = v4::ConnectReturnCode::Success;
    write(out, |out| v4::ConnAck::new(code, session_present).write(out));
}

/// Writes the CONNACK that accepts. For MQTT 5 it names every value that differs from the
/// specification's default [MQTT5 3.2.2.3], and always the limits.
pub(in crate::mqtt) fn connack(
    out: &mut BytesMut,
    connect: &Connect,
    session_present: bool,
    keep_alive_secs: u16,
    limits: &Limits,
) {
    if connect.version != Version::V5 {
        // MQTT 3.1 reserves that byte.
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

/// The response topic prefix for this client, if it asked for one and the server has one
/// [MQTT-3.1.2-28]. A client whose id cannot be part of a topic gets none.
fn response_information(connect: &Connect, limits: &Limits) -> Option<String> {
    let prefix = limits.response_topic_prefix.as_deref()?;
    let information = format!("{prefix}/{}", connect.client_id);
    let is_topic = TopicName::parse(&information, limits.topic_levels_max).is_ok();
    (connect.request_response_information && is_topic).then_some(information)
}

/// Writes the CONNACK that refuses, with a reason string. 3.1.1 has five reasons; for others this
/// writes nothing, and the connection just closes [MQTT-3.2.2-6]. The same goes for a client that
/// accepts no packet as long as this [MQTT-3.1.2-24].
pub(in crate::mqtt) fn connack_refusal(out: &mut BytesMut, audience: Audience, reason: Reason) {
    if audience.version == Version::V5 {
        if audience.packet_len_max < CONNACK_BARE_LEN {
            return;
        }
        let words = Some(reason.to_string());
        return audience.write(out, words, |out, reason_string| {
            let code = connect_code_v5(reason);
            // mqttbytes omits the property length when there are no properties, which MQTT 5
            // forbids here.
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
        // No client may publish to the will's topic.
        Reason::NotAuthorized | Reason::TopicNameInvalid | Reason::Banned => {
            v4::ConnectReturnCode::NotAuthorized
        }
        Reason::BadUserNameOrPassword => v4::ConnectReturnCode::BadUserNamePassword,
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
        Reason::BadUserNameOrPassword => Code::BadUserNamePassword,
        Reason::NotAuthorized => Code::NotAuthorized,
        Reason::ServerUnavailable | Reason::ServerShuttingDown => Code::ServerUnavailable,
        Reason::ServerBusy => Code::ServerBusy,
        Reason::Banned => Code::Banned,
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

/// Writes SUBACK, with the first refusal as a reason string. 3.1.1 has one code for every failure
/// [MQTT-3.9.3-2]; 3.1 has none, so a refused subscription is answered like one of QoS 0 [MQTT 3.1,
/// 3.8].
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

/// Names the first refused filter and the reason. `None`: none was refused, or the client does not
/// want reason strings.
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

/// Writes UNSUBACK. 3.1.1 has no codes in it.
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

/// Writes the server's DISCONNECT, which only MQTT 5 has, with a reason string if the client
/// accepts so long a packet. People read it, and paho 2.1 reads a reason code only from a body of
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
