//! AUTH, both ways [MQTT5 3.15]. By hand: mqttbytes has none.

use bytes::{BufMut, Bytes, BytesMut};

use super::Reason;
use super::frame::{packet_type, put_binary, put_variable_int, variable_int_len};
use super::properties::{self, Allowed, Value, id};
use super::read::Reader;

/// Reason codes of an AUTH [MQTT-3.15.2-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::mqtt) enum AuthReason {
    /// The exchange has succeeded; only a server sends this.
    Success = 0x00,
    /// The exchange goes on.
    Continue = 0x18,
    /// A new exchange begins; only a client sends this.
    Reauthenticate = 0x19,
}

/// A client's AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub(in crate::mqtt) reason: AuthReason,
    pub(in crate::mqtt) method: Box<str>,
    pub(in crate::mqtt) data: Option<Bytes>,
}

/// Parses the body of a client's AUTH. A method must be there [MQTT5 3.15.2.2.2]; without one the
/// packet could only mean success, which only a server sends.
pub(in crate::mqtt) fn auth(mut reader: Reader<'_>) -> Result<Auth, Reason> {
    if reader.is_empty() {
        return Err(Reason::ProtocolError);
    }
    let reason = match reader.u8()? {
        0x18 => AuthReason::Continue,
        0x19 => AuthReason::Reauthenticate,
        _ => return Err(Reason::ProtocolError),
    };
    let (mut method, mut data) = (None, None);
    if !reader.is_empty() {
        properties::for_each(&mut reader, Allowed::AUTH, |id, value| {
            match (id, value) {
                (id::AUTHENTICATION_METHOD, Value::Text(text)) => method = Some(text.into()),
                (id::AUTHENTICATION_DATA, Value::Binary(bytes)) => {
                    data = Some(Bytes::copy_from_slice(bytes));
                }
                _ => {}
            }
            Ok(())
        })?;
    }
    reader.end()?;
    Ok(Auth { reason, method: method.ok_or(Reason::ProtocolError)?, data })
}

/// Writes an AUTH with the exchange's method [MQTT-4.12.0-5] and data, if any. The server knows the
/// method and has made the data; both are far shorter than 64 KiB.
pub(in crate::mqtt) fn put_auth(
    out: &mut BytesMut,
    reason: AuthReason,
    method: &str,
    data: Option<&[u8]>,
) {
    let properties_len = 3 + method.len() + data.map_or(0, |data| 3 + data.len());
    let body_len = 1 + variable_int_len(properties_len) + properties_len;
    out.put_u8(packet_type::AUTH << 4);
    put_variable_int(out, body_len);
    out.put_u8(reason as u8);
    put_variable_int(out, properties_len);
    out.put_u8(id::AUTHENTICATION_METHOD as u8);
    put_binary(out, method.as_bytes());
    if let Some(data) = data {
        out.put_u8(id::AUTHENTICATION_DATA as u8);
        put_binary(out, data);
    }
}
