//! A client publishes.

use push_server::broker::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use push_server::mqtt::codec::Reason;

use crate::server::{Seen, at_every_split};
use crate::wire::{
    Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, ack, ack_reason, disconnected, packet, properties,
    publish, publish_again, text, text_property, user_property,
};

const LEVELS: [u8; 2] = [4, 5];

fn connect(level: u8) -> Connect {
    if level == 5 { Connect::v5() } else { Connect::v311() }
}

fn seen(payload: &[u8], qos: push_server::broker::QoS) -> Seen {
    Seen::Publish { topic: "a/b".into(), payload: payload.into(), qos, retain: false }
}

#[test]
fn each_quality_is_acknowledged_its_own_way() {
    for level in LEVELS {
        at_every_split(|server| {
            server.open(&connect(level));
            server.send(&publish(level, "a/b", b"0", AtMostOnce, 0));
            assert_eq!(server.received(), [0; 0]);
            server.send(&publish(level, "a/b", b"1", AtLeastOnce, 7));
            assert_eq!(server.received(), ack(PUBACK, 7));
            server.send(&publish(level, "a/b", b"2", ExactlyOnce, 7));
            assert_eq!(server.received(), ack(PUBREC, 7));
            server.send(&ack(PUBREL, 7));
            assert_eq!(server.received(), ack(PUBCOMP, 7));
            let events = server.events();
            assert_eq!(
                events,
                [seen(b"0", AtMostOnce), seen(b"1", AtLeastOnce), seen(b"2", ExactlyOnce)]
            );
        });
    }
}

#[test]
fn retain_flag_and_empty_payload_come_through() {
    at_every_split(|server| {
        server.open(&Connect::v311());
        let mut bytes = publish(4, "a/b", b"", AtMostOnce, 0);
        bytes[0] |= 1;
        server.send(&bytes);
        let Seen::Publish { payload, retain, .. } = &server.events()[0] else { panic!() };
        assert!(*retain && payload.is_empty());
    });
}

#[test]
fn exactly_once_is_emitted_once_however_often_it_is_sent() {
    for level in LEVELS {
        at_every_split(|server| {
            server.open(&connect(level));
            server.send(&publish(level, "a/b", b"x", ExactlyOnce, 7));
            server.send(&publish_again(level, "a/b", b"x", ExactlyOnce, 7));
            assert_eq!(server.received(), [ack(PUBREC, 7), ack(PUBREC, 7)].concat());
            assert_eq!(server.events(), [seen(b"x", ExactlyOnce)]);
            server.send(&ack(PUBREL, 7));
            server.send(&publish(level, "a/b", b"y", ExactlyOnce, 7));
            assert_eq!(server.events(), [seen(b"y", ExactlyOnce)], "the packet id is free again");
        });
    }
}

#[test]
fn exactly_once_sent_again_before_it_is_routed_is_answered_once() {
    at_every_split(|server| {
        server.open(&Connect::v311());
        server.hold = true;
        server.send(&publish(4, "a/b", b"x", ExactlyOnce, 7));
        server.send(&publish_again(4, "a/b", b"x", ExactlyOnce, 7));
        assert_eq!(server.received(), [0; 0]);
        server.route_held();
        assert_eq!(server.received(), ack(PUBREC, 7));
        assert_eq!(server.events().len(), 1);
    });
}

#[test]
fn exactly_once_survives_a_reconnect_of_a_persistent_session() {
    for level in LEVELS {
        at_every_split(|server| {
            let connect = connect(level).persistent();
            server.open(&connect);
            server.send(&publish(level, "a/b", b"x", ExactlyOnce, 7));
            server.hang_up();
            server.open(&connect);
            server.send(&publish_again(level, "a/b", b"x", ExactlyOnce, 7));
            assert_eq!(server.received(), ack(PUBREC, 7));
            assert_eq!(server.events(), [seen(b"x", ExactlyOnce)]);
            server.send(&ack(PUBREL, 7));
            assert_eq!(server.received(), ack(PUBCOMP, 7));
        });
    }
}

#[test]
fn exactly_once_whose_connection_died_before_routing_is_not_emitted_twice() {
    at_every_split(|server| {
        let connect = Connect::v311().persistent();
        server.open(&connect);
        server.hold = true;
        server.send(&publish(4, "a/b", b"x", ExactlyOnce, 7));
        server.hang_up();
        server.open(&connect);
        server.send(&publish_again(4, "a/b", b"x", ExactlyOnce, 7));
        assert_eq!(server.received(), ack(PUBREC, 7));
        assert_eq!(server.events().len(), 1);
    });
}

#[test]
fn release_of_an_unknown_packet_id_is_completed_and_v5_told_so() {
    at_every_split(|server| {
        server.open(&Connect::v311());
        server.send(&ack(PUBREL, 9));
        assert_eq!(server.received(), ack(PUBCOMP, 9));
    });
    at_every_split(|server| {
        server.open(&Connect::v5());
        server.send(&ack(PUBREL, 9));
        assert_eq!(server.received(), ack_reason(PUBCOMP, 9, 0x92));
    });
}

#[test]
fn outcome_of_routing_is_told_to_v5_and_kept_from_v311() {
    for (routed, v5_code) in [(Reason::NoMatchingSubscribers, 0x10), (Reason::QuotaExceeded, 0x97)]
    {
        at_every_split(|server| {
            server.routed = routed;
            server.open(&Connect::v5());
            server.send(&publish(5, "a/b", b"x", AtLeastOnce, 1));
            assert_eq!(server.received(), ack_reason(PUBACK, 1, v5_code));
            server.send(&publish(5, "a/b", b"x", ExactlyOnce, 2));
            assert_eq!(server.received(), ack_reason(PUBREC, 2, v5_code));
            server.open(&Connect::v311());
            server.send(&publish(4, "a/b", b"x", AtLeastOnce, 1));
            assert_eq!(server.received(), ack(PUBACK, 1));
        });
    }
}

/// Topics that nobody may publish to, and what MQTT 5 is told.
const REFUSED: [(&str, Reason, u8); 4] = [
    ("$SYS/uptime", Reason::NotAuthorized, 0x87),
    ("$share/g/a", Reason::NotAuthorized, 0x87),
    ("$", Reason::NotAuthorized, 0x87),
    ("a/b/c", Reason::TopicNameInvalid, 0x90),
];

/// [MQTT 4.7.2]
#[test]
fn publish_to_a_topic_that_is_not_accepted_is_refused_and_the_connection_goes_on() {
    for (topic, reason, code) in REFUSED {
        at_every_split(|server| {
            server.limits.topic_levels_max = 2;
            server.open(&Connect::v5());
            server.send(&publish(5, topic, b"x", AtMostOnce, 0));
            server.send(&publish(5, topic, b"x", AtLeastOnce, 1));
            server.send(&publish(5, topic, b"x", ExactlyOnce, 2));
            let refusals = [ack_reason(PUBACK, 1, code), ack_reason(PUBREC, 2, code)].concat();
            assert_eq!(server.received(), refusals, "{topic}");
            let refused = || Seen::PublishRefused(reason);
            assert_eq!(server.events(), [refused(), refused(), refused()], "{topic}");
            // The packet id is free again.
            server.send(&publish(5, "a/b", b"y", ExactlyOnce, 2));
            assert_eq!(server.events(), [seen(b"y", ExactlyOnce)]);
            assert_eq!(server.received(), ack(PUBREC, 2));
        });
    }
}

/// [MQTT-3.3.5-2]
#[test]
fn v311_is_told_that_a_refused_publish_has_arrived() {
    for (topic, reason, _) in REFUSED {
        at_every_split(|server| {
            server.limits.topic_levels_max = 2;
            server.open(&Connect::v311());
            server.send(&publish(4, topic, b"x", AtLeastOnce, 1));
            server.send(&publish(4, topic, b"x", ExactlyOnce, 2));
            server.send(&publish_again(4, topic, b"x", ExactlyOnce, 2));
            server.send(&ack(PUBREL, 2));
            let acks = [ack(PUBACK, 1), ack(PUBREC, 2), ack(PUBREC, 2), ack(PUBCOMP, 2)].concat();
            assert_eq!(server.received(), acks, "{topic}");
            let refused = || Seen::PublishRefused(reason);
            assert_eq!(server.events(), [refused(), refused()], "{topic}: dropped once each");
        });
    }
}

#[test]
fn alias_of_a_topic_that_is_not_accepted_stands_for_it_all_the_same() {
    for (topic, reason, code) in REFUSED {
        at_every_split(|server| {
            server.limits.topic_levels_max = 2;
            server.open(&Connect::v5());
            let by_alias = |topic: &str, packet_id: u8| {
                let head = [text(topic), vec![0, packet_id], properties(&[&[0x23, 0, 3]])];
                packet(0x32, &head.concat())
            };
            server.send(&by_alias(topic, 1));
            server.send(&by_alias("", 2));
            let refusals = [ack_reason(PUBACK, 1, code), ack_reason(PUBACK, 2, code)].concat();
            assert_eq!(server.received(), refusals, "{topic}");
            let refused = || Seen::PublishRefused(reason);
            assert_eq!(server.events(), [refused(), refused()], "{topic}");
        });
    }
}

#[test]
fn refused_exactly_once_frees_its_packet_id() {
    at_every_split(|server| {
        server.open(&Connect::v5());
        server.routed = Reason::QuotaExceeded;
        server.send(&publish(5, "a/b", b"x", ExactlyOnce, 2));
        server.routed = Reason::Success;
        server.send(&publish(5, "a/b", b"y", ExactlyOnce, 2));
        let answers = [ack_reason(PUBREC, 2, 0x97), ack(PUBREC, 2)].concat();
        assert_eq!(server.received(), answers);
        assert_eq!(server.events().len(), 2);
    });
}

#[test]
fn more_unacknowledged_than_our_receive_maximum_fails_v5() {
    at_every_split(|server| {
        server.limits.receive_max = 2;
        server.hold = true;
        server.open(&Connect::v5());
        server.send(&publish(5, "a/b", b"1", AtLeastOnce, 1));
        server.send(&publish(5, "a/b", b"2", ExactlyOnce, 2));
        assert_eq!(server.events().len(), 2);
        server.send(&publish(5, "a/b", b"3", ExactlyOnce, 3));
        assert_eq!(server.events(), [Seen::Failed(Reason::ReceiveMaximumExceeded)]);
        assert_eq!(server.received(), disconnected(0x93));
    });
}

#[test]
fn publish_refused_by_our_receive_maximum_is_new_when_it_comes_again() {
    at_every_split(|server| {
        server.limits.receive_max = 1;
        let connect = Connect::v5().persistent();
        server.open(&connect);
        server.send(&publish(5, "a/b", b"1", ExactlyOnce, 1));
        server.send(&publish(5, "a/b", b"2", ExactlyOnce, 2));
        server.hang_up();
        server.events();
        server.open(&connect);
        server.send(&publish_again(5, "a/b", b"2", ExactlyOnce, 2));
        assert_eq!(server.events(), [seen(b"2", ExactlyOnce)]);
    });
}

#[test]
fn acknowledged_publishes_leave_room_in_our_receive_maximum() {
    at_every_split(|server| {
        server.limits.receive_max = 1;
        server.open(&Connect::v5());
        for packet_id in 1..4 {
            server.send(&publish(5, "a/b", b"x", AtLeastOnce, packet_id));
            server.send(&publish(5, "a/b", b"x", ExactlyOnce, packet_id));
            server.send(&ack(PUBREL, packet_id));
        }
        assert_eq!(server.events().len(), 6);
        server.send(&publish(5, "a/b", b"x", ExactlyOnce, 8));
        server.send(&publish(5, "a/b", b"x", ExactlyOnce, 9));
        let failed = Seen::Failed(Reason::ReceiveMaximumExceeded);
        assert_eq!(server.events().last(), Some(&failed), "from PUBLISH to PUBCOMP it counts");
    });
}

#[test]
fn properties_are_taken_in_order_and_expiry_becomes_an_instant() {
    at_every_split(|server| {
        server.open(&Connect::v5());
        let section = properties(&[
            &user_property("k", "1"),
            &text_property(0x09, "correlation"),
            &text_property(0x08, "reply/to"),
            &[0x01, 1],
            &user_property("a", ""),
            &[0x02, 0, 0, 0, 10],
            &text_property(0x03, "text/plain"),
            &user_property("k", "2"),
        ]);
        server.send(&packet(0x30, &[text("t"), section, b"payload".to_vec()].concat()));
        let message = server.messages.pop().expect("a message");
        assert_eq!(&message.payload[..], b"payload");
        assert_eq!(message.expires_at, Some(server.now.after_millis(10_000)));
        let properties = message.properties.expect("properties");
        assert_eq!(properties.payload_format, Some(1));
        assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
        assert_eq!(properties.response_topic.as_deref(), Some("reply/to"));
        assert_eq!(properties.correlation_data.as_deref(), Some(&b"correlation"[..]));
        let pairs = [("k", "1"), ("a", ""), ("k", "2")];
        assert!(properties.user_properties.iter().eq(pairs));
    });
}
