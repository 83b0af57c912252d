//! The short forms of MQTT 5, and reason codes on their way in.

use push_server::broker::QoS::{AtLeastOnce, ExactlyOnce};
use push_server::mqtt::codec::Reason;

use crate::server::{Seen, at_every_split};
use crate::wire::{
    Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, ack, ack_reason, disconnected, packet, text_property,
};

/// An acknowledgement with reason, and reason string.
fn ack_properties(first: u8, packet_id: u8, reason: u8) -> Vec<u8> {
    let property = text_property(0x1F, "why");
    packet(first, &[&[0, packet_id, reason, property.len() as u8][..], &property].concat())
}

#[test]
fn acknowledgements_are_understood_in_each_of_their_forms() {
    let forms: [fn(u8) -> Vec<u8>; 4] = [
        |first| ack(first, 1),
        |first| ack_reason(first, 1, 0),
        |first| packet(first, &[0, 1, 0, 0]),
        |first| ack_properties(first, 1, 0),
    ];
    for form in forms {
        at_every_split(|server| {
            server.open(&Connect::v5());
            server.deliver("t", b"x", ExactlyOnce);
            server.received();
            server.send(&form(PUBREC));
            assert_eq!(server.received(), ack(PUBREL, 1));
            server.send(&form(PUBCOMP));
            assert_eq!(server.events(), []);
            assert_eq!(server.session.as_ref().expect("one").owed(), 0);
            server.send(&form(PUBREL));
            assert_eq!(server.received(), ack_reason(PUBCOMP, 1, 0x92));
        });
    }
}

#[test]
fn goodbye_is_understood_in_each_of_its_forms() {
    for body in [&[][..], &[0], &[0, 0], &[0, 6, 0x1F, 0, 3, b'w', b'h', b'y'], &[0x80]] {
        at_every_split(|server| {
            server.open(&Connect::v5());
            server.send(&packet(0xE0, body));
            assert_eq!(server.events(), [Seen::Disconnected], "{body:02x?}");
        });
    }
}

#[test]
fn refused_publish_is_over() {
    at_every_split(|server| {
        server.open(&Connect::v5());
        server.deliver("t", b"1", AtLeastOnce);
        server.deliver("t", b"2", ExactlyOnce);
        server.received();
        server.send(&ack_reason(PUBACK, 1, 0x83));
        server.send(&ack_reason(PUBREC, 2, 0x83));
        assert_eq!(server.received(), [0; 0], "no PUBREL follows a refusal");
        assert_eq!(server.session.as_ref().expect("one").owed(), 0);
    });
}

#[test]
fn acknowledgement_of_nothing_is_answered_only_where_the_client_waits() {
    at_every_split(|server| {
        server.open(&Connect::v5());
        server.send(&[ack(PUBACK, 3), ack(PUBCOMP, 3)].concat());
        assert_eq!(server.received(), [0; 0]);
        server.send(&ack(PUBREC, 3));
        assert_eq!(server.received(), ack_reason(PUBREL, 3, 0x92));
        server.send(&ack_reason(PUBREC, 3, 0x80));
        assert_eq!(server.received(), [0; 0]);
        assert_eq!(server.events(), []);
    });
}

#[test]
fn acknowledgement_of_the_wrong_kind_is_a_protocol_error() {
    for (qos, first) in [
        (AtLeastOnce, PUBREC),
        (AtLeastOnce, PUBCOMP),
        (ExactlyOnce, PUBACK),
        (ExactlyOnce, PUBCOMP),
    ] {
        at_every_split(|server| {
            server.open(&Connect::v5());
            server.deliver("t", b"x", qos);
            server.received();
            server.send(&ack(first, 1));
            assert_eq!(server.events(), [Seen::Failed(Reason::ProtocolError)]);
            assert_eq!(server.received(), disconnected(0x82));
        });
    }
}
