//! A disk that neither takes anything nor fails.

use std::iter;
use std::time::Duration;

use push_tests::clients::{Client, Connect};
use push_tests::durable::{self, SlowDisk};
use push_tests::expectations::{PATIENCE, SILENCE};
use push_tests::server::Server;
use push_tests::skip::{Skip, TestResult};
use push_tests::stand_in;
use push_tests::wire::{self, PUBACK, Packet, Publish, Value, Version, property};

use crate::life;

/// As many publishes as wait for their acknowledgement, at the most: half of `--answers-bytes-max`, of
/// four bytes each, and the one that goes beyond.
const WAITING_MAX: u64 = (64 << 10) / 2 / 4 + 1;

/// So many more are sent: few enough for the buffers on the way.
const BEYOND: u64 = 10_000;

pub(crate) fn one_id_used_again_and_again_is_not_taken_without_end() -> TestResult {
    let (disk, server) = on_slow_disk("has no such limit")?;
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
    expect_acks(&mut publisher, iter::once(1).chain(iter::repeat_n(2, others as usize)));
    publisher.assert_alive();
    server.finish();
    Ok(())
}

/// A client that needs nothing of the disk is served while the writes that wait have reached their limit.
pub(crate) fn a_disk_that_is_behind_holds_up_only_what_needs_it() -> TestResult {
    let (disk, server) = on_slow_disk("has no such limit")?;
    let mut bystander = Client::connect(server.target(), &Connect::new(Version::V311, "bystander"));
    bystander.subscribe(&[("by", 1)]);
    make_absent(&server);
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V311, "publisher"));

    let stopped = disk.stop();
    let sent = fill_the_backlog(&server, &mut publisher);
    for _ in 0..3 {
        bystander.publish("by", b"x", 1);
        assert_eq!(bystander.message().payload, b"x");
    }
    publisher.expect_no_message(SILENCE);
    assert_eq!(server.http("/healthz").map(|answer| answer.status).ok(), Some(200));

    drop(stopped);
    expect_acks(&mut publisher, 1..=sent);
    server.finish();
    Ok(())
}

/// A session's key goes to the next one as soon as it has ended; its will may still wait for the disk.
pub(crate) fn nobody_waits_for_the_disk_behind_the_will_of_another() -> TestResult {
    const WILLS: u64 = 20;
    let (disk, server) = on_slow_disk("has no such limit")?;
    let connect = |id: &str| Connect::new(Version::V311, id);
    let mut heir = Client::connect(server.target(), &connect("heir"));
    heir.subscribe(&[("will", 0)]);
    make_absent(&server);
    let mut publisher = Client::connect(server.target(), &connect("publisher"));
    let mortals: Vec<Client> = (0..WILLS)
        .map(|number| connect(&format!("mortal-{number}")).will("will", b"x"))
        .map(|connect| Client::connect(server.target(), &connect))
        .collect();

    let stopped = disk.stop();
    let sent = fill_the_backlog(&server, &mut publisher);
    let others = server.metrics().value("push_sessions") - WILLS;
    drop(mortals);
    server.wait_metric("push_sessions", |count| count == others);
    let newcomers: Vec<Client> = (0..WILLS)
        .map(|number| {
            let connect = connect(&format!("newcomer-{number}"));
            let mut newcomer = Client::connect(server.target(), &connect);
            newcomer.assert_alive();
            assert_eq!(newcomer.subscribe(&[("by", 0)]), [0]);
            newcomer
        })
        .collect();
    heir.expect_no_message(SILENCE);

    drop(stopped);
    expect_acks(&mut publisher, 1..=sent);
    for _ in 0..WILLS {
        assert_eq!(heir.message().topic, "will");
    }
    drop(newcomers);
    server.finish();
    Ok(())
}

pub(crate) fn a_client_that_begins_anew_does_not_wait_for_its_last_publish() -> TestResult {
    let (disk, server) = on_slow_disk("has no such limit")?;
    make_absent(&server);
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V311, "publisher"));
    let connect = Connect::new(Version::V311, "again");
    let mut waiting = Client::connect(server.target(), &connect);

    let stopped = disk.stop();
    let sent = fill_the_backlog(&server, &mut publisher);
    // Retained, it needs the store on the shard of its publisher, and the ping waits behind it.
    let topic = "kept".to_owned();
    let kept = Publish { topic, qos: 1, packet_id: 1, retain: true, ..Publish::default() };
    waiting.send(&wire::publish(Version::V311, &kept));
    waiting.send(&wire::PINGREQ);
    waiting.expect_no_message(SILENCE);
    let mut again = Client::connect(server.target(), &connect);
    again.assert_alive();
    assert_eq!(again.subscribe(&[("by", 0)]), [0]);

    drop(stopped);
    // A stop waits for the disk, too.
    expect_acks(&mut publisher, 1..=sent);
    server.finish();
    Ok(())
}

/// All that has waited is safe at the same instant.
pub(crate) fn a_disk_that_is_back_is_heard_while_others_are_served() -> TestResult {
    const PUBLISHERS: usize = 8;
    const EACH: u16 = 8_000;
    let (disk, server) = on_slow_disk("has no counter of turns")?;
    let mut bystander = Client::connect(server.target(), &Connect::new(Version::V311, "bystander"));
    bystander.subscribe(&[("by", 1)]);
    let mut publishers: Vec<Client> = (0..PUBLISHERS)
        .map(|number| Connect::new(Version::V311, &format!("publisher-{number}")))
        .map(|connect| Client::connect(server.target(), &connect))
        .collect();

    let stopped = disk.stop();
    for (number, publisher) in publishers.iter_mut().enumerate() {
        let publish = |packet_id| Publish {
            topic: format!("kept/{number}"),
            payload: b"x".into(),
            qos: 1,
            packet_id,
            retain: true,
            ..Publish::default()
        };
        let publishes = (1..=EACH).flat_map(|id| wire::publish(Version::V311, &publish(id)));
        publisher.send(&publishes.collect::<Vec<u8>>());
    }
    let all = PUBLISHERS as u64 * u64::from(EACH);
    server.wait_metric("push_publishes_received_total", |count| count >= all);
    drop(stopped);
    bystander.publish("by", b"x", 1);
    assert_eq!(bystander.message().payload, b"x");
    for publisher in &mut publishers {
        expect_acks(publisher, 1..=EACH);
    }
    // How many of them come to a shard at once, and so whether it takes several turns to note them, is up
    // to the disk: the counter may say nothing.
    assert!(server.metrics().text().contains("push_turns_cut_total{by=\"completions\"}"));
    server.finish();
    Ok(())
}

pub(crate) fn publishes_that_wait_for_the_disk_are_not_tried_all_the_time() -> TestResult {
    const SECS: u64 = 2;
    /// Of both shards. A look each millisecond would be ten times as many.
    const TURNS_MAX: u64 = SECS * 150;
    const TURNS: &str = "push_shard_turn_seconds_count";
    let (disk, server) = on_slow_disk("has no such limit")?;
    make_absent(&server);
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V311, "publisher"));

    let stopped = disk.stop();
    let sent = fill_the_backlog(&server, &mut publisher);
    let (before, cpu) = (server.metrics().value(TURNS), server.cpu_time());
    std::thread::sleep(Duration::from_secs(SECS));
    let turns = server.metrics().value(TURNS) - before;
    println!("{turns} turns and {:?} of CPU in {SECS} s", server.cpu_time() - cpu);
    assert!(turns < TURNS_MAX, "{turns} turns in {SECS} s");

    drop(stopped);
    expect_acks(&mut publisher, 1..=sent);
    server.finish();
    Ok(())
}

pub(crate) fn a_publish_that_waits_for_the_disk_does_not_hold_up_the_stop() -> TestResult {
    durable::need()?;
    stand_in::not_for("has no such limit")?;
    let disk = SlowDisk::mount()?;
    let mut server = life::builder(&disk.path().join("data")).start()?;
    let mut bystander = Client::connect(server.target(), &Connect::new(Version::V311, "bystander"));
    make_absent(&server);
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V311, "publisher"));

    let stopped = disk.stop();
    fill_the_backlog(&server, &mut publisher);
    server.terminate();
    bystander.wait_ending();
    publisher.wait_ending();
    drop((bystander, publisher));
    drop(stopped);
    let (status, _) = server.wait_exit();
    assert!(status.success(), "the server ended with {status}");
    let log = server.log();
    assert!(!log.contains("resetting connections"), "a shard waited to the last:\n{log}");
    Ok(())
}

#[track_caller]
fn expect_acks(publisher: &mut Client, packet_ids: impl IntoIterator<Item = u16>) {
    for expected in packet_ids {
        match publisher.receive(PATIENCE) {
            Ok(Packet::Ack { kind: PUBACK, packet_id, .. }) => assert_eq!(packet_id, expected),
            other => panic!("no PUBACK: {other:?}"),
        }
    }
}

const ABSENT: usize = 4;

/// Sessions that keep what comes for them on disk.
fn make_absent(server: &Server) {
    for number in 0..ABSENT {
        let connect = Connect::new(Version::V311, &format!("absent-{number}")).persistent();
        let mut absent = Client::connect(server.target(), &connect);
        absent.subscribe(&[(&format!("t/{number}"), 1)]);
        absent.disconnect();
    }
}

/// A message on its way to a member that has unsubscribed meanwhile has been refused by nobody: those who
/// are there are asked, each of them.
pub(crate) fn a_member_that_leaves_while_a_message_comes_to_it_has_not_refused_it() -> TestResult {
    const GROUP: &str = "$share/g/jobs/a";
    const MESSAGES: u8 = 6;
    // One byte less than these messages have, which only a look at the whole packet tells.
    const SMALL_BYTES: u32 = 90;
    const PAYLOAD_BYTES: usize = 80;
    let (disk, server) = on_slow_disk("has no such limit")?;
    let target = server.target();
    make_absent(&server);
    let mut slow = Client::connect(target, &Connect::new(Version::V5, "slow").persistent());
    slow.subscribe(&[("slow", 1)]);
    slow.disconnect();
    let small = Connect::new(Version::V5, "small")
        .property(property::MAXIMUM_PACKET_SIZE, Value::Number(SMALL_BYTES));
    let mut small = Client::connect(target, &small);
    small.subscribe(&[(GROUP, 0)]);
    let stopped = disk.stop();
    let mut backlog = Client::connect(target, &Connect::new(Version::V311, "backlog"));
    fill_the_backlog(&server, &mut backlog);

    // On another shard than the session that is to be written, it is not held up itself. There its
    // messages wait behind the first one.
    let mut publisher = find("publisher", |id| {
        let mut publisher = Client::connect(target, &Connect::new(Version::V5, id));
        publisher.subscribe(&[(id, 0)]);
        let publish = Publish { topic: "slow".into(), qos: 1, packet_id: 9, ..Publish::default() };
        publisher.send(&wire::publish(Version::V5, &publish));
        publisher.send(&at_most_once(id, b""));
        is_served(&mut publisher).then_some(publisher)
    });
    let mut leaver = find("leaver", |id| {
        let mut leaver = Client::connect(target, &Connect::new(Version::V5, id));
        leaver.subscribe(&[(id, 0)]);
        publisher.send(&at_most_once(id, b""));
        // Its shard has had turns behind the letter, however slow the machine is.
        publisher.ping();
        leaver.ping();
        leaver.ping();
        (!is_served(&mut leaver)).then_some(leaver)
    });
    leaver.subscribe(&[(GROUP, 0)]);
    let mut last = Client::connect(target, &Connect::new(Version::V5, "last"));
    last.subscribe(&[(GROUP, 0)]);
    for number in 0..MESSAGES {
        publisher.send(&at_most_once("jobs/a", &[number; PAYLOAD_BYTES]));
    }
    publisher.ping();
    assert_eq!(leaver.unsubscribe(&[GROUP]), [0]);
    drop(stopped);
    let mut got: Vec<u8> = (0..MESSAGES).map(|_| last.message().payload[0]).collect();
    got.sort_unstable();
    assert!(got.into_iter().eq(0..MESSAGES));
    server.wait_metric("push_publishes_dropped_total{reason=\"too_large\"}", |count| count == 0);
    small.assert_alive();
    server.finish();
    Ok(())
}

/// The first of some clients that is as is asked for, by their ids.
#[track_caller]
fn find(name: &str, is_it: impl FnMut(&str) -> Option<Client>) -> Client {
    const TRIES: usize = 40;
    let ids: Vec<String> = (0..TRIES).map(|number| format!("{name}-{number}")).collect();
    ids.iter().map(String::as_str).find_map(is_it).expect("one of them on that shard")
}

/// Whether a message comes soon.
fn is_served(client: &mut Client) -> bool {
    client.receive(Duration::from_millis(300)).is_ok()
}

fn at_most_once(topic: &str, payload: &[u8]) -> Vec<u8> {
    let (topic, payload) = (topic.to_owned(), payload.to_vec());
    wire::publish(Version::V5, &Publish { topic, payload, ..Publish::default() })
}

/// A server whose data is on a disk that can be stopped. `without`: why a server of another kind is not
/// asked.
fn on_slow_disk(without: &str) -> Result<(SlowDisk, Server), Skip> {
    durable::need()?;
    stand_in::not_for(without)?;
    let disk = SlowDisk::mount()?;
    let server = life::builder(&disk.path().join("data")).start()?;
    Ok((disk, server))
}

/// Publishes to them until more waits to be stored than may, and once more. Returns how often.
fn fill_the_backlog(server: &Server, publisher: &mut Client) -> u16 {
    const PAYLOAD_BYTES: usize = 1 << 20;
    const EACH: u16 = 25;
    let mut send = |number: u16, payload_bytes| {
        let topic = format!("t/{}", (number - 1) / EACH);
        let payload = vec![0; payload_bytes];
        let publish = Publish { topic, payload, qos: 1, packet_id: number, ..Publish::default() };
        publisher.send(&wire::publish(Version::V311, &publish));
    };
    let mut sent = 0;
    while server.metrics().value("push_limits_hit_total{limit=\"store\"}") == 0 {
        sent += 1;
        assert!(sent < ABSENT as u16 * EACH, "the limit is 64 MiB");
        send(sent, PAYLOAD_BYTES);
    }
    // Little as it is, it waits too.
    send(sent + 1, 1);
    sent + 1
}
