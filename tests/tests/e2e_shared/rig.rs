//! Servers of four shards, members of a group, and what they get.

use std::time::{Duration, Instant};

use push_tests::clients::{Client, Connect};
use push_tests::expectations::PATIENCE;
use push_tests::server::{PingPath, Server, Target};
use push_tests::wire::{Packet, Publish, Value, Version, property};

pub(crate) const JOBS: &str = "$share/workers/jobs/#";
pub(crate) const PASSED_ON: &str = "push_shared_passed_on_total";
pub(crate) const OUTBOX_FULL: &str = "push_publishes_dropped_total{reason=\"outbox_full\"}";
pub(crate) const SHARE_TRIES: &str = "push_limits_hit_total{limit=\"share_tries\"}";

/// How long one look at one of several clients lasts.
pub(crate) const GLANCE: Duration = Duration::from_millis(2);

pub(crate) fn server() -> Result<Server, push_tests::skip::Skip> {
    Server::with(PingPath::User).flag("--shards", 4).start()
}

pub(crate) fn client(target: &Target, name: &str) -> Client {
    Client::connect(target, &Connect::new(Version::V5, name))
}

pub(crate) fn member(target: &Target, name: &str, qos: u8) -> Client {
    let mut member = client(target, name);
    assert_eq!(member.subscribe(&[(JOBS, qos)]), [qos]);
    member
}

/// Members who take one QoS 1 or 2 message at a time.
pub(crate) fn slow_member(target: &Target, name: &str, qos: u8) -> Client {
    let connect = Connect::new(Version::V5, name);
    let connect = connect.property(property::RECEIVE_MAXIMUM, Value::Number(1));
    let mut member = Client::connect(target, &connect);
    member.subscribe(&[(JOBS, qos)]);
    member
}

/// Publishes numbered jobs.
pub(crate) fn publish_jobs(publisher: &mut Client, numbers: std::ops::Range<u32>, qos: u8) {
    for number in numbers {
        publisher.publish("jobs/a", &number.to_be_bytes(), qos);
    }
}

pub(crate) fn number_of(publish: &Publish) -> u32 {
    u32::from_be_bytes(publish.payload[..].try_into().expect("a number"))
}

/// What each client gets, `total` messages together, each acknowledged; and then no more.
#[track_caller]
pub(crate) fn collect(clients: &mut [Client], total: usize) -> Vec<Vec<u32>> {
    let mut received = vec![Vec::new(); clients.len()];
    let begun = Instant::now();
    while received.iter().map(Vec::len).sum::<usize>() < total {
        assert!(begun.elapsed() < PATIENCE, "{total} messages were to come: {received:?}");
        for (client, received) in clients.iter_mut().zip(&mut received) {
            while let Ok(packet) = client.receive(GLANCE) {
                if let Packet::Publish(publish) = packet {
                    client.acknowledge(&publish);
                    received.push(number_of(&publish));
                }
            }
        }
    }
    for client in clients {
        client.ping();
        client.expect_no_message(GLANCE);
    }
    received
}

/// All numbers, in order.
pub(crate) fn sorted(received: &[Vec<u32>]) -> Vec<u32> {
    let mut all: Vec<u32> = received.concat();
    all.sort_unstable();
    all
}

/// The next message, not acknowledged.
#[track_caller]
pub(crate) fn unacknowledged(client: &mut Client) -> Publish {
    client.expect("a PUBLISH", |packet| match packet {
        Packet::Publish(publish) => Some(publish.clone()),
        _ => None,
    })
}
