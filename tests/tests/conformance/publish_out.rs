//! The server publishes.

use std::sync::Arc;

use push_server::broker::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use push_server::broker::{
    Held, Message, MessageProperties, SubscriptionId, TopicName, UserProperties, Via,
};
use push_server::mqtt::Delivered;

use crate::server::{Server, at_every_split};
use crate::wire::{
    Connect, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, ack, ack_reason, packet,
    properties, publish, text, text_property, user_property,
};

const LEVELS: [u8; 2] = [4, 5];

fn connect(level: u8) -> Connect {
    if level == 5 { Connect::v5() } else { Connect::v311() }
}

fn owes_nothing(server: &Server) -> bool {
    server.session.as_ref().is_some_and(|session| session.owed() == 0)
}

#[test]
fn each_quality_runs_its_own_flow() {
    for level in LEVELS {
        at_every_split(|server| {
            server.open(&connect(level));
            server.deliver("t", b"0", AtMostOnce);
            assert_eq!(server.received(), publish(level, "t", b"0", AtMostOnce, 0));
            server.deliver("t", b"1", AtLeastOnce);
            assert_eq!(server.received(), publish(level, "t", b"1", AtLeastOnce, 1));
            server.send(&ack(PUBACK, 1));
            server.deliver("t", b"2", ExactlyOnce);
            assert_eq!(server.received(), publish(level, "t", b"2", ExactlyOnce, 2));
            server.send(&ack(PUBREC, 2));
            assert_eq!(server.received(), ack(PUBREL, 2));
            server.send(&ack(PUBREC, 2));
            assert_eq!(server.received(), ack(PUBREL, 2), "asked again, answered again");
            server.send(&ack(PUBCOMP, 2));
            assert_eq!(server.received(), [0; 0]);
            assert_eq!(server.events(), []);
            assert_eq!(server.transmit.publishes, 3);
            assert!(owes_nothing(server));
        });
    }
}

#[test]
fn no_more_is_sent_unacknowledged_than_the_client_receives() {
    at_every_split(|server| {
        server.open(&Connect::v5().property(&[0x21, 0, 2]));
        for payload in [b"1", b"2", b"3", b"4"] {
            server.deliver("t", payload, ExactlyOnce);
        }
        let sent = |payload, id| publish(5, "t", payload, ExactlyOnce, id);
        assert_eq!(server.received(), [sent(b"1", 1), sent(b"2", 2)].concat());
        server.send(&ack(PUBREC, 1));
        assert_eq!(server.received(), ack(PUBREL, 1), "room is made by PUBCOMP, not by PUBREC");
        server.send(&ack(PUBCOMP, 1));
        assert_eq!(server.received(), sent(b"3", 3));
        // A refusal ends the flow and makes room, without PUBREL.
        server.send(&ack_reason(PUBREC, 2, 0x97));
        assert_eq!(server.received(), sent(b"4", 4));
    });
}

#[test]
fn our_own_inflight_limit_holds_for_v311() {
    at_every_split(|server| {
        server.limits.inflight_max = 1;
        server.open(&Connect::v311());
        server.deliver("t", b"1", AtLeastOnce);
        server.deliver("t", b"2", AtLeastOnce);
        assert_eq!(server.received(), publish(4, "t", b"1", AtLeastOnce, 1));
        server.send(&ack(PUBACK, 1));
        assert_eq!(server.received(), publish(4, "t", b"2", AtLeastOnce, 2));
    });
}

#[test]
fn answers_go_before_messages() {
    at_every_split(|server| {
        server.open(&Connect::v311());
        server.deliver("t", b"x", AtMostOnce);
        server.send(PINGREQ);
        let expected = [PINGRESP, &publish(4, "t", b"x", AtMostOnce, 0)].concat();
        assert_eq!(server.received(), expected);
    });
}

#[test]
fn properties_are_passed_on_and_expiry_counts_down() {
    at_every_split(|server| {
        server.open(&Connect::v5());
        let message = Message {
            topic: TopicName::parse("t", 8).expect("valid"),
            payload: b"p".to_vec().into(),
            qos: AtMostOnce,
            retain: false,
            properties: Some(Arc::new(MessageProperties {
                payload_format: Some(1),
                content_type: Some("c".into()),
                response_topic: Some("r".into()),
                correlation_data: Some(b"d".to_vec().into()),
                user_properties: UserProperties::collect([("k", "1"), ("k", "2")]).expect("short"),
            })),
            expires_at: Some(server.now.after_millis(10_000)),
            held: Held::default(),
        };
        server.deliver_message(message.clone());
        // 6.5 s are left, which is not 6 yet.
        server.now = server.now.after_millis(3_500);
        let section = properties(&[
            &[0x02, 0, 0, 0, 7],
            &[0x01, 1],
            &text_property(0x03, "c"),
            &text_property(0x08, "r"),
            &text_property(0x09, "d"),
            &user_property("k", "1"),
            &user_property("k", "2"),
        ]);
        let expected = packet(0x30, &[text("t"), section, b"p".to_vec()].concat());
        assert_eq!(server.received(), expected);
        // 3.1.1 gets the message without them.
        server.open(&Connect::v311());
        server.deliver_message(message);
        assert_eq!(server.received(), publish(4, "t", b"p", AtMostOnce, 0));
    });
}

/// [MQTT-3.3.4-3] [MQTT-3.3.4-4]; 3.1.1 has no place for them.
#[test]
fn identifiers_of_all_subscriptions_are_sent_along() {
    let message = || Message {
        topic: TopicName::parse("t", 8).expect("valid"),
        payload: b"p".to_vec().into(),
        qos: AtMostOnce,
        retain: false,
        properties: None,
        expires_at: None,
        held: Held::default(),
    };
    let id = |number| SubscriptionId::new(number).expect("in range");
    for (via, section) in [
        (Via::Own(None), properties(&[])),
        (Via::Own(Some(id(127))), properties(&[&[0x0B, 127]])),
        (Via::Own(Some(id(268_435_455))), properties(&[&[0x0B, 0xFF, 0xFF, 0xFF, 0x7F]])),
        (
            [id(128), id(1), id(1)].into_iter().collect(),
            properties(&[&[0x0B, 0x80, 0x01], &[0x0B, 1], &[0x0B, 1]]),
        ),
    ] {
        at_every_split(|server| {
            server.open(&Connect::v5());
            server.deliver_via(message(), via.clone());
            let body = [text("t"), section.clone(), b"p".to_vec()].concat();
            assert_eq!(server.received(), packet(0x30, &body));
            server.open(&Connect::v311());
            server.deliver_via(message(), via.clone());
            assert_eq!(server.received(), publish(4, "t", b"p", AtMostOnce, 0));
        });
    }
}

#[test]
fn expired_message_is_dropped_and_counted() {
    for level in LEVELS {
        at_every_split(|server| {
            server.open(&connect(level));
            let message = Message {
                topic: TopicName::parse("t", 8).expect("valid"),
                payload: b"p".to_vec().into(),
                qos: AtLeastOnce,
                retain: false,
                properties: None,
                expires_at: Some(server.now.after_millis(10_000)),
                held: Held::default(),
            };
            server.deliver_message(message);
            server.deliver("t", b"next", AtLeastOnce);
            server.after_secs(10);
            assert_eq!(server.received(), publish(level, "t", b"next", AtLeastOnce, 2));
            assert_eq!(server.transmit.dropped_expired, 1);
        });
    }
}

#[test]
fn message_larger_than_the_client_takes_is_dropped_and_counted() {
    at_every_split(|server| {
        server.open(&Connect::v5().property(&[0x27, 0, 0, 0, 100]));
        let fits = publish(5, "t", &[7; 92], AtLeastOnce, 2);
        assert_eq!(fits.len(), 100);
        server.deliver("t", &[7; 93], AtLeastOnce);
        server.deliver("t", &[7; 95], AtMostOnce);
        server.deliver("t", &[7; 92], AtLeastOnce);
        assert_eq!(server.received(), fits);
        assert_eq!(server.transmit.dropped_too_large, 2);
    });
}

#[test]
fn large_payload_is_sent_whole() {
    let payload: Vec<u8> = (0..100_000u32).map(|index| index as u8).collect();
    let mut expected = publish(5, "t", &payload, AtLeastOnce, 1);
    expected.extend(publish(5, "t", b"small", AtLeastOnce, 2));
    at_every_split(|server| {
        server.open(&Connect::v5());
        server.deliver("t", &payload, AtLeastOnce);
        server.deliver("t", b"small", AtLeastOnce);
        assert_eq!(server.received(), expected);
    });
}

#[test]
fn slow_client_loses_at_most_once_and_overflows_otherwise() {
    at_every_split(|server| {
        server.limits.outbox_messages_max = 2;
        server.open(&Connect::v311());
        assert_eq!(server.deliver("t", b"1", AtMostOnce), Delivered::Queued);
        assert_eq!(server.deliver("t", b"2", AtMostOnce), Delivered::Queued);
        assert_eq!(server.deliver("t", b"3", AtMostOnce), Delivered::Dropped);
        assert_eq!(server.deliver("t", b"4", AtLeastOnce), Delivered::QueuedDropping(1));
        assert_eq!(server.deliver("t", b"5", AtLeastOnce), Delivered::QueuedDropping(1));
        assert_eq!(server.deliver("t", b"6", AtLeastOnce), Delivered::Overflow);
        let sent = [publish(4, "t", b"4", AtLeastOnce, 1), publish(4, "t", b"5", AtLeastOnce, 2)];
        assert_eq!(server.received(), sent.concat());
    });
}
