//! A subscriber that does not read: QoS 0 messages for it are dropped and counted, then it is
//! disconnected; who reads gets everything.

use push_tests::both_paths;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::PATIENCE;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{Packet, Version};

/// "Quota exceeded" of an MQTT 5 DISCONNECT.
const QUOTA_EXCEEDED: u8 = 0x97;

/// Messages of the flood: more than sockets and queues of a slow client hold.
const MESSAGES: usize = 4_000;
const MESSAGE_BYTES: usize = 16 << 10;

/// Small messages: more than a session may be owed.
const SMALL_MESSAGES: usize = 1_500;

const DROPPED: &str = "push_publishes_dropped_total{reason=\"outbox_full\"}";
const OVERFLOWS: &str = "push_limits_hit_total{limit=\"outbox\"}";

both_paths! {
    at_qos_0_messages_are_dropped_and_counted,
    at_qos_1_the_slow_client_is_disconnected_and_others_go_on,
}

fn at_qos_0_messages_are_dropped_and_counted(path: PingPath) -> TestResult {
    stand_in::not_for("has another policy")?;
    let server = Server::with(path).start()?;
    let target = server.target();
    let connect = Connect::new(Version::V5, "slow").receive_buffer(4 << 10);
    let mut slow = Client::connect(target, &connect);
    slow.subscribe(&[("flood", 0)]);
    let mut quick = Client::connect(target, &Connect::new(Version::V5, "quick"));
    quick.subscribe(&[("flood", 1)]);
    let mut publisher = Client::connect(target, &Connect::new(Version::V5, "publisher"));
    for number in 0..MESSAGES {
        publisher.publish("flood", &numbered(number, MESSAGE_BYTES), 1);
        // In step, so that the quick one is as quick as the publisher.
        assert_eq!(number_of(&quick.message().payload), number);
    }
    let dropped = server.wait_metric(DROPPED, |dropped| dropped > 0);
    assert!(dropped < MESSAGES as u64, "all {dropped} messages were dropped");
    // Still connected; what it gets is in order and whole.
    let mut last = None;
    let mut received = 0;
    slow.send(&push_tests::wire::PINGREQ);
    let mut answered = false;
    while received + dropped < MESSAGES as u64 || !answered {
        match slow.receive(PATIENCE).expect("what was not dropped") {
            Packet::Publish(publish) => {
                assert!(publish.payload.len() == MESSAGE_BYTES);
                let number = number_of(&publish.payload);
                assert!(last < Some(number), "{number} came after {last:?}");
                last = Some(number);
                received += 1;
            }
            Packet::Pingresp => answered = true,
            other => panic!("not expected: {other:?}"),
        }
    }
    slow.assert_alive();
    assert_eq!(server.metrics().value(OVERFLOWS), 0);
    server.finish();
    Ok(())
}

fn at_qos_1_the_slow_client_is_disconnected_and_others_go_on(path: PingPath) -> TestResult {
    stand_in::not_for("has another policy")?;
    let server = Server::with(path).start()?;
    let target = server.target();
    let mut slow = Client::connect(target, &Connect::new(Version::V5, "slow"));
    slow.subscribe(&[("flood", 1)]);
    let mut quick = Client::connect(target, &Connect::new(Version::V5, "quick"));
    quick.subscribe(&[("flood", 1)]);
    let mut publisher = Client::connect(target, &Connect::new(Version::V5, "publisher"));
    for number in 0..SMALL_MESSAGES {
        publisher.publish("flood", &numbered(number, 8), 1);
        assert_eq!(number_of(&quick.message().payload), number);
    }
    let ending = slow.wait_ending();
    assert_eq!((ending.how, ending.reason), (Gone::Closed, Some(QUOTA_EXCEEDED)));
    assert_eq!(server.metrics().value(OVERFLOWS), 1);
    quick.assert_alive();
    publisher.assert_alive();
    server.finish();
    Ok(())
}

fn numbered(number: usize, bytes: usize) -> Vec<u8> {
    let mut payload = vec![0; bytes];
    payload[..8].copy_from_slice(&(number as u64).to_be_bytes());
    payload
}

fn number_of(payload: &[u8]) -> usize {
    let mut number = [0; 8];
    number.copy_from_slice(&payload[..8]);
    u64::from_be_bytes(number) as usize
}
