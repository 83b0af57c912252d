//! A client's packets, byte by byte. Written here by hand: the server's codec is what is tested.

use push_server::broker::QoS;

/// A packet: first byte, remaining length, body.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(variable_int(body.len()));
    bytes.extend(body);
    bytes
}

/// A variable byte integer.
pub(crate) fn variable_int(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7F {
        bytes.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Text or binary data with its length.
pub(crate) fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text);
    bytes
}

/// An MQTT 5 property section.
pub(crate) fn properties(properties: &[&[u8]]) -> Vec<u8> {
    let properties = properties.concat();
    [variable_int(properties.len()), properties].concat()
}

/// A property with a text or binary value.
pub(crate) fn text_property(id: u8, value: &str) -> Vec<u8> {
    [vec![id], text(value)].concat()
}

/// A user property.
pub(crate) fn user_property(name: &str, value: &str) -> Vec<u8> {
    [vec![0x26], text(name), text(value)].concat()
}

/// A CONNECT, with what most tests want unless they say otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Connect {
    pub(crate) name: &'static str,
    pub(crate) level: u8,
    pub(crate) flags: u8,
    pub(crate) keep_alive_secs: u16,
    pub(crate) properties: Vec<u8>,
    pub(crate) client_id: &'static str,
    /// Will, user name and password as they stand on the wire.
    pub(crate) rest: Vec<u8>,
}

impl Connect {
    /// MQTT 3.1.1 with a clean session.
    pub(crate) fn v311() -> Self {
        Self {
            name: "MQTT",
            level: 4,
            flags: 0x02,
            keep_alive_secs: 60,
            properties: Vec::new(),
            client_id: "client",
            rest: Vec::new(),
        }
    }

    /// MQTT 3.1 with a clean session.
    pub(crate) fn v31() -> Self {
        Self { name: "MQIsdp", level: 3, ..Self::v311() }
    }

    /// The same, said by the bridge of another broker.
    pub(crate) fn of_bridge(self) -> Self {
        Self { level: self.level | 0x80, ..self }
    }

    /// MQTT 5 with a clean start.
    pub(crate) fn v5() -> Self {
        Self { level: 5, ..Self::v311() }
    }

    /// To resume a session: clean session off, or clean start off and an expiry of an hour.
    pub(crate) fn persistent(self) -> Self {
        let expiry = if self.level == 5 { vec![0x11, 0, 0, 0x0E, 0x10] } else { Vec::new() };
        Self { flags: self.flags & !0x02, properties: expiry, ..self }
    }

    /// With a property more.
    pub(crate) fn property(mut self, bytes: &[u8]) -> Self {
        self.properties.extend(bytes);
        self
    }

    /// With a will `gone` on topic `will`, QoS 1.
    pub(crate) fn will(mut self) -> Self {
        self.flags |= 0x04 | 0x08;
        if self.level == 5 {
            self.rest.extend(properties(&[]));
        }
        self.rest.extend(text("will"));
        self.rest.extend(text("gone"));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = text(self.name);
        body.extend([self.level, self.flags]);
        body.extend(self.keep_alive_secs.to_be_bytes());
        if self.level == 5 {
            body.extend(variable_int(self.properties.len()));
            body.extend(&self.properties);
        }
        body.extend(text(self.client_id));
        body.extend(&self.rest);
        packet(0x10, &body)
    }
}

/// The version's empty property section: nothing, or one zero.
pub(crate) fn no_properties(level: u8) -> &'static [u8] {
    if level == 5 { &[0] } else { &[] }
}

/// A PUBLISH without properties; `packet_id` is left out with QoS 0.
pub(crate) fn publish(level: u8, topic: &str, payload: &[u8], qos: QoS, packet_id: u16) -> Vec<u8> {
    let mut body = text(topic);
    if qos != QoS::AtMostOnce {
        body.extend(packet_id.to_be_bytes());
    }
    body.extend(no_properties(level));
    body.extend(payload);
    packet(0x30 | (qos as u8) << 1, &body)
}

/// The same, sent again.
pub(crate) fn publish_again(
    level: u8,
    topic: &str,
    payload: &[u8],
    qos: QoS,
    packet_id: u16,
) -> Vec<u8> {
    let mut bytes = publish(level, topic, payload, qos, packet_id);
    bytes[0] |= 0x08;
    bytes
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP in the short form that both versions have.
pub(crate) fn ack(first: u8, packet_id: u16) -> Vec<u8> {
    packet(first, &packet_id.to_be_bytes())
}

/// The same with an MQTT 5 reason code.
pub(crate) fn ack_reason(first: u8, packet_id: u16, reason: u8) -> Vec<u8> {
    let [high, low] = packet_id.to_be_bytes();
    packet(first, &[high, low, reason])
}

pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x62;
pub(crate) const PUBCOMP: u8 = 0x70;
pub(crate) const PINGREQ: &[u8] = &[0xC0, 0x00];
pub(crate) const PINGRESP: &[u8] = &[0xD0, 0x00];
pub(crate) const DISCONNECT: &[u8] = &[0xE0, 0x00];

/// A SUBSCRIBE of filters with their options.
pub(crate) fn subscribe(level: u8, packet_id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    body.extend(no_properties(level));
    for (filter, options) in filters {
        body.extend(text(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

/// An UNSUBSCRIBE.
pub(crate) fn unsubscribe(level: u8, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    body.extend(no_properties(level));
    for filter in filters {
        body.extend(text(filter));
    }
    packet(0xA2, &body)
}

/// The server's DISCONNECT of MQTT 5: a reason code, and the code's name as reason string.
pub(crate) fn disconnected(reason: u8) -> Vec<u8> {
    let words = properties(&[&reason_string(name(reason))]);
    packet(0xE0, &[&[reason][..], &words].concat())
}

/// The server's CONNACK of MQTT 5 that refuses: the same.
pub(crate) fn refused(reason: u8) -> Vec<u8> {
    let words = properties(&[&reason_string(name(reason))]);
    packet(0x20, &[&[0, reason][..], &words].concat())
}

/// SUBACK (0x90) or UNSUBACK (0xB0) of MQTT 5 with a reason string and reason codes.
pub(crate) fn answered(first: u8, packet_id: u8, words: &str, codes: &[u8]) -> Vec<u8> {
    let words = properties(&[&reason_string(words)]);
    packet(first, &[&[0, packet_id][..], &words, codes].concat())
}

fn reason_string(words: &str) -> Vec<u8> {
    text_property(0x1F, words)
}

/// A reason code's name.
fn name(reason: u8) -> &'static str {
    match reason {
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8C => "bad authentication method",
        0x8B => "server shutting down",
        0x90 => "topic name invalid",
        0x93 => "receive maximum exceeded",
        0x94 => "topic alias invalid",
        0x95 => "packet too large",
        0x8E => "session taken over",
        0x9C => "use another server",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x9A => "retain not supported",
        0x9E => "shared subscriptions not supported",
        0xA2 => "wildcard subscriptions not supported",
        _ => panic!("no test expects the server to end a connection by {reason:#04x}"),
    }
}
