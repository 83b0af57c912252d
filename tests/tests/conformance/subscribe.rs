//! SUBSCRIBE, UNSUBSCRIBE and their answers.

use push_server::broker::SubscriptionId;
use push_server::mqtt::codec::Reason;

use crate::server::{Seen, at_every_split};
use crate::wire::{
    Connect, answered, disconnected, packet, properties, subscribe, text, unsubscribe,
    user_property,
};

#[test]
fn every_filter_is_answered_in_its_place() {
    let filters = [("a/b", 0), ("+/#", 2), ("bad#", 1), ("", 1), ("c", 1)];
    let seen = || {
        let ok = |filter: &str| Ok(filter.to_owned());
        let invalid = || Err(Reason::TopicFilterInvalid);
        [Seen::Subscribe(vec![ok("a/b"), ok("+/#"), invalid(), invalid(), ok("c")])]
    };
    at_every_split(|server| {
        server.open(&Connect::v311());
        server.send(&subscribe(4, 10, &filters));
        assert_eq!(server.received(), packet(0x90, &[0, 10, 0, 2, 0x80, 0x80, 1]));
        assert_eq!(server.events(), seen());
    });
    at_every_split(|server| {
        server.open(&Connect::v5());
        server.send(&subscribe(5, 10, &filters));
        let words = "filter 3: topic filter invalid";
        assert_eq!(server.received(), answered(0x90, 10, words, &[0, 2, 0x8F, 0x8F, 1]));
        assert_eq!(server.events(), seen());
    });
}

#[test]
fn unsuback_has_codes_only_in_v5() {
    at_every_split(|server| {
        server.open(&Connect::v311());
        server.send(&unsubscribe(4, 10, &["a", "b"]));
        assert_eq!(server.received(), packet(0xB0, &[0, 10]));
        assert_eq!(server.events(), [Seen::Unsubscribe(vec![Ok("a".into()), Ok("b".into())])]);
    });
    at_every_split(|server| {
        server.open(&Connect::v5());
        server.send(&unsubscribe(5, 10, &["a", "a/#/b"]));
        assert_eq!(
            server.received(),
            answered(0xB0, 10, "filter 2: topic filter invalid", &[0, 0x8F])
        );
    });
}

/// [MQTT-4.8.2-1] [MQTT-4.8.2-2]; to 3.1.1 they are an extension.
#[test]
fn shared_subscriptions_need_a_name_and_a_filter() {
    let filters = ["$share/group/t", "$share/group/", "$share//t", "$share/g+/t", "$share/g/#/t"];
    let filters = filters.map(|filter| (filter, 1));
    at_every_split(|server| {
        server.open(&Connect::v5());
        server.send(&subscribe(5, 1, &filters));
        let words = "filter 2: topic filter invalid";
        assert_eq!(server.received(), answered(0x90, 1, words, &[1, 0x8F, 0x8F, 0x8F, 0x8F]));
        server.open(&Connect::v311());
        server.send(&subscribe(4, 1, &filters));
        assert_eq!(server.received(), packet(0x90, &[0, 1, 1, 0x80, 0x80, 0x80, 0x80]));
    });
}

/// A SUBSCRIBE of MQTT 5 with an identifier, as it stands on the wire.
fn subscribe_with_id(identifier: &[u8], filters: &[&str]) -> Vec<u8> {
    let property = [&[0x0B][..], identifier].concat();
    let section = properties(&[&property, &user_property("k", "v")]);
    let mut body = [vec![0, 1], section].concat();
    for filter in filters {
        body.extend([text(filter), vec![1]].concat());
    }
    packet(0x82, &body)
}

/// [MQTT5 3.8.2.1.2]: 1 to 268,435,455, for every filter of the packet.
#[test]
fn subscription_identifier_belongs_to_every_filter_of_its_packet() {
    for (identifier, number) in [(&[1][..], 1), (&[0xFF, 0xFF, 0xFF, 0x7F], 268_435_455)] {
        at_every_split(|server| {
            server.open(&Connect::v5());
            server.send(&subscribe_with_id(identifier, &["a", "b"]));
            assert_eq!(server.received(), packet(0x90, &[0, 1, 0, 1, 1]));
            assert_eq!(server.subscription_ids, [SubscriptionId::new(number); 2]);
            server.subscription_ids.clear();
            server.send(&subscribe(5, 1, &[("a", 1)]));
            assert_eq!(server.subscription_ids, [None]);
            server.subscription_ids.clear();
        });
    }
}

#[test]
fn subscription_identifier_out_of_range_or_twice_ends_the_connection() {
    for (identifier, reason) in [
        (&[0][..], Reason::ProtocolError),
        (&[1, 0x0B, 2], Reason::ProtocolError),
        (&[0xFF, 0xFF, 0xFF, 0xFF, 0x01], Reason::MalformedPacket),
    ] {
        at_every_split(|server| {
            server.open(&Connect::v5());
            server.send(&subscribe_with_id(identifier, &["a"]));
            assert_eq!(server.events(), [Seen::Failed(reason)], "{identifier:02x?}");
            assert_eq!(server.received(), disconnected(reason as u8));
        });
    }
}

#[test]
fn options_out_of_range_are_refused() {
    for (level, filter, options, reason) in [
        (4, "t", 3, Reason::MalformedPacket),
        (4, "t", 0x04, Reason::MalformedPacket),
        (5, "t", 3, Reason::MalformedPacket),
        (5, "t", 0x40, Reason::MalformedPacket),
        (5, "t", 0x30, Reason::ProtocolError),
        (5, "$share/g/t", 0x04, Reason::ProtocolError),
    ] {
        at_every_split(|server| {
            server.open(&if level == 5 { Connect::v5() } else { Connect::v311() });
            server.send(&subscribe(level, 1, &[(filter, options)]));
            assert_eq!(server.events(), [Seen::Failed(reason)], "{options:#x}");
        });
    }
}

#[test]
fn nothing_to_subscribe_to_is_a_protocol_error() {
    for level in [4, 5] {
        for bytes in [subscribe(level, 1, &[]), unsubscribe(level, 1, &[])] {
            at_every_split(|server| {
                server.open(&if level == 5 { Connect::v5() } else { Connect::v311() });
                server.send(&bytes);
                assert_eq!(server.events(), [Seen::Failed(Reason::ProtocolError)]);
            });
        }
    }
}
