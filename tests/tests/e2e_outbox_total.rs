//! `--queue-bytes-max`: sessions that do not fetch their messages share what memory there is for them,
//! and nobody else goes without.

use push_tests::both_paths;
use push_tests::clients::{Client, Connect};
use push_tests::durable;
use push_tests::server::{PingPath, Server, ServerBuilder};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{Publish, Version};
use tempfile::TempDir;

both_paths! {
    sessions_that_read_nothing_keep_to_the_total_and_others_get_their_messages,
    who_publishes_to_sessions_without_memory_is_told_where_that_is_asked_for,
    what_waits_on_disk_takes_no_memory_and_comes_back_a_little_at_a_time,
    retained_messages_that_find_no_memory_hold_up_no_others,
}

const TOTAL: u64 = 2 << 20;
const HOARDERS: usize = 30;
const MESSAGE_BYTES: usize = 16 << 10;
/// More than the total, for each ten of them.
const ROUNDS: u8 = 20;

/// What a message weighs here at the most.
const WEIGHT_MAX: u64 = MESSAGE_BYTES as u64 + 1_024;

const HELD: &str = "push_session_memory_bytes{kind=\"outboxes\"}";
const SHORT: &str = "push_limits_hit_total{limit=\"queue_bytes\"}";
const DROPPED: &str = "push_publishes_dropped_total{reason=\"outbox_full\"}";

/// "No matching subscribers" of a PUBACK.
const NO_SUBSCRIBERS: u8 = 0x10;

/// "Quota exceeded" of a PUBACK.
const QUOTA_EXCEEDED: u8 = 0x97;

fn builder(path: PingPath, durability: &'static str) -> ServerBuilder {
    Server::with(path)
        .flag("--shards", 2)
        .flag("--durability", durability)
        .flag("--queue-bytes-max", TOTAL)
}

fn name(hoarder: usize) -> String {
    format!("hoarder-{hoarder}")
}

/// Connects one that outlives its connections and reads nothing by itself.
fn hoarder(server: &Server, number: usize) -> Client {
    let connect = Connect::new(Version::V5, &name(number)).persistent().receive_buffer(4 << 10);
    Client::connect(server.target(), &connect)
}

fn subscribed_hoarders(server: &Server) -> Vec<Client> {
    let subscribed = |number| {
        let mut hoarder = hoarder(server, number);
        hoarder.subscribe(&[(&name(number), 1)]);
        hoarder
    };
    (0..HOARDERS).map(subscribed).collect()
}

fn end_hoarders(server: &Server) {
    for number in 0..HOARDERS {
        Client::connect(server.target(), &Connect::new(Version::V5, &name(number))).disconnect();
    }
}

fn payload(round: u8) -> Vec<u8> {
    vec![round; MESSAGE_BYTES]
}

fn sessions_that_read_nothing_keep_to_the_total_and_others_get_their_messages(
    path: PingPath,
) -> TestResult {
    stand_in::not_for("has no such limit")?;
    let server = builder(path, "off").start()?;
    let hoarders = subscribed_hoarders(&server);
    let mut innocent = Client::connect(server.target(), &Connect::new(Version::V5, "innocent"));
    innocent.subscribe(&[("news", 1)]);
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V5, "publisher"));
    for round in 0..ROUNDS {
        for number in 0..HOARDERS {
            assert_eq!(publisher.publish(&name(number), &payload(round), 1), 0);
        }
        let held = server.metrics().value(HELD);
        assert!(held <= TOTAL + WEIGHT_MAX * HOARDERS as u64 / 4, "{held} in round {round}");
        assert_eq!(publisher.publish("news", &payload(round), 1), 0);
        assert_eq!(innocent.message().payload, payload(round), "{round}");
    }
    let metrics = server.metrics();
    assert!(metrics.value(HELD) > TOTAL / 2, "{}", metrics.value(HELD));
    // Each hoarder has the same part of it.
    let part = TOTAL / (HOARDERS as u64 + 1) / WEIGHT_MAX;
    let short = metrics.value(SHORT);
    let published = u64::from(ROUNDS) * HOARDERS as u64;
    assert!(short > 0 && short <= published - part * HOARDERS as u64, "{short} of {published}");
    assert!(metrics.value(DROPPED) >= short, "{}", metrics.value(DROPPED));
    server.prove_path();
    drop(hoarders);
    end_hoarders(&server);
    innocent.disconnect();
    server.wait_metric(HELD, |bytes| bytes == 0);
    server.finish();
    Ok(())
}

fn who_publishes_to_sessions_without_memory_is_told_where_that_is_asked_for(
    path: PingPath,
) -> TestResult {
    stand_in::not_for("has no such limit")?;
    let server = builder(path, "off").flag("--outbox-full", "refuse").start()?;
    subscribed_hoarders(&server).into_iter().for_each(Client::disconnect);
    server.wait_metric("push_connections", |count| count == 0);
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V5, "publisher"));
    let mut refused = 0;
    let mut taken = vec![Vec::new(); HOARDERS];
    for round in 0..ROUNDS {
        for (number, taken) in taken.iter_mut().enumerate() {
            match publisher.publish(&name(number), &payload(round), 1) {
                QUOTA_EXCEEDED => refused += 1,
                0 => taken.push(round),
                other => panic!("{other}"),
            }
        }
    }
    let metrics = server.metrics();
    assert!(refused > 0 && taken.iter().all(|taken| !taken.is_empty()), "{refused}: {taken:?}");
    assert_eq!((metrics.value(SHORT), metrics.value(DROPPED)), (refused, refused));
    assert!(metrics.value(HELD) <= TOTAL, "{}", metrics.value(HELD));
    // All that was taken is there.
    for (number, taken) in taken.iter().enumerate() {
        let mut hoarder = hoarder(&server, number);
        for round in taken {
            assert_eq!(hoarder.message().payload, payload(*round));
        }
        hoarder.disconnect();
    }
    server.wait_metric(HELD, |bytes| bytes == 0);
    server.prove_path();
    server.finish();
    Ok(())
}

fn what_waits_on_disk_takes_no_memory_and_comes_back_a_little_at_a_time(
    path: PingPath,
) -> TestResult {
    durable::need()?;
    stand_in::not_for("has no such limit")?;
    let data = TempDir::new().expect("make a data directory");
    let server = builder(path, "os").data_dir(data.path()).start()?;
    subscribed_hoarders(&server).into_iter().for_each(Client::disconnect);
    server.wait_metric("push_connections", |count| count == 0);
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V5, "publisher"));
    for round in 0..ROUNDS {
        for number in 0..HOARDERS {
            assert_eq!(publisher.publish(&name(number), &payload(round), 1), 0);
        }
    }
    server.wait_metric(HELD, |bytes| bytes == 0);
    assert_eq!(server.metrics().value(DROPPED), 0);
    server.finish();

    let server = builder(path, "os").data_dir(data.path()).start()?;
    assert_eq!(server.metrics().value(HELD), 0);
    // Each has one message at least, whatever is left, and none of them reads it.
    let mut hoarders: Vec<_> = (0..HOARDERS).map(|number| hoarder(&server, number)).collect();
    server.wait_metric(HELD, |held| held > TOTAL / 2);
    for hoarder in &mut hoarders {
        let held = server.metrics().value(HELD);
        assert!(held <= TOTAL + WEIGHT_MAX * HOARDERS as u64, "{held}");
        for round in 0..ROUNDS {
            assert_eq!(hoarder.message().payload, payload(round));
        }
    }
    assert_eq!(server.metrics().value(DROPPED), 0);
    server.wait_metric(HELD, |bytes| bytes == 0);
    server.prove_path();
    drop(hoarders);
    server.finish();
    Ok(())
}

fn retained_messages_that_find_no_memory_hold_up_no_others(path: PingPath) -> TestResult {
    const SMALL_TOTAL: u64 = 64 << 10;
    stand_in::not_for("has no such limit")?;
    let server = Server::with(path)
        .flag("--durability", "off")
        .flag("--queue-bytes-max", SMALL_TOTAL)
        .start()?;
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V5, "publisher"));
    for (topic, payload) in [("kept/large", vec![1; 4_000]), ("kept/small", vec![2; 100])] {
        let publish =
            Publish { topic: topic.into(), payload, qos: 1, retain: true, ..Publish::default() };
        assert_eq!(publisher.publish_packet(publish), NO_SUBSCRIBERS);
    }
    let mut hoarder = hoarder(&server, 0);
    hoarder.subscribe(&[("all", 1)]);
    hoarder.disconnect();
    server.wait_metric("push_connections", |count| count == 1);
    assert_eq!(publisher.publish("all", &vec![0; SMALL_TOTAL as usize], 1), 0);
    let mut innocent = Client::connect(server.target(), &Connect::new(Version::V5, "innocent"));
    innocent.subscribe(&[("kept/#", 1), ("news", 1)]);
    assert_eq!(innocent.message().payload, [2; 100]);
    // Nor is it disconnected for a message that finds none.
    assert_eq!(publisher.publish("news", &[3; 4_000], 1), 0);
    assert_eq!(publisher.publish("news", &[4; 100], 1), 0);
    assert_eq!(innocent.message().payload, [4; 100]);
    assert_eq!(server.metrics().value(DROPPED), 2);
    end_hoarders(&server);
    server.wait_metric(HELD, |bytes| bytes == 0);
    server.prove_path();
    server.finish();
    Ok(())
}
