//! The delivery flows at their edges: what a full window does not hold back, what is never sent
//! again, what expiry does not touch, and in which order answers come.

use push_server::broker::QoS::{AtLeastOnce, ExactlyOnce};
use push_server::broker::{Held, Message, QoS, TopicName};

use crate::server::{Seen, Server, at_every_split};
use crate::wire::{
    Connect, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, ack, ack_reason, packet,
    properties, publish, publish_again, subscribe, text, unsubscribe,
};

const LEVELS: [u8; 2] = [4, 5];

fn connect(level: u8) -> Connect {
    if level == 5 { Connect::v5() } else { Connect::v311() }
}

fn owed(server: &Server) -> usize {
    server.session.as_ref().expect("a session").owed()
}

/// A message that expires ten seconds from now.
fn short_lived(server: &Server, qos: QoS) -> Message {
    Message {
        topic: TopicName::parse("t", 8).expect("valid"),
        payload: b"x".to_vec().into(),
        qos,
        retain: false,
        properties: None,
        expires_at: Some(server.now.after_millis(10_000)),
        held: Held::default(),
    }
}

#[test]
fn full_window_holds_back_nothing_but_publishes() {
    at_every_split(|server| {
        server.open(&Connect::v5().property(&[0x21, 0, 1]));
        server.deliver("t", b"1", ExactlyOnce);
        server.deliver("t", b"2", ExactlyOnce);
        assert_eq!(server.received(), publish(5, "t", b"1", ExactlyOnce, 1));
        server.send(&ack(PUBREC, 1));
        assert_eq!(server.received(), ack(PUBREL, 1));
        server.send(PINGREQ);
        assert_eq!(server.received(), PINGRESP);
        server.send(&subscribe(5, 7, &[("t", 0)]));
        assert_eq!(server.received(), packet(0x90, &[0, 7, 0, 0]));
        server.send(&unsubscribe(5, 8, &["t"]));
        assert_eq!(server.received(), packet(0xB0, &[0, 8, 0, 0]));
        server.send(&publish(5, "a", b"", AtLeastOnce, 3));
        server.send(&publish(5, "a", b"", ExactlyOnce, 4));
        server.send(&ack(PUBREL, 4));
        let answers = [ack(PUBACK, 3), ack(PUBREC, 4), ack(PUBCOMP, 4)];
        assert_eq!(server.received(), answers.concat());
        server.send(&ack(PUBCOMP, 1));
        assert_eq!(server.received(), publish(5, "t", b"2", ExactlyOnce, 2));
    });
}

#[test]
fn at_least_once_is_new_after_its_puback_whatever_dup_says() {
    for level in LEVELS {
        at_every_split(|server| {
            server.open(&connect(level));
            server.send(&publish(level, "t", b"1", AtLeastOnce, 7));
            server.send(&publish_again(level, "t", b"2", AtLeastOnce, 7));
            assert_eq!(server.received(), ack(PUBACK, 7).repeat(2));
            let payloads: Vec<_> =
                server.messages.iter().map(|message| &message.payload[..]).collect();
            assert_eq!(payloads, [b"1", b"2"]);
        });
    }
}

#[test]
fn exactly_once_once_sent_does_not_expire() {
    at_every_split(|server| {
        let connect = Connect::v5().persistent();
        server.open(&connect);
        let message = short_lived(server, ExactlyOnce);
        server.deliver_message(message);
        server.received();
        server.hang_up();
        server.after_secs(60);
        server.connect(&connect.bytes());
        let body = [text("t"), vec![0, 1], properties(&[&[0x02, 0, 0, 0, 0]]), vec![b'x']];
        assert_eq!(server.accepted(), packet(0x3C, &body.concat()), "sent again, with DUP");
        server.send(&ack(PUBREC, 1));
        server.after_secs(60);
        server.send(&ack(PUBCOMP, 1));
        assert_eq!(server.received(), ack(PUBREL, 1));
        assert_eq!(owed(server), 0);
        assert_eq!(server.transmit.dropped_expired, 0);
    });
}

#[test]
fn exactly_once_is_acknowledged_to_its_end_though_the_message_expired() {
    at_every_split(|server| {
        server.open(&Connect::v5());
        let section = properties(&[&[0x02, 0, 0, 0, 1]]);
        let mut bytes = packet(0x34, &[text("t"), vec![0, 7], section].concat());
        server.send(&bytes);
        server.after_secs(60);
        bytes[0] |= 0x08;
        server.send(&bytes);
        server.send(&ack(PUBREL, 7));
        assert_eq!(server.received(), [ack(PUBREC, 7), ack(PUBREC, 7), ack(PUBCOMP, 7)].concat());
        assert_eq!(server.messages.len(), 1);
    });
}

#[test]
fn nothing_is_sent_again_on_the_same_connection() {
    for level in LEVELS {
        at_every_split(|server| {
            server.open(&connect(level).persistent());
            for qos in [AtLeastOnce, ExactlyOnce, ExactlyOnce] {
                server.deliver("t", b"x", qos);
            }
            server.received();
            server.send(&ack(PUBREC, 3));
            assert_eq!(server.received(), ack(PUBREL, 3));
            for _ in 0..3 {
                server.after_secs(3_600);
                server.send(PINGREQ);
                assert_eq!(server.received(), PINGRESP);
            }
            assert_eq!(owed(server), 3);
        });
    }
}

#[test]
fn refused_publish_is_not_sent_again_on_the_next_connection() {
    at_every_split(|server| {
        let connect = Connect::v5().persistent();
        server.open(&connect);
        server.deliver("t", b"1", AtLeastOnce);
        server.deliver("t", b"2", ExactlyOnce);
        server.deliver("t", b"3", AtLeastOnce);
        server.received();
        server.send(&ack_reason(PUBACK, 1, 0x80));
        server.send(&ack_reason(PUBREC, 2, 0x99));
        server.hang_up();
        server.connect(&connect.bytes());
        assert_eq!(server.accepted(), publish_again(5, "t", b"3", AtLeastOnce, 3));
    });
}

#[test]
fn acknowledgements_come_in_the_order_of_what_they_answer() {
    for level in LEVELS {
        for hold in [false, true] {
            at_every_split(|server| {
                server.hold = hold;
                server.open(&connect(level));
                let qualities =
                    [(5, AtLeastOnce), (9, ExactlyOnce), (3, AtLeastOnce), (1, ExactlyOnce)];
                for (packet_id, qos) in qualities {
                    server.send(&publish(level, "t", b"", qos, packet_id));
                }
                server.route_held();
                let answers = [ack(PUBACK, 5), ack(PUBREC, 9), ack(PUBACK, 3), ack(PUBREC, 1)];
                assert_eq!(server.received(), answers.concat());
                let topics = server.events();
                assert_eq!(topics.len(), 4);
                assert!(topics.iter().all(|event| matches!(event, Seen::Publish { .. })));
            });
        }
    }
}

#[test]
fn releases_come_in_the_order_of_the_receipts() {
    for level in LEVELS {
        at_every_split(|server| {
            server.open(&connect(level));
            for _ in 0..3 {
                server.deliver("t", b"", ExactlyOnce);
            }
            server.received();
            server.send(&[ack(PUBREC, 2), ack(PUBREC, 3), ack(PUBREC, 1)].concat());
            let releases = [ack(PUBREL, 2), ack(PUBREL, 3), ack(PUBREL, 1)];
            assert_eq!(server.received(), releases.concat());
        });
    }
}
