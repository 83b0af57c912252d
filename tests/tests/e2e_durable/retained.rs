//! Retained messages: after a restart each topic has what it had before, and nothing expired is left.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use push_server::broker::Retained;
use push_server::store::embedded::{self, Durability, StoreOptions};
use push_server::store::{Clocks, Opening, Outcome, Sink, WallMillis};
use push_tests::clients::{Client, Connect};
use push_tests::expectations::{PATIENCE, SILENCE};
use push_tests::server::Target;
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{self, PUBACK, Packet, Properties, Publish, Value, Version, property};

use crate::life;

/// Sessions on both shards: the kernel spreads connections by a hash.
const SUBSCRIBERS: usize = 40;

/// Topics, and how often each of two publishers sets one in a row without waiting.
const TOPICS: usize = 256;
const SETS: usize = 8;
/// Topics set without waiting for acknowledgements.
const TOPICS_AT_ONCE: usize = 64;

/// More than the server forgets at a time.
const EXPIRING: u64 = 2_500;
/// By how much a clock is late that takes what has expired for fresh.
const LATE_MILLIS: u64 = 3_600_000;

pub(crate) fn retained_messages_are_the_last_ones_after_a_restart() -> TestResult {
    for mut lives in life::all()? {
        let mut subscribers: Vec<_> =
            (0..SUBSCRIBERS).map(|number| lives.passing(&format!("subscriber-{number}"))).collect();
        for subscriber in &mut subscribers {
            subscriber.subscribe(&[("r/#", 0)]);
        }
        let target = lives.server().target();
        let version = lives.version;
        std::thread::scope(|scope| {
            for name in ["one", "other"] {
                scope.spawn(move || set_all(target, version, name));
            }
        });
        let before = retained(target, version);
        assert!(before.len() > TOPICS / 2, "{} topics", before.len());
        lives.restart(Duration::ZERO)?;
        let after = retained(lives.server().target(), version);
        let mut differing = String::new();
        for topic in before.keys().chain(after.keys()) {
            let (was, is) = (before.get(topic), after.get(topic));
            if was != is {
                let _ = writeln!(differing, "{topic}: {was:?} is now {is:?}");
            }
        }
        assert!(differing.is_empty(), "{lives:?}:\n{differing}");
    }
    Ok(())
}

/// Sets every topic several times, and removes some, many under way at a time.
fn set_all(target: &Target, version: Version, name: &str) {
    let mut client = Client::connect(target, &Connect::new(version, name));
    for first in (0..TOPICS).step_by(TOPICS_AT_ONCE) {
        let mut bytes = Vec::new();
        for (topic, packet_id) in (first..first + TOPICS_AT_ONCE).zip(1..) {
            for number in 0..SETS {
                let is_removal = (topic + number) % 5 == 0;
                let payload = if is_removal { String::new() } else { format!("{name}/{number}") };
                bytes.extend(wire::publish(
                    version,
                    &Publish {
                        topic: format!("r/{topic}"),
                        payload: payload.into_bytes(),
                        qos: u8::from(number == SETS - 1),
                        retain: true,
                        packet_id,
                        ..Publish::default()
                    },
                ));
            }
        }
        client.send(&bytes);
        expect_acks(&mut client, TOPICS_AT_ONCE);
    }
    client.disconnect();
}

#[track_caller]
fn expect_acks(client: &mut Client, count: usize) {
    for _ in 0..count {
        match client.receive(PATIENCE) {
            Ok(Packet::Ack { kind: PUBACK, reason, .. }) if reason < 0x80 => {}
            other => panic!("waited for a PUBACK: {other:?}"),
        }
    }
}

/// What a new subscriber is sent.
fn retained(target: &Target, version: Version) -> BTreeMap<String, String> {
    let mut reader = Client::connect(target, &Connect::new(version, "reader"));
    reader.subscribe(&[("r/#", 0)]);
    let mut found = BTreeMap::new();
    while let Ok(packet) = reader.receive(SILENCE) {
        let Packet::Publish(publish) = packet else { panic!("no PUBLISH: {packet:?}") };
        let payload = String::from_utf8(publish.payload).expect("text");
        let earlier = found.insert(publish.topic, payload);
        assert_eq!(earlier, None, "one message a topic");
    }
    reader.disconnect();
    found
}

pub(crate) fn expired_retained_messages_leave_the_disk() -> TestResult {
    stand_in::not_for("has no metrics")?;
    for lives in life::all_v5()? {
        let records = "push_store_records_total";
        let begun_at = lives.server().metrics().value(records);
        let mut publisher = lives.passing("publisher");
        let retain = |topic: String, properties| Publish {
            topic,
            payload: b"x".to_vec(),
            retain: true,
            properties,
            ..Publish::default()
        };
        let expiry = Properties(vec![(property::MESSAGE_EXPIRY_INTERVAL, Value::Number(1))]);
        for number in 0..EXPIRING {
            let publish = retain(format!("r/{number}"), expiry.clone());
            publisher.send(&wire::publish(Version::V5, &publish));
        }
        let kept = retain("r/kept".to_owned(), Properties::default());
        publisher.publish_packet(Publish { qos: 1, ..kept });
        // Each is written and, in time, removed.
        let all = begun_at + 2 * EXPIRING + 1;
        lives.server().wait_metric(records, |records| records >= all);
        assert_eq!(retained(lives.server().target(), Version::V5).len(), 1);
        let data = lives.finish();
        assert_eq!(on_disk(data.path()), ["r/kept"]);
    }
    Ok(())
}

/// The topics that have a retained message on disk: of what has expired, too, by a clock that is late.
fn on_disk(data: &Path) -> Vec<String> {
    let now = Clocks::now();
    let clocks = Clocks { wall: WallMillis(now.wall.0 - LATE_MILLIS), ..now };
    let options = StoreOptions {
        opening: Opening::unlimited(clocks),
        ..StoreOptions::new(data, Durability::Os)
    };
    let found = Arc::new(Retained::new(usize::MAX, usize::MAX));
    embedded::open(options, Arc::clone(&found), Deaf).expect("open the data directory");
    let mut topics: Vec<_> =
        found.all().iter().map(|kept| kept.message.topic.as_str().to_owned()).collect();
    topics.sort();
    topics
}

/// Nothing is asked of the store.
struct Deaf;

impl Sink<()> for Deaf {
    fn complete(&mut self, (): (), _: Outcome) {}

    fn flush(&mut self) {}
}
