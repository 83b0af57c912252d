//! One client causes more work than all others together: the others are served between its steps.

use std::time::Duration;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Server, Target, raise_descriptor_limit};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{self, Packet, Publish, Version};
use tempfile::TempDir;

/// Filters of one SUBSCRIBE.
const FILTERS: usize = 1_000;

/// Enough that some are on whichever shard the attacker is.
const BYSTANDERS: usize = 8;

both_paths! {
    publishes_to_forty_thousand_groups_let_others_in_between,
    a_publish_that_matches_everything_is_matched_in_steps_and_comes_once,
    publishes_of_one_client_keep_their_order_though_done_in_steps,
    a_will_comes_behind_all_that_its_client_has_published,
}

fn publishes_to_forty_thousand_groups_let_others_in_between(path: PingPath) -> TestResult {
    const SUBSCRIBERS: usize = 40;
    /// More than all bystanders' round trips can take.
    const PUBLISHES: u16 = 60;
    stand_in::not_for("starves others")?;
    raise_descriptor_limit();
    let server = Server::with(path).flag("--shards", 2).flag("--durability", "off").start()?;
    let target = server.target();
    let _subscribers: Vec<Client> = (0..SUBSCRIBERS)
        .map(|number| {
            let mut subscriber = client(target, &format!("subscriber-{number}"));
            let filters = (0..FILTERS).map(|group| format!("$share/{number}x{group}/a/+"));
            subscribe(&mut subscriber, filters);
            subscriber
        })
        .collect();
    let mut bystanders: Vec<Client> = (0..BYSTANDERS)
        .map(|number| {
            let mut bystander = client(target, &format!("bystander-{number}"));
            bystander.subscribe(&[(&format!("by/{number}"), 1)]);
            bystander
        })
        .collect();
    let mut attacker = client(target, "attacker");
    let burst: Vec<u8> =
        (1..=PUBLISHES).flat_map(|packet_id| publish(Version::V5, "a/b", packet_id)).collect();
    attacker.send(&burst);
    for (number, bystander) in bystanders.iter_mut().enumerate() {
        assert_eq!(bystander.publish(&format!("by/{number}"), b"x", 1), 0);
        assert_eq!(bystander.message().payload, b"x");
    }
    let mut answered = 0;
    while let Ok(packet) = attacker.receive(Duration::from_millis(1)) {
        assert!(matches!(packet, Packet::Ack { kind: wire::PUBACK, .. }), "{packet:?}");
        answered += 1;
    }
    assert!(answered < PUBLISHES, "the attacker's work was done before that of eight others");
    let metrics = server.metrics();
    assert!(metrics.value("push_publishes_cut_total") > 0);
    assert!(metrics.value("push_turns_ended_total") > 0);
    assert!(metrics.value("push_limits_hit_total{limit=\"letters\"}") > 0, "letters waited");
    for packet_id in answered + 1..=PUBLISHES {
        let is_next = |packet: &Packet| match packet {
            Packet::Ack { kind: wire::PUBACK, packet_id, .. } => Some(*packet_id),
            _ => None,
        };
        assert_eq!(attacker.expect("a PUBACK", is_next), packet_id);
    }
    server.finish();
    Ok(())
}

fn a_publish_that_matches_everything_is_matched_in_steps_and_comes_once(
    path: PingPath,
) -> TestResult {
    const SUBSCRIBERS: usize = 20;
    const LEVELS: u32 = 10;
    stand_in::not_for("has no counter of steps")?;
    let server = Server::with(path).flag("--shards", 2).start()?;
    let target = server.target();
    let mut subscribers: Vec<Client> = (0..SUBSCRIBERS)
        .map(|number| {
            let mut subscriber = client(target, &format!("subscriber-{number}"));
            // Each level `a` or `+`, by the bits of the number.
            let filters = (0..FILTERS as u32).map(|bits| {
                let level = |level| if bits >> level & 1 == 1 { "+" } else { "a" };
                (0..LEVELS).map(level).collect::<Vec<_>>().join("/")
            });
            subscribe(&mut subscriber, filters);
            subscriber
        })
        .collect();
    let mut publisher = client(target, "publisher");
    let topic = ["a"; LEVELS as usize].join("/");
    for number in 0..3 {
        assert_eq!(publisher.publish(&topic, &[number], 1), 0);
    }
    for subscriber in &mut subscribers {
        for number in 0..3 {
            assert_eq!(subscriber.message().payload, [number]);
        }
        // Behind all that was sent.
        subscriber.ping();
        let more = subscriber.receive(Duration::from_millis(1));
        assert!(more.is_err(), "once, whichever of the filters match: {more:?}");
    }
    assert!(server.metrics().value("push_publishes_cut_total") >= 3);
    server.finish();
    Ok(())
}

fn publishes_of_one_client_keep_their_order_though_done_in_steps(path: PingPath) -> TestResult {
    const SUBSCRIBERS: usize = 100;
    const PUBLISHES: u16 = 400;
    stand_in::not_for("has no counter of steps")?;
    raise_descriptor_limit();
    let server = Server::with(path).flag("--shards", 2).start()?;
    let target = server.target();
    let mut subscribers: Vec<Client> = (0..SUBSCRIBERS)
        .map(|number| {
            let mut subscriber = client(target, &format!("subscriber-{number}"));
            subscriber.subscribe(&[("news/+", 1), ("news/#", 0)]);
            subscriber
        })
        .collect();
    // 3.1.1, which knows no Receive Maximum.
    let connect = Connect::new(Version::V311, "publisher");
    let mut publisher = Client::connect(target, &connect);
    let burst: Vec<u8> =
        (1..=PUBLISHES).flat_map(|packet_id| publish(Version::V311, "news/1", packet_id)).collect();
    publisher.send(&burst);
    for packet_id in 1..=PUBLISHES {
        let ack = publisher.expect("a PUBACK", |packet| match packet {
            Packet::Ack { kind: wire::PUBACK, packet_id, .. } => Some(*packet_id),
            _ => None,
        });
        assert_eq!(ack, packet_id);
    }
    for subscriber in &mut subscribers {
        for packet_id in 1..=PUBLISHES {
            assert_eq!(subscriber.message().payload, packet_id.to_be_bytes());
        }
    }
    assert!(server.metrics().value("push_turns_ended_total") > 0);
    server.finish();
    Ok(())
}

/// Whatever of its work still waits on other shards.
fn a_will_comes_behind_all_that_its_client_has_published(path: PingPath) -> TestResult {
    const SUBSCRIBERS: usize = 100;
    const PUBLISHES: u16 = 400;
    raise_descriptor_limit();
    let data = TempDir::new().expect("make a data directory");
    // Three shards, so that the publisher's letters wait at two.
    let server = Server::with(path).flag("--shards", 3).data_dir(data.path()).start()?;
    let target = server.target();
    let mut subscribers: Vec<Client> = (0..SUBSCRIBERS)
        .map(|number| {
            let mut subscriber = client(target, &format!("subscriber-{number}"));
            subscriber.subscribe(&[("news/#", 0)]);
            subscriber
        })
        .collect();
    let connect = Connect::new(Version::V311, "publisher").will("news/will", b"gone");
    let mut publisher = Client::connect(target, &connect);
    let burst: Vec<u8> = (1..=PUBLISHES)
        .flat_map(|number| {
            let payload = number.to_be_bytes().to_vec();
            let publish = Publish { topic: "news/1".into(), payload, ..Publish::default() };
            wire::publish(Version::V311, &publish)
        })
        .collect();
    publisher.send(&burst);
    drop(publisher);
    for subscriber in &mut subscribers {
        for number in 1..=PUBLISHES {
            assert_eq!(subscriber.message().payload, number.to_be_bytes());
        }
        assert_eq!(subscriber.message().payload, b"gone");
    }
    server.finish();
    Ok(())
}

fn client(target: &Target, id: &str) -> Client {
    Client::connect(target, &Connect::new(Version::V5, id))
}

fn subscribe(client: &mut Client, filters: impl Iterator<Item = String>) {
    let filters: Vec<_> = filters.collect();
    let filters: Vec<_> = filters.iter().map(|filter| (filter.as_str(), 0)).collect();
    let codes = client.subscribe(&filters);
    assert!(codes.iter().all(|code| *code == 0), "granted");
}

/// A PUBLISH of QoS 1 whose payload is its packet id.
fn publish(version: Version, topic: &str, packet_id: u16) -> Vec<u8> {
    let payload = packet_id.to_be_bytes().to_vec();
    let publish = Publish { topic: topic.into(), payload, qos: 1, packet_id, ..Publish::default() };
    wire::publish(version, &publish)
}
