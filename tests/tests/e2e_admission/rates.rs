//! How much a client may publish and subscribe.

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::wire::{self, Publish, Version};

use super::{QUOTA_EXCEEDED, limit_hit};

claims! {
    who_publishes_too_fast_waits_and_loses_nothing,
    bytes_of_publishes_have_a_rate_of_their_own,
    who_publishes_too_fast_for_ten_seconds_is_disconnected,
    filters_beyond_the_rate_are_refused,
}

const MESSAGE_RATE_TOO_HIGH: u8 = 0x96;
/// Failure of a 3.1.1 SUBACK.
const V311_FAILURE: u8 = 0x80;

/// QoS 1 publishes in one piece.
fn publishes(version: Version, count: u16, payload: &[u8]) -> Vec<u8> {
    let packets = (1..=count).map(|packet_id| {
        let (topic, payload) = ("t".to_owned(), payload.to_vec());
        let publish = Publish { topic, payload, qos: 1, packet_id, ..Publish::default() };
        wire::publish(version, &publish)
    });
    packets.collect::<Vec<_>>().concat()
}

fn acknowledged(client: &mut Client, count: u16) {
    for packet_id in 1..=count {
        client.expect("a PUBACK", |packet| match packet {
            wire::Packet::Ack { packet_id: id, .. } if *id == packet_id => Some(()),
            _ => None,
        });
    }
}

fn who_publishes_too_fast_waits_and_loses_nothing() -> TestResult {
    const COUNT: u16 = 30;
    let server = Server::with(PingPath::User)
        .flag("--publish-rate", 50)
        .flag("--publish-burst", 5)
        .start()?;
    let mut subscriber = Client::connect(server.target(), &Connect::new(Version::V5, "all"));
    subscriber.subscribe(&[("t", 1)]);
    for version in [Version::V5, Version::V311] {
        let mut publisher = Client::connect(server.target(), &Connect::new(version, "publisher"));
        let before = limit_hit(&server, "publish_rate");
        publisher.send(&publishes(version, COUNT, b"x"));
        acknowledged(&mut publisher, COUNT);
        for _ in 0..COUNT {
            let message = subscriber.message();
            subscriber.acknowledge(&message);
        }
        assert!(limit_hit(&server, "publish_rate") > before, "reading has paused");
        publisher.ping();
        publisher.disconnect();
    }
    assert_eq!(limit_hit(&server, "publish_rate_closed"), 0);
    server.finish();
    Ok(())
}

fn bytes_of_publishes_have_a_rate_of_their_own() -> TestResult {
    const COUNT: u16 = 5;
    let server = Server::with(PingPath::User)
        .flag("--publish-bytes-rate", "64KiB")
        .flag("--publish-bytes-burst", "1KiB")
        .start()?;
    let mut small = Client::connect(server.target(), &Connect::new(Version::V5, "small"));
    small.publish("t", b"small", 1);
    assert_eq!(limit_hit(&server, "publish_rate"), 0, "a small message is within the burst");
    // Each is larger than the burst: it is taken, and the next one waits.
    let mut large = Client::connect(server.target(), &Connect::new(Version::V5, "large"));
    large.send(&publishes(Version::V5, COUNT, &[7; 10_000]));
    acknowledged(&mut large, COUNT);
    assert!(limit_hit(&server, "publish_rate") > 0);
    large.assert_alive();
    server.finish();
    Ok(())
}

fn who_publishes_too_fast_for_ten_seconds_is_disconnected() -> TestResult {
    let server = Server::with(PingPath::User)
        .flag("--publish-rate", 2)
        .flag("--publish-burst", 2)
        .start()?;
    let mut bystander = Client::connect(server.target(), &Connect::new(Version::V5, "bystander"));
    let mut floods = [Version::V5, Version::V311].map(|version| {
        let id = format!("flood-{version:?}");
        let mut flood = Client::connect(server.target(), &Connect::new(version, &id));
        flood.send(&publishes(version, 60, b"x"));
        flood
    });
    bystander.publish("t", b"x", 1);
    let endings = floods.each_mut().map(|flood| flood.wait_ending().reason);
    assert_eq!(endings, [Some(MESSAGE_RATE_TOO_HIGH), None]);
    server.wait_metric("push_limits_hit_total{limit=\"publish_rate_closed\"}", |hits| hits == 2);
    assert_eq!(limit_hit(&server, "publish_rate"), 2, "one long pause each");
    bystander.assert_alive();
    server.finish();
    Ok(())
}

fn filters_beyond_the_rate_are_refused() -> TestResult {
    const FILTERS: [(&str, u8); 5] = [("a", 0), ("b", 1), ("c/#", 2), ("d", 0), ("e", 0)];
    let server = Server::with(PingPath::User)
        .flag("--subscribe-rate", 1)
        .flag("--subscribe-burst", 3)
        .start()?;
    for (version, refused) in [(Version::V5, QUOTA_EXCEEDED), (Version::V311, V311_FAILURE)] {
        let mut client = Client::connect(server.target(), &Connect::new(version, "client"));
        let before = limit_hit(&server, "subscribe_rate");
        assert_eq!(client.subscribe(&FILTERS), [0, 1, 2, refused, refused], "{version:?}");
        assert_eq!(limit_hit(&server, "subscribe_rate"), before + 2);
        client.publish("a", b"x", 0);
        assert_eq!(client.message().payload, b"x", "what was granted works");
        client.disconnect();
    }
    server.finish();
    Ok(())
}
