//! What a subscription brings, and in what form: identifiers, options, retained messages, expiry,
//! order; over four shards.

mod bridges;
mod expiry;
mod identifiers;
mod rig;

use std::time::Duration;

use bridges::a_bridge_keeps_retained_messages_retained;
use expiry::{
    a_message_is_delivered_with_what_is_left_of_its_expiry_or_not_at_all,
    a_retained_message_expires, a_session_lasts_as_long_as_asked_and_granted,
};
use identifiers::{
    a_message_carries_the_identifiers_of_all_subscriptions_that_brought_it,
    a_subscription_made_again_has_its_new_identifier_only, identifiers_outlive_the_connection,
    overlapping_subscriptions_bring_a_message_once_at_the_highest_qos,
    retained_messages_carry_the_identifier_of_the_subscription_that_brought_them,
};
use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::{PATIENCE, SILENCE};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::wire::{self, Packet, VERSIONS, Version, property};
use rig::{
    ID, NEVER_RETAINED, NO_LOCAL, ONLY_IF_NEW, RETAIN_AS_PUBLISHED, client, retained, server,
};

claims! {
    a_message_carries_the_identifiers_of_all_subscriptions_that_brought_it,
    a_subscription_made_again_has_its_new_identifier_only,
    retained_messages_carry_the_identifier_of_the_subscription_that_brought_them,
    identifiers_outlive_the_connection,
    overlapping_subscriptions_bring_a_message_once_at_the_highest_qos,
    a_delivery_has_the_lower_of_both_qualities,
    retained_messages_come_as_the_subscription_asks,
    retained_messages_come_behind_suback_in_durable_sessions_too,
    the_retain_flag_is_kept_for_who_asks_for_it,
    a_bridge_keeps_retained_messages_retained,
    nobody_gets_his_own_message_who_does_not_want_it,
    messages_of_a_topic_keep_their_order,
    a_message_is_delivered_with_what_is_left_of_its_expiry_or_not_at_all,
    a_retained_message_expires,
    retained_messages_that_a_client_had_no_time_to_take_come_when_it_is_back,
    a_session_lasts_as_long_as_asked_and_granted,
    what_is_switched_off_is_announced_and_refused,
}

/// [MQTT-3.8.4-8]
fn a_delivery_has_the_lower_of_both_qualities() -> TestResult {
    let server = server()?;
    let target = server.target();
    let mut publisher = client(target, "publisher");
    for granted in 0..3 {
        let mut subscriber = client(target, &format!("subscriber-{granted}"));
        for published in 0..3 {
            let topic = format!("qos/{granted}/{published}");
            assert_eq!(subscriber.subscribe(&[(&topic, granted)]), [granted]);
            publisher.publish(&topic, b"live", published);
            assert_eq!(subscriber.message().qos, granted.min(published));
            publisher.publish_packet(retained(&topic, b"kept", published));
            assert_eq!(subscriber.message().qos, granted.min(published));
            subscriber.subscribe(&[(&topic, granted)]);
            let message = subscriber.message();
            assert_eq!((message.qos, message.retain), (granted.min(published), true));
        }
    }
    server.finish();
    Ok(())
}

/// [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
fn retained_messages_come_as_the_subscription_asks() -> TestResult {
    let server = server()?;
    let target = server.target();
    client(target, "publisher").publish_packet(retained("kept", b"x", 1));
    let brings = |subscriber: &mut Client, options: u8, expected: bool| {
        subscriber.subscribe(&[("kept", options)]);
        match expected {
            true => assert!(subscriber.message().retain),
            false => subscriber.expect_no_message(Duration::from_millis(50)),
        }
    };
    let connect = Connect::new(Version::V5, "subscriber").persistent();
    let mut subscriber = Client::connect(target, &connect);
    brings(&mut subscriber, NEVER_RETAINED, false);
    brings(&mut subscriber, ONLY_IF_NEW, false);
    brings(&mut subscriber, 1, true);
    brings(&mut subscriber, 1, true);
    subscriber.unsubscribe(&["kept"]);
    brings(&mut subscriber, ONLY_IF_NEW | 1, true);
    brings(&mut subscriber, ONLY_IF_NEW | 1, false);
    subscriber.ping();
    subscriber.disconnect();
    // It is the session that has the subscription.
    let mut subscriber = Client::connect(target, &connect);
    brings(&mut subscriber, ONLY_IF_NEW | 1, false);
    let clean = Connect { clean: true, ..connect };
    let mut subscriber = Client::connect(target, &clean);
    brings(&mut subscriber, ONLY_IF_NEW | 1, true);
    server.finish();
    Ok(())
}

/// [MQTT-3.3.1-8] [MQTT-3.3.1-12] [MQTT-3.3.1-13]
fn the_retain_flag_is_kept_for_who_asks_for_it() -> TestResult {
    let server = server()?;
    let target = server.target();
    let mut publisher = client(target, "publisher");
    let mut plain = client(target, "plain");
    plain.subscribe(&[("kept", 1)]);
    let mut keeps = client(target, "keeps");
    keeps.subscribe(&[("kept", 1 | RETAIN_AS_PUBLISHED)]);
    let mut old = Client::connect(target, &Connect::new(Version::V311, "old"));
    old.subscribe(&[("kept", 1)]);
    publisher.publish_packet(retained("kept", b"x", 1));
    publisher.publish("kept", b"y", 1);
    // The removal of a retained message is told with its flag, too.
    publisher.publish_packet(retained("kept", b"", 1));
    for (client, flags) in [
        (&mut plain, [false, false, false]),
        (&mut keeps, [true, false, true]),
        (&mut old, [false, false, false]),
    ] {
        for (flag, payload) in flags.into_iter().zip([&b"x"[..], b"y", b""]) {
            let message = client.message();
            assert_eq!((message.retain, &message.payload[..]), (flag, payload));
        }
    }
    server.finish();
    Ok(())
}

/// Both wait for the disk in a durable session, whose SUBACK promises something.
fn retained_messages_come_behind_suback_in_durable_sessions_too() -> TestResult {
    const ROUNDS: usize = 20;
    let data = tempfile::TempDir::new().expect("a directory");
    let server = Server::with(PingPath::User).flag("--shards", 2).data_dir(data.path()).start()?;
    client(server.target(), "publisher").publish_packet(retained("kept/a", b"x", 1));
    for (round, version) in (0..ROUNDS).zip(VERSIONS.into_iter().cycle()) {
        let name = format!("subscriber-{round}");
        let connect = Connect::new(version, &name).persistent();
        let mut subscriber = Client::connect(server.target(), &connect);
        let filters = [("kept/#", 1), ("kept/a", 1), ("none", 0)];
        subscriber.send(&wire::subscribe(version, 1, &filters));
        let first = subscriber.receive(PATIENCE).expect("a packet");
        assert_eq!(first, Packet::Suback { packet_id: 1, codes: vec![1, 1, 0] }, "{version:?}");
        assert_eq!([(); 2].map(|()| subscriber.message().topic), ["kept/a", "kept/a"]);
        // Made again, with others on their way.
        subscriber.send(
            &[
                wire::subscribe(version, 2, &filters[..1]),
                wire::subscribe(version, 3, &filters[1..]),
            ]
            .concat(),
        );
        let mut codes = Vec::new();
        let mut messages = 0;
        while codes.len() < 2 || messages < 2 {
            match subscriber.receive(PATIENCE).expect("a packet") {
                Packet::Suback { packet_id, .. } => codes.push(packet_id),
                Packet::Publish(publish) => {
                    messages += 1;
                    assert!(codes.len() >= messages, "{version:?}: before SUBACK");
                    subscriber.acknowledge(&publish);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    server.finish();
    Ok(())
}

/// [MQTT-3.8.3-3]
fn nobody_gets_his_own_message_who_does_not_want_it() -> TestResult {
    let server = server()?;
    let target = server.target();
    for number in 0..4 {
        let mut talker = client(target, &format!("talker-{number}"));
        let mut other = client(target, &format!("other-{number}"));
        talker.subscribe_as(1, &[("talk/+", 2 | NO_LOCAL)]);
        other.subscribe(&[("talk/+", 2 | NO_LOCAL)]);
        talker.publish("talk/a", b"mine", 1);
        assert_eq!(other.message().payload, b"mine");
        other.publish("talk/a", b"yours", 1);
        assert_eq!(talker.message().payload, b"yours");
        // Another subscription wants it: by that one alone it comes.
        talker.subscribe_as(2, &[("talk/a", 0)]);
        talker.publish("talk/a", b"echo", 1);
        let echo = talker.message();
        assert_eq!((echo.properties.numbers(ID), echo.qos), (vec![2], 0));
        talker.ping();
        talker.expect_no_message(Duration::from_millis(50));
        // A retained message of its own is not forwarded, but found [MQTT5 3.8.3.1].
        talker.publish_packet(retained("talk/kept", b"kept", 1));
        talker.expect_no_message(Duration::from_millis(50));
        talker.unsubscribe(&["talk/+"]);
        talker.publish_packet(retained("talk/kept", b"", 0));
        talker.disconnect();
        other.disconnect();
    }
    server.finish();
    Ok(())
}

/// [MQTT-4.6.0-5] [MQTT-4.6.0-6]: in the order they were published, for each topic and QoS.
fn messages_of_a_topic_keep_their_order() -> TestResult {
    const MESSAGES: u32 = 300;
    let server = server()?;
    let target = server.target();
    let mut subscribers: Vec<Client> = (0..4)
        .map(|number| {
            let mut subscriber = client(target, &format!("subscriber-{number}"));
            // Wildcards on one side, and more than the window holds at once.
            let filter = ["order/+", "order/a"][number % 2];
            subscriber.subscribe(&[(filter, 2), ("#", 1)]);
            subscriber
        })
        .collect();
    std::thread::scope(|scope| {
        for name in ["first", "second"] {
            scope.spawn(move || {
                let mut publisher = client(target, name);
                for number in 0..MESSAGES {
                    let payload = format!("{name} {number}");
                    publisher.publish("order/a", payload.as_bytes(), (number % 3) as u8);
                }
            });
        }
    });
    for subscriber in &mut subscribers {
        let mut next = [[0, 1, 2], [0, 1, 2]];
        for _ in 0..2 * MESSAGES {
            let message = subscriber.message();
            let text = String::from_utf8(message.payload).expect("text");
            let (name, number) = text.split_once(' ').expect("two words");
            let expected = &mut next[usize::from(name == "second")][usize::from(message.qos)];
            assert_eq!(number, expected.to_string(), "of {name} at QoS {}", message.qos);
            *expected += 3;
        }
        subscriber.ping();
    }
    server.finish();
    Ok(())
}

/// They are part of its session, as all that its subscriptions bring, also through a stop.
fn retained_messages_that_a_client_had_no_time_to_take_come_when_it_is_back() -> TestResult {
    const RETAINED: usize = 400;
    let data = tempfile::TempDir::new().expect("a directory");
    for stop in [false, true] {
        let start = || Server::with(PingPath::User).flag("--shards", 1).data_dir(data.path());
        let mut server = start().start()?;
        let mut publisher = client(server.target(), "publisher");
        for number in 0..RETAINED {
            publisher.publish_packet(retained(&format!("kept/{number}"), b"x", 1));
        }
        let connect = Connect::new(Version::V5, &format!("hasty-{stop}")).persistent();
        let mut hasty = Client::connect(server.target(), &connect);
        assert_eq!(hasty.subscribe(&[("kept/+", 1)]), [1]);
        if stop {
            server.terminate();
            assert!(server.wait_exit().0.success());
            server = start().start()?;
        } else {
            drop(hasty);
        }
        let mut hasty = Client::connect(server.target(), &connect);
        assert!(hasty.connack.session_present);
        let topics: std::collections::BTreeSet<_> =
            (0..RETAINED).map(|_| hasty.message().topic).collect();
        assert_eq!(topics.len(), RETAINED);
        hasty.ping();
        hasty.expect_no_message(SILENCE);
        server.finish();
    }
    Ok(())
}

fn what_is_switched_off_is_announced_and_refused() -> TestResult {
    let server = Server::with(PingPath::User)
        .flag("--wildcard-subscriptions", "off")
        .flag("--retain", "off")
        .flag("--shared-subscriptions", "off")
        .start()?;
    let target = server.target();
    let subscriber = client(target, "subscriber");
    for identifier in [
        property::WILDCARD_SUBSCRIPTION_AVAILABLE,
        property::RETAIN_AVAILABLE,
        property::SHARED_SUBSCRIPTION_AVAILABLE,
    ] {
        assert_eq!(subscriber.connack.properties.number(identifier), Some(0));
    }
    for (filter, reason) in [("a/#", 0xA2), ("+", 0xA2), ("$share/g/a", 0x9E)] {
        let mut subscriber = client(target, "asks");
        let packet = push_tests::wire::subscribe(Version::V5, 1, &[(filter, 1)]);
        subscriber.send(&packet);
        assert_eq!(subscriber.wait_ending().reason, Some(reason));
    }
    let mut publisher = client(target, "publisher");
    publisher.send(&push_tests::wire::publish(Version::V5, &retained("a", b"x", 0)));
    assert_eq!(publisher.wait_ending().reason, Some(0x9A));
    let mut will = Connect::new(Version::V5, "mortal").will("a", b"x");
    will.will.as_mut().expect("a will").retain = true;
    assert_eq!(Client::open(target, &will).expect("a CONNACK").connack.code, 0x9A);
    let mut old = Client::connect(target, &Connect::new(Version::V311, "old"));
    assert_eq!(old.subscribe(&[("a", 1), ("a/+", 1), ("$share/g/a", 1)]), [1, 0x80, 0x80]);
    server.finish();
    Ok(())
}
