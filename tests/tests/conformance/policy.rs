//! What the policy does not let a client do, at the four points where it is asked.

use std::sync::Arc;

use push_server::access::Acl;
use push_server::broker::QoS;
use push_server::broker::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use push_server::mqtt::PublishRefusal;

use crate::server::{Seen, Server, at_every_split};
use crate::wire::{
    Connect, PUBACK, ack, ack_reason, no_properties, publish, refused, subscribe, text,
};

fn connect(level: u8) -> Connect {
    if level == 5 { Connect::v5() } else { Connect::v311() }
}

/// All is allowed but `secret/#`.
fn deny_secrets(server: &mut Server) {
    let rules = "[[allow]]\npublish = [\"#\"]\nsubscribe = [\"#\"]\n\
                 [[deny]]\npublish = [\"secret/#\"]\nsubscribe = [\"secret/#\"]\n";
    server.access.acl = Some(Arc::new(Acl::parse(rules).expect("valid")));
}

#[test]
fn a_publish_that_is_denied_is_dropped_and_answered() {
    for level in [4, 5] {
        at_every_split(|server| {
            deny_secrets(server);
            server.open(&connect(level));
            server.send(&publish(level, "secret/a", b"x", AtMostOnce, 0));
            server.send(&publish(level, "secret/a", b"x", AtLeastOnce, 1));
            assert_eq!(server.messages.len(), 0);
            let denied = PublishRefusal::Denied.reason();
            assert_eq!(server.events(), [(); 2].map(|()| Seen::PublishRefused(denied)));
            // 3.1.1 has no word for it.
            let told = if level == 5 { ack_reason(PUBACK, 1, 0x87) } else { ack(PUBACK, 1) };
            assert_eq!(server.received(), told);
            server.send(&publish(level, "open", b"x", AtMostOnce, 0));
            assert_eq!(server.messages.len(), 1);
        });
    }
}

#[test]
fn a_will_that_is_denied_refuses_its_client() {
    for (level, told) in [(4, vec![0x20, 2, 0, 5]), (5, refused(0x87))] {
        at_every_split(|server| {
            deny_secrets(server);
            for (topic, is_denied) in [("secret/will", true), ("open", false)] {
                let will = [no_properties(level).to_vec(), text(topic), text("gone")].concat();
                let connect = connect(level);
                let flags = connect.flags | 0x04;
                server.connect(&Connect { flags, rest: will, ..connect }.bytes());
                let received = server.received();
                assert_eq!(received == told, is_denied, "{topic}: {received:02x?}");
                assert_eq!(server.session.is_none(), is_denied);
            }
        });
    }
}

#[test]
fn a_message_that_a_client_may_not_have_is_not_sent_to_it() {
    for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
        at_every_split(|server| {
            deny_secrets(server);
            server.open(&Connect::v5());
            server.send(&subscribe(5, 1, &[("#", qos as u8)]));
            server.received();
            server.deliver("secret/a", b"x", qos);
            server.deliver("open", b"y", qos);
            let received = server.received();
            let text = String::from_utf8_lossy(&received);
            assert!(!text.contains("secret") && text.contains("open"), "{received:02x?}");
            assert_eq!((server.transmit.dropped_denied, server.transmit.publishes), (1, 1));
            assert_eq!(server.transmit.allowed, 1);
            let owed = if qos == AtMostOnce { 0 } else { 1 };
            assert_eq!(server.session.as_ref().expect("a session").owed(), owed);
        });
    }
}

#[test]
fn a_filter_is_refused_by_itself_if_the_client_may_not_have_it() {
    for (level, refused) in [(4, 0x80), (5, 0x87)] {
        at_every_split(|server| {
            deny_secrets(server);
            server.open(&connect(level));
            let filters =
                [("a/#", 1), ("secret/a", 1), ("$share/g/secret/#", 0), ("$SYS/#", 0), ("#", 2)];
            server.send(&subscribe(level, 1, &filters));
            let suback = server.received();
            assert!(suback.ends_with(&[1, refused, refused, refused, 2]), "{suback:02x?}");
        });
    }
}

/// [MQTT-3.3.2-5], for another reason: what a client may have got is sent again.
#[test]
fn a_message_that_was_sent_already_is_sent_again_to_a_client_that_may_not_have_it_now() {
    at_every_split(|server| {
        server.open(&Connect::v5().persistent());
        server.deliver("secret/a", b"x", QoS::AtLeastOnce);
        assert!(!server.received().is_empty());
        server.hang_up();
        deny_secrets(server);
        let resuming = Connect { flags: 0, ..Connect::v5().persistent() };
        server.connect(&resuming.bytes());
        assert!(String::from_utf8_lossy(&server.accepted()).contains("secret/a"));
        assert_eq!(server.transmit.dropped_denied, 0);
    });
}
