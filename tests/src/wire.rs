//! MQTT packets, written down from the specification a second time, independently of the server's
//! codec. Only what the tests send and receive; they validate what they assert, and no more.

/// The protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.
    V31,
    /// 3.1.1.
    V311,
    /// 5.0.
    V5,
}

/// The versions that most tests cover.
pub const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

/// A whole PINGREQ.
pub const PINGREQ: [u8; 2] = [0xC0, 0x00];

/// MQTT 5 property identifiers that the tests use (section 2.2.2.2).
pub mod property {
    #![expect(missing_docs, reason = "the specification's own names")]
    pub const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
    pub const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const RESPONSE_TOPIC: u8 = 0x08;
    pub const CORRELATION_DATA: u8 = 0x09;
    pub const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
    pub const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    pub const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    pub const AUTHENTICATION_DATA: u8 = 0x16;
    pub const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub const WILL_DELAY_INTERVAL: u8 = 0x18;
    pub const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub const RESPONSE_INFORMATION: u8 = 0x1A;
    pub const SERVER_REFERENCE: u8 = 0x1C;
    pub const REASON_STRING: u8 = 0x1F;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub const TOPIC_ALIAS: u8 = 0x23;
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    pub const USER_PROPERTY: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
    pub const SUBSCRIPTION_IDENTIFIERS_AVAILABLE: u8 = 0x29;
    pub const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2A;
}

/// The value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A byte, two or four byte integer, or variable byte integer, depending on the identifier.
    Number(u32),
    /// A string.
    Text(String),
    /// Binary data.
    Bytes(Vec<u8>),
    /// A pair of strings.
    Pair(String, String),
}

/// Properties in the order of the packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<(u8, Value)>);

impl Properties {
    /// The first one with that identifier.
    pub fn find(&self, identifier: u8) -> Option<&Value> {
        self.0.iter().find(|(id, _)| *id == identifier).map(|(_, value)| value)
    }

    /// The first one with that identifier, which must be a number.
    pub fn number(&self, identifier: u8) -> Option<u32> {
        match self.find(identifier) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// All numbers with that identifier, in the packet's order.
    pub fn numbers(&self, identifier: u8) -> Vec<u32> {
        let of_it = self.0.iter().filter(|(id, _)| *id == identifier);
        of_it
            .filter_map(|(_, value)| match value {
                Value::Number(number) => Some(*number),
                _ => None,
            })
            .collect()
    }
}

/// A packet from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields as the specification names them")]
pub enum Packet {
    Connack {
        session_present: bool,
        code: u8,
        properties: Properties,
    },
    Publish(Publish),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP: the packet type is `kind`.
    Ack {
        kind: u8,
        packet_id: u16,
        reason: u8,
    },
    Suback {
        packet_id: u16,
        codes: Vec<u8>,
    },
    Unsuback {
        packet_id: u16,
        codes: Vec<u8>,
    },
    Pingresp,
    Disconnect {
        reason: u8,
        properties: Properties,
    },
    Auth {
        reason: u8,
        properties: Properties,
    },
}

/// A PUBLISH, either way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields as the specification names them")]
pub struct Publish {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    pub packet_id: u16,
    pub properties: Properties,
}

/// PUBACK's packet type.
pub const PUBACK: u8 = 4;
/// PUBREC's packet type.
pub const PUBREC: u8 = 5;
/// PUBREL's packet type.
pub const PUBREL: u8 = 6;
/// PUBCOMP's packet type.
pub const PUBCOMP: u8 = 7;

/// The will of a CONNECT.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "fields as the specification names them")]
pub struct Will {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub properties: Properties,
}

/// A CONNECT, whole.
pub fn connect(
    version: Version,
    client_id: &str,
    keep_alive_secs: u16,
    clean: bool,
    will: Option<&Will>,
    properties: &Properties,
) -> Vec<u8> {
    let nobody = Login::default();
    connect_as(&nobody, version, client_id, keep_alive_secs, clean, will, properties)
}

/// User name and password of CONNECT.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "fields as the specification names them")]
pub struct Login {
    pub user_name: Option<String>,
    pub password: Option<Vec<u8>>,
}

/// A CONNECT, whole, with user name and password.
pub fn connect_as(
    login: &Login,
    version: Version,
    client_id: &str,
    keep_alive_secs: u16,
    clean: bool,
    will: Option<&Will>,
    properties: &Properties,
) -> Vec<u8> {
    let mut body = Vec::new();
    let (name, level) = match version {
        Version::V31 => ("MQIsdp", 3),
        Version::V311 => ("MQTT", 4),
        Version::V5 => ("MQTT", 5),
    };
    put_text(&mut body, name);
    body.push(level);
    let will_flags = will.map_or(0, |w| 0x04 | (w.qos << 3) | (u8::from(w.retain) << 5));
    let Login { user_name, password } = login;
    let login_flags = (u8::from(user_name.is_some()) << 7) | (u8::from(password.is_some()) << 6);
    body.push((u8::from(clean) << 1) | will_flags | login_flags);
    body.extend(keep_alive_secs.to_be_bytes());
    put_properties(&mut body, version, properties);
    put_text(&mut body, client_id);
    if let Some(will) = will {
        put_properties(&mut body, version, &will.properties);
        put_text(&mut body, &will.topic);
        put_bytes(&mut body, &will.payload);
    }
    if let Some(name) = user_name {
        put_text(&mut body, name);
    }
    if let Some(password) = password {
        put_bytes(&mut body, password);
    }
    frame(0x10, &body)
}

/// A PUBLISH, whole.
pub fn publish(version: Version, publish: &Publish) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, &publish.topic);
    if publish.qos > 0 {
        body.extend(publish.packet_id.to_be_bytes());
    }
    put_properties(&mut body, version, &publish.properties);
    body.extend(&publish.payload);
    let flags = (u8::from(publish.dup) << 3) | (publish.qos << 1) | u8::from(publish.retain);
    frame(0x30 | flags, &body)
}

/// A SUBSCRIBE, whole: filters with their options byte (in 3.1.1, the QoS).
pub fn subscribe(version: Version, packet_id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    subscribe_with(version, packet_id, &Properties::default(), filters)
}

/// Like `subscribe`, with properties.
pub fn subscribe_with(
    version: Version,
    packet_id: u16,
    properties: &Properties,
    filters: &[(&str, u8)],
) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    put_properties(&mut body, version, properties);
    for (filter, options) in filters {
        put_text(&mut body, filter);
        body.push(*options);
    }
    frame(0x82, &body)
}

/// An UNSUBSCRIBE, whole.
pub fn unsubscribe(version: Version, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    put_properties(&mut body, version, &Properties::default());
    for filter in filters {
        put_text(&mut body, filter);
    }
    frame(0xA2, &body)
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP, whole, with success in the short form of both versions.
pub fn ack(kind: u8, packet_id: u16) -> Vec<u8> {
    let flags = if kind == PUBREL { 0x02 } else { 0 };
    frame((kind << 4) | flags, &packet_id.to_be_bytes())
}

/// A DISCONNECT, whole, normal.
pub fn disconnect() -> Vec<u8> {
    frame(0xE0, &[])
}

/// A DISCONNECT of MQTT 5 with a reason code and properties, whole.
pub fn disconnect_with(reason: u8, properties: &Properties) -> Vec<u8> {
    let mut body = vec![reason];
    put_properties(&mut body, Version::V5, properties);
    frame(0xE0, &body)
}

/// An AUTH, whole.
pub fn auth(reason: u8, properties: &Properties) -> Vec<u8> {
    let mut body = vec![reason];
    put_properties(&mut body, Version::V5, properties);
    frame(0xF0, &body)
}

/// A frame: first byte, remaining length, body.
pub fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    put_varint(&mut bytes, body.len());
    bytes.extend(body);
    bytes
}

/// Decodes the first packet of `bytes`. Returns it and how many bytes it took; `None`: it is
/// incomplete.
///
/// # Panics
/// The bytes are not a packet that a server sends, so the stream is broken.
pub fn decode(version: Version, bytes: &[u8]) -> Option<(Packet, usize)> {
    let first = *bytes.first()?;
    let (length, used) = read_varint(&bytes[1..])?;
    let end = 1 + used + length;
    let mut body = Reader(bytes.get(1 + used..end)?);
    let packet = match first {
        0x20 => Packet::Connack {
            session_present: body.byte() == 1,
            code: body.byte(),
            properties: body.properties(version),
        },
        0x30..=0x3F => Packet::Publish(read_publish(version, first, &mut body)),
        0x40 | 0x50 | 0x62 | 0x70 => Packet::Ack {
            kind: first >> 4,
            packet_id: body.u16(),
            reason: if body.0.is_empty() { 0 } else { body.byte() },
        },
        0x90 => {
            let packet_id = body.u16();
            body.properties(version);
            Packet::Suback { packet_id, codes: body.rest() }
        }
        0xB0 => {
            let packet_id = body.u16();
            body.properties(version);
            Packet::Unsuback { packet_id, codes: body.rest() }
        }
        0xD0 => {
            assert_eq!(length, 0, "a PINGRESP with a body");
            Packet::Pingresp
        }
        0xE0 if version == Version::V5 => Packet::Disconnect {
            reason: if body.0.is_empty() { 0 } else { body.byte() },
            properties: body.properties(version),
        },
        0xF0 if version == Version::V5 => {
            Packet::Auth { reason: body.byte(), properties: body.properties(version) }
        }
        _ => panic!("no server sends a packet that begins with {first:#04x}: the stream is broken"),
    };
    Some((packet, end))
}

fn read_publish(version: Version, first: u8, body: &mut Reader<'_>) -> Publish {
    let qos = (first >> 1) & 3;
    let topic = body.text();
    let packet_id = if qos > 0 { body.u16() } else { 0 };
    let properties = body.properties(version);
    Publish {
        topic,
        payload: body.rest(),
        qos,
        retain: first & 1 == 1,
        dup: first & 8 == 8,
        packet_id,
        properties,
    }
}

fn put_varint(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let more = if number > 127 { 0x80 } else { 0 };
        out.push((number % 128) as u8 | more);
        number /= 128;
        if number == 0 {
            return;
        }
    }
}

/// A variable byte integer, and its length in bytes.
fn read_varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut number = 0;
    for index in 0..4 {
        let byte = *bytes.get(index)?;
        number |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, index + 1));
        }
    }
    panic!("a remaining length of more than four bytes: the stream is broken");
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("at most 65,535 bytes");
    out.extend(length.to_be_bytes());
    out.extend(bytes);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

fn put_properties(out: &mut Vec<u8>, version: Version, properties: &Properties) {
    if version != Version::V5 {
        return;
    }
    let mut bytes = Vec::new();
    for (identifier, value) in &properties.0 {
        bytes.push(*identifier);
        match value {
            Value::Number(number) => match width(*identifier) {
                0 => put_varint(&mut bytes, *number as usize),
                width => bytes.extend(&number.to_be_bytes()[4 - width..]),
            },
            Value::Text(text) => put_text(&mut bytes, text),
            Value::Bytes(data) => put_bytes(&mut bytes, data),
            Value::Pair(name, value) => {
                put_text(&mut bytes, name);
                put_text(&mut bytes, value);
            }
        }
    }
    put_varint(out, bytes.len());
    out.extend(bytes);
}

/// Bytes of a numeric property; 0 for a variable byte integer.
fn width(identifier: u8) -> usize {
    match identifier {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
        0x13 | 0x21..=0x23 => 2,
        0x02 | 0x11 | 0x18 | 0x27 => 4,
        0x0B => 0,
        _ => panic!("property {identifier:#04x} is no number"),
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, length: usize) -> &[u8] {
        assert!(length <= self.0.len(), "a field reaches beyond its packet: the stream is broken");
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.u16());
        self.take(length).to_vec()
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.bytes()).expect("UTF-8 from the server")
    }

    fn rest(&mut self) -> Vec<u8> {
        self.take(self.0.len()).to_vec()
    }

    /// Properties; none in 3.1.1, nor where an MQTT 5 packet ends early.
    fn properties(&mut self, version: Version) -> Properties {
        if version != Version::V5 || self.0.is_empty() {
            return Properties::default();
        }
        let (length, used) = read_varint(self.0).expect("a property length");
        self.take(used);
        let mut list = Reader(self.take(length));
        let mut properties = Vec::new();
        while !list.0.is_empty() {
            let identifier = list.byte();
            properties.push((identifier, list.value(identifier)));
        }
        Properties(properties)
    }

    fn value(&mut self, identifier: u8) -> Value {
        match identifier {
            0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => Value::Text(self.text()),
            0x09 | 0x16 => Value::Bytes(self.bytes()),
            0x26 => Value::Pair(self.text(), self.text()),
            _ => match width(identifier) {
                0 => {
                    let (number, used) = read_varint(self.0).expect("a variable byte integer");
                    self.take(used);
                    Value::Number(number as u32)
                }
                width => {
                    let number = self.take(width).iter().fold(0, |n, b| (n << 8) | u32::from(*b));
                    Value::Number(number)
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
