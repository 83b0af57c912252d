//! CONNECT and CONNACK.

use push_server::mqtt::codec::Reason;

use crate::server::{Seen, at_every_split};
use crate::wire::{Connect, PINGREQ, PINGRESP, packet, properties, refused, text, text_property};

#[test]
fn connect_v311_is_accepted_without_session() {
    at_every_split(|server| {
        server.connect(&Connect::v311().bytes());
        assert_eq!(server.received(), [0x20, 2, 0, 0]);
        assert_eq!(server.connection().keep_alive().0, 60);
        assert_eq!(server.session.as_ref().expect("one").expiry_secs(), 0);
    });
}

#[test]
fn connack_v5_says_what_is_granted() {
    at_every_split(|server| {
        server.limits.receive_max = 0x0102;
        server.limits.packet_bytes_max = 0x0003_0201;
        server.limits.keep_alive_max_secs = 30;
        server.limits.session_expiry_max_secs = 5;
        let connect = Connect { client_id: "", ..Connect::v5() };
        server.connect(&connect.property(&[0x11, 0, 0, 0, 9]).bytes());
        let granted = properties(&[
            &[0x11, 0, 0, 0, 5],
            &[0x21, 0x01, 0x02],
            &[0x27, 0, 3, 2, 1],
            &text_property(0x12, "assigned"),
            &[0x22, 0, 16],
            &[0x13, 0, 30],
        ]);
        assert_eq!(server.received(), packet(0x20, &[&[0, 0][..], &granted].concat()));
        assert_eq!(server.connection().keep_alive().0, 30);
        assert_eq!(server.session.as_ref().expect("one").expiry_secs(), 5);
    });
}

#[test]
fn connack_v5_leaves_out_what_is_as_asked_for() {
    at_every_split(|server| {
        server.connect(&Connect::v5().property(&[0x11, 0, 0, 0, 9]).bytes());
        let granted = properties(&[&[0x21, 0, 64], &[0x27, 1, 0, 0, 0], &[0x22, 0, 16]]);
        assert_eq!(server.received(), packet(0x20, &[&[0, 0][..], &granted].concat()));
    });
}

#[test]
fn packets_behind_connect_in_the_same_bytes_are_served() {
    at_every_split(|server| {
        let bytes = [&Connect::v311().bytes(), PINGREQ].concat();
        server.connect(&bytes);
        assert_eq!(server.events(), [Seen::Ping]);
        assert_eq!(server.accepted(), PINGRESP);
        assert_eq!(server.connection().parsed_bytes(), bytes.len() as u64);
        assert_eq!(server.connection().input_len(), 0);
    });
}

#[test]
fn first_packet_must_be_connect() {
    at_every_split(|server| {
        server.connect(PINGREQ);
        assert_eq!(server.events(), [Seen::Refused(Reason::ProtocolError)]);
        assert_eq!(server.received(), [0; 0]);
    });
}

#[test]
fn second_connect_is_a_protocol_error() {
    at_every_split(|server| {
        server.open(&Connect::v311().will());
        server.send(&Connect::v311().bytes());
        assert_eq!(server.events(), [Seen::Failed(Reason::ProtocolError)]);
        assert_eq!(server.received(), [0; 0], "3.1.1 has no DISCONNECT to send");
        assert!(server.hang_up().is_some(), "the will is due");
    });
}

#[test]
fn other_protocol_levels_are_refused_in_their_own_words() {
    let connect = |name, level| Connect { name, level, ..Connect::v311() };
    let cases = [
        // Older levels know return code 1.
        (connect("MQIsdp", 2), &[0x20, 2, 0, 1][..]),
        (connect("MQIsdp", 4), &[0x20, 2, 0, 1]),
        (connect("MQTT", 3), &[0x20, 2, 0, 1]),
        // In MQTT 5 a bridge says by options what it wants.
        (connect("MQTT", 0x85), &[0x20, 2, 0, 1]),
        (connect("MQTT", 6), &[0x20, 3, 0, 0x84, 0]),
        // Not a name of MQTT: no answer [MQTT-3.1.2-1].
        (connect("HTTP", 4), &[]),
    ];
    for (connect, answer) in cases {
        at_every_split(|server| {
            server.connect(&connect.bytes());
            assert_eq!(server.events(), [Seen::Refused(Reason::UnsupportedProtocolVersion)]);
            assert_eq!(server.received(), answer, "{connect:?}");
        });
    }
}

#[test]
fn empty_client_id_without_clean_session_is_refused_in_v311() {
    at_every_split(|server| {
        server.connect(&Connect { client_id: "", flags: 0, ..Connect::v311() }.bytes());
        assert_eq!(server.events(), [Seen::Refused(Reason::ClientIdentifierNotValid)]);
        assert_eq!(server.received(), [0x20, 2, 0, 2]);
    });
}

#[test]
fn empty_client_id_is_accepted_with_clean_session_and_always_in_v5() {
    let clean = Connect { client_id: "", ..Connect::v311() };
    let resuming = Connect { client_id: "", ..Connect::v5() }.persistent();
    for connect in [clean, resuming] {
        at_every_split(|server| {
            server.open(&connect);
            assert_eq!(server.session.as_ref().expect("one").client_id(), "assigned");
        });
    }
}

#[test]
fn inconsistent_flags_are_malformed() {
    // Reserved; QoS 3; will QoS and will retain without will; a password without user name.
    for (flags, reason) in [
        (0x03, Reason::MalformedPacket),
        (0x1E, Reason::MalformedPacket),
        (0x0A, Reason::MalformedPacket),
        (0x22, Reason::MalformedPacket),
        (0x42, Reason::ProtocolError),
    ] {
        at_every_split(|server| {
            let rest = [text("will"), text("gone"), text("password")].concat();
            server.connect(&Connect { flags, rest, ..Connect::v311() }.bytes());
            assert_eq!(server.events(), [Seen::Refused(reason)], "{flags:#x}");
            assert_eq!(server.received(), [0; 0]);
        });
    }
}

#[test]
fn malformed_connect_of_v5_is_told_so() {
    at_every_split(|server| {
        server.connect(&Connect { rest: vec![0], ..Connect::v5() }.bytes());
        assert_eq!(server.events(), [Seen::Refused(Reason::MalformedPacket)]);
        assert_eq!(server.received(), refused(0x81));
    });
}

#[test]
fn properties_twice_misplaced_or_out_of_range_are_protocol_errors() {
    let topic_alias = &[0x23, 0, 1][..];
    for (property, reason) in [
        (&[0x21, 0, 1, 0x21, 0, 1][..], 0x82),
        (topic_alias, 0x82),
        (&[0x21, 0, 0], 0x82),
        (&[0x27, 0, 0, 0, 0], 0x82),
        (&[0x17, 2], 0x82),
        (&[0x16, 0, 1, 7], 0x82),
        (&[0x7F, 0], 0x81),
        (&[0x11, 0], 0x81),
    ] {
        at_every_split(|server| {
            server.connect(&Connect::v5().property(property).bytes());
            assert_eq!(server.received(), [0x20, 3, 0, reason, 0], "{property:02x?}");
        });
    }
}

#[test]
fn enhanced_authentication_is_refused_as_unknown_method() {
    at_every_split(|server| {
        server.connect(&Connect::v5().property(&text_property(0x15, "SCRAM")).bytes());
        assert_eq!(server.events(), [Seen::Refused(Reason::BadAuthenticationMethod)]);
        assert_eq!(server.received(), refused(0x8C));
    });
}

#[test]
fn user_name_and_binary_password_are_taken() {
    at_every_split(|server| {
        let rest = [text("name"), text([0xFF, 0x00])].concat();
        server.open(&Connect { flags: 0xC2, rest, ..Connect::v311() });
        // MQTT 5 lets a password stand alone.
        server.open(&Connect { flags: 0x42, rest: text([0xFF]), ..Connect::v5() });
    });
}

#[test]
fn client_id_must_be_text_without_nul() {
    for client_id in [&[b'a', 0][..], &[0xED, 0xA0, 0x80], &[0xFF]] {
        let mut bytes = Connect { client_id: "", ..Connect::v311() }.bytes();
        bytes.truncate(bytes.len() - 2);
        let body = [&bytes[2..], &text(client_id)].concat();
        at_every_split(|server| {
            server.connect(&packet(0x10, &body));
            assert_eq!(server.events(), [Seen::Refused(Reason::MalformedPacket)]);
        });
    }
}

#[test]
fn connect_longer_than_any_introduction_is_refused_by_its_header() {
    at_every_split(|server| {
        server.connect(&[0x10, 0x80, 0x80, 0x80, 0x01]);
        assert_eq!(server.events(), [Seen::Refused(Reason::PacketTooLarge)]);
    });
}
