//! Publishes that nobody may make: they are dropped, counted and, where the protocol has a word for it,
//! refused; the connection and everybody else go on.

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::{PATIENCE, SILENCE};
use push_tests::server::{PingPath, Server, Target};
use push_tests::skip::TestResult;
use push_tests::wire::{self, PUBACK, Packet, Publish, Version};

/// "Not authorized" of PUBACK and PUBREC.
const NOT_AUTHORIZED: u8 = 0x87;
/// "Topic name invalid" of PUBACK, PUBREC and CONNACK.
const TOPIC_NAME_INVALID: u8 = 0x90;
/// "Not authorized" of a 3.1.1 CONNACK.
const V311_NOT_AUTHORIZED: u8 = 5;

const RESERVED: &str = "push_publishes_dropped_total{reason=\"reserved_topic\"}";
const TOO_LONG: &str = "push_publishes_dropped_total{reason=\"topic_bytes\"}";
const TOO_LONG_LIMIT: &str = "push_limits_hit_total{limit=\"topic_bytes\"}";
const TOO_DEEP: &str = "push_publishes_dropped_total{reason=\"topic_levels\"}";

claims! {
    nobody_publishes_to_topics_that_begin_with_a_dollar,
    a_will_on_a_topic_that_begins_with_a_dollar_is_refused_with_its_client,
    a_topic_with_too_many_levels_costs_its_publish_alone,
    a_topic_that_is_too_long_costs_its_publish_or_filter_alone,
    a_refused_publish_is_answered_in_its_turn,
}

fn connect(target: &Target, version: Version, name: &str) -> Client {
    Client::connect(target, &Connect::new(version, name))
}

/// [MQTT 4.7.2]
fn nobody_publishes_to_topics_that_begin_with_a_dollar() -> TestResult {
    let rules = tempfile::NamedTempFile::new().expect("a file");
    let all = "[[allow]]\npublish = [\"#\", \"$SYS/#\"]\nsubscribe = [\"#\", \"$SYS/#\"]\n";
    std::fs::write(rules.path(), all).expect("write the rules");
    let path = rules.path().to_str().expect("a plain path");
    let server = Server::with(PingPath::User).flag("--shards", 2).flag("--acl", path).start()?;
    let mut dropped = 0;
    let mut watcher = connect(server.target(), Version::V5, "watcher");
    // Subscribing to them is for those whom the rules let, publishing for nobody.
    assert_eq!(watcher.subscribe(&[("$SYS/#", 2), ("$share/g/$SYS/#", 1)]), [2, 1]);
    for (version, code) in [(Version::V5, NOT_AUTHORIZED), (Version::V311, 0)] {
        let mut publisher = connect(server.target(), version, "publisher");
        for topic in ["$SYS/broker/version", "$share/g/a"] {
            for qos in [0, 1, 2] {
                let publish = Publish {
                    topic: topic.to_owned(),
                    payload: b"forged".to_vec(),
                    qos,
                    retain: true,
                    ..Publish::default()
                };
                let told = publisher.publish_packet(publish);
                assert_eq!(told, if qos == 0 { 0 } else { code }, "{version:?} {topic} QoS {qos}");
                dropped += 1;
            }
        }
        publisher.assert_alive();
        publisher.publish("public", b"x", 1);
    }
    watcher.expect_no_message(SILENCE);
    let mut late = connect(server.target(), Version::V5, "late");
    late.subscribe(&[("$SYS/#", 1)]);
    late.expect_no_message(SILENCE);
    assert_eq!(server.metrics().value(RESERVED), dropped);
    server.finish();
    Ok(())
}

fn a_will_on_a_topic_that_begins_with_a_dollar_is_refused_with_its_client() -> TestResult {
    let server = Server::with(PingPath::User).start()?;
    for (version, code) in [(Version::V5, TOPIC_NAME_INVALID), (Version::V311, V311_NOT_AUTHORIZED)]
    {
        let connect = Connect::new(version, "mortal").will("$SYS/broker/uptime", b"forged");
        let mut client = Client::send_connect(server.target(), &connect);
        client.read_connack(PATIENCE).expect("a CONNACK");
        assert_eq!(client.connack.code, code, "{version:?}");
    }
    assert_eq!(server.metrics().value("push_connects_total{result=\"refused\"}"), 2);
    server.finish();
    Ok(())
}

fn a_topic_with_too_many_levels_costs_its_publish_alone() -> TestResult {
    let server = Server::with(PingPath::User).flag("--topic-levels-max", 3).start()?;
    let mut watcher = connect(server.target(), Version::V5, "watcher");
    watcher.subscribe(&[("#", 2)]);
    for (version, code) in [(Version::V5, TOPIC_NAME_INVALID), (Version::V311, 0)] {
        let mut publisher = connect(server.target(), version, "publisher");
        for qos in [0, 1, 2] {
            let told = publisher.publish("a/b/c/d", b"too deep", qos);
            assert_eq!(told, if qos == 0 { 0 } else { code }, "{version:?} QoS {qos}");
        }
        assert_eq!(publisher.publish("a/b/c", b"fits", 2), 0);
        assert_eq!(watcher.message().payload, b"fits");
    }
    watcher.expect_no_message(SILENCE);
    assert_eq!(server.metrics().value(TOO_DEEP), 6);
    server.finish();
    Ok(())
}

fn a_topic_that_is_too_long_costs_its_publish_or_filter_alone() -> TestResult {
    const TOPIC_FILTER_INVALID: u8 = 0x8F;
    const V311_FAILURE: u8 = 0x80;
    let server = Server::with(PingPath::User).flag("--topic-bytes-max", 8).start()?;
    let mut watcher = connect(server.target(), Version::V5, "watcher");
    watcher.subscribe(&[("#", 2)]);
    for (version, code, filter_code, will_code) in [
        (Version::V5, TOPIC_NAME_INVALID, TOPIC_FILTER_INVALID, TOPIC_NAME_INVALID),
        (Version::V311, 0, V311_FAILURE, V311_NOT_AUTHORIZED),
    ] {
        let mut publisher = connect(server.target(), version, "publisher");
        for qos in [0, 1, 2] {
            let told = publisher.publish("123456789", b"too long", qos);
            assert_eq!(told, if qos == 0 { 0 } else { code }, "{version:?} QoS {qos}");
        }
        assert_eq!(publisher.publish("12345678", b"fits", 2), 0);
        assert_eq!(watcher.message().payload, b"fits");
        let filters = [("1234567/#", 1), ("123456/#", 1)];
        assert_eq!(publisher.subscribe(&filters), [filter_code, 1], "{version:?}");
        let mortal = Connect::new(version, "mortal").will("123456789", b"gone");
        let mut mortal = Client::send_connect(server.target(), &mortal);
        mortal.read_connack(PATIENCE).expect("a CONNACK");
        assert_eq!(mortal.connack.code, will_code, "{version:?}");
    }
    watcher.expect_no_message(SILENCE);
    assert_eq!(server.metrics().value(TOO_LONG), 6);
    assert_eq!(server.metrics().value(TOO_LONG_LIMIT), 6 + 2);
    server.finish();
    Ok(())
}

/// [MQTT-4.6.0-2]: what is refused at once does not overtake what waits for the disk.
fn a_refused_publish_is_answered_in_its_turn() -> TestResult {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::with(PingPath::User).data_dir(directory.path()).start()?;
    let mut keeper =
        Client::connect(server.target(), &Connect::new(Version::V5, "keeper").persistent());
    keeper.subscribe(&[("kept/#", 1)]);
    let mut publisher = connect(server.target(), Version::V5, "publisher");
    let topics = ["kept/1", "$SYS/forged", "kept/2", "$SYS/forged"];
    let packets = (1..).zip(topics).map(|(packet_id, topic)| {
        let topic = topic.to_owned();
        let publish = Publish { topic, qos: 1, packet_id, ..Publish::default() };
        wire::publish(Version::V5, &publish)
    });
    publisher.send(&packets.collect::<Vec<_>>().concat());
    let acks: Vec<(u16, u8)> = (0..topics.len())
        .map(|_| {
            publisher.expect("a PUBACK", |packet| match packet {
                Packet::Ack { kind: PUBACK, packet_id, reason } => Some((*packet_id, *reason)),
                _ => None,
            })
        })
        .collect();
    assert_eq!(acks, [(1, 0), (2, NOT_AUTHORIZED), (3, 0), (4, NOT_AUTHORIZED)]);
    server.finish();
    Ok(())
}
