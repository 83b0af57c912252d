//! MQTT 5 properties: which exist, which packet may have which, and that only the user property may
//! repeat [MQTT5 2.2.2].

use std::sync::Arc;

use bytes::Bytes;

use super::Reason;
use super::read::Reader;
use crate::broker::{MessageProperties, UserPropertiesBuilder};

/// Most user properties of one packet; more fail the connection with 0x97. 1,000, since the server
/// looks at each, and no client needs so many.
const USER_PROPERTIES_MAX: usize = 1_000;

/// Property identifiers [MQTT5 2.2.2.2].
pub(super) mod id {
    pub(crate) const PAYLOAD_FORMAT_INDICATOR: u32 = 1;
    pub(crate) const MESSAGE_EXPIRY_INTERVAL: u32 = 2;
    pub(crate) const CONTENT_TYPE: u32 = 3;
    pub(crate) const RESPONSE_TOPIC: u32 = 8;
    pub(crate) const CORRELATION_DATA: u32 = 9;
    pub(crate) const SUBSCRIPTION_IDENTIFIER: u32 = 11;
    pub(crate) const SESSION_EXPIRY_INTERVAL: u32 = 17;
    pub(crate) const AUTHENTICATION_METHOD: u32 = 21;
    pub(crate) const AUTHENTICATION_DATA: u32 = 22;
    pub(crate) const REQUEST_PROBLEM_INFORMATION: u32 = 23;
    pub(crate) const WILL_DELAY_INTERVAL: u32 = 24;
    pub(crate) const REQUEST_RESPONSE_INFORMATION: u32 = 25;
    pub(crate) const REASON_STRING: u32 = 31;
    pub(crate) const RECEIVE_MAXIMUM: u32 = 33;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u32 = 34;
    pub(crate) const TOPIC_ALIAS: u32 = 35;
    pub(crate) const USER_PROPERTY: u32 = 38;
    pub(crate) const MAXIMUM_PACKET_SIZE: u32 = 39;
}

/// The set of properties that a client's packet may have, one bit each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed(u64);

impl Allowed {
    const fn of(ids: &[u32]) -> Self {
        let mut bits = 1 << id::USER_PROPERTY;
        let mut index = 0;
        while index < ids.len() {
            bits |= 1 << ids[index];
            index += 1;
        }
        Self(bits)
    }

    pub(super) const CONNECT: Self = Self::of(&[
        id::SESSION_EXPIRY_INTERVAL,
        id::RECEIVE_MAXIMUM,
        id::MAXIMUM_PACKET_SIZE,
        id::TOPIC_ALIAS_MAXIMUM,
        id::REQUEST_RESPONSE_INFORMATION,
        id::REQUEST_PROBLEM_INFORMATION,
        id::AUTHENTICATION_METHOD,
        id::AUTHENTICATION_DATA,
    ]);
    pub(super) const WILL: Self = Self::of(&[
        id::WILL_DELAY_INTERVAL,
        id::PAYLOAD_FORMAT_INDICATOR,
        id::MESSAGE_EXPIRY_INTERVAL,
        id::CONTENT_TYPE,
        id::RESPONSE_TOPIC,
        id::CORRELATION_DATA,
    ]);
    /// Without the subscription identifier, which only a server may send [MQTT-3.3.4-6].
    pub(super) const PUBLISH: Self = Self::of(&[
        id::PAYLOAD_FORMAT_INDICATOR,
        id::MESSAGE_EXPIRY_INTERVAL,
        id::TOPIC_ALIAS,
        id::CONTENT_TYPE,
        id::RESPONSE_TOPIC,
        id::CORRELATION_DATA,
    ]);
    pub(super) const ACK: Self = Self::of(&[id::REASON_STRING]);
    pub(super) const SUBSCRIBE: Self = Self::of(&[id::SUBSCRIPTION_IDENTIFIER]);
    pub(super) const UNSUBSCRIBE: Self = Self::of(&[]);
    pub(super) const AUTH: Self =
        Self::of(&[id::AUTHENTICATION_METHOD, id::AUTHENTICATION_DATA, id::REASON_STRING]);
    /// Without the server reference, which only a server may send [MQTT5 3.14.2.2.5].
    pub(super) const DISCONNECT: Self = Self::of(&[id::SESSION_EXPIRY_INTERVAL, id::REASON_STRING]);
}

/// A property's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Byte, two byte, four byte or variable byte integer.
    Int(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    Pair(&'a str, &'a str),
}

/// Reads a packet's property section, length included, and passes each property to `take`.
pub(super) fn for_each<'a>(
    reader: &mut Reader<'a>,
    allowed: Allowed,
    mut take: impl FnMut(u32, Value<'a>) -> Result<(), Reason>,
) -> Result<(), Reason> {
    let len = reader.variable_int()?;
    let mut section = Reader::new(reader.take(len as usize)?);
    let mut seen = 0u64;
    let mut user_properties = 0;
    while !section.is_empty() {
        let id = section.variable_int()?;
        let value = value(&mut section, id)?;
        let bit = 1u64 << id;
        if allowed.0 & bit == 0 {
            return Err(Reason::ProtocolError);
        }
        if id == id::USER_PROPERTY {
            user_properties += 1;
            if user_properties > USER_PROPERTIES_MAX {
                return Err(Reason::QuotaExceeded);
            }
        } else if seen & bit != 0 {
            return Err(Reason::ProtocolError);
        }
        seen |= bit;
        take(id, value)?;
    }
    Ok(())
}

/// Reads the value of property `id`. An identifier that no packet has is malformed.
fn value<'a>(section: &mut Reader<'a>, id: u32) -> Result<Value<'a>, Reason> {
    Ok(match id {
        // Flags and indicators of one byte, the server's included.
        1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => Value::Int(u32::from(section.u8()?)),
        // Server keep alive, receive maximum, topic alias maximum, topic alias.
        19 | 33 | 34 | 35 => Value::Int(u32::from(section.u16()?)),
        // Message expiry, session expiry, will delay, maximum packet size.
        2 | 17 | 24 | 39 => Value::Int(section.u32()?),
        id::SUBSCRIPTION_IDENTIFIER => Value::Int(section.variable_int()?),
        // Content type, response topic, assigned client id, authentication method, response
        // information, server reference, reason string.
        3 | 8 | 18 | 21 | 26 | 28 | 31 => Value::Text(section.text()?),
        id::CORRELATION_DATA | id::AUTHENTICATION_DATA => Value::Binary(section.binary()?),
        id::USER_PROPERTY => Value::Pair(section.text()?, section.text()?),
        _ => return Err(Reason::MalformedPacket),
    })
}

/// Reads 0 or 1; MQTT 5 calls any other value of such a property a protocol error.
pub(super) fn flag(value: u32) -> Result<bool, Reason> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Reason::ProtocolError),
    }
}

/// Properties that a server passes on with a message, collected from a PUBLISH or a will.
#[derive(Debug, Default)]
pub(super) struct Passing {
    properties: MessageProperties,
    user_properties: UserPropertiesBuilder,
    any: bool,
}

impl Passing {
    /// Keeps the property if it is passed on.
    pub(super) fn take(&mut self, id: u32, value: Value<'_>) -> Result<(), Reason> {
        let properties = &mut self.properties;
        match (id, value) {
            (id::PAYLOAD_FORMAT_INDICATOR, Value::Int(format)) => {
                properties.payload_format = Some(u8::from(flag(format)?));
            }
            (id::CONTENT_TYPE, Value::Text(text)) => properties.content_type = Some(text.into()),
            (id::RESPONSE_TOPIC, Value::Text(text)) => {
                // [MQTT-3.3.2-14]
                if text.is_empty() || text.contains(['+', '#']) {
                    return Err(Reason::ProtocolError);
                }
                properties.response_topic = Some(text.into());
            }
            (id::CORRELATION_DATA, Value::Binary(data)) => {
                properties.correlation_data = Some(Bytes::copy_from_slice(data));
            }
            (id::USER_PROPERTY, Value::Pair(name, value)) => {
                // They were read with two-byte lengths, so they fit.
                let pushed = self.user_properties.push(name, value);
                pushed.map_err(|_| Reason::MalformedPacket)?;
            }
            _ => return Ok(()),
        }
        self.any = true;
        Ok(())
    }

    /// The collected properties; `None` if there are none.
    pub(super) fn finish(self) -> Option<Arc<MessageProperties>> {
        self.any.then(|| {
            let user_properties = self.user_properties.finish();
            Arc::new(MessageProperties { user_properties, ..self.properties })
        })
    }
}
