//! CONNECT. Parsed by hand: mqttbytes takes the password for text, forgets whether user name and
//! password were there, and accepts reserved flags, repeated properties and trailing bytes.

use bytes::Bytes;

use super::properties::{self, Allowed, Passing, Value, flag, id};
use super::publish::qos;
use super::read::Reader;
use super::{Audience, Reason};
use crate::access::{Identity, Password};
use crate::broker::{Held, Message, TopicName};
use crate::mqtt::{Authentication, Connect, Limits, Version, Will};

/// CONNECT flags [MQTT-3.1.2.3].
mod flags {
    pub(super) const RESERVED: u8 = 0x01;
    pub(super) const CLEAN_START: u8 = 0x02;
    pub(super) const WILL: u8 = 0x04;
    pub(super) const WILL_QOS: u8 = 0x18;
    pub(super) const WILL_RETAIN: u8 = 0x20;
    pub(super) const PASSWORD: u8 = 0x40;
    pub(super) const USER_NAME: u8 = 0x80;
}

/// Why a CONNECT was refused, and what the client understands of an answer; `None`: nothing, so it
/// gets none.
#[derive(Clone, Copy, Debug)]
pub(in crate::mqtt) struct ConnectError {
    pub audience: Option<Audience>,
    pub reason: Reason,
}

/// Parses the body of a CONNECT.
pub(in crate::mqtt) fn connect(body: &[u8], limits: &Limits) -> Result<Connect, ConnectError> {
    let mut reader = Reader::new(body);
    let (version, is_bridge) = protocol(&mut reader)?;
    let mut audience = Audience::unknown(version);
    match version {
        Version::V31 | Version::V311 => connect_v3(reader, version, is_bridge, limits),
        Version::V5 => connect_v5(reader, limits, &mut audience),
    }
    .map_err(|reason| ConnectError { audience: Some(audience), reason })
}

/// Protocol name and level [MQTT-3.1.2-1] [MQTT-3.1.2-2], and whether the client is a bridge:
/// mosquitto's set the highest bit of a level below 5. MQTT 3.1 called itself MQIsdp; clients of it
/// and of every older level understand 3.1.1's return code.
fn protocol(reader: &mut Reader<'_>) -> Result<(Version, bool), ConnectError> {
    let silently = |reason| ConnectError { audience: None, reason };
    let name = reader.binary().map_err(silently)?;
    let level = reader.u8().map_err(silently)?;
    let reason = Reason::UnsupportedProtocolVersion;
    let told = |version| ConnectError { audience: Some(Audience::unknown(version)), reason };
    match (name, level) {
        (b"MQIsdp", 3 | BRIDGE_3) => Ok((Version::V31, level == BRIDGE_3)),
        (b"MQTT", 4 | BRIDGE_4) => Ok((Version::V311, level == BRIDGE_4)),
        (b"MQTT", 5) => Ok((Version::V5, false)),
        (b"MQTT", level) if level & 0x7F > 5 => Err(told(Version::V5)),
        (b"MQTT" | b"MQIsdp", _) => Err(told(Version::V311)),
        _ => Err(silently(reason)),
    }
}

/// The levels that bridges send for MQTT 3.1 and 3.1.1.
const BRIDGE_3: u8 = 0x80 | 3;
const BRIDGE_4: u8 = 0x80 | 4;

fn connect_v3(
    mut reader: Reader<'_>,
    version: Version,
    is_bridge: bool,
    limits: &Limits,
) -> Result<Connect, Reason> {
    let flags = connect_flags(&mut reader, version)?;
    // [MQTT-3.1.2-22]
    if flags & flags::PASSWORD != 0 && flags & flags::USER_NAME == 0 {
        return Err(Reason::ProtocolError);
    }
    let keep_alive_secs = reader.u16()?;
    let client_id = reader.text()?.to_owned();
    let clean_start = flags & flags::CLEAN_START != 0;
    // [MQTT-3.1.3-8]; MQTT 3.1 requires a client id. It allows 23 characters at most, but many
    // clients send more: the server accepts what 3.1.1 accepts.
    if client_id.is_empty() && (!clean_start || version == Version::V31) {
        return Err(Reason::ClientIdentifierNotValid);
    }
    let will = will(&mut reader, flags, version, limits)?;
    let (user_name, password) = credentials(&mut reader, flags, version)?;
    reader.end()?;
    Ok(Connect {
        version,
        is_bridge,
        client_id,
        client_id_assigned: false,
        clean_start,
        keep_alive_secs,
        session_expiry_secs: if clean_start { 0 } else { limits.session_expiry_max_secs },
        session_expiry_capped: false,
        receive_max: u16::MAX,
        packet_bytes_max: None,
        topic_alias_max: 0,
        request_problem_information: false,
        request_response_information: false,
        user_name,
        password,
        will,
        authentication: None,
        authenticated: None,
        identity: Identity::default(),
    })
}

fn connect_v5(
    mut reader: Reader<'_>,
    limits: &Limits,
    audience: &mut Audience,
) -> Result<Connect, Reason> {
    let flags = connect_flags(&mut reader, Version::V5)?;
    let keep_alive_secs = reader.u16()?;
    let wishes = Wishes::read(&mut reader)?;
    *audience = wishes.audience();
    let client_id = reader.text()?.to_owned();
    let will = will(&mut reader, flags, Version::V5, limits)?;
    let (user_name, password) = credentials(&mut reader, flags, Version::V5)?;
    reader.end()?;
    Ok(Connect {
        version: Version::V5,
        is_bridge: false,
        client_id,
        client_id_assigned: false,
        clean_start: flags & flags::CLEAN_START != 0,
        keep_alive_secs,
        session_expiry_secs: wishes.session_expiry_secs.min(limits.session_expiry_max_secs),
        session_expiry_capped: wishes.session_expiry_secs > limits.session_expiry_max_secs,
        receive_max: wishes.receive_max,
        packet_bytes_max: wishes.packet_bytes_max,
        topic_alias_max: wishes.topic_alias_max,
        request_problem_information: wishes.request_problem_information,
        request_response_information: wishes.request_response_information,
        user_name,
        password,
        will,
        authentication: wishes.authentication,
        authenticated: None,
        identity: Identity::default(),
    })
}

/// Reads the flags and checks that they agree [MQTT-3.1.2-3] [MQTT-3.1.2-11] [MQTT-3.1.2-13]
/// [MQTT-3.1.2-15]. MQTT 3.1 does not use the lowest, and ignores will flags without a will.
fn connect_flags(reader: &mut Reader<'_>, version: Version) -> Result<u8, Reason> {
    let mut flags = reader.u8()?;
    let of_will = flags::WILL_QOS | flags::WILL_RETAIN;
    let will_less = flags & flags::WILL == 0;
    if version == Version::V31 {
        flags &= !flags::RESERVED;
        flags &= if will_less { !of_will } else { u8::MAX };
    }
    if flags & flags::RESERVED != 0
        || flags & flags::WILL_QOS == flags::WILL_QOS
        || (will_less && flags & of_will != 0)
    {
        return Err(Reason::MalformedPacket);
    }
    Ok(flags)
}

/// The properties of an MQTT 5 CONNECT.
struct Wishes {
    session_expiry_secs: u32,
    receive_max: u16,
    packet_bytes_max: Option<u32>,
    topic_alias_max: u16,
    request_problem_information: bool,
    request_response_information: bool,
    authentication: Option<Authentication>,
}

impl Wishes {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        let mut wishes = Self {
            session_expiry_secs: 0,
            receive_max: u16::MAX,
            packet_bytes_max: None,
            topic_alias_max: 0,
            request_problem_information: true,
            request_response_information: false,
            authentication: None,
        };
        let (mut method, mut data) = (None, None);
        properties::for_each(reader, Allowed::CONNECT, |id, value| {
            match (id, value) {
                (id::SESSION_EXPIRY_INTERVAL, Value::Int(secs)) => {
                    wishes.session_expiry_secs = secs;
                }
                (id::RECEIVE_MAXIMUM | id::MAXIMUM_PACKET_SIZE, Value::Int(0)) => {
                    return Err(Reason::ProtocolError);
                }
                (id::RECEIVE_MAXIMUM, Value::Int(max)) => wishes.receive_max = max as u16,
                (id::MAXIMUM_PACKET_SIZE, Value::Int(max)) => wishes.packet_bytes_max = Some(max),
                (id::TOPIC_ALIAS_MAXIMUM, Value::Int(max)) => wishes.topic_alias_max = max as u16,
                (id::REQUEST_PROBLEM_INFORMATION, Value::Int(value)) => {
                    wishes.request_problem_information = flag(value)?;
                }
                (id::REQUEST_RESPONSE_INFORMATION, Value::Int(value)) => {
                    wishes.request_response_information = flag(value)?;
                }
                (id::AUTHENTICATION_METHOD, Value::Text(text)) => method = Some(text.into()),
                (id::AUTHENTICATION_DATA, Value::Binary(bytes)) => {
                    data = Some(Bytes::copy_from_slice(bytes));
                }
                // The server ignores user properties of a CONNECT.
                _ => {}
            }
            Ok(())
        })?;
        wishes.authentication = match (method, data) {
            (Some(method), data) => Some(Authentication { method, data }),
            // [MQTT5 3.1.2.11.10]
            (None, Some(_)) => return Err(Reason::ProtocolError),
            (None, None) => None,
        };
        Ok(wishes)
    }

    fn audience(&self) -> Audience {
        Audience::new(Version::V5, self.packet_bytes_max, self.request_problem_information)
    }
}

/// The will, if the flags announce one [MQTT-3.1.2-9].
fn will(
    reader: &mut Reader<'_>,
    flags: u8,
    version: Version,
    limits: &Limits,
) -> Result<Option<Box<Will>>, Reason> {
    if flags & flags::WILL == 0 {
        return Ok(None);
    }
    let retain = flags & flags::WILL_RETAIN != 0;
    // [MQTT-3.2.2-13]
    if retain && !limits.features.retain {
        return Err(Reason::RetainNotSupported);
    }
    let mut passing = Passing::default();
    let mut delay_secs = 0;
    let mut message_expiry_secs = None;
    if version == Version::V5 {
        properties::for_each(reader, Allowed::WILL, |id, value| {
            match (id, value) {
                (id::WILL_DELAY_INTERVAL, Value::Int(secs)) => delay_secs = secs,
                (id::MESSAGE_EXPIRY_INTERVAL, Value::Int(secs)) => {
                    message_expiry_secs = Some(secs);
                }
                _ => passing.take(id, value)?,
            }
            Ok(())
        })?;
    }
    let topic = will_topic(reader.text()?, version, limits)?;
    // A will lives as long as its connection, so it must not keep the whole CONNECT in memory.
    let payload = Bytes::copy_from_slice(reader.binary()?);
    let message = Message {
        topic,
        payload,
        qos: qos((flags & flags::WILL_QOS) >> 3)?,
        retain,
        properties: passing.finish(),
        expires_at: None,
        held: Held::default(),
    };
    Ok(Some(Box::new(Will { message, delay_secs, message_expiry_secs, charge: None })))
}

/// The will's topic. A bad one refuses the client, since CONNACK is the only packet that can tell
/// it. A topic that publishes are refused on is well-formed, but not accepted [MQTT5 3.2.2.2].
fn will_topic(text: &str, version: Version, limits: &Limits) -> Result<TopicName, Reason> {
    let topic = TopicName::parse_any_depth(text).map_err(|_| match version {
        // 3.1 and 3.1.1 get no answer [MQTT-3.1.4-1].
        Version::V31 | Version::V311 => Reason::MalformedPacket,
        Version::V5 => Reason::TopicNameInvalid,
    })?;
    match limits.refuses_publish_to(&topic) {
        Some(_) => Err(Reason::TopicNameInvalid),
        None => Ok(topic),
    }
}

/// User name and password, as the flags announce them. In MQTT 3.1 the packet may end before them.
fn credentials(
    reader: &mut Reader<'_>,
    flags: u8,
    version: Version,
) -> Result<(Option<String>, Option<Password>), Reason> {
    let is_there = |reader: &Reader<'_>, flag| {
        flags & flag != 0 && (version != Version::V31 || !reader.is_empty())
    };
    let mut credentials = (None, None);
    if is_there(reader, flags::USER_NAME) {
        credentials.0 = Some(reader.text()?.to_owned());
    }
    if is_there(reader, flags::PASSWORD) {
        credentials.1 = Some(Password::new(reader.binary()?));
    }
    Ok(credentials)
}
