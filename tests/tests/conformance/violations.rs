//! Packets that no client may send: one table, each with its reason, and the way out of each
//! version.

use push_server::mqtt::codec::Reason::{
    self, MalformedPacket, PacketTooLarge, ProtocolError, TopicNameInvalid,
};

use crate::server::{Seen, at_every_split};
use crate::wire::{Connect, disconnected};

/// What is wrong, the bytes in MQTT 3.1.1 and in MQTT 5 (empty: not wrong there), and the reason.
const VIOLATIONS: &[(&str, &[u8], &[u8], Reason)] = &[
    ("packet type 0", &[0x00, 0], &[0x00, 0], MalformedPacket),
    ("CONNACK", &[0x20, 2, 0, 0], &[0x20, 3, 0, 0, 0], ProtocolError),
    ("SUBACK", &[0x90, 3, 0, 1, 0], &[0x90, 4, 0, 1, 0, 0], ProtocolError),
    ("UNSUBACK", &[0xB0, 2, 0, 1], &[0xB0, 4, 0, 1, 0, 0], ProtocolError),
    ("PINGRESP", &[0xD0, 0], &[0xD0, 0], ProtocolError),
    ("AUTH without method", &[0xF0, 0], &[0xF0, 0], ProtocolError),
    ("PINGREQ with flags", &[0xC1, 0], &[0xC1, 0], MalformedPacket),
    ("PINGREQ with body", &[0xC0, 1, 0], &[0xC0, 1, 0], MalformedPacket),
    ("DISCONNECT with flags", &[0xE1, 0], &[0xE1, 0], MalformedPacket),
    ("DISCONNECT with body", &[0xE0, 1, 0], &[], MalformedPacket),
    ("DISCONNECT of a server's reason", &[], &[0xE0, 1, 0x8B], ProtocolError),
    ("PUBREL without flag", &[0x60, 2, 0, 1], &[0x60, 2, 0, 1], MalformedPacket),
    (
        "SUBSCRIBE without flag",
        &[0x80, 6, 0, 1, 0, 1, b't', 0],
        &[0x80, 7, 0, 1, 0, 0, 1, b't', 0],
        MalformedPacket,
    ),
    (
        "UNSUBSCRIBE without flag",
        &[0xA0, 5, 0, 1, 0, 1, b't'],
        &[0xA0, 6, 0, 1, 0, 0, 1, b't'],
        MalformedPacket,
    ),
    ("UNSUBSCRIBE without packet id", &[0xA2, 0], &[0xA2, 1, 0], MalformedPacket),
    ("PUBACK with flags", &[0x41, 2, 0, 1], &[0x41, 2, 0, 1], MalformedPacket),
    ("PUBACK cut short", &[0x40, 1, 0], &[0x40, 1, 0], MalformedPacket),
    ("PUBACK too long", &[0x40, 3, 0, 1, 0], &[0x40, 5, 0, 1, 0, 0, 0], MalformedPacket),
    ("PUBACK of an unknown reason", &[], &[0x40, 3, 0, 1, 0x7E], ProtocolError),
    ("packet id 0 in PUBACK", &[0x40, 2, 0, 0], &[0x40, 2, 0, 0], ProtocolError),
    (
        "packet id 0 in PUBLISH",
        &[0x32, 5, 0, 1, b't', 0, 0],
        &[0x32, 6, 0, 1, b't', 0, 0, 0],
        ProtocolError,
    ),
    (
        "packet id 0 in SUBSCRIBE",
        &[0x82, 6, 0, 0, 0, 1, b't', 0],
        &[0x82, 7, 0, 0, 0, 0, 1, b't', 0],
        ProtocolError,
    ),
    ("QoS 3", &[0x36, 5, 0, 1, b't', 0, 1], &[0x36, 6, 0, 1, b't', 0, 1, 0], MalformedPacket),
    ("DUP with QoS 0", &[0x38, 3, 0, 1, b't'], &[0x38, 4, 0, 1, b't', 0], MalformedPacket),
    ("wildcard in a topic", &[0x30, 3, 0, 1, b'#'], &[0x30, 4, 0, 1, b'+', 0], TopicNameInvalid),
    ("U+0000 in a topic", &[0x30, 3, 0, 1, 0], &[0x30, 4, 0, 1, 0, 0], MalformedPacket),
    (
        "surrogate in a topic",
        &[0x30, 5, 0, 3, 0xED, 0xA0, 0x80],
        &[0x30, 6, 0, 3, 0xED, 0xA0, 0x80, 0],
        MalformedPacket,
    ),
    ("no topic", &[0x30, 2, 0, 0], &[0x30, 3, 0, 0, 0], ProtocolError),
    ("topic past the end", &[0x30, 3, 0, 2, b't'], &[0x30, 3, 0, 2, b't'], MalformedPacket),
    (
        "remaining length of 5 bytes",
        &[0x30, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0x30, 0xFF, 0xFF, 0xFF, 0xFF],
        MalformedPacket,
    ),
    (
        "256 MB announced",
        &[0x30, 0xFF, 0xFF, 0xFF, 0x7F],
        &[0x30, 0xFF, 0xFF, 0xFF, 0x7F],
        PacketTooLarge,
    ),
    ("properties past the end", &[], &[0x30, 4, 0, 1, b't', 9], MalformedPacket),
    ("property past its section", &[], &[0x30, 8, 0, 1, b't', 2, 2, 0, 0, 0], MalformedPacket),
    ("property length not in shortest form", &[], &[0x30, 5, 0, 1, b't', 0x80, 0], MalformedPacket),
    ("property twice", &[], &[0x30, 8, 0, 1, b't', 4, 1, 0, 1, 0], ProtocolError),
    ("unknown property", &[], &[0x30, 6, 0, 1, b't', 2, 0x7E, 0], MalformedPacket),
    ("property of another packet", &[], &[0x30, 7, 0, 1, b't', 3, 0x21, 0, 1], ProtocolError),
    ("payload format 2", &[], &[0x30, 6, 0, 1, b't', 2, 1, 2], ProtocolError),
    (
        "subscription identifier from a client",
        &[],
        &[0x30, 6, 0, 1, b't', 2, 0x0B, 1],
        ProtocolError,
    ),
    ("subscription identifier 0", &[], &[0x82, 9, 0, 1, 2, 0x0B, 0, 0, 1, b't', 0], ProtocolError),
    ("response topic with wildcard", &[], &[0x30, 8, 0, 1, b't', 4, 8, 0, 1, b'#'], ProtocolError),
    ("server reference from a client", &[], &[0xE0, 6, 0, 4, 0x1C, 0, 1, b's'], ProtocolError),
];

#[test]
fn every_violation_ends_the_connection_with_its_reason() {
    for &(name, v311, v5, reason) in VIOLATIONS {
        for (connect, bytes, answer) in
            [(Connect::v311(), v311, vec![]), (Connect::v5(), v5, disconnected(reason as u8))]
        {
            if bytes.is_empty() {
                continue;
            }
            at_every_split(|server| {
                server.open(&connect.clone().will());
                server.send(bytes);
                let level = connect.level;
                assert_eq!(server.events(), [Seen::Failed(reason)], "{name}, level {level}");
                assert_eq!(server.received(), answer, "{name}, level {level}");
                assert!(server.hang_up().is_some(), "{name}: the will is due");
            });
        }
    }
}
