//! Text: UTF-8 and nothing else, wherever a packet has any, and never altered.

use push_server::broker::QoS::AtMostOnce;
use push_server::mqtt::codec::Reason;

use crate::server::{Seen, at_every_split};
use crate::wire::{
    Connect, PUBACK, packet, properties, publish, subscribe, text, text_property, unsubscribe,
};

/// No text: a surrogate, a byte that UTF-8 does not have, a character cut short, an overlong form,
/// a code point past the last, U+0000.
const ILL_FORMED: [&[u8]; 6] = [
    &[b'a', 0xED, 0xA0, 0x80],
    &[0xFF],
    &[b'a', 0xC3],
    &[0xC0, 0xAF],
    &[0xF4, 0x90, 0x80, 0x80],
    &[b'a', 0x00, b'b'],
];

/// U+FEFF, in front and within.
const MARKED: &str = "\u{FEFF}a/\u{FEFF}";

/// A text property.
fn property(id: u8, value: &[u8]) -> Vec<u8> {
    [vec![id], text(value)].concat()
}

fn pair(name: &[u8], value: &[u8]) -> Vec<u8> {
    [vec![0x26], text(name), text(value)].concat()
}

#[test]
fn ill_formed_text_is_malformed_wherever_it_stands() {
    for bad in ILL_FORMED {
        let connects = [
            Connect { flags: 0x06, rest: [text(bad), text("")].concat(), ..Connect::v311() },
            Connect { flags: 0x82, rest: text(bad), ..Connect::v311() },
            Connect {
                flags: 0x06,
                rest: [properties(&[]), text(bad), text("")].concat(),
                ..Connect::v5()
            },
            Connect {
                flags: 0x06,
                rest: [properties(&[&property(0x03, bad)]), text("will"), text("")].concat(),
                ..Connect::v5()
            },
            Connect { flags: 0x82, rest: text(bad), ..Connect::v5() },
            Connect::v5().property(&pair(bad, b"v")),
            Connect::v5().property(&pair(b"n", bad)),
        ];
        for connect in connects {
            at_every_split(|server| {
                server.connect(&connect.bytes());
                assert_eq!(
                    server.events(),
                    [Seen::Refused(Reason::MalformedPacket)],
                    "{bad:02x?}: {connect:?}"
                );
            });
        }
        for (level, bytes) in packets(bad) {
            at_every_split(|server| {
                server.open(&if level == 5 { Connect::v5() } else { Connect::v311() });
                server.send(&bytes);
                let failed = [Seen::Failed(Reason::MalformedPacket)];
                assert_eq!(server.events(), failed, "{bad:02x?} in {bytes:02x?}");
            });
        }
    }
}

/// Packets behind CONNECT with text in every place that has any.
fn packets(text_bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let in_publish = |section: Vec<u8>| packet(0x30, &[text("t"), section].concat());
    let filter = text(text_bytes);
    vec![
        (4, packet(0x30, &text(text_bytes))),
        (4, packet(0x82, &[&[0, 1][..], &filter, &[0]].concat())),
        (4, packet(0xA2, &[&[0, 1][..], &filter].concat())),
        (5, packet(0x30, &[text(text_bytes), properties(&[])].concat())),
        (5, in_publish(properties(&[&property(0x03, text_bytes)]))),
        (5, in_publish(properties(&[&property(0x08, text_bytes)]))),
        (5, in_publish(properties(&[&pair(text_bytes, b"v")]))),
        (5, in_publish(properties(&[&pair(b"n", text_bytes)]))),
        (5, packet(0x82, &[&[0, 1, 0][..], &filter, &[0]].concat())),
        (5, packet(0xA2, &[&[0, 1, 0][..], &filter].concat())),
        (5, packet(PUBACK, &[vec![0, 1, 0], properties(&[&property(0x1F, text_bytes)])].concat())),
        (5, packet(0xE0, &[vec![0], properties(&[&property(0x1F, text_bytes)])].concat())),
    ]
}

#[test]
fn byte_order_mark_is_kept_wherever_it_stands() {
    for level in [4, 5] {
        at_every_split(|server| {
            let connect = if level == 5 { Connect::v5() } else { Connect::v311() };
            server.open(&Connect { client_id: MARKED, ..connect });
            assert_eq!(server.session.as_ref().expect("one").client_id(), MARKED);
            server.send(&publish(level, MARKED, b"", AtMostOnce, 0));
            server.send(&subscribe(level, 1, &[(MARKED, 0)]));
            server.send(&unsubscribe(level, 1, &[MARKED]));
            let seen = [
                Seen::Publish {
                    topic: MARKED.into(),
                    payload: Vec::new(),
                    qos: AtMostOnce,
                    retain: false,
                },
                Seen::Subscribe(vec![Ok(MARKED.into())]),
                Seen::Unsubscribe(vec![Ok(MARKED.into())]),
            ];
            assert_eq!(server.events(), seen);
            server.received();
            server.deliver(MARKED, b"", AtMostOnce);
            assert_eq!(server.received(), publish(level, MARKED, b"", AtMostOnce, 0));
        });
    }
    at_every_split(|server| {
        server.open(&Connect::v5());
        let section = properties(&[&text_property(0x03, MARKED), &pair(b"", MARKED.as_bytes())]);
        let bytes = packet(0x30, &[text("t"), section].concat());
        server.send(&bytes);
        let message = server.messages.pop().expect("a message");
        server.deliver_message(message);
        assert_eq!(server.received(), bytes);
    });
}
