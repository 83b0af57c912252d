//! MQTT 3.1, where it differs from 3.1.1, and bridges.

use push_server::broker::QoS::{AtLeastOnce, AtMostOnce};
use push_server::mqtt::codec::Reason;

use crate::server::{Seen, at_every_split};
use crate::wire::{
    Connect, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBREC, ack, packet, publish,
    subscribe, text, unsubscribe,
};

const REFUSED_ID: [u8; 4] = [0x20, 2, 0, 2];

/// The second byte of CONNACK is reserved; so nothing is said of the session.
#[test]
fn a_session_is_resumed_without_a_word() {
    at_every_split(|server| {
        let connect = Connect::v31().persistent();
        server.connect(&connect.bytes());
        assert_eq!(server.received(), [0x20, 2, 0, 0]);
        server.hang_up();
        server.deliver("t", b"x", AtLeastOnce);
        server.connect(&connect.bytes());
        let received = server.received();
        assert_eq!(received[..4], [0x20, 2, 0, 0]);
        assert_eq!(received[4..], publish(3, "t", b"x", AtLeastOnce, 1));
    });
}

#[test]
fn there_is_no_client_without_an_id() {
    at_every_split(|server| {
        server.connect(&Connect { client_id: "", ..Connect::v31() }.bytes());
        assert_eq!(server.events(), [Seen::Refused(Reason::ClientIdentifierNotValid)]);
        assert_eq!(server.received(), REFUSED_ID);
    });
    at_every_split(|server| {
        server.open(&Connect { client_id: "longer than twenty-three bytes", ..Connect::v31() });
    });
}

#[test]
fn flags_that_are_not_used_mean_nothing() {
    at_every_split(|server| {
        // The lowest flag, and QoS 3 and RETAIN of a will that is not there.
        server.open(&Connect { flags: 0x02 | 0x01 | 0x38, ..Connect::v31() });
        // DUP, and a RETAIN that means nothing.
        let mut bytes = subscribe(3, 1, &[("t", 0xF1)]);
        bytes[0] |= 0x09;
        server.send(&bytes);
        assert_eq!(server.received(), packet(0x90, &[0, 1, 1]));
        let mut bytes = unsubscribe(3, 2, &["t"]);
        bytes[0] |= 0x08;
        server.send(&bytes);
        assert_eq!(server.received(), packet(0xB0, &[0, 2]));
        server.send(&ack(0x6A, 9));
        assert_eq!(server.received(), ack(PUBCOMP, 9));
        server.send(&[PINGREQ[0] | 0x08, 0]);
        assert_eq!(server.received(), PINGRESP);
        let mut bytes = publish(3, "t", b"x", AtMostOnce, 0);
        bytes[0] |= 0x08;
        server.events();
        server.send(&bytes);
        server.send(&[DISCONNECT[0] | 0x01, 0]);
        assert!(matches!(server.events()[..], [Seen::Publish { .. }, Seen::Disconnected]));
    });
}

#[test]
fn user_name_and_password_may_be_missing_though_announced() {
    for (flags, rest) in [
        (0x82, Vec::new()),
        (0xC2, Vec::new()),
        (0xC2, text("user")),
        (0xC2, [text("user"), text("password")].concat()),
    ] {
        at_every_split(|server| {
            server.open(&Connect { flags, rest: rest.clone(), ..Connect::v31() });
        });
        if rest.len() < 8 {
            at_every_split(|server| {
                server.connect(&Connect { flags, rest: rest.clone(), ..Connect::v311() }.bytes());
                assert_eq!(server.events(), [Seen::Refused(Reason::MalformedPacket)]);
            });
        }
    }
}

/// Its SUBACK has no word for a refusal: it "must make a positive acknowledgement".
#[test]
fn a_refused_subscription_is_acknowledged_with_qos_0() {
    at_every_split(|server| {
        server.open(&Connect::v31());
        server.send(&subscribe(3, 1, &[("a/#/b", 2), ("t", 2)]));
        assert_eq!(server.received(), packet(0x90, &[0, 1, 0, 2]));
    });
}

#[test]
fn acknowledgements_are_those_of_3_1_1() {
    at_every_split(|server| {
        server.open(&Connect::v31());
        server.routed = Reason::QuotaExceeded;
        server.send(&publish(3, "t", b"x", AtLeastOnce, 1));
        assert_eq!(server.received(), ack(PUBACK, 1));
        server.send(&publish(3, "t", b"x", push_server::broker::QoS::ExactlyOnce, 2));
        assert_eq!(server.received(), ack(PUBREC, 2));
        server.connection().close(Reason::ServerShuttingDown);
        assert_eq!(server.received(), [0; 0], "there is no DISCONNECT to send");
    });
}

#[test]
fn only_a_bridge_is_given_messages_as_they_were_published_and_none_of_its_own() {
    for connect in [Connect::v31(), Connect::v311()] {
        for is_bridge in [false, true] {
            at_every_split(|server| {
                let connect = connect.clone();
                server.open(&if is_bridge { connect.of_bridge() } else { connect });
                assert_eq!(server.connection().is_bridge(), is_bridge);
                server.send(&subscribe(3, 1, &[("t/#", 1), ("$share/g/t", 1)]));
                assert_eq!(server.received(), packet(0x90, &[0, 1, 1, 1]));
                let options = std::mem::take(&mut server.options);
                let seen: Vec<_> =
                    options.iter().map(|o| (o.retain_as_published, o.no_local)).collect();
                assert_eq!(seen, [(is_bridge, is_bridge), (is_bridge, false)]);
            });
        }
    }
}
