//! Which property may stand in which packet of a client, how often, and with which values: all of them
//! against all packets.

use push_server::mqtt::codec::Reason;

use crate::server::{Seen, at_every_split, whole};
use crate::wire::{Connect, packet, properties, publish, text};

/// Every property there is [MQTT5 2.2.2.2], with a value that is good where it may stand.
const PROPERTIES: &[(&str, &[u8])] = &[
    ("payload format indicator", &[0x01, 1]),
    ("message expiry interval", &[0x02, 0, 0, 0, 9]),
    ("content type", &[0x03, 0, 1, b'c']),
    ("response topic", &[0x08, 0, 1, b'r']),
    ("correlation data", &[0x09, 0, 1, 0xFF]),
    ("subscription identifier", &[0x0B, 1]),
    ("session expiry interval", &[0x11, 0, 0, 0, 9]),
    ("assigned client identifier", &[0x12, 0, 1, b'a']),
    ("server keep alive", &[0x13, 0, 9]),
    ("authentication method", &[0x15, 0, 1, b'm']),
    ("authentication data", &[0x16, 0, 1, 0xFF]),
    ("request problem information", &[0x17, 1]),
    ("will delay interval", &[0x18, 0, 0, 0, 9]),
    ("request response information", &[0x19, 1]),
    ("response information", &[0x1A, 0, 1, b'i']),
    ("server reference", &[0x1C, 0, 1, b's']),
    ("reason string", &[0x1F, 0, 1, b'w']),
    ("receive maximum", &[0x21, 0, 9]),
    ("topic alias maximum", &[0x22, 0, 9]),
    ("topic alias", &[0x23, 0, 1]),
    ("maximum qos", &[0x24, 1]),
    ("retain available", &[0x25, 1]),
    ("user property", &[0x26, 0, 1, b'k', 0, 1, b'v']),
    ("maximum packet size", &[0x27, 0, 0, 1, 0]),
    ("wildcard subscription available", &[0x28, 1]),
    ("subscription identifier available", &[0x29, 1]),
    ("shared subscription available", &[0x2A, 1]),
];

/// The packets that a client may send after CONNECT, by the properties in them, and the
/// identifiers that may stand there beside user properties.
type Sending = (&'static str, fn(&[u8]) -> Vec<u8>, &'static [u8]);

const PACKETS: &[Sending] = &[
    (
        "PUBLISH",
        |section| packet(0x30, &[&text("t"), section].concat()),
        &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23],
    ),
    ("PUBACK", |section| packet(0x40, &[&[0, 9, 0][..], section].concat()), &[0x1F]),
    ("PUBREC", |section| packet(0x50, &[&[0, 9, 0][..], section].concat()), &[0x1F]),
    ("PUBREL", |section| packet(0x62, &[&[0, 9, 0][..], section].concat()), &[0x1F]),
    ("PUBCOMP", |section| packet(0x70, &[&[0, 9, 0][..], section].concat()), &[0x1F]),
    (
        "SUBSCRIBE",
        |section| packet(0x82, &[&[0, 9][..], section, &text("t"), &[0]].concat()),
        &[0x0B],
    ),
    ("UNSUBSCRIBE", |section| packet(0xA2, &[&[0, 9][..], section, &text("t")].concat()), &[]),
    ("DISCONNECT", |section| packet(0xE0, &[&[4][..], section].concat()), &[0x11, 0x1F]),
];

const CONNECT_ALLOWED: &[u8] = &[0x11, 0x15, 0x17, 0x19, 0x21, 0x22, 0x27];
const WILL_ALLOWED: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18];
const USER_PROPERTY: u8 = 0x26;

/// Whether a packet that begins a connection is refused as a protocol error. A method is no such
/// error, though there is none here.
fn is_refused(connect: &Connect) -> bool {
    let mut refused = None;
    whole(|server| {
        server.connect(&connect.bytes());
        refused = match server.events().pop() {
            Some(Seen::Refused(Reason::BadAuthenticationMethod)) | None => None,
            Some(Seen::Refused(reason)) => Some(reason),
            other => panic!("{other:?}"),
        };
    });
    assert!(matches!(refused, None | Some(Reason::ProtocolError)), "{refused:?}");
    refused.is_some()
}

fn ends_connection(bytes: &[u8]) -> bool {
    let mut failed = None;
    whole(|server| {
        // Session expiry may change at the end only if there is one.
        server.open(&Connect::v5().persistent());
        server.send(bytes);
        failed = server.events().into_iter().find_map(|seen| match seen {
            Seen::Failed(reason) => Some(reason),
            _ => None,
        });
    });
    assert!(matches!(failed, None | Some(Reason::ProtocolError)), "{failed:?}");
    failed.is_some()
}

/// [MQTT-2.2.2-1] [MQTT5 2.2.2.2] in the packets that have them, and in no other; and but for user
/// properties once.
#[test]
fn property_stands_where_it_may_and_once() {
    for (name, property) in PROPERTIES {
        let id = property[0];
        let twice = property.repeat(2);
        let once_only = id != USER_PROPERTY;
        for (kind, bytes, allowed) in PACKETS {
            let is_allowed = allowed.contains(&id) || !once_only;
            let fails = ends_connection(&bytes(&properties(&[property])));
            assert_eq!(fails, !is_allowed, "{name} in {kind}");
            let fails = ends_connection(&bytes(&properties(&[&twice])));
            assert_eq!(fails, !is_allowed || once_only, "{name} twice in {kind}");
        }
        let is_allowed = CONNECT_ALLOWED.contains(&id) || !once_only;
        // Data needs a method beside it: see `authenticate`.
        assert_eq!(is_refused(&Connect::v5().property(property)), !is_allowed, "{name} in CONNECT");
        let refused = is_refused(&Connect::v5().property(&twice));
        assert_eq!(refused, !is_allowed || once_only, "{name} twice in CONNECT");
        let will = |section: &[u8]| Connect {
            flags: 0x06,
            rest: [&properties(&[section])[..], &text("will"), &text("gone")].concat(),
            ..Connect::v5()
        };
        let is_allowed = WILL_ALLOWED.contains(&id) || !once_only;
        assert_eq!(is_refused(&will(property)), !is_allowed, "{name} in a will");
        let refused = is_refused(&will(&twice));
        assert_eq!(refused, !is_allowed || once_only, "{name} twice in a will");
    }
}

/// [MQTT5 3.1.2.11] [MQTT5 3.3.2.3.2]: values that a property says are errors.
#[test]
fn property_out_of_its_range_is_a_protocol_error() {
    let cases: [&[u8]; 6] =
        [&[0x17, 2], &[0x19, 2], &[0x21, 0, 0], &[0x27, 0, 0, 0, 0], &[0x19, 255], &[0x17, 255]];
    for property in cases {
        assert!(is_refused(&Connect::v5().property(property)), "{property:02x?}");
    }
    for (property, kind) in
        [(&[0x01, 2][..], 0), (&[0x08, 0, 0], 0), (&[0x08, 0, 1, b'+'], 0), (&[0x0B, 0], 5)]
    {
        let (name, bytes, _) = PACKETS[kind];
        assert!(ends_connection(&bytes(&properties(&[property]))), "{property:02x?} in {name}");
    }
}

/// [MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.3-1] [MQTT-1.5.3-2]: each field that is text, in each
/// packet, and not the fields that are data.
#[test]
fn text_that_is_none_is_malformed() {
    let bad: [&[u8]; 5] =
        [&[0xFF], &[b'a', 0], &[0xED, 0xA0, 0x80], &[0xC0, 0xAF], &[0xF4, 0x90, 0x80, 0x80]];
    let prop = |id: u8, text: Vec<u8>| properties(&[&[vec![id], text].concat()]);
    for bad in bad {
        let bad = || text(bad);
        let pair = [vec![0x26], text("k"), bad()].concat();
        let name = [vec![0x26], bad(), text("v")].concat();
        let topic = text("t");
        let packets: Vec<Vec<u8>> = vec![
            packet(0x30, &[bad(), vec![0]].concat()),
            packet(0x30, &[topic.clone(), prop(0x03, bad())].concat()),
            packet(0x30, &[topic.clone(), prop(0x08, bad())].concat()),
            packet(0x30, &[topic.clone(), properties(&[&pair])].concat()),
            packet(0x30, &[topic.clone(), properties(&[&name])].concat()),
            packet(0x82, &[vec![0, 9, 0], bad(), vec![0]].concat()),
            packet(0xA2, &[vec![0, 9, 0], bad()].concat()),
            packet(0x40, &[vec![0, 9, 0], prop(0x1F, bad())].concat()),
            packet(0xE0, &[vec![0], prop(0x1F, bad())].concat()),
        ];
        for bytes in packets {
            at_every_split(|server| {
                server.open(&Connect::v5());
                server.send(&bytes);
                assert_eq!(
                    server.events(),
                    [Seen::Failed(Reason::MalformedPacket)],
                    "{bytes:02x?}"
                );
            });
        }
        let will = |section: Vec<u8>, topic: Vec<u8>| [section, topic, text("")].concat();
        let connects = [
            Connect { flags: 0x82, rest: bad(), ..Connect::v5() },
            Connect { flags: 0x82, rest: bad(), ..Connect::v311() },
            Connect { flags: 0x06, rest: will(properties(&[]), bad()), ..Connect::v5() },
            Connect { flags: 0x06, rest: will(vec![], bad()), ..Connect::v311() },
            Connect { flags: 0x06, rest: will(prop(0x03, bad()), topic), ..Connect::v5() },
            Connect::v5().property(&[vec![0x15], bad()].concat()),
            Connect::v5().property(&pair),
        ];
        for connect in connects {
            at_every_split(|server| {
                server.connect(&connect.bytes());
                assert_eq!(server.events(), [Seen::Refused(Reason::MalformedPacket)]);
            });
        }
    }
}

/// [MQTT-1.5.4-3] U+FEFF is text like any other, wherever it stands; so are all planes.
#[test]
fn byte_order_mark_is_kept() {
    for level in [4, 5] {
        at_every_split(|server| {
            server.open(&if level == 5 { Connect::v5() } else { Connect::v311() });
            let topic = "\u{feff}a/\u{feff}\u{1f680}";
            server.send(&publish(level, topic, b"", push_server::broker::QoS::AtMostOnce, 0));
            let Some(Seen::Publish { topic: seen, .. }) = server.events().pop() else { panic!() };
            assert_eq!(seen, topic);
        });
    }
}

/// [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.14.2-1] [MQTT-3.15.2-1]
#[test]
fn reason_codes_of_other_packets_are_protocol_errors() {
    let publish_reasons: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    let release_reasons: &[u8] = &[0x00, 0x92];
    let goodbyes: &[u8] =
        &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    for reason in 0..=255 {
        for (first, reasons) in [
            (0x40, publish_reasons),
            (0x50, publish_reasons),
            (0x62, release_reasons),
            (0x70, release_reasons),
        ] {
            let fails = ends_connection(&packet(first, &[0, 9, reason]));
            assert_eq!(fails, !reasons.contains(&reason), "{reason:#04x} in {first:#04x}");
        }
        let fails = ends_connection(&packet(0xE0, &[reason]));
        assert_eq!(fails, !goodbyes.contains(&reason), "{reason:#04x} in DISCONNECT");
    }
}

/// [MQTT-3.1.2-3] [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13] [MQTT-3.1.2-14] [MQTT-3.1.2-15]
#[test]
fn connect_flags_that_contradict_each_other_are_malformed_in_both_versions() {
    for flags in 0..=255u8 {
        let (will, will_qos) = (flags & 0x04 != 0, (flags >> 3) & 3);
        let will_retain = flags & 0x20 != 0;
        let good = flags & 1 == 0 && will_qos != 3 && (will || (will_qos == 0 && !will_retain));
        for connect in [Connect::v311(), Connect::v5()] {
            let v5 = connect.level == 5;
            let mut rest = Vec::new();
            if will {
                rest.extend(if v5 { vec![0] } else { vec![] });
                rest.extend([text("will"), text("gone")].concat());
            }
            if flags & 0x80 != 0 {
                rest.extend(text("name"));
            }
            if flags & 0x40 != 0 {
                rest.extend(text("password"));
            }
            // Only MQTT 5 has passwords without names [MQTT-3.1.2-22].
            let expected = match (good, v5, flags & 0xC0) {
                (false, ..) => Some(Reason::MalformedPacket),
                (true, false, 0x40) => Some(Reason::ProtocolError),
                _ => None,
            };
            whole(|server| {
                server.connect(&Connect { flags, rest: rest.clone(), ..connect.clone() }.bytes());
                let events = server.events();
                let refused = expected.map(Seen::Refused);
                assert_eq!(events.first(), refused.as_ref(), "{flags:#04x}, MQTT 5: {v5}");
            });
        }
    }
}
