//! Several shards: which one a client lands on must make no difference.

use std::time::Duration;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::{PATIENCE, SILENCE};
use push_tests::server::{PingPath, Server, Target, raise_descriptor_limit};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{self, Packet, Value, Version, property};

/// Enough for every shard to have many: the kernel spreads them by a hash.
const CLIENTS: usize = 200;

/// How many others each client publishes to; publisher and subscriber then meet on every pair of
/// shards.
const RECEIVERS: usize = 10;

/// Subscribers of the fan-out.
const FAN_OUT: usize = 500;
const FAN_OUT_MESSAGES: usize = 20;

/// "Session taken over" of an MQTT 5 DISCONNECT.
const SESSION_TAKEN_OVER: u8 = 0x8E;
/// "Packet too large" of a CONNACK.
const PACKET_TOO_LARGE: u8 = 0x95;

both_paths! {
    two_hundred_clients_lose_nothing_between_two_shards,
    two_hundred_clients_lose_nothing_between_four_shards,
    a_second_connect_takes_over_from_any_shard,
    of_two_connects_at_once_exactly_one_stays,
    a_second_connect_that_is_refused_takes_nothing_over,
    a_session_keeps_its_messages_from_shard_to_shard,
    one_message_reaches_five_hundred_subscribers,
    a_retained_message_is_known_on_every_shard,
}

fn two_hundred_clients_lose_nothing_between_two_shards(path: PingPath) -> TestResult {
    let server = Server::with(path).flag("--shards", 2).start()?;
    everyone_hears_everyone(server.target());
    server.finish();
    Ok(())
}

fn two_hundred_clients_lose_nothing_between_four_shards(path: PingPath) -> TestResult {
    let server = Server::with(path).flag("--shards", 4).start()?;
    everyone_hears_everyone(server.target());
    server.finish();
    Ok(())
}

fn a_second_connect_takes_over_from_any_shard(path: PingPath) -> TestResult {
    // [MQTT-3.1.4-3] asks for DISCONNECT 0x8E; mosquitto 2.0.11 sends none.
    stand_in::not_for("does not tell the client taken over")?;
    let server = Server::with(path).flag("--shards", 4).start()?;
    let target = server.target();
    let connect = Connect::new(Version::V5, "wanderer").persistent();
    let mut current = Client::connect(target, &connect);
    assert!(!current.connack.session_present);
    current.subscribe(&[("trail", 1)]);
    let mut publisher = Client::connect(target, &Connect::new(Version::V5, "publisher"));
    // Of 16 connections hardly all land on one of four shards: 1 in a billion.
    for round in 0..16_u8 {
        let next = Client::connect(target, &connect);
        assert!(next.connack.session_present, "the session was lost in round {round}");
        assert_eq!(current.wait_ending().reason, Some(SESSION_TAKEN_OVER));
        current = next;
        publisher.publish("trail", &[round], 1);
        assert_eq!(current.message().payload, [round]);
        // Answered once the PUBACK before it has been read; else the next connection may rightly be
        // sent the message again.
        current.ping();
    }
    server.wait_metric("push_connections", |connections| connections == 2);
    server.wait_metric("push_sessions", |sessions| sessions == 2);
    server.finish();
    Ok(())
}

/// Both are sent before either is answered, on connections of any two shards.
fn of_two_connects_at_once_exactly_one_stays(path: PingPath) -> TestResult {
    const ROUNDS: usize = 200;
    let server = Server::with(path).flag("--shards", 4).start()?;
    let target = server.target();
    let mut later = 0;
    for round in 0..ROUNDS {
        let connect = Connect::new(Version::V5, &format!("twin-{round}"));
        let mut twins = [(); 2].map(|()| Client::dial(target, Version::V5, None));
        twins.iter_mut().for_each(|twin| twin.say_connect(&connect));
        let served = twins.each_mut().map(|twin| match twin.read_connack(PATIENCE) {
            Ok(()) => twin.connack.code == 0,
            Err(_) => false,
        });
        // A client that was served may have been taken over since.
        let stays = [0, 1].map(|one| {
            served[one]
                && twins[one].try_send(&wire::PINGREQ).is_ok()
                && matches!(twins[one].receive(PATIENCE), Ok(Packet::Pingresp))
        });
        assert_eq!(stays.iter().filter(|stays| **stays).count(), 1, "round {round}: {served:?}");
        later += usize::from(stays[1]);
        drop(twins);
    }
    println!("the one that was sent later stayed in {later} of {ROUNDS} rounds");
    server.wait_metric("push_connections", |connections| connections == 0);
    server.wait_metric("push_sessions", |sessions| sessions == 0);
    server.finish();
    Ok(())
}

fn a_second_connect_that_is_refused_takes_nothing_over(path: PingPath) -> TestResult {
    stand_in::not_for("ends the session before it knows")?;
    let server = Server::with(path).flag("--shards", 4).start()?;
    let target = server.target();
    let connect = Connect::new(Version::V5, "settled").persistent().will("gone", b"settled");
    let mut settled = Client::connect(target, &connect);
    settled.subscribe(&[("mail", 1)]);
    let mut other = Client::connect(target, &Connect::new(Version::V5, "other"));
    other.subscribe(&[("gone", 1)]);
    let accepted = server.metrics().value("push_connects_total{result=\"accepted\"}");
    // No CONNACK that accepts is as short as this. Of 16 connections some land on each shard.
    let refused = Connect::new(Version::V5, "settled")
        .property(property::MAXIMUM_PACKET_SIZE, Value::Number(10));
    for round in 0..16 {
        let clean = round % 2 == 0;
        let client = Client::open(target, &Connect { clean, ..refused.clone() });
        let mut client = client.expect("a CONNACK that refuses");
        assert_eq!(client.connack.code, PACKET_TOO_LARGE);
        assert_eq!(client.wait_ending().how, Gone::Closed);
    }
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_connects_total{result=\"refused\"}"), 16);
    assert_eq!(metrics.value("push_connects_total{result=\"accepted\"}"), accepted);
    assert_eq!(other.publish("mail", b"x", 1), 0);
    assert_eq!(settled.message().payload, b"x", "still connected, and subscribed");
    settled.ping();
    other.expect_no_message(SILENCE);
    // And neither its will nor what it is owed goes while it is away.
    settled.disconnect();
    assert_eq!(other.publish("mail", b"y", 1), 0);
    let client = Client::open(target, &Connect { clean: true, ..refused });
    assert_eq!(client.expect("a CONNACK").connack.code, PACKET_TOO_LARGE);
    let mut settled = Client::connect(target, &connect);
    assert!(settled.connack.session_present);
    assert_eq!(settled.message().payload, b"y");
    server.finish();
    Ok(())
}

fn a_session_keeps_its_messages_from_shard_to_shard(path: PingPath) -> TestResult {
    let server = Server::with(path).flag("--shards", 4).start()?;
    let target = server.target();
    let mut publisher = Client::connect(target, &Connect::new(Version::V311, "publisher"));
    let connect = Connect::new(Version::V311, "sleeper").persistent();
    let mut sleeper = Client::connect(target, &connect);
    sleeper.subscribe(&[("mail", 2)]);
    for round in 0..10_u8 {
        // Order is promised within a QoS.
        let qos = 1 + round % 2;
        sleeper.disconnect();
        for number in 0..5 {
            publisher.publish("mail", &[round, number], qos);
        }
        sleeper = Client::connect(target, &connect);
        assert!(sleeper.connack.session_present);
        for number in 0..5 {
            assert_eq!(sleeper.message().payload, [round, number]);
        }
        sleeper.ping();
    }
    sleeper.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn one_message_reaches_five_hundred_subscribers(path: PingPath) -> TestResult {
    raise_descriptor_limit();
    let server = Server::with(path).flag("--shards", 4).start()?;
    let target = server.target();
    let mut subscribers: Vec<Client> = (0..FAN_OUT).map(|n| client(target, n)).collect();
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        // By the same filter and by different ones.
        let filter = ["news/today", "news/+", "news/#", "#"][number % 4];
        subscriber.subscribe(&[(filter, 1)]);
    }
    let mut publisher = client(target, FAN_OUT);
    for number in 0..FAN_OUT_MESSAGES {
        publisher.publish("news/today", &[number as u8], 1);
    }
    for subscriber in &mut subscribers {
        for number in 0..FAN_OUT_MESSAGES {
            assert_eq!(subscriber.message().payload, [number as u8]);
        }
    }
    let sent = (FAN_OUT * FAN_OUT_MESSAGES) as u64;
    server.wait_metric("push_publishes_sent_total", |count| count == sent);
    server.wait_metric("push_publishes_received_total", |count| count == FAN_OUT_MESSAGES as u64);
    server.finish();
    Ok(())
}

fn a_retained_message_is_known_on_every_shard(path: PingPath) -> TestResult {
    let server = Server::with(path).flag("--shards", 4).start()?;
    let target = server.target();
    client(target, 1_000).publish_packet(push_tests::wire::Publish {
        topic: "kept".to_owned(),
        payload: b"for all".to_vec(),
        qos: 1,
        retain: true,
        ..Default::default()
    });
    for number in 0..16 {
        let mut subscriber = client(target, number);
        subscriber.subscribe(&[("kept", 1)]);
        let message = subscriber.message();
        assert_eq!((message.payload.as_slice(), message.retain), (&b"for all"[..], true));
    }
    server.finish();
    Ok(())
}

/// Every client publishes to several others, at QoS 1 and 2; each gets exactly its own, and pings
/// are answered in between.
fn everyone_hears_everyone(target: &Target) {
    let mut clients: Vec<Client> = (0..CLIENTS).map(|n| client(target, n)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.subscribe(&[(&format!("inbox/{number}"), 2)]);
    }
    for qos in [1, 2] {
        for (number, client) in clients.iter_mut().enumerate() {
            for step in 1..=RECEIVERS {
                let receiver = (number + step * step) % CLIENTS;
                let payload = format!("{number} {step}");
                client.publish(&format!("inbox/{receiver}"), payload.as_bytes(), qos);
            }
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let mut expected: Vec<String> = (1..=RECEIVERS)
                .map(|step| format!("{} {step}", (number + CLIENTS - step * step) % CLIENTS))
                .collect();
            let mut received: Vec<String> = (0..RECEIVERS)
                .map(|_| {
                    let message = client.message();
                    assert_eq!(message.qos, qos);
                    String::from_utf8(message.payload).expect("what was sent")
                })
                .collect();
            expected.sort();
            received.sort();
            assert_eq!(received, expected, "at client {number}, QoS {qos}");
            client.ping();
        }
    }
    for client in &mut clients {
        client.expect_no_message(Duration::from_millis(1));
    }
}

fn client(target: &Target, number: usize) -> Client {
    Client::connect(target, &Connect::new(Version::V5, &format!("client-{number}")))
}
