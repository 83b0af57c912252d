//! A disk that neither takes anything nor fails.

use push_tests::clients::{Client, Connect};
use push_tests::durable::{self, SlowDisk};
use push_tests::expectations::{PATIENCE, SILENCE};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{self, PUBACK, Packet, Publish, Version};

use crate::life;

/// As many publishes as wait for their acknowledgement, at the most: half of `--answers-bytes-max`, of
/// four bytes each, and the one that goes beyond.
const WAITING_MAX: u64 = (64 << 10) / 2 / 4 + 1;

/// So many more are sent: few enough for the buffers on the way.
const BEYOND: u64 = 10_000;

pub(crate) fn one_id_used_again_and_again_is_not_taken_without_end() -> TestResult {
    durable::need()?;
    stand_in::not_for("has no such limit")?;
    let disk = SlowDisk::mount()?;
    let server = life::builder(&disk.path().join("data")).start()?;
    let version = Version::V311;
    let mut absent =
        Client::connect(server.target(), &Connect::new(version, "absent").persistent());
    absent.subscribe(&[("t", 1)]);
    absent.disconnect();
    let mut idle = Client::connect(server.target(), &Connect::new(version, "idle"));
    let mut publisher = Client::connect(server.target(), &Connect::new(version, "publisher"));
    let publish = |topic: &str, packet_id| {
        let topic = topic.to_owned();
        wire::publish(version, &Publish { topic, qos: 1, packet_id, ..Publish::default() })
    };

    let stopped = disk.stop();
    publisher.send(&publish("t", 1));
    // Nobody wants these: nothing of them waits for the disk but their acknowledgement, for its turn.
    let others = WAITING_MAX - 1 + BEYOND;
    publisher.send(&publish("x", 2).repeat(others as usize));
    let received = "push_publishes_received_total";
    server.wait_metric(received, |count| count >= WAITING_MAX);
    publisher.expect_no_message(SILENCE);
    assert_eq!(server.metrics().value(received), WAITING_MAX);
    idle.assert_alive();

    drop(stopped);
    for expected in std::iter::once(1).chain(std::iter::repeat_n(2, others as usize)) {
        match publisher.receive(PATIENCE) {
            Ok(Packet::Ack { kind: PUBACK, packet_id, .. }) => assert_eq!(packet_id, expected),
            other => panic!("no PUBACK: {other:?}"),
        }
    }
    publisher.assert_alive();
    server.finish();
    Ok(())
}
