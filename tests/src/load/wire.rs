//! The little of MQTT that a load client speaks: requests as bytes, and a parser of answers,
//! however the stream is cut. Nothing here allocates for each packet, and no byte of the server
//! causes a panic.
//!
//! Written from the specification, without the server's codec, so that the two disagree where the
//! server errs.

/// The protocol spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
}

/// PINGREQ.
pub const PINGREQ: [u8; 2] = [0xC0, 0x00];
/// First byte of CONNACK.
pub const CONNACK: u8 = 0x20;
/// First byte of SUBACK.
pub const SUBACK: u8 = 0x90;
/// First byte of PINGRESP.
pub const PINGRESP: u8 = 0xD0;
/// First byte of a PUBLISH at QoS 0; mask the RETAIN bit.
pub const PUBLISH_QOS0: u8 = 0x30;
/// First byte of a PUBLISH at QoS 1, without its flags.
pub const PUBLISH_QOS1: u8 = 0x32;
/// The RETAIN bit of a PUBLISH.
pub const RETAIN: u8 = 0x01;
/// The DUP bit of a PUBLISH.
pub const DUP: u8 = 0x08;
/// First byte of PUBACK.
pub const PUBACK: u8 = 0x40;
/// First byte of DISCONNECT.
pub const DISCONNECT: u8 = 0xE0;

/// DISCONNECT, normal, in both protocols.
pub const DISCONNECT_NORMAL: [u8; 2] = [DISCONNECT, 0x00];

/// Bytes of an answer's body that a packet keeps: enough for every code that is checked.
const HEAD_BYTES: usize = 4;
/// Most bytes that the remaining length takes [MQTT-2.2.3].
const LENGTH_BYTES_MAX: u8 = 4;

/// Appends a CONNECT with clean session.
pub fn connect(out: &mut Vec<u8>, version: Version, client_id: &str, keep_alive_secs: u16) {
    connect_as(out, version, client_id, keep_alive_secs, true);
}

/// Appends a CONNECT. Without `clean` a 3.1.1 session outlives its connection.
pub fn connect_as(
    out: &mut Vec<u8>,
    version: Version,
    client_id: &str,
    keep_alive_secs: u16,
    clean: bool,
) {
    let level = if version == Version::V5 { 5 } else { 4 };
    let properties = usize::from(version == Version::V5);
    begin(out, 0x10, 10 + properties + 2 + client_id.len());
    string(out, "MQTT");
    out.extend([level, u8::from(clean) << 1]);
    out.extend(keep_alive_secs.to_be_bytes());
    out.extend(std::iter::repeat_n(0, properties));
    string(out, client_id);
}

/// Appends a CONNECT of 3.1.1 with clean session, user name and password.
pub fn connect_with_login(
    out: &mut Vec<u8>,
    client_id: &str,
    keep_alive_secs: u16,
    (user_name, password): (&str, &[u8]),
) {
    let fields = [client_id.len(), user_name.len(), password.len()];
    begin(out, 0x10, 10 + fields.map(|len| 2 + len).iter().sum::<usize>());
    string(out, "MQTT");
    // User name, password, clean session.
    out.extend([4, 0xC2]);
    out.extend(keep_alive_secs.to_be_bytes());
    string(out, client_id);
    string(out, user_name);
    out.extend(u16::try_from(password.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(password);
}

/// Appends a SUBSCRIBE with packet id 1 for `filter`.
pub fn subscribe(out: &mut Vec<u8>, version: Version, filter: &str, qos: u8) {
    let properties = usize::from(version == Version::V5);
    begin(out, 0x82, 2 + properties + 2 + filter.len() + 1);
    out.extend([0, 1]);
    out.extend(std::iter::repeat_n(0, properties));
    string(out, filter);
    out.push(qos);
}

/// Appends a PUBLISH at QoS 0.
pub fn publish(out: &mut Vec<u8>, version: Version, topic: &str, payload: &[u8]) {
    let properties = usize::from(version == Version::V5);
    begin(out, PUBLISH_QOS0, 2 + topic.len() + properties + payload.len());
    string(out, topic);
    out.extend(std::iter::repeat_n(0, properties));
    out.extend(payload);
}

/// Appends the fixed header of a packet.
pub(super) fn begin(out: &mut Vec<u8>, first: u8, mut remaining: usize) {
    out.push(first);
    loop {
        let digit = (remaining % 128) as u8;
        remaining /= 128;
        if remaining == 0 {
            out.push(digit);
            return;
        }
        out.push(digit | 0x80);
    }
}

/// Appends a string with its length.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("names of our own are short");
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
}

/// A whole packet of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Type and flags.
    pub first: u8,
    /// Length of the body in bytes.
    pub remaining: u32,
    /// The first bytes of the body, filled with zeros.
    pub head: [u8; HEAD_BYTES],
}

/// A remaining length of more than four bytes: the rest of the stream is unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The position within a packet. 16 bytes, since there are many.
#[derive(Debug, Default)]
pub struct Decoder {
    first: u8,
    length_bytes: u8,
    stage: Stage,
    remaining: u32,
    taken: u32,
    head: [u8; HEAD_BYTES],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    First,
    Length,
    Body,
}

impl Decoder {
    /// Takes bytes off `input` up to the end of the next packet. `None`: took all, and the packet
    /// is incomplete.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Packet>, Malformed> {
        while let Some((&byte, rest)) = input.split_first() {
            match self.stage {
                Stage::First => {
                    *self = Self { first: byte, stage: Stage::Length, ..Self::default() };
                    *input = rest;
                }
                Stage::Length => {
                    if self.length_bytes == LENGTH_BYTES_MAX {
                        return Err(Malformed);
                    }
                    self.remaining |= u32::from(byte & 0x7F) << (7 * self.length_bytes);
                    self.length_bytes += 1;
                    *input = rest;
                    if byte & 0x80 == 0 {
                        self.stage = Stage::Body;
                    } else if self.length_bytes == LENGTH_BYTES_MAX {
                        return Err(Malformed);
                    }
                }
                Stage::Body => self.take_body(input),
            }
            if self.stage == Stage::Body && self.taken == self.remaining {
                self.stage = Stage::First;
                let Self { first, remaining, head, .. } = *self;
                return Ok(Some(Packet { first, remaining, head }));
            }
        }
        Ok(None)
    }

    /// Whether the stream is between two packets.
    pub fn is_between_packets(&self) -> bool {
        self.stage == Stage::First
    }

    fn take_body(&mut self, input: &mut &[u8]) {
        let wanted = (self.remaining - self.taken) as usize;
        let (part, rest) = input.split_at(wanted.min(input.len()));
        let seen = self.taken as usize;
        if seen < HEAD_BYTES {
            let shown = part.len().min(HEAD_BYTES - seen);
            self.head[seen..seen + shown].copy_from_slice(&part[..shown]);
        }
        // `part` is no longer than `remaining`, which is a u32.
        self.taken += part.len() as u32;
        *input = rest;
    }
}

#[cfg(test)]
mod tests;
