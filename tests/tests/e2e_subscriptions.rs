//! What a subscription brings, and in what form: identifiers, options, retained messages, expiry,
//! order; over four shards.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::{PATIENCE, SILENCE};
use push_tests::server::{PingPath, Server, Target};
use push_tests::skip::{Skip, TestResult};
use push_tests::wire::{self, Packet, Properties, Publish, VERSIONS, Value, Version, property};

const NO_LOCAL: u8 = 0x04;
const RETAIN_AS_PUBLISHED: u8 = 0x08;
const ONLY_IF_NEW: u8 = 0x10;
const NEVER_RETAINED: u8 = 0x20;

/// `SUBSCRIPTION_IDENTIFIER`, for short.
const ID: u8 = property::SUBSCRIPTION_IDENTIFIER;

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

fn server() -> Result<Server, Skip> {
    Server::with(PingPath::User).flag("--shards", 4).start()
}

fn client(target: &Target, name: &str) -> Client {
    Client::connect(target, &Connect::new(Version::V5, name))
}

fn retained(topic: &str, payload: &[u8], qos: u8) -> Publish {
    let (topic, payload) = (topic.to_owned(), payload.to_vec());
    Publish { topic, payload, qos, retain: true, ..Publish::default() }
}

fn expiring(topic: &str, payload: &[u8], secs: u32) -> Publish {
    let properties = Properties(vec![(property::MESSAGE_EXPIRY_INTERVAL, Value::Number(secs))]);
    let (topic, payload) = (topic.to_owned(), payload.to_vec());
    Publish { topic, payload, qos: 1, properties, ..Publish::default() }
}

/// The identifiers of the next message, sorted.
#[track_caller]
fn ids(client: &mut Client) -> Vec<u32> {
    let mut ids = client.message().properties.numbers(ID);
    ids.sort_unstable();
    ids
}

/// [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]
fn a_message_carries_the_identifiers_of_all_subscriptions_that_brought_it() -> TestResult {
    let server = server()?;
    let target = server.target();
    let mut publisher = client(target, "publisher");
    // On whichever shard.
    for number in 0..8 {
        let mut subscriber = client(target, &format!("subscriber-{number}"));
        let available =
            subscriber.connack.properties.number(property::SUBSCRIPTION_IDENTIFIERS_AVAILABLE);
        assert_ne!(available, Some(0));
        subscriber.subscribe_as(1, &[("a/b", 0)]);
        subscriber.subscribe_as(268_435_455, &[("a/+", 1), ("#", 2)]);
        subscriber.subscribe(&[("+/b", 0)]);
        publisher.publish("a/b", b"all", 2);
        assert_eq!(ids(&mut subscriber), [1, 268_435_455, 268_435_455]);
        publisher.publish("a/c", b"two", 0);
        assert_eq!(ids(&mut subscriber), [268_435_455; 2]);
        publisher.publish("c", b"one", 1);
        assert_eq!(ids(&mut subscriber), [268_435_455]);
        subscriber.unsubscribe(&["a/+", "#"]);
        publisher.publish("b/b", b"none", 1);
        assert_eq!(ids(&mut subscriber), [0; 0]);
        subscriber.expect_no_message(Duration::from_millis(10));
        subscriber.disconnect();
    }
    server.finish();
    Ok(())
}

/// [MQTT-3.8.4-3]
fn a_subscription_made_again_has_its_new_identifier_only() -> TestResult {
    let server = server()?;
    let target = server.target();
    let mut publisher = client(target, "publisher");
    let mut subscriber = client(target, "subscriber");
    for (identifier, expected) in [(Some(5), vec![5]), (Some(6), vec![6]), (None, vec![])] {
        match identifier {
            Some(identifier) => subscriber.subscribe_as(identifier, &[("a", 1)]),
            None => subscriber.subscribe(&[("a", 1)]),
        };
        publisher.publish("a", b"x", 1);
        assert_eq!(ids(&mut subscriber), expected);
        subscriber.expect_no_message(Duration::from_millis(10));
    }
    server.finish();
    Ok(())
}

/// [MQTT-3.3.4-3]
fn retained_messages_carry_the_identifier_of_the_subscription_that_brought_them() -> TestResult {
    let server = server()?;
    let target = server.target();
    client(target, "publisher").publish_packet(retained("a/b", b"kept", 2));
    let mut subscriber = client(target, "subscriber");
    // Each subscription brings it, once.
    for (identifier, filter, qos) in [(7, "a/b", 2), (8, "a/+", 1), (9, "#", 0)] {
        subscriber.subscribe_as(identifier, &[(filter, qos)]);
        let message = subscriber.message();
        assert_eq!(message.properties.numbers(ID), [identifier]);
        assert_eq!((message.qos, message.retain), (qos, true));
    }
    subscriber.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn identifiers_outlive_the_connection() -> TestResult {
    let server = server()?;
    let target = server.target();
    let connect = Connect::new(Version::V5, "sleeper").persistent();
    let mut sleeper = Client::connect(target, &connect);
    sleeper.subscribe_as(3, &[("mail", 1)]);
    sleeper.disconnect();
    let mut publisher = client(target, "publisher");
    publisher.publish("mail", b"while away", 1);
    let mut sleeper = Client::connect(target, &connect);
    assert!(sleeper.connack.session_present);
    assert_eq!(ids(&mut sleeper), [3]);
    publisher.publish("mail", b"back", 1);
    assert_eq!(ids(&mut sleeper), [3]);
    server.finish();
    Ok(())
}

/// [MQTT-3.3.4-2]; in 3.1.1 [MQTT-3.3.5-1]
fn overlapping_subscriptions_bring_a_message_once_at_the_highest_qos() -> TestResult {
    let server = server()?;
    let target = server.target();
    let mut publisher = client(target, "publisher");
    for version in [Version::V311, Version::V5] {
        let mut subscriber = Client::connect(target, &Connect::new(version, "subscriber"));
        subscriber.subscribe(&[("a/b", 1), ("a/+", 2), ("a/#", 0), ("#", 1)]);
        publisher.publish("a/b", b"x", 2);
        assert_eq!(subscriber.message().qos, 2);
        publisher.publish("a", b"x", 2);
        assert_eq!(subscriber.message().qos, 1);
        subscriber.ping();
        subscriber.expect_no_message(SILENCE);
        subscriber.disconnect();
    }
    server.finish();
    Ok(())
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

/// mosquitto as a bridge. In MQTT 5 it subscribes with No Local and Retain As Published; in older
/// versions the highest bit of its protocol level asks for both.
fn a_bridge_keeps_retained_messages_retained() -> TestResult {
    for (protocol, version, bridges) in
        [("mqttv50", "5", 0), ("mqttv311", "3.1.1", 1), ("mqttv31", "3.1", 1)]
    {
        bridge_keeps_retained(protocol, version, bridges)?;
    }
    Ok(())
}

fn bridge_keeps_retained(protocol: &str, version: &str, bridges: u64) -> TestResult {
    let server = server()?;
    let target = server.target();
    client(target, "publisher").publish_packet(retained("to-bridge/before", b"1", 1));
    let bridge = Bridge::start(target, protocol)?;
    let mut there = client(&bridge.target, "there");
    there.subscribe(&[("#", 1 | RETAIN_AS_PUBLISHED)]);
    assert_eq!(there.message().topic, "to-bridge/before");
    let mut here = client(target, "here");
    here.subscribe(&[("#", 1 | RETAIN_AS_PUBLISHED | NEVER_RETAINED)]);
    // Through the bridge, either way, live and then as what is retained beyond it.
    client(target, "publisher").publish_packet(retained("to-bridge/now", b"2", 1));
    let seen = there.message();
    assert_eq!((seen.topic.as_str(), seen.retain), ("to-bridge/now", true));
    client(&bridge.target, "publisher").publish_packet(retained("from-bridge/now", b"3", 1));
    let topics = [here.message(), here.message()].map(|seen| (seen.topic, seen.retain));
    let expected = ["to-bridge/now", "from-bridge/now"].map(|topic| (topic.to_owned(), true));
    assert_eq!(topics, expected);
    let mut late = client(&bridge.target, "late");
    late.subscribe(&[("to-bridge/now", 1)]);
    assert!(late.message().retain);
    let mut late = client(target, "late");
    late.subscribe(&[("from-bridge/now", 1)]);
    assert!(late.message().retain);
    // Nothing goes round in circles.
    here.expect_no_message(SILENCE);
    let metrics = server.metrics();
    let accepted = format!("push_connects_accepted_total{{version=\"{version}\"}}");
    assert!(metrics.value(&accepted) >= 1, "{accepted}: it did not fall back to another version");
    assert_eq!(metrics.value("push_connects_bridge_total"), bridges, "{protocol}");
    drop(bridge);
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

/// [MQTT-3.3.2-5] [MQTT-3.3.2-6]
fn a_message_is_delivered_with_what_is_left_of_its_expiry_or_not_at_all() -> TestResult {
    let server = server()?;
    let target = server.target();
    let connect = Connect::new(Version::V5, "sleeper").persistent();
    let mut sleeper = Client::connect(target, &connect);
    sleeper.subscribe(&[("mail", 1)]);
    let mut publisher = client(target, "publisher");
    publisher.publish_packet(expiring("mail", b"at once", 100));
    let left = sleeper.message().properties.number(property::MESSAGE_EXPIRY_INTERVAL);
    assert_eq!(left, Some(100));
    sleeper.ping();
    sleeper.disconnect();
    let begun = Instant::now();
    publisher.publish_packet(expiring("mail", b"gone", 1));
    publisher.publish_packet(expiring("mail", b"kept", 100));
    publisher.publish("mail", b"for ever", 1);
    std::thread::sleep(Duration::from_millis(2_100));
    let mut sleeper = Client::connect(target, &connect);
    let kept = sleeper.message();
    assert_eq!(kept.payload, b"kept");
    let left = kept.properties.number(property::MESSAGE_EXPIRY_INTERVAL).expect("an expiry");
    let waited = begun.elapsed().as_secs() as u32;
    assert!((100 - waited - 1..=98).contains(&left), "{left} after {waited} s");
    let last = sleeper.message();
    assert_eq!(last.payload, b"for ever");
    assert_eq!(last.properties.number(property::MESSAGE_EXPIRY_INTERVAL), None);
    let dropped = "push_publishes_dropped_total{reason=\"expired\"}";
    assert_eq!(server.metrics().value(dropped), 1);
    server.finish();
    Ok(())
}

fn a_retained_message_expires() -> TestResult {
    let server = server()?;
    let target = server.target();
    let mut publisher = client(target, "publisher");
    for (topic, secs) in [("kept/short", 1), ("kept/long", 100)] {
        publisher.publish_packet(Publish { retain: true, ..expiring(topic, b"x", secs) });
    }
    let mut early = client(target, "early");
    early.subscribe(&[("kept/#", 1)]);
    let mut topics = [early.message().topic, early.message().topic];
    topics.sort();
    assert_eq!(topics, ["kept/long", "kept/short"]);
    std::thread::sleep(Duration::from_millis(1_100));
    let mut late = client(target, "late");
    late.subscribe(&[("kept/#", 1)]);
    let message = late.message();
    assert_eq!(message.topic, "kept/long");
    let left = message.properties.number(property::MESSAGE_EXPIRY_INTERVAL).expect("an expiry");
    assert!(left < 100, "{left}");
    late.expect_no_message(SILENCE);
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

/// [MQTT5 3.1.2.11.2] [MQTT5 3.2.2.3.2] [MQTT5 3.14.2.2.2]
fn a_session_lasts_as_long_as_asked_and_granted() -> TestResult {
    let server = Server::with(PingPath::User).flag("--session-expiry-max-secs", 2).start()?;
    let target = server.target();
    let asking = |name: &str, secs: u32| {
        let connect = Connect { clean: false, ..Connect::new(Version::V5, name) };
        connect.property(property::SESSION_EXPIRY_INTERVAL, Value::Number(secs))
    };
    let is_there = |name: &str| {
        let client = Client::connect(target, &asking(name, 1));
        let present = client.connack.session_present;
        client.disconnect();
        present
    };
    let granted =
        |client: &Client| client.connack.properties.number(property::SESSION_EXPIRY_INTERVAL);
    // None asked for: it ends with its connection.
    for connect in [Connect::new(Version::V5, "none"), asking("none", 0)] {
        let client = Client::connect(target, &Connect { clean: false, ..connect });
        assert_eq!(granted(&client), None);
        client.disconnect();
        assert!(!is_there("none"));
        server.wait_metric("push_sessions", |sessions| sessions == 0);
    }
    // For ever asked for: granted is the most, and told.
    let client = Client::connect(target, &asking("endless", u32::MAX));
    assert_eq!(granted(&client), Some(2));
    client.disconnect();
    let begun = Instant::now();
    assert!(is_there("endless") || begun.elapsed() >= Duration::from_secs(1));
    server.wait_metric("push_sessions", |sessions| sessions == 0);
    // A goodbye may change it: to nothing at all, or to more.
    let secs = |secs| Properties(vec![(property::SESSION_EXPIRY_INTERVAL, Value::Number(secs))]);
    Client::connect(target, &asking("shortened", 2)).disconnect_with(0, &secs(0));
    assert!(!is_there("shortened"));
    let begun = Instant::now();
    Client::connect(target, &asking("prolonged", 1)).disconnect_with(0, &secs(u32::MAX));
    server.wait_metric("push_sessions", |sessions| sessions == 0);
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    server.finish();
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

/// mosquitto on a port of its own, bridged to the server.
struct Bridge {
    child: Child,
    target: Target,
    _directory: tempfile::TempDir,
}

impl Bridge {
    fn start(to: &Target, protocol: &str) -> Result<Self, Skip> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let directory = tempfile::TempDir::new().expect("a directory for mosquitto");
        let path = directory.path().join("mosquitto.conf");
        let (port, server) = (address.port(), to.address);
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n\
             connection bridge\naddress {server}\nbridge_protocol_version {protocol}\n\
             cleansession true\nnotifications false\nrestart_timeout 1\ntopic # both 1\n"
        );
        std::fs::write(&path, text).expect("write mosquitto's configuration");
        let child = Command::new("/usr/sbin/mosquitto")
            .args(["-c".as_ref(), path.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Skip::missing(format!("cannot run mosquitto: {error}")))?;
        let mut target = to.from_here();
        target.address = address;
        let bridge = Self { child, target, _directory: directory };
        push_tests::expectations::wait_for("mosquitto to listen", || {
            std::net::TcpStream::connect(address).ok()
        });
        Ok(bridge)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
