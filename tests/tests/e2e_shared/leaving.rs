//! What a member that leaves was owed goes to others.

use push_tests::clients::{Client, Connect};
use push_tests::expectations::SILENCE;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{self, Packet, Publish, Value, Version, property};

use super::rig::{
    GLANCE, JOBS, OUTBOX_FULL, PASSED_ON, SHARE_TRIES, client, collect, member, number_of,
    publish_jobs, server, slow_member, sorted, unacknowledged,
};

const TURNS: &str = "push_turns_ended_total";
const OUTBOX_MEMORY: &str = "push_session_memory_bytes{kind=\"outboxes\"}";

/// How somebody leaves a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Unsubscribe,
    End,
}

/// One member leaves as much as it may hold to a group where all but one are full.
pub(crate) fn a_whole_outbox_goes_to_others_in_turns_and_every_member_is_asked() -> TestResult {
    const HELD: u32 = 200;
    const FULL: u32 = 20;
    stand_in::not_for("has no counter of turns")?;
    for (shards, leave) in
        [(1, Leave::Unsubscribe), (1, Leave::End), (4, Leave::Unsubscribe), (4, Leave::End)]
    {
        let server = Server::with(PingPath::User)
            .flag("--shards", shards)
            .flag("--durability", "off")
            .flag("--outbox-messages-max", HELD)
            .start()?;
        let target = server.target();
        let mut publisher = Client::connect(target, &Connect::new(Version::V311, "publisher"));
        let mut leaver = slow_member(target, "leaver", 1);
        publish_burst(&mut publisher, 0..1);
        let sent = unacknowledged(&mut leaver);
        let one = server.metrics().value(OUTBOX_MEMORY);
        publish_burst(&mut publisher, 1..HELD);
        let full: Vec<Client> =
            (0..FULL).map(|n| slow_member(target, &format!("full-{n}"), 1)).collect();
        publish_burst(&mut publisher, HELD..HELD * (1 + FULL));
        // Without a store a PUBACK does not wait until a member on another shard has taken the message. One
        // that still looks for room would find it with the heir.
        let all = one * u64::from(HELD * (1 + FULL));
        server.wait_metric(OUTBOX_MEMORY, |bytes| bytes == all);
        let mut heir = member(target, "heir", 1);
        let mut bystander = client(target, "bystander");
        bystander.subscribe(&[("by", 1)]);
        let before = server.metrics();
        assert_eq!(before.value(OUTBOX_FULL), 0, "all have room for what they hold");

        let expected = match leave {
            Leave::Unsubscribe => {
                leaver.send(&wire::unsubscribe(Version::V5, 9, &[JOBS]));
                1..HELD
            }
            Leave::End => {
                leaver.send(&wire::disconnect());
                0..HELD
            }
        };
        assert_eq!(bystander.publish("by", b"x", 1), 0);
        assert_eq!(bystander.message().payload, b"x");
        let mut got: Vec<u32> = expected.clone().map(|_| number_of(&heir.message())).collect();
        if shards > 1 {
            // Each has its own way through the shards.
            got.sort_unstable();
        }
        assert_eq!(got, expected.clone().collect::<Vec<_>>(), "{shards} shards, {leave:?}");
        if leave == Leave::Unsubscribe {
            leaver.expect("UNSUBACK", |packet| {
                matches!(packet, Packet::Unsuback { packet_id: 9, .. }).then_some(())
            });
            leaver.acknowledge(&sent);
            leaver.ping();
            leaver.expect_no_message(GLANCE);
        }
        let metrics = server.metrics();
        assert_eq!(metrics.value(PASSED_ON), expected.len() as u64);
        assert_eq!(metrics.value(OUTBOX_FULL), 0, "{shards} shards, {leave:?}");
        assert_eq!(metrics.value(SHARE_TRIES), 0);
        let turns = metrics.value(TURNS) - before.value(TURNS);
        assert!(shards > 1 || turns >= 5, "{turns} turns, {leave:?}");
        // Nothing of it is counted any longer than it is there.
        drop((leaver, full, heir));
        server.wait_metric(OUTBOX_MEMORY, |bytes| bytes == 0);
        server.finish();
    }
    Ok(())
}

/// The same as `publish_jobs` at QoS 1, all of them under way at the same time.
fn publish_burst(publisher: &mut Client, numbers: std::ops::Range<u32>) {
    const AT_ONCE: usize = 500;
    let numbers: Vec<u32> = numbers.collect();
    for numbers in numbers.chunks(AT_ONCE) {
        let publishes = numbers.iter().zip(1..).map(|(number, packet_id)| {
            let payload = number.to_be_bytes().to_vec();
            Publish { topic: "jobs/a".into(), payload, qos: 1, packet_id, ..Publish::default() }
        });
        let burst: Vec<u8> =
            publishes.flat_map(|publish| wire::publish(Version::V311, &publish)).collect();
        publisher.send(&burst);
        for _ in numbers {
            publisher.expect("a PUBACK", |packet| {
                matches!(packet, Packet::Ack { kind: wire::PUBACK, .. }).then_some(())
            });
        }
    }
}

/// [MQTT5 4.8.2]: the server should send what was not acknowledged at QoS 1 to another member.
pub(crate) fn a_session_that_ends_leaves_its_messages_to_others() -> TestResult {
    let server = server()?;
    let target = server.target();
    for (round, ends_by_expiry) in [(0, false), (1, true)] {
        let mut leaver = if ends_by_expiry {
            let connect = Connect::new(Version::V5, "expiring");
            let connect = connect
                .property(property::RECEIVE_MAXIMUM, Value::Number(1))
                .property(property::SESSION_EXPIRY_INTERVAL, Value::Number(1));
            let mut leaver = Client::connect(target, &connect);
            leaver.subscribe(&[(JOBS, 2)]);
            leaver
        } else {
            slow_member(target, "leaver", 2)
        };
        publish_jobs(&mut client(target, "publisher"), 0..4, 1);
        publish_jobs(&mut client(target, "publisher"), 4..8, 2);
        assert_eq!(number_of(&unacknowledged(&mut leaver)), 0);
        let mut others = [member(target, "other-0", 2), member(target, "other-1", 1)];
        drop(leaver);
        let received = collect(&mut others, 8);
        // The first of them was sent and not acknowledged; nobody else has seen the others.
        assert_eq!(sorted(&received), (0..8).collect::<Vec<_>>());
        assert_eq!(received.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4]);
        assert_eq!(server.metrics().value(PASSED_ON), 8 * (round + 1));
        others.into_iter().for_each(Client::disconnect);
    }
    server.finish();
    Ok(())
}

/// [MQTT-4.8.2-5]
pub(crate) fn what_was_sent_at_qos_2_goes_to_nobody_else() -> TestResult {
    let server = server()?;
    let target = server.target();
    for acknowledges in [false, true] {
        let mut leaver = slow_member(target, "leaver", 2);
        publish_jobs(&mut client(target, "publisher"), 0..2, 2);
        let publish = unacknowledged(&mut leaver);
        if acknowledges {
            leaver.send(&wire::ack(wire::PUBREC, publish.packet_id));
            leaver.expect("a PUBREL", |packet| {
                matches!(packet, Packet::Ack { kind: wire::PUBREL, .. }).then_some(())
            });
        }
        let mut other = [member(target, "other", 2)];
        drop(leaver);
        assert_eq!(collect(&mut other, 1), [[1]]);
        other[0].expect_no_message(SILENCE);
        other.into_iter().for_each(Client::disconnect);
    }
    assert_eq!(server.metrics().value(PASSED_ON), 2);
    server.finish();
    Ok(())
}

/// [MQTT-4.8.2-4]
pub(crate) fn a_qos_2_flow_goes_on_with_its_member_when_it_is_back() -> TestResult {
    let server = server()?;
    let target = server.target();
    let connect = Connect::new(Version::V5, "keeper").persistent();
    let mut keeper = Client::connect(target, &connect);
    keeper.subscribe(&[(JOBS, 2)]);
    publish_jobs(&mut client(target, "publisher"), 0..1, 2);
    let first = unacknowledged(&mut keeper);
    let mut other = member(target, "other", 2);
    drop(keeper);
    other.expect_no_message(SILENCE);
    let mut keeper = Client::connect(target, &connect);
    let again = unacknowledged(&mut keeper);
    assert_eq!((again.packet_id, again.dup, first.dup), (first.packet_id, true, false));
    keeper.acknowledge(&again);
    keeper.ping();
    other.expect_no_message(SILENCE);
    assert_eq!(server.metrics().value(PASSED_ON), 0);
    server.finish();
    Ok(())
}

/// [MQTT-4.8.2-6]
pub(crate) fn a_message_that_its_member_refused_is_over() -> TestResult {
    const NOT_AUTHORIZED: u8 = 0x87;
    let server = server()?;
    let target = server.target();
    let mut picky = client(target, "picky");
    picky.subscribe(&[(JOBS, 2)]);
    publish_jobs(&mut client(target, "publisher"), 0..1, 1);
    publish_jobs(&mut client(target, "publisher"), 1..2, 2);
    for kind in [wire::PUBACK, wire::PUBREC] {
        let [high, low] = unacknowledged(&mut picky).packet_id.to_be_bytes();
        picky.send(&wire::frame(kind << 4, &[high, low, NOT_AUTHORIZED]));
    }
    picky.ping();
    let mut other = member(target, "other", 2);
    drop(picky);
    other.expect_no_message(SILENCE);
    assert_eq!(server.metrics().value(PASSED_ON), 0);
    server.finish();
    Ok(())
}

/// [MQTT-3.10.4-2] [MQTT-3.10.4-3]
pub(crate) fn who_unsubscribes_leaves_unsent_messages_to_others() -> TestResult {
    let server = server()?;
    let target = server.target();
    let mut leaver = slow_member(target, "leaver", 1);
    leaver.subscribe(&[("own", 1)]);
    let mut publisher = client(target, "publisher");
    publish_jobs(&mut publisher, 0..5, 1);
    publisher.publish("own", b"own", 1);
    let sent = unacknowledged(&mut leaver);
    let mut other = [member(target, "other", 1)];
    assert_eq!(leaver.unsubscribe(&[JOBS]), [0]);
    assert_eq!(collect(&mut other, 4), [[1, 2, 3, 4]]);
    // What was begun is completed, and what is its own stays.
    leaver.acknowledge(&sent);
    assert_eq!(leaver.message().payload, b"own");
    publish_jobs(&mut publisher, 5..8, 1);
    assert_eq!(collect(&mut other, 3), [[5, 6, 7]]);
    leaver.expect_no_message(SILENCE);
    assert_eq!(leaver.unsubscribe(&[JOBS]), [0x11]);
    server.finish();
    Ok(())
}

pub(crate) fn the_last_member_keeps_what_it_was_owed() -> TestResult {
    let server = server()?;
    let target = server.target();
    let mut last = slow_member(target, "last", 1);
    publish_jobs(&mut client(target, "publisher"), 0..5, 1);
    let sent = unacknowledged(&mut last);
    assert_eq!(last.unsubscribe(&[JOBS]), [0]);
    last.acknowledge(&sent);
    for number in 1..5 {
        assert_eq!(number_of(&last.message()), number);
    }
    // Nobody is subscribed any more: 0x10.
    assert_eq!(client(target, "publisher").publish("jobs/a", b"", 1), 0x10);
    server.finish();
    Ok(())
}
