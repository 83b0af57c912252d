//! The cases that both versions have; those of 3.1.1 say so by their names.

use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::{PATIENCE, SILENCE};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::Version::{self, V5, V311};
use push_tests::wire::{self, Properties, Publish, Will, property};
use push_tests::{both_paths, claims};

use crate::{TOPICS, client, client_with, message, pairs, publish_of, start};

claims! {
    basic,
    v311_basic,
    retained_message,
    v311_retained_message,
    will_message,
    v311_will_message,
    zero_length_clientid,
    v311_zero_length_clientid,
    offline_message_queueing,
    v311_offline_message_queueing,
    overlapping_subscriptions,
    v311_overlapping_subscriptions,
    redelivery_on_reconnect,
    v311_redelivery_on_reconnect,
    subscribe_failure,
    v311_subscribe_failure,
    dollar_topics,
    v311_dollar_topics,
}

// Who answers pings has a part in these.
both_paths! {
    keepalive,
    v311_keepalive,
}

fn basic() -> TestResult {
    basic_in(V5)
}

fn v311_basic() -> TestResult {
    basic_in(V311)
}

fn basic_in(version: Version) -> TestResult {
    let server = start()?;
    client(&server, version, "a").disconnect();
    let mut a = client(&server, version, "a");
    a.subscribe(&[(TOPICS[0], 2)]);
    for qos in [0, 1, 2] {
        a.publish(TOPICS[0], &[qos], qos);
    }
    for qos in [0, 1, 2] {
        let message = a.message();
        assert_eq!((message.payload, message.qos), (vec![qos], qos));
    }
    // CONNECT again on the same socket.
    let mut connect = wire::connect(version, "a", 60, true, None, &Properties::default());
    a.send(&connect);
    a.wait_ending();
    // A protocol of another name.
    let mut other = Client::dial(server.target(), version, None);
    connect[4..8].copy_from_slice(b"hjhj");
    other.send(&connect);
    assert_eq!(other.read_connack(PATIENCE), Err(Gone::Closed));
    server.finish();
    Ok(())
}

fn retained_message() -> TestResult {
    retained_in(V5, &pairs(&[("a", "2"), ("c", "3")]))
}

fn v311_retained_message() -> TestResult {
    retained_in(V311, &Properties::default())
}

fn retained_in(version: Version, properties: &Properties) -> TestResult {
    let server = start()?;
    let mut a = client(&server, version, "a");
    let sent = |qos: u8, payload: &[u8]| Publish {
        topic: TOPICS[1 + usize::from(qos)].to_owned(),
        payload: payload.to_vec(),
        retain: true,
        properties: properties.clone(),
        ..message(qos)
    };
    for qos in [0, 1, 2] {
        a.publish_packet(sent(qos, b"kept"));
    }
    a.subscribe(&[("+/+", 2)]);
    let mut seen = [a.message(), a.message(), a.message()];
    seen.sort_by_key(|message| message.qos);
    for (qos, message) in (0..).zip(seen) {
        assert_eq!((message.qos, message.retain), (qos, true));
        assert_eq!(message.properties, *properties);
    }
    // Cleared at each QoS.
    a.unsubscribe(&["+/+"]);
    for qos in [0, 1, 2] {
        a.publish_packet(sent(qos, b""));
    }
    a.subscribe(&[("+/+", 2)]);
    a.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn will_message() -> TestResult {
    will_in(V5)
}

fn v311_will_message() -> TestResult {
    will_in(V311)
}

fn will_in(version: Version) -> TestResult {
    let server = start()?;
    let a = client_with(&server, &with_will(version, TOPICS[2]).keep_alive(2));
    let mut b = client_with(&server, &Connect::new(version, "b").persistent());
    b.subscribe(&[(TOPICS[2], 2)]);
    drop(a);
    assert_eq!(b.message().payload, b"gone");
    b.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn zero_length_clientid() -> TestResult {
    let server = start()?;
    // MQTT 5 gives a client id with and without a clean start.
    for clean in [true, false] {
        let client = client_with(&server, &Connect { clean, ..Connect::new(V5, "") });
        assert!(client.connack.properties.find(property::ASSIGNED_CLIENT_IDENTIFIER).is_some());
        client.disconnect();
    }
    server.finish();
    Ok(())
}

fn v311_zero_length_clientid() -> TestResult {
    let server = start()?;
    let not_clean = Connect { clean: false, ..Connect::new(V311, "") };
    let mut refused = Client::open(server.target(), &not_clean).expect("a CONNACK");
    assert_eq!(refused.connack.code, 2);
    assert_eq!(refused.wait_ending().how, Gone::Closed);
    client(&server, V311, "").disconnect();
    server.finish();
    Ok(())
}

fn offline_message_queueing() -> TestResult {
    offline_in(V5)
}

fn v311_offline_message_queueing() -> TestResult {
    offline_in(V311)
}

fn offline_in(version: Version) -> TestResult {
    let server = start()?;
    let persistent = Connect::new(version, "a").persistent();
    let mut a = client_with(&server, &persistent);
    a.subscribe(&[("#", 2)]);
    a.disconnect();
    let mut b = client(&server, version, "b");
    for qos in [0, 1, 2] {
        b.publish(TOPICS[1 + usize::from(qos)], b"x", qos);
    }
    let mut a = client_with(&server, &persistent);
    // QoS 0 is not kept for the absent (the suite takes both).
    assert_eq!([a.message().qos, a.message().qos], [1, 2]);
    a.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn overlapping_subscriptions() -> TestResult {
    overlapping_in(V5)
}

fn v311_overlapping_subscriptions() -> TestResult {
    overlapping_in(V311)
}

fn overlapping_in(version: Version) -> TestResult {
    stand_in::not_for("sends a copy for each subscription")?;
    let server = start()?;
    let mut a = client(&server, version, "a");
    a.subscribe(&[("TopicA/#", 2), ("TopicA/+", 1)]);
    a.publish(TOPICS[3], b"x", 2);
    // One copy, at the highest QoS (the suite takes one copy each as well).
    assert_eq!(a.message().qos, 2);
    a.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn keepalive(path: PingPath) -> TestResult {
    keepalive_in(V5, path)
}

fn v311_keepalive(path: PingPath) -> TestResult {
    keepalive_in(V311, path)
}

fn keepalive_in(version: Version, path: PingPath) -> TestResult {
    stand_in::not_for("does not say why it closes")?;
    let server = Server::with(path).start()?;
    let mut b = client_with(&server, &Connect::new(version, "b").keep_alive(0));
    b.subscribe(&[(TOPICS[4], 2)]);
    let mut a = client_with(&server, &with_will(version, TOPICS[4]).keep_alive(1));
    a.ping();
    assert_eq!(b.message().payload, b"gone");
    // "Keep Alive timeout", where the protocol has a word for it.
    assert_eq!(a.wait_ending().reason, (version == V5).then_some(0x8D));
    b.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn redelivery_on_reconnect() -> TestResult {
    redelivery_in(V5)
}

fn v311_redelivery_on_reconnect() -> TestResult {
    redelivery_in(V311)
}

fn redelivery_in(version: Version) -> TestResult {
    let server = start()?;
    let persistent = Connect::new(version, "b").persistent();
    let mut b = client_with(&server, &persistent);
    b.subscribe(&[("TopicA/#", 2)]);
    b.publish(TOPICS[1], b"1", 1);
    b.publish(TOPICS[3], b"2", 2);
    // They have come, and are not acknowledged.
    let first = [publish_of(&mut b), publish_of(&mut b)];
    b.disconnect();
    let mut b = client_with(&server, &persistent);
    for sent in first {
        let again = publish_of(&mut b);
        assert_eq!(again, Publish { dup: true, ..sent });
        b.acknowledge(&again);
    }
    b.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn subscribe_failure() -> TestResult {
    subscribe_failure_in(V5)
}

fn v311_subscribe_failure() -> TestResult {
    subscribe_failure_in(V311)
}

fn subscribe_failure_in(version: Version) -> TestResult {
    let server =
        Server::with(PingPath::User).flag("--denied-filter", "test/nosubscribe").start()?;
    let mut a = client(&server, version, "a");
    assert_eq!(a.subscribe(&[("allowed", 2), ("test/nosubscribe", 2)]), [2, 0x80]);
    a.publish("test/nosubscribe", b"x", 1);
    a.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn dollar_topics() -> TestResult {
    dollar_in(V5)
}

fn v311_dollar_topics() -> TestResult {
    dollar_in(V311)
}

fn dollar_in(version: Version) -> TestResult {
    let server = start()?;
    let mut b = client(&server, version, "b");
    b.subscribe(&[("#", 2), ("+/+", 2), ("+/B", 2)]);
    b.publish("$TopicA/B", b"x", 1);
    b.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

/// Client `a`, with a will.
fn with_will(version: Version, topic: &str) -> Connect {
    let will = Will {
        topic: topic.to_owned(),
        payload: b"gone".to_vec(),
        qos: 2,
        retain: false,
        properties: Properties::default(),
    };
    Connect { will: Some(will), ..Connect::new(version, "a") }
}
