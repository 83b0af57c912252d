//! A server that stops and names another one. That it does so is tested end to end.

use push_server::mqtt::codec::Reason;

use crate::server::{Seen, at_every_split};
use crate::wire::{Connect, PINGREQ, disconnected, packet, properties, text_property};

const ELSEWHERE: &str = "mqtt.example.org:1883";

fn reference() -> Vec<u8> {
    text_property(0x1C, ELSEWHERE)
}

fn redirected(properties_: &[&[u8]]) -> Vec<u8> {
    packet(0xE0, &[&[0x9C][..], &properties(properties_)].concat())
}

/// [MQTT-3.14.2-1] [MQTT5 4.11]
#[test]
fn v5_is_sent_to_the_other_server_and_v311_only_closed() {
    at_every_split(|server| {
        server.open(&Connect::v5().will());
        server.connection().redirect(ELSEWHERE);
        server.send(PINGREQ);
        let words = text_property(0x1F, "use another server");
        assert_eq!(server.received(), redirected(&[&words, &reference()]));
        assert_eq!(server.events(), []);
        server.open(&Connect::v311());
        server.connection().redirect(ELSEWHERE);
        assert_eq!(server.received(), [0; 0]);
    });
}

/// [MQTT-3.1.2-24] [MQTT-3.14.2-3] the words go first, then the reference with its reason.
#[test]
fn redirection_that_does_not_fit_becomes_a_plain_goodbye() {
    let bare = redirected(&[&reference()]);
    let whole = redirected(&[&text_property(0x1F, "use another server"), &reference()]);
    let taking = |bytes: usize| Connect::v5().property(&[0x27, 0, 0, 0, bytes as u8]);
    // A CONNACK of its own has to fit, too.
    for (bytes, goodbye) in [
        (whole.len(), &whole[..]),
        (whole.len() - 1, &bare),
        (bare.len(), &bare),
        (bare.len() - 1, &disconnected(0x8B)),
    ] {
        at_every_split(|server| {
            server.open(&taking(bytes));
            server.connection().redirect(ELSEWHERE);
            assert_eq!(server.received(), goodbye, "{bytes} bytes");
        });
    }
}

/// [MQTT-3.2.2-8] [MQTT5 4.11]
#[test]
fn connect_during_the_stop_is_sent_to_the_other_server() {
    let words = text_property(0x1F, "use another server");
    let connack = |reason, properties_: &[&[u8]]| {
        packet(0x20, &[&[0, reason][..], &properties(properties_)].concat())
    };
    let whole = connack(0x9C, &[&words, &reference()]);
    let bare = connack(0x9C, &[&reference()]);
    let taking = |bytes: usize| Connect::v5().property(&[0x27, 0, 0, 0, bytes as u8]);
    for (connect, answer) in [
        (Connect::v5(), whole.clone()),
        (taking(whole.len()), whole.clone()),
        (taking(whole.len() - 1), bare.clone()),
        (taking(bare.len() - 1), connack(0x88, &[&text_property(0x1F, "server unavailable")])),
        (taking(5), connack(0x88, &[])),
        (Connect::v311(), vec![0x20, 2, 0, 3]),
    ] {
        at_every_split(|server| {
            server.redirect_to = Some(ELSEWHERE);
            server.connect(&connect.bytes());
            assert_eq!(server.events(), [Seen::Refused(Reason::UseAnotherServer)]);
            assert_eq!(server.received(), answer);
        });
    }
}
