//! Messages and sessions that expire.

use std::time::{Duration, Instant};

use push_tests::clients::{Client, Connect};
use push_tests::expectations::SILENCE;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::wire::{Properties, Publish, Value, Version, property};

use super::rig::{client, server};

fn expiring(topic: &str, payload: &[u8], secs: u32) -> Publish {
    let properties = Properties(vec![(property::MESSAGE_EXPIRY_INTERVAL, Value::Number(secs))]);
    let (topic, payload) = (topic.to_owned(), payload.to_vec());
    Publish { topic, payload, qos: 1, properties, ..Publish::default() }
}

/// [MQTT-3.3.2-5] [MQTT-3.3.2-6]
pub(crate) fn a_message_is_delivered_with_what_is_left_of_its_expiry_or_not_at_all() -> TestResult {
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

pub(crate) fn a_retained_message_expires() -> TestResult {
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

/// [MQTT5 3.1.2.11.2] [MQTT5 3.2.2.3.2] [MQTT5 3.14.2.2.2]
pub(crate) fn a_session_lasts_as_long_as_asked_and_granted() -> TestResult {
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
