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

const MEMORY: &str = "push_session_memory_bytes{kind=\"subscriptions\"}";

/// The reason of a PUBACK.
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;

/// Enough that some are on whichever shard the attacker is.
const BYSTANDERS: usize = 8;

both_paths! {
    publishes_to_forty_thousand_groups_let_others_in_between,
    a_publish_that_matches_everything_is_matched_in_steps_and_comes_once,
    publishes_of_one_client_keep_their_order_though_done_in_steps,
    a_will_comes_behind_all_that_its_client_has_published,
    sessions_with_a_thousand_filters_each_end_in_turns,
    what_an_ended_session_leaves_leads_to_nobody,
    a_client_that_begins_anew_finds_room_for_its_filters,
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

fn sessions_with_a_thousand_filters_each_end_in_turns(path: PingPath) -> TestResult {
    const SESSIONS: usize = 60;
    stand_in::not_for("has no counter of turns")?;
    raise_descriptor_limit();
    let server = Server::with(path).flag("--shards", 2).flag("--durability", "off").start()?;
    let target = server.target();
    let leaving: Vec<Client> = (0..SESSIONS)
        .map(|number| {
            let mut session = client(target, &format!("leaving-{number}"));
            subscribe(&mut session, (0..FILTERS).map(|filter| format!("{number}x{filter}/+/+/+")));
            session
        })
        .collect();
    let mut bystander = client(target, "bystander");
    bystander.subscribe(&[("by", 1)]);
    let before = server.metrics().value("push_turns_ended_total");
    drop(leaving);
    let mut lowest = u64::MAX;
    loop {
        assert_eq!(bystander.publish("by", b"x", 1), 0);
        assert_eq!(bystander.message().payload, b"x");
        let left = server.metrics().value("push_subscriptions");
        assert!(left <= lowest, "they only go");
        lowest = left;
        if left == 1 {
            break;
        }
    }
    let turns = server.metrics().value("push_turns_ended_total") - before;
    assert!(turns >= 10 * SESSIONS as u64, "{turns} turns for {SESSIONS} sessions");
    server.finish();
    Ok(())
}

/// Neither to the session of the same client that came after it, nor to another that has its place.
fn what_an_ended_session_leaves_leads_to_nobody(path: PingPath) -> TestResult {
    const ROUNDS: usize = 20;
    const NEWCOMERS: usize = 5;
    stand_in::not_for("has no counter of turns")?;
    let server = Server::with(path).flag("--shards", 2).flag("--durability", "off").start()?;
    let target = server.target();
    let mut publisher = client(target, "publisher");
    let filters = || (0..FILTERS).map(|filter| format!("n/{filter}/+"));
    for _ in 0..ROUNDS {
        let mut old = client(target, "again");
        subscribe(&mut old, filters());
        // Takes over, with a clean start.
        let mut new = client(target, "again");
        let mut newcomers: Vec<Client> =
            (0..NEWCOMERS).map(|number| client(target, &format!("new-{number}"))).collect();
        new.subscribe(&[("n/7/+", 1)]);
        // The second one the old session had last, the third one first.
        for topic in ["n/7/a", "n/0/a", "n/999/a"] {
            publisher.publish(topic, topic.as_bytes(), 1);
        }
        assert_eq!(new.message().payload, b"n/7/a");
        for client in newcomers.iter_mut().chain([&mut new]) {
            client.ping();
            let more = client.receive(Duration::from_millis(1));
            assert!(more.is_err(), "it did not subscribe to it: {more:?}");
        }
        new.disconnect();
    }
    assert!(server.metrics().value("push_turns_ended_total") > 0);
    server.wait_metric("push_subscriptions", |count| count == 0);
    assert_eq!(server.metrics().value(MEMORY), 0);
    assert_eq!(publisher.publish("n/7/a", b"", 1), NO_MATCHING_SUBSCRIBERS);
    server.finish();
    Ok(())
}

/// Those of its last session count until they are gone, and are not in its way.
fn a_client_that_begins_anew_finds_room_for_its_filters(path: PingPath) -> TestResult {
    const TOTAL_BYTES: u64 = 1 << 20;
    stand_in::not_for("has no such total")?;
    let server = Server::with(path)
        .flag("--shards", 1)
        .flag("--durability", "off")
        .flag("--subscription-bytes-total", TOTAL_BYTES)
        .start()?;
    let target = server.target();
    let limit = "push_limits_hit_total{limit=\"subscription_bytes_total\"}";
    for round in 0..10 {
        let mut again = client(target, "again");
        subscribe(&mut again, (0..FILTERS).map(|filter| format!("{round}x{filter}/+/+")));
        let metrics = server.metrics();
        assert_eq!(metrics.value(limit), 0);
        assert!(metrics.value(MEMORY) <= TOTAL_BYTES);
        assert!(metrics.value(MEMORY) > TOTAL_BYTES / 2, "two sessions' filters do not fit");
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
