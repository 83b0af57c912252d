//! Reason strings: who is told, and how much of it fits.

use push_server::broker::QoS::AtLeastOnce;
use push_server::mqtt::codec::Reason;

use crate::server::at_every_split;
use crate::wire::{
    Connect, PUBACK, ack_reason, answered, disconnected, packet, properties, publish, refused,
    subscribe, text, text_property, unsubscribe,
};

/// Request Problem Information 0.
const NO_WORDS: &[u8] = &[0x17, 0];

/// A client that takes packets of so many bytes.
fn taking(bytes: u8) -> Connect {
    Connect::v5().property(&[0x27, 0, 0, 0, bytes])
}

/// [MQTT-3.1.2-28] [MQTT-3.1.2-29]
#[test]
fn client_without_problem_information_has_words_in_connack_and_disconnect_only() {
    at_every_split(|server| {
        server.open(&Connect::v5().property(NO_WORDS));
        server.send(&subscribe(5, 1, &[("a", 1), ("b#", 1)]));
        assert_eq!(server.received(), packet(0x90, &[0, 1, 0, 1, 0x8F]));
        server.send(&unsubscribe(5, 2, &["b#"]));
        assert_eq!(server.received(), packet(0xB0, &[0, 2, 0, 0x8F]));
        server.routed = Reason::QuotaExceeded;
        server.send(&publish(5, "a", b"", AtLeastOnce, 3));
        assert_eq!(server.received(), ack_reason(PUBACK, 3, 0x97));
        server.connection().close(Reason::ServerShuttingDown);
        assert_eq!(server.received(), disconnected(0x8B));
        // A will on an invalid topic.
        let rest = [properties(&[]), text("#"), text("")].concat();
        let connect = Connect { flags: 0x06, rest, ..Connect::v5() }.property(NO_WORDS);
        server.connect(&connect.bytes());
        assert_eq!(server.received(), refused(0x90));
    });
}

/// [MQTT-3.1.2-29] the default is to be told.
#[test]
fn client_that_does_not_say_has_words_with_every_refusal() {
    for connect in [Connect::v5(), Connect::v5().property(&[0x17, 1])] {
        at_every_split(|server| {
            server.open(&connect);
            server.send(&subscribe(5, 1, &[("a", 1), ("b#", 1), ("c#", 1)]));
            let words = "filter 2: topic filter invalid";
            assert_eq!(server.received(), answered(0x90, 1, words, &[1, 0x8F, 0x8F]));
            server.send(&subscribe(5, 1, &[("a", 1)]));
            assert_eq!(server.received(), packet(0x90, &[0, 1, 0, 1]), "nothing to say");
        });
    }
}

/// [MQTT-3.1.2-25] [MQTT-3.2.2-19]
#[test]
fn words_of_a_refused_connect_are_left_out_where_they_do_not_fit() {
    let told = refused(0x90);
    let rest = [properties(&[]), text("#"), text("")].concat();
    let refuse = |bytes| Connect { flags: 0x06, rest: rest.clone(), ..taking(bytes) }.bytes();
    let len = told.len() as u8;
    for (bytes, answer) in
        [(len, &told[..]), (len - 1, &[0x20, 3, 0, 0x90, 0]), (5, &[0x20, 3, 0, 0x90, 0]), (4, &[])]
    {
        at_every_split(|server| {
            server.connect(&refuse(bytes));
            assert_eq!(server.received(), answer, "{bytes} bytes");
        });
    }
}

/// [MQTT-3.9.2-1] [MQTT-3.11.2-1] [MQTT-3.14.2-3]
#[test]
fn words_are_left_out_where_they_do_not_fit() {
    let told = answered(0x90, 1, "filter 1: topic filter invalid", &[0x8F]);
    let len = told.len() as u8;
    at_every_split(|server| {
        server.open(&taking(len));
        server.send(&subscribe(5, 1, &[("b#", 1)]));
        assert_eq!(server.received(), told);
        server.open(&taking(len - 1));
        server.send(&subscribe(5, 1, &[("b#", 1)]));
        assert_eq!(server.received(), packet(0x90, &[0, 1, 0, 0x8F]));
        server.send(&unsubscribe(5, 2, &["a", "b", "b#"]));
        assert_eq!(server.received(), packet(0xB0, &[0, 2, 0, 0, 0, 0x8F]));
        server.open(&taking(disconnected(0x8B).len() as u8));
        server.connection().close(Reason::ServerShuttingDown);
        assert_eq!(server.received(), disconnected(0x8B));
        server.open(&taking(disconnected(0x8E).len() as u8 - 1));
        server.connection().close(Reason::SessionTakenOver);
        assert_eq!(server.received(), [0xE0, 1, 0x8E]);
    });
}

/// [MQTT-3.2.2-19] what a malformed CONNECT says of packet sizes is not believed.
#[test]
fn words_are_left_out_where_it_is_not_known_what_the_client_takes() {
    at_every_split(|server| {
        server.connect(&taking(200).property(&text_property(0x03, "misplaced")).bytes());
        assert_eq!(server.received(), [0x20, 3, 0, 0x82, 0]);
    });
}
