//! Topic aliases, both ways.

use push_server::broker::QoS::{self, AtLeastOnce, AtMostOnce, ExactlyOnce};
use push_server::mqtt::codec::Reason;

use crate::server::{Seen, Server, at_every_split};
use crate::wire::{
    Connect, PUBACK, PUBREC, ack, ack_reason, disconnected, packet, properties, publish, text,
};

/// A PUBLISH with an alias, and a topic unless that is empty.
fn said(topic: &str, alias: u16, payload: &[u8], qos: QoS, packet_id: u16) -> Vec<u8> {
    let [high, low] = alias.to_be_bytes();
    let mut body = text(topic);
    if qos != AtMostOnce {
        body.extend(packet_id.to_be_bytes());
    }
    body.extend(properties(&[&[0x23, high, low]]));
    body.extend(payload);
    packet(0x30 | (qos as u8) << 1, &body)
}

fn at_most_once(topic: &str, alias: u16, payload: &[u8]) -> Vec<u8> {
    said(topic, alias, payload, AtMostOnce, 0)
}

/// The topics that came through, in order.
fn topics(server: &mut Server) -> Vec<String> {
    let topic = |seen| match seen {
        Seen::Publish { topic, .. } => topic,
        other => panic!("not a PUBLISH: {other:?}"),
    };
    server.events().into_iter().map(topic).collect()
}

/// A client that takes so many aliases from us.
fn taking(aliases: u8) -> Connect {
    Connect::v5().property(&[0x22, 0, aliases])
}

/// [MQTT-3.3.2-12] every alias up to the maximum, and a new topic for one that is in use.
#[test]
fn alias_stands_for_the_topic_it_was_said_with_last() {
    at_every_split(|server| {
        server.limits.topic_alias_max = 2;
        server.open(&Connect::v5());
        server.send(&at_most_once("a/b", 2, b"1"));
        server.send(&at_most_once("", 2, b"2"));
        server.send(&at_most_once("c", 1, b"3"));
        server.send(&at_most_once("d", 2, b"4"));
        server.send(&[at_most_once("", 2, b"5"), at_most_once("", 1, b"6")].concat());
        assert_eq!(topics(server), ["a/b", "a/b", "c", "d", "d", "c"]);
        let payload: Vec<_> = server.messages.iter().map(|m| m.payload[0]).collect();
        assert_eq!(payload, b"123456");
    });
}

/// [MQTT-3.3.2-8] [MQTT-3.3.2-9] [MQTT-3.1.2-26]
#[test]
fn alias_of_zero_or_above_the_maximum_is_invalid() {
    for (max, alias) in [(2, 0), (2, 3), (2, u16::MAX), (0, 1)] {
        for topic in ["a", ""] {
            at_every_split(|server| {
                server.limits.topic_alias_max = max;
                server.open(&Connect::v5());
                server.send(&at_most_once(topic, alias, b""));
                assert_eq!(server.events(), [Seen::Failed(Reason::TopicAliasInvalid)]);
                assert_eq!(server.received(), disconnected(0x94));
            });
        }
    }
}

/// [MQTT5 3.3.2.1] [MQTT5 3.3.2.3.4]
#[test]
fn alias_never_said_with_a_topic_is_a_protocol_error() {
    at_every_split(|server| {
        server.open(&Connect::v5());
        server.send(&at_most_once("a", 2, b""));
        server.events();
        server.send(&at_most_once("", 1, b""));
        assert_eq!(server.events(), [Seen::Failed(Reason::ProtocolError)]);
        assert_eq!(server.received(), disconnected(0x82));
    });
}

#[test]
fn alias_said_twice_in_a_packet_is_a_protocol_error() {
    at_every_split(|server| {
        server.open(&Connect::v5());
        let section = properties(&[&[0x23, 0, 1], &[0x23, 0, 1]]);
        server.send(&packet(0x30, &[text("t"), section].concat()));
        assert_eq!(server.events(), [Seen::Failed(Reason::ProtocolError)]);
    });
}

/// [MQTT-3.3.2-7]
#[test]
fn aliases_end_with_their_connection_both_ways() {
    at_every_split(|server| {
        let connect = Connect::v5().persistent().property(&[0x22, 0, 1]);
        server.open(&connect);
        server.send(&at_most_once("a", 1, b""));
        server.deliver("long/topic", b"1", AtMostOnce);
        assert_eq!(server.received(), at_most_once("long/topic", 1, b"1"));
        server.events();
        server.hang_up();
        server.open(&connect);
        server.deliver("long/topic", b"2", AtMostOnce);
        assert_eq!(server.received(), at_most_once("long/topic", 1, b"2"), "said in full again");
        server.send(&at_most_once("", 1, b""));
        assert_eq!(server.events(), [Seen::Failed(Reason::ProtocolError)]);
    });
}

/// [MQTT-3.3.2-10]
#[test]
fn the_two_directions_know_nothing_of_each_other() {
    at_every_split(|server| {
        server.open(&taking(1));
        server.send(&at_most_once("from/client", 1, b""));
        server.deliver("to/client", b"1", AtMostOnce);
        assert_eq!(server.received(), at_most_once("to/client", 1, b"1"));
        server.send(&at_most_once("", 1, b""));
        assert_eq!(topics(server), ["from/client", "from/client"]);
        server.deliver("to/client", b"2", AtMostOnce);
        assert_eq!(server.received(), at_most_once("", 1, b"2"));
    });
}

/// A publish sent again, or refused, has still said its alias.
#[test]
fn alias_of_an_exactly_once_publish_sent_again_counts() {
    at_every_split(|server| {
        let connect = Connect::v5().persistent();
        server.open(&connect);
        server.send(&said("a", 1, b"x", ExactlyOnce, 7));
        server.hang_up();
        server.open(&connect);
        let mut again = said("a", 3, b"x", ExactlyOnce, 7);
        again[0] |= 0x08;
        server.send(&again);
        assert_eq!(server.received(), ack(PUBREC, 7));
        server.send(&said("", 3, b"y", AtLeastOnce, 8));
        assert_eq!(server.received(), ack(PUBACK, 8));
        assert_eq!(topics(server), ["a", "a"]);
    });
}

/// [MQTT-3.1.2-26] no alias above what the client takes; [MQTT-3.1.2-27] none where it takes none.
#[test]
fn server_says_topics_by_alias_as_far_as_both_sides_take() {
    for (client, ours, expected) in [(1, 9, 1), (9, 1, 1), (0, 9, 0), (9, 0, 0), (2, 2, 2)] {
        at_every_split(|server| {
            server.limits.topic_alias_send_max = ours;
            server.open(&taking(client));
            let topics = ["first/topic", "second/topic", "third/topic"];
            for (number, topic) in (1..).zip(topics) {
                server.deliver(topic, b"1", AtMostOnce);
                let sent = server.received();
                let whole = publish(5, topic, b"1", AtMostOnce, 0);
                let by = |alias| at_most_once(topic, alias, b"1");
                if number <= expected {
                    assert_eq!(sent, by(number), "{topic}: {client} and {ours}");
                } else {
                    // Where the table is full, an alias not used since may be given on.
                    let any = (1..=expected).map(by).chain([whole]).any(|form| form == sent);
                    assert!(any, "{topic}: {client} and {ours}: {sent:02x?}");
                }
            }
        });
    }
}

#[test]
fn server_introduces_an_alias_once_and_then_leaves_the_topic_out() {
    at_every_split(|server| {
        server.open(&taking(4));
        server.deliver("long/topic", b"1", AtLeastOnce);
        server.deliver("long/topic", b"2", ExactlyOnce);
        server.deliver("short", b"3", AtMostOnce);
        server.deliver("long/topic", b"4", AtMostOnce);
        let sent = [
            said("long/topic", 1, b"1", AtLeastOnce, 1),
            said("", 1, b"2", ExactlyOnce, 2),
            publish(5, "short", b"3", AtMostOnce, 0),
            said("", 1, b"4", AtMostOnce, 0),
        ];
        assert_eq!(server.received(), sent.concat());
    });
}

#[test]
fn v311_and_clients_without_a_maximum_get_no_alias() {
    for (level, connect) in [(4, Connect::v311()), (5, Connect::v5())] {
        at_every_split(|server| {
            server.open(&connect);
            for _ in 0..2 {
                server.deliver("long/topic", b"x", AtMostOnce);
            }
            assert_eq!(
                server.received(),
                publish(level, "long/topic", b"x", AtMostOnce, 0).repeat(2)
            );
        });
    }
}

/// [MQTT-3.1.2-24] the property must not make a packet too long, and what is too long says nothing.
#[test]
fn alias_is_introduced_only_by_a_packet_that_fits() {
    at_every_split(|server| {
        server.open(&taking(2).property(&[0x27, 0, 0, 0, 40]));
        // 2 + 2 + 10 + 1 bytes around the payload, 3 more with an alias.
        let bare = publish(5, "long/topic", &[7; 23], AtMostOnce, 0);
        assert_eq!(bare.len(), 38);
        server.deliver("long/topic", &[7; 23], AtMostOnce);
        assert_eq!(server.received(), bare, "with an alias it would have 41 bytes");
        server.deliver("long/topic", &[7; 26], AtMostOnce);
        assert_eq!(server.received(), [0; 0], "too long either way");
        assert_eq!(server.transmit.dropped_too_large, 1);
        server.deliver("long/topic", &[7; 22], AtMostOnce);
        let introduction = at_most_once("long/topic", 1, &[7; 22]);
        assert_eq!((introduction.len(), server.received()), (40, introduction));
        let by_alias = at_most_once("", 1, &[7; 32]);
        server.deliver("long/topic", &[7; 32], AtMostOnce);
        assert_eq!((by_alias.len(), server.received()), (40, by_alias), "the alias makes room");
    });
}

/// [MQTT-3.3.1-3] [MQTT-4.4.0-1] what is sent again says its topic as the new connection needs it.
#[test]
fn retransmission_on_a_new_connection_uses_no_old_alias() {
    at_every_split(|server| {
        let connect = Connect::v5().persistent().property(&[0x22, 0, 1]);
        server.open(&connect);
        for payload in [b"1", b"2"] {
            server.deliver("long/topic", payload, AtLeastOnce);
        }
        let first = said("long/topic", 1, b"1", AtLeastOnce, 1);
        assert_eq!(server.received(), [first, said("", 1, b"2", AtLeastOnce, 2)].concat());
        server.hang_up();
        server.connect(&connect.bytes());
        let mut again =
            [said("long/topic", 1, b"1", AtLeastOnce, 1), said("", 1, b"2", AtLeastOnce, 2)];
        again.iter_mut().for_each(|packet| packet[0] |= 0x08);
        assert_eq!(server.accepted(), again.concat());
        server.hang_up();
        // A connection that takes none gets the topic in full.
        server.connect(&Connect::v5().persistent().bytes());
        let plain =
            |payload, id| crate::wire::publish_again(5, "long/topic", payload, AtLeastOnce, id);
        assert_eq!(server.accepted(), [plain(b"1", 1), plain(b"2", 2)].concat());
        server.send(&ack_reason(PUBACK, 1, 0));
        assert_eq!(server.events(), []);
    });
}
