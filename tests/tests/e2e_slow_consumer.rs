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

/// Clients that read nothing, what all of them together may have under way, and what one may have whatever
/// the others do: 4 KiB, the message that goes beyond that, and what its buffer has grown by.
const DEAF: usize = 16;
const SENDING_TOTAL: u64 = 512 << 10;
const SENDING_ANYWAY: u64 = 16 << 10;
/// Messages that are copied for each client, and more of them than sockets and queues hold.
const COPIED_BYTES: usize = 3 << 10;
const COPIED_MESSAGES: usize = 3_000;
/// Of these, what a client reads before it stops once more: enough for its socket to take something, and
/// less than waits for it.
const READ_FIRST: usize = 500;

const SENDING: &str = "push_session_memory_bytes{kind=\"sending\"}";
const SHORT_SENDS: &str = "push_limits_hit_total{limit=\"sending_bytes_total\"}";

both_paths! {
    at_qos_0_messages_are_dropped_and_counted,
    at_qos_1_the_slow_client_is_disconnected_and_others_go_on,
    clients_that_read_nothing_keep_to_the_total_of_what_is_under_way_and_lose_nothing_of_it,
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

fn clients_that_read_nothing_keep_to_the_total_of_what_is_under_way_and_lose_nothing_of_it(
    path: PingPath,
) -> TestResult {
    stand_in::not_for("has no such limit")?;
    let server = Server::with(path)
        .flag("--shards", 2)
        .flag("--durability", "off")
        .flag("--sending-bytes-total", SENDING_TOTAL)
        .start()?;
    let target = server.target();
    let connect_deaf = |number| {
        let name = format!("deaf-{number}");
        let connect = Connect::new(Version::V5, &name).receive_buffer(4 << 10);
        let mut deaf = Client::connect(target, &connect);
        deaf.subscribe(&[("flood", 0), ("end", 1)]);
        deaf
    };
    let mut deaf: Vec<_> = (0..DEAF).map(connect_deaf).collect();
    let mut quick = Client::connect(target, &Connect::new(Version::V5, "quick"));
    quick.subscribe(&[("flood", 1)]);
    let mut publisher = Client::connect(target, &Connect::new(Version::V5, "publisher"));
    for number in 0..COPIED_MESSAGES {
        publisher.publish("flood", &numbered(number, COPIED_BYTES), 1);
        assert_eq!(number_of(&quick.message().payload), number);
    }
    // What was sent as it came is little at a time: as soon as a client has read some, it is sent more of
    // what waits.
    let mut received = vec![Vec::new(); DEAF];
    for (deaf, received) in deaf.iter_mut().zip(&mut received) {
        received.extend((0..READ_FIRST).map(|_| number_of(&deaf.message().payload)));
    }
    let most = SENDING_TOTAL + SENDING_ANYWAY * DEAF as u64;
    let under_way = server.wait_metric(SENDING, |bytes| bytes > SENDING_TOTAL / 2);
    assert!(under_way <= most, "{under_way} of {most}");
    assert!(server.metrics().value(SHORT_SENDS) > 0);
    // All of them go on, and get in order whatever was not dropped. The last one is no QoS 0, so that it
    // is not dropped.
    assert_eq!(publisher.publish("end", &[], 1), 0);
    let dropped = server.metrics().value(DROPPED);
    for (deaf, received) in deaf.iter_mut().zip(&mut received) {
        loop {
            let publish = deaf.message();
            if publish.topic == "end" {
                break;
            }
            received.push(number_of(&publish.payload));
        }
        assert!(received.is_sorted_by(|one, other| one < other), "{received:?}");
        deaf.assert_alive();
    }
    let received: usize = received.iter().map(Vec::len).sum();
    assert_eq!(received as u64 + dropped, (DEAF * COPIED_MESSAGES) as u64);
    assert_eq!(server.metrics().value(OVERFLOWS), 0);
    server.wait_metric(SENDING, |bytes| bytes == 0);
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
