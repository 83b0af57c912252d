//! What has a time goes on counting while the server is down. Times here are lower bounds, or far
//! apart.

use std::time::{Duration, Instant};

use push_tests::clients::{Client, Connect};
use push_tests::expectations::SILENCE;
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{Properties, Publish, Value, Version, property};

use crate::life::{self, Lives};

const TOPIC: &str = "wills/device";

/// For a will to come long after a start.
const WILL_DELAY_SECS: u32 = 4;

pub(crate) fn session_expiry_counts_while_down() -> TestResult {
    stand_in::not_for("counts no time while it is down")?;
    for mut lives in life::all_v5()? {
        for (client_id, secs) in [("short", 2), ("long", 60)] {
            let (mut client, _) = lives.connect(&expiring(&lives, client_id, secs));
            client.subscribe(&[("t", 1)]);
            client.disconnect();
        }
        lives.settle();
        lives.restart(Duration::from_millis(2_500))?;
        lives.passing("publisher").publish("t", b"", 1);
        let (mut short, present) = lives.connect(&expiring(&lives, "short", 2));
        assert!(!present, "{lives:?}");
        short.expect_no_message(SILENCE);
        let (mut long, present) = lives.connect(&expiring(&lives, "long", 60));
        assert!(present, "{lives:?}");
        long.message();
    }
    Ok(())
}

pub(crate) fn message_expiry_counts_while_down() -> TestResult {
    const LONG_SECS: u32 = 100;
    const DOWN: Duration = Duration::from_millis(2_500);
    for mut lives in life::all_v5()? {
        let (mut absent, _) = lives.persistent("absent");
        absent.subscribe(&[("t", 1)]);
        absent.disconnect();
        let mut publisher = lives.passing("publisher");
        for (payload, secs) in [(b"short", 1), (b"long.", LONG_SECS)] {
            for (topic, retain) in [("t", false), ("r", true)] {
                publisher.publish_packet(Publish {
                    topic: topic.to_owned(),
                    payload: payload.to_vec(),
                    qos: 1,
                    retain,
                    properties: expiry(secs),
                    ..Publish::default()
                });
            }
        }
        let retained_short = Publish {
            topic: "r/short".to_owned(),
            payload: b"short".to_vec(),
            qos: 1,
            retain: true,
            properties: expiry(1),
            ..Publish::default()
        };
        publisher.publish_packet(retained_short);
        lives.restart(DOWN)?;

        let (mut absent, _) = lives.persistent("absent");
        assert_left(&absent.message(), LONG_SECS - 2);
        absent.expect_no_message(SILENCE);
        let mut reader = lives.passing("reader");
        reader.subscribe(&[("r/#", 1), ("r", 1)]);
        assert_left(&reader.message(), LONG_SECS - 2);
    }
    Ok(())
}

/// That it is the long one, with at most so many seconds left, and not many less.
#[track_caller]
fn assert_left(publish: &Publish, secs_max: u32) {
    assert_eq!(publish.payload, b"long.");
    let left = publish.properties.number(property::MESSAGE_EXPIRY_INTERVAL);
    assert!(left.is_some_and(|left| left <= secs_max && left > secs_max / 2), "{left:?} s left");
}

pub(crate) fn a_pending_will_is_published_after_a_restart() -> TestResult {
    stand_in::not_for("publishes pending wills when it is stopped")?;
    for mut lives in life::all_v5()? {
        let gone_at = leave_a_will(&lives, WILL_DELAY_SECS);
        lives.restart(Duration::ZERO)?;
        let (mut watcher, _) = lives.persistent("watcher");
        assert_eq!(watcher.message().payload, b"gone");
        let after = gone_at.elapsed();
        // The wall clock, by which it is kept, has a resolution.
        let least = Duration::from_secs(WILL_DELAY_SECS.into()) - Duration::from_millis(50);
        assert!(after >= least, "{after:?} after: {lives:?}");
        watcher.expect_no_message(SILENCE);
    }
    Ok(())
}

pub(crate) fn a_will_that_fell_due_while_down_is_published() -> TestResult {
    for mut lives in life::all_v5()? {
        leave_a_will(&lives, 1);
        lives.restart(Duration::from_millis(1_500))?;
        let (mut watcher, _) = lives.persistent("watcher");
        assert_eq!(watcher.message().payload, b"gone", "{lives:?}");
        // Once, and not again in the next life.
        watcher.disconnect();
        lives.settle();
        lives.restart(Duration::ZERO)?;
        let (mut watcher, _) = lives.persistent("watcher");
        watcher.expect_no_message(SILENCE);
    }
    Ok(())
}

pub(crate) fn a_resumed_session_takes_its_will_back() -> TestResult {
    stand_in::not_for("publishes pending wills when it is stopped")?;
    for mut lives in life::all_v5()? {
        leave_a_will(&lives, WILL_DELAY_SECS);
        lives.restart(Duration::ZERO)?;
        let (mut device, present) = lives.persistent("device");
        assert!(present);
        let (mut watcher, _) = lives.persistent("watcher");
        watcher.expect_no_message(Duration::from_secs(u64::from(WILL_DELAY_SECS) + 1));
        device.assert_alive();
    }
    Ok(())
}

/// A watcher subscribes; a device with a will goes without goodbye, and the will is pending. When
/// the device went.
fn leave_a_will(lives: &Lives, delay_secs: u32) -> Instant {
    let (mut watcher, _) = lives.persistent("watcher");
    watcher.subscribe(&[(TOPIC, 1)]);
    watcher.disconnect();
    let connect = Connect::new(Version::V5, "device").persistent();
    let (mut device, _) = lives.connect(&connect.will(TOPIC, b"gone").will_delay(delay_secs));
    // It must have a session worth keeping.
    device.subscribe(&[("to/device", 1)]);
    let gone_at = Instant::now();
    drop(device);
    lives.server().wait_metric("push_connections", |open| open == 0);
    // The end of the connection is a write of its own, which nothing acknowledges: one that
    // comes after it, and is acknowledged, says that it is there.
    let mut after: Client = lives.passing("after");
    after.publish("nowhere", b"", 1);
    let (mut promised, _) = lives.persistent("promised");
    promised.subscribe(&[("nowhere", 1)]);
    promised.disconnect();
    gone_at
}

fn expiring(lives: &Lives, client_id: &str, secs: u32) -> Connect {
    let mut connect = Connect::new(lives.version, client_id);
    connect.clean = false;
    connect.property(property::SESSION_EXPIRY_INTERVAL, Value::Number(secs))
}

fn expiry(secs: u32) -> Properties {
    Properties(vec![(property::MESSAGE_EXPIRY_INTERVAL, Value::Number(secs))])
}
