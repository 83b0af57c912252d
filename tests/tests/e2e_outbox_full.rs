//! What becomes of messages for a client that is away and whose outbox is full: `--outbox-full`.

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::durable;
use push_tests::expectations::SILENCE;
use push_tests::server::{PingPath, Server, ServerBuilder};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::property::{SESSION_EXPIRY_INTERVAL, SUBSCRIPTION_IDENTIFIER};
use push_tests::wire::{self, Properties, Publish, VERSIONS, Value, Version};
use rustix::process::Signal;
use tempfile::TempDir;

claims! {
    the_newest_messages_are_kept_in_memory_and_on_disk,
    a_crash_does_not_bring_back_what_was_dropped,
    the_oldest_messages_are_kept_where_that_is_asked_for,
    who_publishes_to_a_full_outbox_is_told_where_that_is_asked_for,
    a_refused_publisher_whose_session_ends_leaves_nothing_on_disk,
    what_has_no_memory_for_its_place_is_refused_too,
    an_identifier_of_many_overlapping_filters_is_stored_once_a_message,
    what_several_sessions_wait_for_is_stored_once,
}

/// Messages that an outbox holds here.
const HELD: u8 = 5;

/// Messages that are published.
const PUBLISHED: u8 = 12;

const DROPPED: &str = "push_publishes_dropped_total{reason=\"outbox_full\"}";
/// What the store has written.
const STORED: &str = "push_store_bytes_total";
const REFUSED: &str = "push_limits_hit_total{limit=\"outbox_refused\"}";

/// "Quota exceeded" of a PUBACK or PUBREC.
const QUOTA_EXCEEDED: u8 = 0x97;

/// Two shards, so that publisher and subscribers are not always on the same one.
fn builder(data: &TempDir, durability: &'static str) -> ServerBuilder {
    Server::with(PingPath::User)
        .data_dir(data.path())
        .flag("--shards", 2)
        .flag("--durability", durability)
        .flag("--outbox-messages-max", HELD)
}

fn data() -> TempDir {
    TempDir::new().expect("make a data directory")
}

fn persistent(server: &Server, version: Version, client_id: &str) -> Client {
    Client::connect(server.target(), &Connect::new(version, client_id).persistent())
}

/// Absent sessions that are subscribed to `t`, on both shards, most likely.
const ABSENT: [&str; 4] = ["absent-a", "absent-b", "absent-c", "absent-d"];

fn leave_absent(server: &Server, version: Version, qos: u8) {
    for client_id in ABSENT {
        let mut absent = persistent(server, version, client_id);
        absent.subscribe(&[("t", qos)]);
        absent.disconnect();
    }
    server.wait_metric("push_connections", |count| count == 0);
}

fn assert_owed(server: &Server, version: Version, expected: &[u8]) {
    for client_id in ABSENT {
        let mut absent = persistent(server, version, client_id);
        assert!(absent.connack.session_present);
        let payloads: Vec<u8> = expected.iter().map(|_| absent.message().payload[0]).collect();
        assert_eq!(payloads, expected, "{client_id}");
        absent.expect_no_message(SILENCE);
        absent.disconnect();
    }
}

fn publish_all(server: &Server, version: Version, qos: u8) -> Vec<u8> {
    let mut publisher = Client::connect(server.target(), &Connect::new(version, "publisher"));
    (0..PUBLISHED).map(|number| publisher.publish("t", &[number], qos)).collect()
}

fn the_newest_messages_are_kept_in_memory_and_on_disk() -> TestResult {
    durable::need()?;
    stand_in::not_for("drops the newest")?;
    for durability in ["off", "fsync"] {
        for (version, qos) in [(Version::V311, 1), (Version::V5, 2)] {
            let data = data();
            let server = builder(&data, durability).start()?;
            leave_absent(&server, version, qos);
            let reasons = publish_all(&server, version, qos);
            assert_eq!(reasons, vec![0; reasons.len()], "all are taken");
            let expected = u64::from(PUBLISHED - HELD) * ABSENT.len() as u64;
            server.wait_metric(DROPPED, |dropped| dropped == expected);
            assert_owed(&server, version, &(PUBLISHED - HELD..PUBLISHED).collect::<Vec<_>>());
            assert_eq!(server.metrics().value(DROPPED), expected);
            server.finish();
        }
    }
    Ok(())
}

fn a_crash_does_not_bring_back_what_was_dropped() -> TestResult {
    durable::need()?;
    stand_in::not_for("is not killed here")?;
    for qos in [1, 2] {
        let data = data();
        let mut server = builder(&data, "fsync").start()?;
        leave_absent(&server, Version::V5, qos);
        publish_all(&server, Version::V5, qos);
        let expected = u64::from(PUBLISHED - HELD) * ABSENT.len() as u64;
        server.wait_metric(DROPPED, |dropped| dropped == expected);
        // Each of these waits for the disk, behind the removals of its shard.
        for client_id in ["barrier-a", "barrier-b", "barrier-c", "barrier-d"] {
            persistent(&server, Version::V5, client_id).disconnect();
        }
        server.signal(Signal::KILL);
        server.wait_exit();
        let server = builder(&data, "fsync").start()?;
        assert_owed(&server, Version::V5, &(PUBLISHED - HELD..PUBLISHED).collect::<Vec<_>>());
        assert_eq!(server.metrics().value("push_publishes_dropped_total{reason=\"store\"}"), 0);
        server.finish();
    }
    Ok(())
}

fn the_oldest_messages_are_kept_where_that_is_asked_for() -> TestResult {
    durable::need()?;
    stand_in::not_for("has no such flag")?;
    let data = data();
    let server = builder(&data, "fsync").flag("--outbox-full", "drop-newest").start()?;
    leave_absent(&server, Version::V5, 1);
    let reasons = publish_all(&server, Version::V5, 1);
    assert_eq!(reasons, vec![0; reasons.len()], "nobody is told");
    assert_owed(&server, Version::V5, &(0..HELD).collect::<Vec<_>>());
    let expected = u64::from(PUBLISHED - HELD) * ABSENT.len() as u64;
    assert_eq!(server.metrics().value(DROPPED), expected);
    server.finish();
    Ok(())
}

fn who_publishes_to_a_full_outbox_is_told_where_that_is_asked_for() -> TestResult {
    durable::need()?;
    stand_in::not_for("has no such flag")?;
    for durability in ["off", "fsync"] {
        for version in VERSIONS {
            for qos in [1, 2] {
                let data = data();
                let server = builder(&data, durability).flag("--outbox-full", "refuse").start()?;
                leave_absent(&server, version, qos);
                let mut present = persistent(&server, version, "present");
                present.subscribe(&[("t", qos)]);
                // Who cannot be told is answered as though it had been taken, and stays connected.
                let refused = if version == Version::V5 { QUOTA_EXCEEDED } else { 0 };
                let mut publisher =
                    Client::connect(server.target(), &Connect::new(version, "publisher"));
                for number in 0..PUBLISHED {
                    let reason = publisher.publish("t", &[number], qos);
                    let expected = if number < HELD { 0 } else { refused };
                    assert_eq!(reason, expected, "{durability} {version:?} {qos} {number}");
                    assert_eq!(present.message().payload, [number], "others have all of them");
                }
                present.disconnect();
                assert_owed(&server, version, &(0..HELD).collect::<Vec<_>>());
                let dropped = u64::from(PUBLISHED - HELD) * ABSENT.len() as u64;
                let metrics = server.metrics();
                assert_eq!((metrics.value(DROPPED), metrics.value(REFUSED)), (dropped, dropped));
                server.finish();
            }
        }
    }
    Ok(())
}

fn a_refused_publisher_whose_session_ends_leaves_nothing_on_disk() -> TestResult {
    const PUBLISHERS: u16 = 50;
    durable::need()?;
    stand_in::not_for("has no such metric")?;
    let data = data();
    let refusing = || builder(&data, "fsync").flag("--outbox-full", "refuse").start();
    let server = refusing()?;
    leave_absent(&server, Version::V5, 2);
    publish_all(&server, Version::V5, 2);
    for number in 0..PUBLISHERS {
        let mut publisher = persistent(&server, Version::V5, &format!("publisher-{number}"));
        let publish = Publish { topic: "t".into(), qos: 2, packet_id: 1, ..Publish::default() };
        let ending = Properties(vec![(SESSION_EXPIRY_INTERVAL, Value::Number(0))]);
        let mut bytes = wire::publish(Version::V5, &publish);
        bytes.extend(wire::disconnect_with(0, &ending));
        publisher.send(&bytes);
    }
    let refused = u64::from(u16::from(PUBLISHED - HELD) + PUBLISHERS) * ABSENT.len() as u64;
    server.wait_metric(REFUSED, |count| count == refused);
    server.wait_metric("push_sessions", |sessions| sessions == ABSENT.len() as u64);
    server.finish();
    let server = refusing()?;
    assert_eq!(server.metrics().value("push_store_remains_removed"), 0);
    server.finish();
    Ok(())
}

/// `--inflight-bytes-total` counts places in outboxes: without memory for one an outbox is full.
fn what_has_no_memory_for_its_place_is_refused_too() -> TestResult {
    const MESSAGES: u8 = 100;
    stand_in::not_for("has no such limit")?;
    let hits = "push_limits_hit_total{limit=\"inflight_bytes_total\"}";
    for version in VERSIONS {
        for qos in [1, 2] {
            let server = Server::with(PingPath::User)
                .flag("--shards", 2)
                .flag("--durability", "off")
                .flag("--outbox-full", "refuse")
                .flag("--inflight-bytes-total", 2_000)
                .start()?;
            let mut absent = persistent(&server, version, "absent");
            absent.subscribe(&[("t", qos)]);
            absent.disconnect();
            server.wait_metric("push_connections", |count| count == 0);
            let mut publisher =
                Client::connect(server.target(), &Connect::new(version, "publisher"));
            let reasons = (0..MESSAGES).map(|number| publisher.publish("t", &[number], qos));
            let reasons: Vec<u8> = reasons.collect();
            let metrics = server.metrics();
            let refused = metrics.value(REFUSED);
            assert!((1..u64::from(MESSAGES)).contains(&refused), "{version:?}: {refused}");
            assert_eq!((metrics.value(hits), metrics.value(DROPPED)), (refused, refused));
            let taken = usize::from(MESSAGES) - refused as usize;
            let told = if version == Version::V5 { QUOTA_EXCEEDED } else { 0 };
            let expected: Vec<u8> =
                (0..reasons.len()).map(|at| if at < taken { 0 } else { told }).collect();
            assert_eq!(reasons, expected, "{version:?} {qos}");
            let mut absent = persistent(&server, version, "absent");
            let payloads: Vec<u8> = (0..taken).map(|_| absent.message().payload[0]).collect();
            assert_eq!(payloads, (0..taken as u8).collect::<Vec<_>>());
            absent.expect_no_message(SILENCE);
            server.finish();
        }
    }
    Ok(())
}

/// [MQTT5 3.3.4]: the message carries the identifier once for each of them all the same.
fn an_identifier_of_many_overlapping_filters_is_stored_once_a_message() -> TestResult {
    const IDENTIFIER: u32 = 268_435_455;
    const LEVELS: u32 = 8;
    const FILTERS: usize = 1 << LEVELS;
    const MESSAGES: u64 = 50;
    /// Of a message in an outbox, with all that is written about it. The identifiers alone would be
    /// five times that.
    const STORED_BYTES_MAX: u64 = 250;
    durable::need()?;
    stand_in::not_for("has no such metric")?;
    let data = data();
    let server = Server::with(PingPath::User).data_dir(data.path()).start()?;
    let filters: Vec<String> = (0..FILTERS)
        .map(|bits| {
            let level = |level| if bits >> level & 1 == 0 { "a" } else { "+" };
            (0..LEVELS).map(level).collect::<Vec<_>>().join("/")
        })
        .collect();
    let filters: Vec<(&str, u8)> = filters.iter().map(|filter| (filter.as_str(), 1)).collect();
    for client_id in ABSENT {
        let mut absent = persistent(&server, Version::V5, client_id);
        assert_eq!(absent.subscribe_as(IDENTIFIER, &filters), vec![1; FILTERS]);
        absent.disconnect();
    }
    let before = stored_when_all_have_left(&server);
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V5, "publisher"));
    for _ in 0..MESSAGES {
        publisher.publish("a/a/a/a/a/a/a/a", b"x", 1);
    }
    let bytes = server.metrics().value(STORED) - before;
    let copies = MESSAGES * ABSENT.len() as u64;
    assert!(bytes < copies * STORED_BYTES_MAX, "{bytes} bytes for {copies}");
    let mut absent = persistent(&server, Version::V5, ABSENT[0]);
    let message = absent.message();
    assert_eq!(message.properties.numbers(SUBSCRIPTION_IDENTIFIER), vec![IDENTIFIER; FILTERS]);
    server.finish();
    Ok(())
}

/// How many bytes the store has written, all that clients asked for included.
fn stored_when_all_have_left(server: &Server) -> u64 {
    server.wait_metric("push_connections", |count| count == 0);
    persistent(server, Version::V5, "barrier").disconnect();
    server.metrics().value(STORED)
}

fn what_several_sessions_wait_for_is_stored_once() -> TestResult {
    const SESSIONS: usize = 20;
    const MESSAGES: u8 = 20;
    const BODY_BYTES: usize = 1_000;
    const SHARED: &str = "push_store_shared_bodies";
    durable::need()?;
    stand_in::not_for("has no such metric")?;
    let data = data();
    let starting =
        || Server::with(PingPath::User).data_dir(data.path()).flag("--shards", 2).start();
    let name = |number: usize| format!("absent-{number}");
    let server = starting()?;
    for number in 0..SESSIONS {
        let mut absent = persistent(&server, Version::V5, &name(number));
        absent.subscribe(&[("t", 1), (&name(number), 1)]);
        absent.disconnect();
    }
    let before = stored_when_all_have_left(&server);
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V5, "publisher"));
    for number in 0..MESSAGES {
        publisher.publish("t", &[number; BODY_BYTES], 1);
    }
    let bytes = server.metrics().value(STORED) - before;
    let copies = u64::from(MESSAGES) * SESSIONS as u64;
    assert!(bytes < copies * 150, "{bytes} bytes for {copies}");
    assert_eq!(server.metrics().value(SHARED), u64::from(MESSAGES));
    // What one session alone waits for has no record beside its own.
    publisher.publish(&name(0), &[MESSAGES; BODY_BYTES], 1);
    assert_eq!(server.metrics().value(SHARED), u64::from(MESSAGES));
    server.finish();

    let server = starting()?;
    for number in 0..SESSIONS {
        let mut absent = persistent(&server, Version::V5, &name(number));
        let expected = MESSAGES + u8::from(number == 0);
        for message in 0..expected {
            assert_eq!(absent.message().payload, [message; BODY_BYTES]);
        }
        absent.disconnect();
    }
    server.wait_metric(SHARED, |bodies| bodies == 0);
    server.finish();
    Ok(())
}
