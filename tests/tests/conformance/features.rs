//! What a server may leave out: announced, and refused to who asks for it all the same.

use push_server::access::Policy;
use push_server::broker::QoS::AtMostOnce;
use push_server::broker::TopicFilter;
use push_server::mqtt::Features;
use push_server::mqtt::codec::Reason;

use crate::server::{Seen, Server, at_every_split};
use crate::wire::{
    Connect, disconnected, no_properties, packet, publish, refused, subscribe, text,
};

const WITHOUT: Features =
    Features { wildcard_subscriptions: false, retain: false, shared_subscriptions: false };

fn connect(level: u8) -> Connect {
    if level == 5 { Connect::v5() } else { Connect::v311() }
}

fn open_without(server: &mut Server, level: u8) {
    server.limits.features = WITHOUT;
    server.open(&connect(level));
}

/// [MQTT5 3.2.2.3.5] [MQTT5 3.2.2.3.11] [MQTT5 3.2.2.3.13]
#[test]
fn connack_says_what_there_is_not() {
    let (retain, wildcard, subscription_ids, shared) = (0x25, 0x28, 0x29, 0x2A);
    for (features, absent) in [
        (Features { wildcard_subscriptions: false, ..Features::default() }, Some(wildcard)),
        (Features { retain: false, ..Features::default() }, Some(retain)),
        (Features { shared_subscriptions: false, ..Features::default() }, Some(shared)),
        (Features::default(), None),
    ] {
        at_every_split(|server| {
            server.limits.features = features;
            server.connect(&Connect::v5().bytes());
            let connack = server.received();
            // That something is there is what a client takes for granted.
            for id in [retain, wildcard, subscription_ids, shared] {
                let found = |value| connack.windows(2).any(|pair| pair == [id, value]);
                assert_eq!(found(0), absent == Some(id), "{id:#x} in {connack:02x?}");
                assert!(!found(1), "{id:#x} in {connack:02x?}");
            }
        });
    }
}

/// [MQTT5 3.2.2.3.11] [MQTT5 3.2.2.3.13]: a protocol error; 3.1.1 was not told.
#[test]
fn subscription_of_a_kind_that_is_switched_off_is_refused() {
    for (filter, reason) in [
        ("a/#", Reason::WildcardSubscriptionsNotSupported),
        ("+", Reason::WildcardSubscriptionsNotSupported),
        ("$share/g/a", Reason::SharedSubscriptionsNotSupported),
    ] {
        at_every_split(|server| {
            open_without(server, 5);
            server.send(&subscribe(5, 1, &[("a", 1), (filter, 1)]));
            assert_eq!(server.events(), [Seen::Failed(reason)]);
            assert_eq!(server.received(), disconnected(reason as u8));
            open_without(server, 4);
            server.send(&subscribe(4, 1, &[("a", 1), (filter, 1), ("b", 0)]));
            assert_eq!(server.received(), packet(0x90, &[0, 1, 1, 0x80, 0]));
        });
    }
}

/// [MQTT-3.9.3-2] [MQTT5 3.9.3]
#[test]
fn filter_that_nobody_may_subscribe_to_fails_alone() {
    for level in [4, 5] {
        at_every_split(|server| {
            let denied = TopicFilter::parse("a/#", 8).expect("a filter");
            server.limits.policy = Policy::denying_filters([denied]);
            server.open(&connect(level));
            let filters = [("a", 1), ("a/#", 1), ("$share/g/a/#", 0), ("a/+", 2)];
            server.send(&subscribe(level, 1, &filters));
            let suback = server.received();
            assert!(suback.ends_with(&[1, 0x80, 0x80, 2]), "{suback:02x?}");
        });
    }
}

/// [MQTT-3.2.2-14]; 3.1.1 cannot be told, and must not be told a lie [MQTT-3.3.5-2].
#[test]
fn retained_publish_is_refused_where_nothing_is_retained() {
    for level in [4, 5] {
        at_every_split(|server| {
            open_without(server, level);
            let mut retained = publish(level, "t", b"x", AtMostOnce, 0);
            retained[0] |= 0x01;
            server.send(&publish(level, "t", b"x", AtMostOnce, 0));
            server.send(&retained);
            let events = server.events();
            assert!(matches!(events[0], Seen::Publish { retain: false, .. }));
            assert_eq!(events[1..], [Seen::Failed(Reason::RetainNotSupported)]);
            let told = if level == 5 { disconnected(0x9A) } else { Vec::new() };
            assert_eq!(server.received(), told);
        });
    }
}

/// [MQTT-3.2.2-13]
#[test]
fn retained_will_is_refused_where_nothing_is_retained() {
    for level in [4, 5] {
        at_every_split(|server| {
            server.limits.features = WITHOUT;
            let will = [no_properties(level).to_vec(), text("will"), text("gone")].concat();
            let retained = Connect { flags: 0x26, rest: will.clone(), ..connect(level) };
            server.connect(&retained.bytes());
            assert_eq!(server.events(), [Seen::Refused(Reason::RetainNotSupported)]);
            let answer = if level == 5 { refused(0x9A) } else { Vec::new() };
            assert_eq!(server.received(), answer);
            server.open(&Connect { flags: 0x06, rest: will, ..connect(level) });
            assert!(server.hang_up().is_some());
        });
    }
}
