//! rumqttc, the client that Rust programs speak MQTT by, against the server: its client of 3.1.1
//! and its client of MQTT 5.

mod client;

use std::time::Duration;

use push_tests::both_paths;
use push_tests::expectations::SILENCE;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::wire::{VERSIONS, Version};

use client::{Message, Options, Rumqttc};

both_paths! {
    messages_round_trip_at_every_qos,
    a_retained_message_meets_later_subscribers_until_cleared,
    a_persistent_session_gets_what_was_sent_meanwhile,
    a_killed_clients_will_is_published_and_a_leaving_ones_is_not,
    a_second_connect_takes_the_session_over,
    both_versions_hear_each_other,
    pings_keep_the_connection,
}

fn messages_round_trip_at_every_qos(path: PingPath) -> TestResult {
    const MESSAGES: usize = 100;
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let mut client = Rumqttc::connect(server.target(), &Options::new(version, "echo"));
        for qos in [0, 1, 2] {
            let topic = format!("qos/{qos}");
            assert_eq!(client.subscribe(&topic, qos), Some(qos));
            for number in 0..MESSAGES {
                client.publish(&topic, qos, false, number.to_string().as_bytes());
            }
            for number in 0..MESSAGES {
                let payload = number.to_string().into_bytes();
                let expected = Message { topic: topic.clone(), payload, qos, retain: false };
                assert_eq!(client.message(), expected);
            }
        }
        client.expect_no_message(SILENCE);
        client.disconnect();
    }
    server.finish();
    Ok(())
}

fn a_retained_message_meets_later_subscribers_until_cleared(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let mut publisher = Rumqttc::connect(server.target(), &Options::new(version, "publisher"));
        for payload in [&b"old"[..], b"new"] {
            publisher.publish("kept", 1, true, payload);
        }
        let subscriber = |id| {
            let mut client = Rumqttc::connect(server.target(), &Options::new(version, id));
            client.subscribe("kept", 1);
            client
        };
        let mut early = subscriber("early");
        let message = early.message();
        assert_eq!((&message.payload[..], message.retain), (&b"new"[..], true));
        publisher.publish("kept", 1, true, b"");
        let message = early.message();
        assert_eq!((&message.payload[..], message.retain), (&b""[..], false));
        let mut late = subscriber("late");
        late.expect_no_message(SILENCE);
        for client in [publisher, early, late] {
            client.disconnect();
        }
    }
    server.finish();
    Ok(())
}

fn a_persistent_session_gets_what_was_sent_meanwhile(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let persistent = Options { clean: false, ..Options::new(version, "sleeper") };
        let mut sleeper = Rumqttc::connect(server.target(), &persistent);
        assert!(!sleeper.session_present);
        sleeper.subscribe("mail", 2);
        sleeper.disconnect();
        let mut publisher = Rumqttc::connect(server.target(), &Options::new(version, "publisher"));
        for number in 0..20_u8 {
            publisher.publish("mail", 1 + number % 2, false, &[number]);
        }
        let mut sleeper = Rumqttc::connect(server.target(), &persistent);
        assert!(sleeper.session_present);
        for number in 0..20_u8 {
            let message = sleeper.message();
            assert_eq!((message.payload, message.qos), (vec![number], 1 + number % 2));
        }
        sleeper.expect_no_message(SILENCE);
        sleeper.disconnect();
        publisher.disconnect();
        // A clean one ends the session.
        let clean = Options { clean: true, ..persistent };
        Rumqttc::connect(server.target(), &clean).disconnect();
    }
    server.finish();
    Ok(())
}

fn a_killed_clients_will_is_published_and_a_leaving_ones_is_not(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let mut watcher = Rumqttc::connect(server.target(), &Options::new(version, "watcher"));
        watcher.subscribe("wills/+", 2);
        let with_will = |id: &'static str, topic| {
            let options = Options { will: Some(topic), ..Options::new(version, id) };
            Rumqttc::connect(server.target(), &options)
        };
        with_will("leaves", "wills/leaves").disconnect();
        with_will("dies", "wills/dies").kill();
        let will = watcher.message();
        assert_eq!((&will.topic[..], &will.payload[..]), ("wills/dies", &b"gone"[..]));
        watcher.expect_no_message(SILENCE);
        watcher.disconnect();
    }
    server.finish();
    Ok(())
}

fn a_second_connect_takes_the_session_over(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let options = Options { clean: false, ..Options::new(version, "same") };
        let mut first = Rumqttc::connect(server.target(), &options);
        first.subscribe("here", 1);
        let mut second = Rumqttc::connect(server.target(), &options);
        assert!(second.session_present);
        first.expect_ended();
        second.publish("here", 1, false, b"to the second");
        assert_eq!(second.message().payload, b"to the second");
        second.disconnect();
        let clean = Options { clean: true, ..options };
        Rumqttc::connect(server.target(), &clean).disconnect();
    }
    server.finish();
    Ok(())
}

fn both_versions_hear_each_other(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let mut clients = [(Version::V311, "old"), (Version::V5, "new")]
        .map(|(version, id)| Rumqttc::connect(server.target(), &Options::new(version, id)));
    for client in &mut clients {
        client.subscribe("all", 2);
    }
    for qos in [0, 1, 2] {
        for speaker in 0..clients.len() {
            clients[speaker].publish("all", qos, false, &[qos, speaker as u8]);
            for client in &mut clients {
                let message = client.message();
                assert_eq!((message.payload, message.qos), (vec![qos, speaker as u8], qos));
            }
        }
    }
    for client in clients {
        client.disconnect();
    }
    server.finish();
    Ok(())
}

fn pings_keep_the_connection(path: PingPath) -> TestResult {
    // The shortest that each of rumqttc's clients has.
    let shortest = [(Version::V311, 1, "old"), (Version::V5, 5, "new")];
    let server = Server::with(path).start()?;
    let mut clients = shortest.map(|(version, keep_alive_secs, id)| {
        let options = Options { keep_alive_secs, ..Options::new(version, id) };
        Rumqttc::connect(server.target(), &options)
    });
    // Without pings they would live for 1.5 and for 7.5 seconds.
    std::thread::sleep(Duration::from_secs(9));
    for client in &mut clients {
        assert!(client.pings() >= 1, "{} answers to pings", client.pings());
        client.subscribe("alive", 1);
        client.publish("alive", 1, false, b"yes");
        assert_eq!(client.message().payload, b"yes");
    }
    for client in clients {
        client.disconnect();
    }
    server.finish();
    Ok(())
}
