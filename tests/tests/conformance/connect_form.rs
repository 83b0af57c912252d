//! The form of CONNECT, field by field, and what CONNACK may be and when.

use push_server::access::Access;
use push_server::broker::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use push_server::mqtt::codec::Reason;
use push_server::mqtt::{Handshake, HandshakeProgress, Limits};

use crate::server::{Seen, at_every_split};
use crate::wire::{
    Connect, PINGREQ, PINGRESP, ack, packet, properties, publish, publish_again, subscribe, text,
    user_property,
};

const LEVELS: [u8; 2] = [4, 5];

fn connect(level: u8) -> Connect {
    if level == 5 { Connect::v5() } else { Connect::v311() }
}

/// That the answer is a CONNACK of that code, without session, whatever else it says.
#[track_caller]
fn assert_refused(answer: &[u8], code: u8) {
    assert_eq!((answer[0], usize::from(answer[1])), (0x20, answer.len() - 2), "one packet");
    assert_eq!(answer[2..4], [0, code]);
}

/// The same of a malformed CONNECT, where 3.1.1 has no answer.
#[track_caller]
fn assert_malformed(answer: &[u8], level: u8) {
    match level {
        5 => assert_refused(answer, 0x81),
        _ => assert_eq!(answer, [0; 0]),
    }
}

#[test]
fn fields_are_those_that_the_flags_announce() {
    for level in LEVELS {
        let section = if level == 5 { properties(&[]) } else { Vec::new() };
        let topic = [section, text("will")].concat();
        let will = [topic.clone(), text("gone")].concat();
        let (name, password) = (text("name"), text("password"));
        for (flags, rest) in [
            // Less than announced: user name, password, will, its payload.
            (0x82, vec![]),
            (0xC2, name.clone()),
            (0x06, vec![]),
            (0x06, topic),
            (0xC6, [&will[..], &name].concat()),
            // More than announced.
            (0x02, name.clone()),
            (0x02, will.clone()),
            (0x82, [&name[..], &password].concat()),
            (0x06, [&will[..], &name].concat()),
        ] {
            at_every_split(|server| {
                server.connect(&Connect { flags, rest: rest.clone(), ..connect(level) }.bytes());
                let refused = [Seen::Refused(Reason::MalformedPacket)];
                assert_eq!(server.events(), refused, "level {level}, {flags:#04x} {rest:02x?}");
                assert_malformed(&server.received(), level);
            });
        }
        at_every_split(|server| {
            let rest = [will.clone(), name.clone(), password.clone()].concat();
            server.open(&Connect { flags: 0xC6, rest, ..connect(level) });
            let will = server.hang_up().expect("a will");
            assert_eq!((will.topic.as_str(), &will.payload[..]), ("will", &b"gone"[..]));
        });
        at_every_split(|server| {
            // Without any client id, not even an empty one.
            let bytes = Connect { client_id: "", ..connect(level) }.bytes();
            server.connect(&packet(0x10, &bytes[2..bytes.len() - 2]));
            assert_eq!(server.events(), [Seen::Refused(Reason::MalformedPacket)]);
            assert_malformed(&server.received(), level);
        });
    }
}

/// [MQTT-1.5.5-1]
#[test]
fn length_in_a_longer_form_is_malformed_in_v5_and_told() {
    for level in LEVELS {
        for padding in [&[0x00][..], &[0x80, 0x00], &[0x80, 0x80, 0x00]] {
            let shortest = connect(level).bytes();
            let bytes = [&[0x10, shortest[1] | 0x80], padding, &shortest[2..]].concat();
            at_every_split(|server| {
                server.connect(&bytes);
                if level == 5 {
                    assert_eq!(server.events(), [Seen::Refused(Reason::MalformedPacket)]);
                    assert_malformed(&server.received(), level);
                } else {
                    // 3.1.1 does not forbid it.
                    assert_eq!(server.received(), [0x20, 2, 0, 0]);
                }
            });
        }
    }
}

#[test]
fn inconsistent_flags_are_malformed_in_v5_and_told() {
    // Reserved; will QoS 3; will QoS without will; will retain without will.
    for flags in [0x03, 0x1E, 0x0A, 0x12, 0x22] {
        at_every_split(|server| {
            let rest = [properties(&[]), text("will"), text("gone")].concat();
            server.connect(&Connect { flags, rest, ..Connect::v5() }.bytes());
            assert_eq!(server.events(), [Seen::Refused(Reason::MalformedPacket)], "{flags:#04x}");
            assert_malformed(&server.received(), 5);
        });
    }
}

#[test]
fn will_keeps_the_quality_and_retain_flag_it_came_with() {
    for level in LEVELS {
        for (bits, qos) in [(0x00, AtMostOnce), (0x08, AtLeastOnce), (0x10, ExactlyOnce)] {
            for (retain_bit, retain) in [(0x00, false), (0x20, true)] {
                at_every_split(|server| {
                    let will = connect(level).will();
                    let flags = 0x06 | bits | retain_bit;
                    server.open(&Connect { flags, ..will });
                    let will = server.hang_up().expect("a will");
                    assert_eq!((will.qos, will.retain), (qos, retain));
                });
            }
        }
    }
}

#[test]
fn no_will_is_published_that_was_not_asked_for() {
    for level in LEVELS {
        at_every_split(|server| {
            server.open(&connect(level));
            assert_eq!(server.hang_up(), None);
        });
    }
}

#[test]
fn will_keeps_the_order_of_its_user_properties() {
    at_every_split(|server| {
        let pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("", "")];
        let section = pairs.map(|(name, value)| user_property(name, value)).concat();
        let rest = [properties(&[&section]), text("will"), text("gone")].concat();
        server.open(&Connect { flags: 0x06, rest, ..Connect::v5() });
        let properties = server.hang_up().expect("a will").properties.expect("properties");
        assert!(properties.user_properties.iter().eq(pairs));
    });
}

#[test]
fn client_ids_that_every_server_must_allow_are_allowed() {
    const LETTERS: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for level in LEVELS {
        for len in 1..=23 {
            for begin in (0..=LETTERS.len() - len).step_by(len) {
                let client_id = &LETTERS[begin..begin + len];
                at_every_split(|server| {
                    server.open(&Connect { client_id, ..connect(level) });
                    assert_eq!(server.session.as_ref().expect("one").client_id(), client_id);
                });
            }
        }
    }
}

#[test]
fn response_information_is_never_returned() {
    at_every_split(|server| {
        server.connect(&Connect::v5().bytes());
        let unasked = server.received();
        for request in [0, 1] {
            server.connect(&Connect::v5().property(&[0x19, request]).bytes());
            assert_eq!(server.received(), unasked);
        }
    });
}

#[test]
fn connack_comes_first_and_once() {
    for level in LEVELS {
        at_every_split(|server| {
            let connect = connect(level).persistent();
            server.open(&connect);
            server.deliver("t", b"1", AtLeastOnce);
            server.received();
            server.hang_up();
            server.deliver("t", b"2", AtLeastOnce);
            let behind = [PINGREQ, &subscribe(level, 9, &[("t", 0)])].concat();
            server.connect(&[connect.bytes(), behind].concat());
            let suback = if level == 5 { &[0, 9, 0, 0][..] } else { &[0, 9, 0] };
            let rest = [
                PINGRESP.to_vec(),
                packet(0x90, suback),
                publish_again(level, "t", b"1", AtLeastOnce, 1),
                publish(level, "t", b"2", AtLeastOnce, 2),
            ];
            assert_eq!(server.accepted(), rest.concat());
        });
    }
}

#[test]
fn nothing_behind_a_refused_connect_is_processed() {
    let v311 = Connect { client_id: "", flags: 0, ..Connect::v311() };
    let v5 = Connect::v5().property(&[0x21, 0, 0]);
    for (connect, reason, code) in
        [(v311, Reason::ClientIdentifierNotValid, 0x02), (v5, Reason::ProtocolError, 0x82)]
    {
        at_every_split(|server| {
            let publish = publish(connect.level, "t", b"x", AtLeastOnce, 1);
            server.connect(&[&connect.bytes(), &publish, PINGREQ].concat());
            server.send(PINGREQ);
            assert_eq!(server.events(), [Seen::Refused(reason)]);
            assert_refused(&server.received(), code);
            assert!(server.session.is_none());
        });
    }
}

#[test]
fn connack_larger_than_the_client_takes_refuses_it() {
    let takes = |bytes| Connect::v5().will().property(&[0x27, 0, 0, 0, bytes]);
    for (bytes, answer) in [(10, &[0x20, 3, 0, 0x95, 0][..]), (5, &[0x20, 3, 0, 0x95, 0]), (4, &[])]
    {
        at_every_split(|server| {
            server.connect(&[takes(bytes).bytes(), PINGREQ.to_vec(), ack(0x40, 1)].concat());
            assert_eq!(server.events(), [Seen::Refused(Reason::PacketTooLarge)]);
            // Nothing too large, and no DISCONNECT before a CONNACK that accepts.
            assert_eq!(server.received(), answer, "{bytes} bytes");
            assert_eq!(server.hang_up(), None, "a client not accepted has no will");
        });
    }
}

/// The longest client id is the server's: it counts, too.
#[test]
fn client_that_takes_just_the_connack_is_accepted() {
    for client_id in ["client", ""] {
        at_every_split(|server| {
            let taking = |bytes| {
                let connect = Connect { client_id, ..Connect::v5() };
                connect.property(&[0x27, 0, 0, 0, bytes]).bytes()
            };
            server.connect(&taking(200));
            let len = server.received().len() as u8;
            server.connect(&taking(len));
            assert_eq!(server.accepted(), [0; 0]);
            server.connect(&taking(len - 1));
            assert_refused(&server.received(), 0x95);
        });
    }
}

#[test]
fn refusal_larger_than_the_client_takes_is_not_sent() {
    for (bytes, answer) in [(5, &[0x20, 3, 0, 0x97, 0][..]), (4, &[])] {
        let connect = Connect::v5().property(&[0x27, 0, 0, 0, bytes]);
        let progress = Handshake::new([0; 18]).handle_bytes_judged(
            &Limits::default(),
            &Access::default(),
            &connect.bytes(),
        );
        let HandshakeProgress::Connect(connecting) = progress else { panic!("a good CONNECT") };
        assert_eq!(connecting.refuse(Reason::QuotaExceeded).frame, answer);
    }
}
