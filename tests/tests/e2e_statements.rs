//! Normative statements that are the whole server's and not the protocol core's alone: sessions,
//! subscriptions, retained messages and wills, as clients on sockets see them. Which statement is
//! held by which test: `conformance/statements`.

use std::time::Duration;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::SILENCE;
use push_tests::server::{PingPath, Server, Target};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{
    self, Packet, Properties, Publish, VERSIONS, Value, Version, Will, property,
};

/// Subscription options of MQTT 5, beside the QoS.
const NO_LOCAL: u8 = 0x04;
const RETAIN_AS_PUBLISHED: u8 = 0x08;
const RETAIN_IF_NEW: u8 = 0x10;
const RETAIN_NEVER: u8 = 0x20;

both_paths! {
    text_reaches_subscribers_unaltered,
    a_refused_connect_is_closed_after_its_connack,
    a_clean_start_forgets_subscriptions_and_messages,
    a_clean_session_ends_with_its_connection,
    a_session_lasts_as_long_as_its_connection,
    retained_messages_outlive_their_publishers_session,
    a_will_is_retained_only_if_it_says_so,
    an_empty_retained_message_is_delivered_and_clears,
    a_message_without_retain_leaves_the_retained_one,
    retain_handling_decides_what_a_subscription_brings,
    retain_as_published_keeps_the_publishers_flag,
    a_publishers_dup_is_not_passed_on,
    no_local_keeps_a_clients_own_messages_from_it,
    the_same_filter_again_replaces_the_subscription,
    replacing_a_subscription_loses_no_message,
    filters_of_one_subscribe_are_handled_in_sequence,
    unsubscribe_ends_only_the_very_same_filter,
    unsubscribing_completes_deliveries_begun,
}

fn text_reaches_subscribers_unaltered(path: PingPath) -> TestResult {
    // A byte order mark in front and within, a letter in two forms, one that is not assigned.
    const TEXT: &str = "\u{FEFF}a\u{FEFF}/\u{c5}/A\u{30a}/\u{10FFFD}/ ";
    stand_in::not_for("closes on an invalid filter")?;
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let mut client = client(server.target(), version, "texts");
        let codes = client.subscribe(&[(TEXT, 1), ("\u{FEFF}#", 1), ("\u{FEFF}a\u{FEFF}/#", 1)]);
        // The second is not `#` behind a mark, but a `#` that does not stand alone.
        assert!(codes[0] == 1 && codes[1] >= 0x80 && codes[2] == 1, "{codes:02x?}");
        let mut sent = message(TEXT, TEXT.as_bytes(), 1);
        if version == Version::V5 {
            sent.properties = Properties(vec![
                (property::CONTENT_TYPE, Value::Text(TEXT.to_owned())),
                (property::RESPONSE_TOPIC, Value::Text(TEXT.to_owned())),
                (property::USER_PROPERTY, Value::Pair(TEXT.to_owned(), TEXT.to_owned())),
            ]);
        }
        client.publish_packet(sent.clone());
        let received = client.message();
        assert_eq!((received.topic, received.payload), (sent.topic, sent.payload));
        assert_eq!(received.properties, sent.properties);
        client.disconnect();
    }
    server.finish();
    Ok(())
}

fn a_refused_connect_is_closed_after_its_connack(path: PingPath) -> TestResult {
    stand_in::not_for("closes without a CONNACK")?;
    let server = Server::with(path).start()?;
    // It is here, and none of what follows finds it.
    let kept = client_with(server.target(), &Connect::new(Version::V5, "kept").persistent());
    kept.disconnect();
    let none = Properties::default();
    let no_receive_max = Properties(vec![(property::RECEIVE_MAXIMUM, Value::Number(0))]);
    let mut later = wire::connect(Version::V5, "kept", 60, false, None, &none);
    // The protocol level: after the fixed header (2) and the name (2 + 4).
    later[8] = 6;
    for (version, bytes, code) in [
        (Version::V311, wire::connect(Version::V311, "", 60, false, None, &none), 0x02),
        (Version::V5, wire::connect(Version::V5, "kept", 60, false, None, &no_receive_max), 0x82),
        (Version::V5, later, 0x84),
    ] {
        let mut client = Client::dial(server.target(), version, None);
        client.send(&bytes);
        client.read_connack(push_tests::expectations::PATIENCE).expect("a CONNACK");
        assert_eq!((client.connack.code, client.connack.session_present), (code, false));
        let ending = client.wait_ending();
        assert_eq!((ending.how, ending.reason), (Gone::Closed, None), "code {code:#04x}");
    }
    server.wait_metric("push_connects_total{result=\"refused\"}", |refused| refused == 3);
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn a_clean_start_forgets_subscriptions_and_messages(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let mut publisher = client(server.target(), Version::V5, "publisher");
    for version in VERSIONS {
        let persistent = Connect::new(version, "forgetful").persistent();
        let mut client = client_with(server.target(), &persistent);
        client.subscribe(&[("mail", 1)]);
        client.disconnect();
        publisher.publish("mail", b"meanwhile", 1);
        let mut client = client_with(server.target(), &Connect { clean: true, ..persistent });
        assert!(!client.connack.session_present);
        publisher.publish("mail", b"later", 1);
        client.expect_no_message(SILENCE);
        client.disconnect();
    }
    server.finish();
    Ok(())
}

fn a_clean_session_ends_with_its_connection(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let mut publisher = client(server.target(), Version::V311, "publisher");
    for version in VERSIONS {
        let mut first = client(server.target(), version, "brief");
        first.subscribe(&[("mail", 1)]);
        first.disconnect();
        server.wait_metric("push_sessions", |sessions| sessions == 1);
        let again = Connect { clean: false, ..Connect::new(version, "brief") };
        let mut second = client_with(server.target(), &again);
        assert!(!second.connack.session_present);
        publisher.publish("mail", b"lost", 1);
        second.expect_no_message(SILENCE);
        let clean = client(server.target(), version, "brief");
        clean.disconnect();
    }
    server.finish();
    Ok(())
}

fn a_session_lasts_as_long_as_its_connection(path: PingPath) -> TestResult {
    const EXPIRY_SECS: u32 = 1;
    let server = Server::with(path).start()?;
    let expiry = Value::Number(EXPIRY_SECS);
    let connect =
        Connect::new(Version::V5, "stays").property(property::SESSION_EXPIRY_INTERVAL, expiry);
    let mut brief = client_with(server.target(), &connect);
    brief.subscribe(&[("a", 1)]);
    let mut clean = client(server.target(), Version::V311, "clean");
    clean.subscribe(&[("a", 1)]);
    std::thread::sleep(Duration::from_secs(u64::from(EXPIRY_SECS) * 2) + SILENCE);
    clean.publish("a", b"still here", 1);
    for client in [&mut brief, &mut clean] {
        assert_eq!(client.message().payload, b"still here");
    }
    server.finish();
    Ok(())
}

fn retained_messages_outlive_their_publishers_session(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let mut publisher = client(server.target(), version, "publisher");
        publisher.publish_packet(retained("kept", version_name(version), 1));
        publisher.disconnect();
        server.wait_metric("push_sessions", |sessions| sessions == 0);
        let mut subscriber = client(server.target(), version, "subscriber");
        subscriber.subscribe(&[("kept", 1)]);
        let message = subscriber.message();
        assert_eq!((&message.payload[..], message.retain), (version_name(version), true));
        subscriber.disconnect();
    }
    server.finish();
    Ok(())
}

fn a_will_is_retained_only_if_it_says_so(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        for (retain, qos) in [(false, 0), (false, 1), (true, 1), (true, 2)] {
            let topic = format!("wills/{version:?}/{retain}/{qos}");
            let mut watcher = client(server.target(), version, "watcher");
            watcher.subscribe(&[(&topic, 2)]);
            let will = Will {
                topic: topic.clone(),
                payload: b"gone".to_vec(),
                qos,
                retain,
                properties: Properties::default(),
            };
            let connect = Connect { will: Some(will), ..Connect::new(version, "dying") };
            drop(client_with(server.target(), &connect));
            let seen = watcher.message();
            assert_eq!((&seen.payload[..], seen.qos, seen.retain), (&b"gone"[..], qos, false));
            let mut later = client(server.target(), version, "later");
            later.subscribe(&[(&topic, 2)]);
            if retain {
                let seen = later.message();
                assert_eq!((&seen.payload[..], seen.qos, seen.retain), (&b"gone"[..], qos, true));
            } else {
                later.expect_no_message(SILENCE);
            }
            watcher.disconnect();
            later.disconnect();
        }
    }
    server.finish();
    Ok(())
}

fn an_empty_retained_message_is_delivered_and_clears(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        for qos in [0, 1, 2] {
            let mut watcher = client(server.target(), version, "watcher");
            watcher.publish_packet(retained("cleared", b"x", 1));
            watcher.subscribe(&[("cleared", 2)]);
            assert!(watcher.message().retain);
            watcher.publish_packet(retained("cleared", b"", qos));
            let empty = watcher.message();
            assert_eq!((&empty.payload[..], empty.qos, empty.retain), (&b""[..], qos, false));
            // Nothing is retained, and neither is the empty message.
            watcher.subscribe(&[("cleared", 2)]);
            watcher.expect_no_message(SILENCE);
            watcher.disconnect();
        }
    }
    server.finish();
    Ok(())
}

fn a_message_without_retain_leaves_the_retained_one(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let mut client = client(server.target(), version, "client");
        client.publish_packet(retained("state", b"kept", 1));
        for qos in [0, 1, 2] {
            client.publish("state", b"passing", qos);
            client.publish("state", b"", qos);
            client.publish("other", b"passing", qos);
        }
        client.subscribe(&[("state", 1), ("other", 1)]);
        assert_eq!(client.message().payload, b"kept");
        client.expect_no_message(SILENCE);
        client.disconnect();
    }
    server.finish();
    Ok(())
}

fn retain_handling_decides_what_a_subscription_brings(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let mut client = client(server.target(), Version::V5, "client");
    client.publish_packet(retained("state/a", b"x", 1));
    client.publish_packet(retained("state/b", b"x", 1));
    let mut brings = |options: u8, count: usize| {
        client.subscribe(&[("state/+", 1 | options)]);
        for _ in 0..count {
            assert!(client.message().retain);
        }
        client.expect_no_message(SILENCE);
    };
    // New, and there already.
    for _ in 0..2 {
        brings(0, 2);
    }
    brings(RETAIN_IF_NEW, 0);
    brings(RETAIN_NEVER, 0);
    client.unsubscribe(&["state/+"]);
    let mut brings = |options: u8, count: usize| {
        client.unsubscribe(&["state/+"]);
        client.subscribe(&[("state/+", 1 | options)]);
        for _ in 0..count {
            assert!(client.message().retain);
        }
        client.expect_no_message(SILENCE);
    };
    brings(RETAIN_IF_NEW, 2);
    brings(RETAIN_NEVER, 0);
    server.finish();
    Ok(())
}

fn retain_as_published_keeps_the_publishers_flag(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let mut keeps = client(server.target(), Version::V5, "keeps");
    keeps.subscribe(&[("state", 1 | RETAIN_AS_PUBLISHED)]);
    let mut clears = client(server.target(), Version::V5, "clears");
    clears.subscribe(&[("state", 1)]);
    for retain in [true, false] {
        let sent = Publish { retain, ..message("state", b"x", 1) };
        keeps.publish_packet(sent);
        assert_eq!(keeps.message().retain, retain);
        assert!(!clears.message().retain);
    }
    server.finish();
    Ok(())
}

fn a_publishers_dup_is_not_passed_on(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let mut subscriber = client(server.target(), version, "subscriber");
        subscriber.subscribe(&[("again", 2)]);
        let mut publisher = client(server.target(), version, "publisher");
        for qos in [1, 2] {
            publisher.publish_packet(Publish { dup: true, ..message("again", b"x", qos) });
            let received = subscriber.message();
            assert_eq!((received.qos, received.dup), (qos, false));
        }
        subscriber.disconnect();
        publisher.disconnect();
    }
    server.finish();
    Ok(())
}

fn no_local_keeps_a_clients_own_messages_from_it(path: PingPath) -> TestResult {
    // Shards would find it out, should who published get lost between them.
    let server = Server::with(path).flag("--shards", 2).start()?;
    let mut clients: Vec<Client> =
        (0..4).map(|n| client(server.target(), Version::V5, &format!("client-{n}"))).collect();
    for client in &mut clients {
        client.subscribe(&[("room", 1 | NO_LOCAL)]);
    }
    for speaker in 0..clients.len() {
        clients[speaker].publish("room", &[speaker as u8], 1);
        for (number, client) in clients.iter_mut().enumerate() {
            if number == speaker {
                client.expect_no_message(Duration::from_millis(50));
            } else {
                assert_eq!(client.message().payload, [speaker as u8]);
            }
        }
    }
    let kept = Publish { retain: true, ..message("kept", b"kept", 1) };
    clients[0].publish_packet(kept);
    for client in &mut clients[1..] {
        client.subscribe(&[("kept", 1 | NO_LOCAL)]);
        assert_eq!(client.message().payload, b"kept");
    }
    clients[0].subscribe(&[("kept", 1 | NO_LOCAL)]);
    for client in &mut clients {
        client.expect_no_message(SILENCE);
    }
    server.finish();
    Ok(())
}

fn the_same_filter_again_replaces_the_subscription(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let mut client = client(server.target(), version, "client");
        client.publish_packet(retained("state", b"kept", 2));
        assert_eq!(client.subscribe(&[("state", 2)]), [2]);
        assert_eq!(client.message().qos, 2);
        assert_eq!(client.subscribe(&[("state", 0)]), [0]);
        let sent_again = client.message();
        assert_eq!((&sent_again.payload[..], sent_again.qos), (&b"kept"[..], 0));
        server.wait_metric("push_subscriptions", |subscriptions| subscriptions == 1);
        client.publish("state", b"new", 2);
        let new = client.message();
        assert_eq!((&new.payload[..], new.qos), (&b"new"[..], 0));
        client.expect_no_message(SILENCE);
        client.disconnect();
    }
    server.finish();
    Ok(())
}

fn replacing_a_subscription_loses_no_message(path: PingPath) -> TestResult {
    const MESSAGES: u16 = 500;
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let mut subscriber = client(server.target(), version, "subscriber");
        subscriber.subscribe(&[("flow", 1)]);
        let mut publisher = client(server.target(), version, "publisher");
        std::thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                for number in 0..MESSAGES {
                    publisher.publish("flow", &number.to_be_bytes(), 1);
                }
            });
            let mut expected = 0..MESSAGES;
            while !publishing.is_finished() {
                subscriber.subscribe(&[("flow", 1)]);
                while let Ok(Packet::Publish(publish)) = subscriber.receive(Duration::ZERO) {
                    subscriber.acknowledge(&publish);
                    let number = expected.next().expect("no more than were sent");
                    assert_eq!(publish.payload, number.to_be_bytes());
                }
            }
            for number in expected {
                assert_eq!(subscriber.message().payload, number.to_be_bytes());
            }
        });
        subscriber.expect_no_message(SILENCE);
        subscriber.disconnect();
        publisher.disconnect();
    }
    server.finish();
    Ok(())
}

fn filters_of_one_subscribe_are_handled_in_sequence(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let mut client = client(server.target(), version, "client");
        client.publish_packet(retained("state", b"kept", 2));
        assert_eq!(client.subscribe(&[("state", 2), ("state", 0)]), [2, 0]);
        // Each of both brings it, at its own QoS.
        assert_eq!([client.message().qos, client.message().qos], [2, 0]);
        client.publish("state", b"new", 2);
        assert_eq!(client.message().qos, 0, "the later of both is in force");
        client.expect_no_message(SILENCE);
        client.disconnect();
    }
    server.finish();
    Ok(())
}

fn unsubscribe_ends_only_the_very_same_filter(path: PingPath) -> TestResult {
    stand_in::not_for("sends a copy for each subscription")?;
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let codes = |codes: &[u8]| match version {
            Version::V31 | Version::V311 => Vec::new(),
            Version::V5 => codes.to_vec(),
        };
        let mut client = client(server.target(), version, "client");
        client.subscribe(&[("a/+", 1), ("a/#", 1), ("a/b", 1)]);
        // One that is there; others that match the same, or nearly read the same.
        let others = ["a/+", "+/b", "#", "A/b", "a/b/", "a//b"];
        let said = client.unsubscribe(&others);
        assert_eq!(said, codes(&[0x00, 0x11, 0x11, 0x11, 0x11, 0x11]));
        server.wait_metric("push_subscriptions", |subscriptions| subscriptions == 2);
        client.publish("a/b", b"1", 1);
        assert_eq!(client.message().payload, b"1");
        assert_eq!(client.unsubscribe(&["a/#", "a/#", "a/b"]), codes(&[0x00, 0x11, 0x00]));
        server.wait_metric("push_subscriptions", |subscriptions| subscriptions == 0);
        client.publish("a/b", b"2", 1);
        client.expect_no_message(SILENCE);
        client.disconnect();
    }
    server.finish();
    Ok(())
}

fn unsubscribing_completes_deliveries_begun(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        for qos in [1, 2] {
            let persistent = Connect::new(version, "leaving").persistent();
            let mut client = client_with(server.target(), &persistent);
            client.subscribe(&[("last", qos)]);
            client.publish("last", b"begun", qos);
            // Received and not acknowledged; then a connection of its own for the rest.
            let publish = |packet: &Packet| match packet {
                Packet::Publish(publish) => Some(publish.clone()),
                _ => None,
            };
            let begun = client.expect("a PUBLISH", publish);
            client.unsubscribe(&["last"]);
            drop(client);
            let mut client = client_with(server.target(), &persistent);
            assert!(client.connack.session_present);
            let again = client.expect("the PUBLISH again", publish);
            assert_eq!(again, Publish { dup: true, ..begun });
            client.acknowledge(&again);
            client.publish("last", b"after", qos);
            client.expect_no_message(SILENCE);
            client.disconnect();
            client_with(server.target(), &Connect { clean: true, ..persistent }).disconnect();
        }
    }
    server.finish();
    Ok(())
}

#[track_caller]
fn client(target: &Target, version: Version, id: &str) -> Client {
    client_with(target, &Connect::new(version, id))
}

#[track_caller]
fn client_with(target: &Target, connect: &Connect) -> Client {
    Client::connect(target, connect)
}

fn message(topic: &str, payload: &[u8], qos: u8) -> Publish {
    Publish { topic: topic.to_owned(), payload: payload.to_vec(), qos, ..Publish::default() }
}

fn retained(topic: &str, payload: &[u8], qos: u8) -> Publish {
    Publish { retain: true, ..message(topic, payload, qos) }
}

fn version_name(version: Version) -> &'static [u8] {
    match version {
        Version::V31 => b"3.1",
        Version::V311 => b"3.1.1",
        Version::V5 => b"5.0",
    }
}
