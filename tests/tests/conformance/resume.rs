//! Sessions that outlive their connection, and what is sent again.

use push_server::broker::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use push_server::broker::{Held, Message, TopicName};
use push_server::mqtt::Delivered;
use push_server::mqtt::codec::Reason;

use crate::server::{Seen, at_every_split};
use crate::wire::{Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, ack, packet, publish, publish_again};

const LEVELS: [u8; 2] = [4, 5];

fn connect(level: u8) -> Connect {
    if level == 5 { Connect::v5() } else { Connect::v311() }.persistent()
}

#[test]
fn session_present_says_whether_a_session_was_there() {
    for level in LEVELS {
        at_every_split(|server| {
            let connect = connect(level);
            server.connect(&connect.bytes());
            assert_eq!(server.received()[2], 0);
            server.hang_up();
            server.connect(&connect.bytes());
            assert_eq!(server.received()[2], 1);
            server.hang_up();
            server.connect(&Connect { flags: 0x02, ..connect }.bytes());
            assert_eq!(server.received()[2], 0, "a clean start forgets it");
        });
    }
}

/// Whether or not it asks for a clean start.
#[test]
fn connect_that_is_refused_leaves_the_session_as_it_was() {
    for flags in [0x00, 0x02] {
        at_every_split(|server| {
            server.open(&connect(5));
            server.deliver("t", b"x", AtLeastOnce);
            server.hang_up();
            // An expiry of 0, and no CONNACK that would fit.
            let other = Connect { flags, ..Connect::v5() }.property(&[0x27, 0, 0, 0, 5]);
            server.connect(&other.bytes());
            assert_eq!(server.events(), [Seen::Refused(Reason::PacketTooLarge)]);
            assert_eq!(server.received(), [0x20, 3, 0, 0x95, 0]);
            let session = server.session.as_ref().expect("the session that was there");
            assert_eq!((session.expiry_secs(), session.owed()), (3_600, 1));
        });
    }
}

#[test]
fn messages_for_the_absent_wait_but_not_at_most_once() {
    for level in LEVELS {
        at_every_split(|server| {
            server.open(&connect(level));
            server.hang_up();
            assert_eq!(server.deliver("t", b"0", AtMostOnce), Delivered::Dropped);
            assert_eq!(server.deliver("t", b"1", AtLeastOnce), Delivered::Queued);
            assert_eq!(server.deliver("t", b"2", ExactlyOnce), Delivered::Queued);
            server.connect(&connect(level).bytes());
            let sent = [
                publish(level, "t", b"1", AtLeastOnce, 1),
                publish(level, "t", b"2", ExactlyOnce, 2),
            ];
            assert_eq!(server.accepted(), sent.concat());
        });
    }
}

#[test]
fn unacknowledged_is_sent_again_in_its_original_order_and_form() {
    for level in LEVELS {
        at_every_split(|server| {
            server.open(&connect(level));
            for (payload, qos) in [
                (b"1", AtLeastOnce),
                (b"2", ExactlyOnce),
                (b"3", ExactlyOnce),
                (b"4", AtLeastOnce),
                (b"5", AtLeastOnce),
            ] {
                server.deliver("t", payload, qos);
            }
            server.received();
            server.send(&ack(PUBACK, 4));
            server.send(&ack(PUBREC, 2));
            server.hang_up();
            server.deliver("t", b"6", AtLeastOnce);
            server.connect(&connect(level).bytes());
            let sent = [
                publish_again(level, "t", b"1", AtLeastOnce, 1),
                ack(PUBREL, 2),
                publish_again(level, "t", b"3", ExactlyOnce, 3),
                publish_again(level, "t", b"5", AtLeastOnce, 5),
                publish(level, "t", b"6", AtLeastOnce, 6),
            ];
            assert_eq!(server.accepted(), sent.concat());
            server.send(&[ack(PUBACK, 1), ack(PUBCOMP, 2), ack(PUBREC, 3)].concat());
            server.send(&[ack(PUBCOMP, 3), ack(PUBACK, 5), ack(PUBACK, 6)].concat());
            assert_eq!(server.session.as_ref().expect("one").owed(), 0);
            assert_eq!(server.events(), []);
        });
    }
}

#[test]
fn what_was_never_on_the_wire_is_sent_without_dup() {
    at_every_split(|server| {
        server.open(&connect(4));
        server.deliver("t", b"1", AtLeastOnce);
        server.hang_up();
        server.connect(&connect(4).bytes());
        assert_eq!(server.accepted(), publish(4, "t", b"1", AtLeastOnce, 1));
    });
}

#[test]
fn sending_again_respects_the_new_receive_maximum() {
    at_every_split(|server| {
        server.open(&connect(5));
        for payload in [b"1", b"2", b"3"] {
            server.deliver("t", payload, AtLeastOnce);
        }
        server.received();
        server.hang_up();
        server.connect(&connect(5).property(&[0x21, 0, 1]).bytes());
        assert_eq!(server.accepted(), publish_again(5, "t", b"1", AtLeastOnce, 1));
        // Acknowledged though not sent again yet: the first connection's PUBACK came late.
        server.send(&ack(PUBACK, 2));
        assert_eq!(server.received(), [0; 0]);
        server.send(&ack(PUBACK, 1));
        assert_eq!(server.received(), publish_again(5, "t", b"3", AtLeastOnce, 3));
    });
}

#[test]
fn message_too_large_for_the_new_connection_counts_as_delivered() {
    at_every_split(|server| {
        server.open(&connect(5));
        server.deliver("t", &[0; 200], AtLeastOnce);
        server.deliver("t", b"2", AtLeastOnce);
        server.received();
        server.hang_up();
        server.connect(&connect(5).property(&[0x27, 0, 0, 0, 100]).bytes());
        assert_eq!(server.accepted(), publish_again(5, "t", b"2", AtLeastOnce, 2));
        assert_eq!(server.transmit.dropped_too_large, 1);
        assert_eq!(server.session.as_ref().expect("one").owed(), 1);
    });
}

#[test]
fn client_may_come_back_with_the_other_version() {
    at_every_split(|server| {
        server.open(&connect(4));
        server.deliver("t", b"1", ExactlyOnce);
        server.received();
        server.hang_up();
        server.connect(&connect(5).bytes());
        assert_eq!(server.accepted(), publish_again(5, "t", b"1", ExactlyOnce, 1));
    });
}

#[test]
fn delivery_once_begun_goes_on_though_the_message_expired() {
    at_every_split(|server| {
        server.open(&connect(5));
        server.deliver_message(Message {
            topic: TopicName::parse("t", 8).expect("valid"),
            payload: b"1".to_vec().into(),
            qos: AtLeastOnce,
            retain: false,
            properties: None,
            expires_at: Some(server.now.after_millis(10_000)),
            held: Held::default(),
        });
        server.received();
        server.hang_up();
        server.after_secs(20);
        server.connect(&connect(5).bytes());
        let body = [0, 1, b't', 0, 1, 5, 0x02, 0, 0, 0, 0, b'1'];
        assert_eq!(server.accepted(), packet(0x3A, &body));
        assert_eq!(server.transmit.dropped_expired, 0);
    });
}
