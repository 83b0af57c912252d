//! Members that cannot take a message: their outbox is full, or the message is too large for them.

use push_tests::clients::{Client, Connect};
use push_tests::expectations::SILENCE;
use push_tests::server::{PingPath, Server, ServerBuilder, Target};
use push_tests::skip::TestResult;
use push_tests::wire::{Packet, Value, Version, property};

use super::rig::{
    GLANCE, JOBS, OUTBOX_FULL, PASSED_ON, SHARE_TRIES, client, collect, member, number_of,
    publish_jobs, server, slow_member, sorted,
};

const TOO_LARGE: &str = "push_publishes_dropped_total{reason=\"too_large\"}";

/// The Maximum Packet Size of some members, in bytes.
const SMALL_BYTES: usize = 100;

pub(crate) fn a_member_that_has_no_room_is_passed_over() -> TestResult {
    let server = Server::with(PingPath::User)
        .flag("--shards", 4)
        .flag("--outbox-messages-max", 10)
        .start()?;
    let target = server.target();
    let mut full = [slow_member(target, "full-0", 1), slow_member(target, "full-1", 1)];
    let mut quick = member(target, "quick", 1);
    let mut publisher = client(target, "publisher");
    let mut received = Vec::new();
    for number in 0..60 {
        publish_jobs(&mut publisher, number..number + 1, 1);
        // In step, so that the quick one has room whenever it is asked.
        while let Ok(packet) = quick.receive(GLANCE) {
            if let Packet::Publish(publish) = packet {
                quick.acknowledge(&publish);
                received.push(number_of(&publish));
            }
        }
    }
    let mut rest = collect(std::slice::from_mut(&mut quick), 40 - received.len());
    received.append(&mut rest[0]);
    assert_eq!(received.len(), 40, "all but the ten of each full one");
    let kept = collect(&mut full, 20);
    assert_eq!(kept.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10]);
    assert_eq!(sorted(&[kept.concat(), received]), (0..60).collect::<Vec<_>>());
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_limits_hit_total{limit=\"outbox\"}"), 0);
    assert_eq!(metrics.value("push_publishes_dropped_total{reason=\"outbox_full\"}"), 0);
    server.finish();
    Ok(())
}

/// Many members that hold all they have room for, and acknowledge nothing.
fn full_members(server: &Server, count: u32) -> Vec<Client> {
    let target = server.target();
    let members = (0..count).map(|n| slow_member(target, &format!("full-{n}"), 1)).collect();
    publish_jobs(&mut client(target, "filler"), 0..count, 1);
    members
}

fn one_place_each() -> ServerBuilder {
    Server::with(PingPath::User).flag("--shards", 4).flag("--outbox-messages-max", 1)
}

pub(crate) fn every_member_is_asked_before_a_message_is_dropped() -> TestResult {
    const FULL: u32 = 40;
    let server = one_place_each().start()?;
    let mut full = full_members(&server, FULL);
    let mut quick = member(server.target(), "quick", 1);
    let mut publisher = client(server.target(), "publisher");
    for number in FULL..FULL + 60 {
        publish_jobs(&mut publisher, number..number + 1, 1);
        let publish = quick.message();
        assert_eq!(number_of(&publish), number);
        // Its acknowledgement is in before the next one: it has room again.
        quick.publish("done", b"", 1);
    }
    let metrics = server.metrics();
    assert_eq!(metrics.value(SHARE_TRIES), 0);
    assert_eq!(metrics.value(OUTBOX_FULL), 0);
    // With nobody who has room, each is dropped once, goes round no further, and nobody pays for it.
    drop(quick);
    server.wait_metric("push_connections", |count| count == u64::from(FULL) + 1);
    publish_jobs(&mut publisher, 0..3, 1);
    server.wait_metric(OUTBOX_FULL, |dropped| dropped == 3);
    assert_eq!(sorted(&collect(&mut full, FULL as usize)), (0..FULL).collect::<Vec<_>>());
    server.finish();
    Ok(())
}

pub(crate) fn members_beyond_the_tries_are_not_asked_and_that_is_counted() -> TestResult {
    const FULL: u32 = 12;
    let server = one_place_each().flag("--share-tries-max", 2).start()?;
    let mut full = full_members(&server, FULL);
    let mut publisher = client(server.target(), "publisher");
    publish_jobs(&mut publisher, 0..5, 1);
    server.wait_metric(OUTBOX_FULL, |dropped| dropped == 5);
    assert_eq!(server.metrics().value(SHARE_TRIES), 5);
    assert_eq!(collect(&mut full, FULL as usize).concat().len(), FULL as usize);
    server.finish();
    Ok(())
}

pub(crate) fn who_publishes_to_a_full_group_is_told_where_that_is_asked_for() -> TestResult {
    const FULL: u32 = 12;
    const QUOTA_EXCEEDED: u8 = 0x97;
    let server = one_place_each().flag("--outbox-full", "refuse").start()?;
    let mut full = full_members(&server, FULL);
    let mut publisher = client(server.target(), "publisher");
    for qos in [1, 2] {
        assert_eq!(publisher.publish("jobs/a", b"more", qos), QUOTA_EXCEEDED);
    }
    assert_eq!(server.metrics().value(OUTBOX_FULL), 2);
    assert_eq!(collect(&mut full, FULL as usize).concat().len(), FULL as usize);
    assert_eq!(publisher.publish("jobs/a", &FULL.to_be_bytes(), 1), 0);
    assert_eq!(collect(&mut full, 1).concat(), [FULL]);
    server.finish();
    Ok(())
}

pub(crate) fn who_is_left_with_what_others_were_owed_stays_connected() -> TestResult {
    const FULL: u32 = 12;
    let server = one_place_each().start()?;
    let full = full_members(&server, FULL);
    let mut quick = member(server.target(), "quick", 1);
    drop(full);
    server.wait_metric(PASSED_ON, |count| count == u64::from(FULL));
    quick.message();
    quick.publish("done", b"", 1);
    let metrics = server.metrics();
    assert!(metrics.value(OUTBOX_FULL) > 0, "{}", metrics.text());
    assert_eq!(metrics.value("push_limits_hit_total{limit=\"outbox\"}"), 0);
    server.finish();
    Ok(())
}

/// Takes packets of so many bytes at most.
fn small_member(target: &Target, connect: Connect) -> Client {
    let small = Value::Number(SMALL_BYTES as u32);
    let mut member =
        Client::connect(target, &connect.property(property::MAXIMUM_PACKET_SIZE, small));
    assert_eq!(member.subscribe(&[(JOBS, 1)]), [1]);
    member
}

/// [MQTT-3.1.2-25]
pub(crate) fn a_message_too_large_for_one_member_goes_to_another() -> TestResult {
    const MESSAGES: usize = 20;
    let server = server()?;
    let mut small: Vec<Client> = (0..3)
        .map(|n| small_member(server.target(), Connect::new(Version::V5, &format!("small-{n}"))))
        .collect();
    let mut large = member(server.target(), "large", 1);
    let mut publisher = client(server.target(), "publisher");
    for qos in [0, 1] {
        for number in 0..MESSAGES {
            publisher.publish("jobs/a", &[number as u8; SMALL_BYTES], qos);
        }
        let mut received: Vec<u8> = (0..MESSAGES).map(|_| large.message().payload[0]).collect();
        received.sort_unstable();
        assert!(received.into_iter().eq(0..MESSAGES as u8), "QoS {qos}");
    }
    // What fits is for all of them.
    publish_jobs(&mut publisher, 0..8, 1);
    small.push(large);
    let shares = collect(&mut small, 8);
    assert!(shares.iter().all(|numbers| numbers.len() == 2), "{shares:?}");
    assert_eq!(server.metrics().value(TOO_LARGE), 0);
    server.finish();
    Ok(())
}

/// Nobody was there when it was published, so nobody knew.
pub(crate) fn what_turns_out_too_large_for_its_member_goes_to_another() -> TestResult {
    let data = tempfile::TempDir::new().expect("a directory");
    for durable in [false, true] {
        let builder = Server::with(PingPath::User).flag("--shards", 4);
        let builder = if durable { builder.data_dir(data.path()) } else { builder };
        let server = builder.start()?;
        let persistent = || Connect::new(Version::V5, "small").persistent();
        drop(small_member(server.target(), persistent()));
        server.wait_metric("push_connections", |connections| connections == 0);
        let mut publisher = client(server.target(), "publisher");
        publisher.publish("jobs/a", &[7; SMALL_BYTES], 1);
        let mut large = member(server.target(), "large", 1);
        let small = Value::Number(SMALL_BYTES as u32);
        let mut small = Client::connect(
            server.target(),
            &persistent().property(property::MAXIMUM_PACKET_SIZE, small),
        );
        assert_eq!(large.message().payload, [7; SMALL_BYTES], "durable: {durable}");
        assert_eq!(server.metrics().value(PASSED_ON), 1);
        assert_eq!(server.metrics().value(TOO_LARGE), 0);
        // It is nobody else's any more.
        small.assert_alive();
        drop(small);
        let mut again = Client::connect(server.target(), &persistent());
        assert!(again.connack.session_present);
        again.expect_no_message(SILENCE);
        server.finish();
    }
    Ok(())
}

pub(crate) fn a_message_too_large_for_every_member_is_dropped() -> TestResult {
    let server = server()?;
    let mut publisher = client(server.target(), "publisher");
    let mut members = Vec::new();
    // Of one, and of more than a message is offered to.
    for count in [1, 2, 12] {
        while members.len() < count {
            let name = format!("small-{}", members.len());
            members.push(small_member(server.target(), Connect::new(Version::V5, &name)));
        }
        let before = server.metrics().value(TOO_LARGE);
        publisher.publish("jobs/a", &[7; SMALL_BYTES], 1);
        server.wait_metric(TOO_LARGE, |dropped| dropped == before + 1);
        publish_jobs(&mut publisher, 0..1, 1);
        assert_eq!(collect(&mut members, 1).concat(), [0], "{count} members");
    }
    server.finish();
    Ok(())
}
