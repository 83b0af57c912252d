//! How connections end, and what becomes of the will.

use push_server::broker::QoS::AtLeastOnce;
use push_server::mqtt::codec::Reason;

use crate::server::{Seen, at_every_split};
use crate::wire::{
    Connect, DISCONNECT, PINGREQ, PINGRESP, disconnected, packet, properties, refused, text,
    text_property, user_property,
};

#[test]
fn ping_is_answered_and_told() {
    for connect in [Connect::v311(), Connect::v5()] {
        at_every_split(|server| {
            server.open(&connect);
            server.send(PINGREQ);
            assert_eq!(server.events(), [Seen::Ping]);
            assert_eq!(server.received(), PINGRESP);
        });
    }
}

#[test]
fn goodbye_drops_the_will_and_what_follows_is_ignored() {
    for connect in [Connect::v311(), Connect::v5()] {
        at_every_split(|server| {
            server.open(&connect.clone().will());
            server.send(&[DISCONNECT, PINGREQ].concat());
            server.send(PINGREQ);
            assert_eq!(server.events(), [Seen::Disconnected]);
            assert_eq!(server.received(), [0; 0]);
            assert_eq!(server.connection().input_len(), 0);
            assert_eq!(server.hang_up(), None);
        });
    }
}

#[test]
fn connection_lost_without_goodbye_gives_the_will() {
    for connect in [Connect::v311(), Connect::v5()] {
        at_every_split(|server| {
            server.open(&connect.clone().will());
            let will = server.hang_up().expect("a will");
            assert_eq!((will.topic.as_str(), &will.payload[..]), ("will", &b"gone"[..]));
            assert_eq!((will.qos, will.retain), (AtLeastOnce, false));
            assert_eq!(server.hang_up(), None, "once");
        });
    }
}

#[test]
fn v5_goodbye_with_reason_4_keeps_the_will() {
    at_every_split(|server| {
        server.open(&Connect::v5().will());
        server.send(&[0xE0, 1, 0x04]);
        assert_eq!(server.events(), [Seen::Disconnected]);
        assert!(server.hang_up().is_some());
    });
}

#[test]
fn will_takes_its_properties_along() {
    at_every_split(|server| {
        let section = properties(&[
            &[0x18, 0, 0, 0, 7],
            &[0x02, 0, 0, 0, 9],
            &text_property(0x03, "c"),
            &user_property("k", "v"),
        ]);
        let rest = [section, text("will"), text([0xFF, 0])].concat();
        server.open(&Connect { flags: 0x36, rest, ..Connect::v5() });
        server.after_secs(5);
        let will = server.hang_up().expect("a will");
        assert_eq!(&will.payload[..], [0xFF, 0]);
        assert!(will.retain);
        assert_eq!(will.expires_at, Some(server.now.after_millis(9_000)), "from its publication");
        let properties = will.properties.expect("properties");
        assert_eq!(properties.content_type.as_deref(), Some("c"));
        assert!(properties.user_properties.iter().eq([("k", "v")]));
    });
}

#[test]
fn will_on_an_invalid_topic_is_refused() {
    at_every_split(|server| {
        let rest = [properties(&[]), text("will/#"), text("")].concat();
        server.connect(&Connect { flags: 0x06, rest, ..Connect::v5() }.bytes());
        assert_eq!(server.events(), [Seen::Refused(Reason::TopicNameInvalid)]);
        assert_eq!(server.received(), refused(0x90));
    });
}

/// CONNACK is the only packet that can say so.
#[test]
fn will_on_a_topic_of_the_servers_own_is_refused() {
    at_every_split(|server| {
        let rest = [properties(&[]), text("$SYS/uptime"), text("")].concat();
        server.connect(&Connect { flags: 0x06, rest, ..Connect::v5() }.bytes());
        assert_eq!(server.events(), [Seen::Refused(Reason::TopicNameInvalid)]);
        assert_eq!(server.received(), refused(0x90));
        let rest = [text("$SYS/uptime"), text("")].concat();
        server.connect(&Connect { flags: 0x06, rest, ..Connect::v311() }.bytes());
        assert_eq!(server.received(), [0x20, 2, 0, 5]);
    });
}

#[test]
fn goodbye_may_change_the_session_expiry() {
    at_every_split(|server| {
        server.limits.session_expiry_max_secs = 7_200;
        server.open(&Connect::v5().persistent());
        assert_eq!(server.session.as_ref().expect("one").expiry_secs(), 3_600);
        server.send(&packet(0xE0, &[0, 5, 0x11, 0, 0, 0, 9]));
        assert_eq!(server.events(), [Seen::Disconnected]);
        assert_eq!(server.session.as_ref().expect("one").expiry_secs(), 9);
        server.open(&Connect::v5().persistent());
        server.send(&packet(0xE0, &[0, 5, 0x11, 0xFF, 0xFF, 0xFF, 0xFF]));
        assert_eq!(
            server.session.as_ref().expect("one").expiry_secs(),
            7_200,
            "as granted at most"
        );
    });
}

#[test]
fn goodbye_must_not_give_an_expiry_to_a_session_that_had_none() {
    at_every_split(|server| {
        server.open(&Connect::v5().will());
        server.send(&packet(0xE0, &[0, 5, 0x11, 0, 0, 0, 9]));
        assert_eq!(server.events(), [Seen::Failed(Reason::ProtocolError)]);
        assert_eq!(server.received(), disconnected(0x82));
        assert!(server.hang_up().is_some(), "no goodbye, so the will is due");
    });
}

#[test]
fn server_says_goodbye_to_v5_only_and_sends_nothing_after() {
    at_every_split(|server| {
        server.open(&Connect::v5());
        server.deliver("t", b"x", AtLeastOnce);
        server.connection().close(Reason::ServerShuttingDown);
        server.send(PINGREQ);
        assert_eq!(server.received(), disconnected(0x8B));
        assert_eq!(server.events(), []);
        assert_eq!(server.session.as_ref().expect("one").owed(), 1, "the message is still owed");
        server.open(&Connect::v311());
        server.connection().close(Reason::ServerShuttingDown);
        assert_eq!(server.received(), [0; 0]);
    });
}
