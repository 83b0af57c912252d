//! What the embedded store does beyond the interface: groups, shared bodies, its backlog, and times
//! over a boot.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use push_common::clock::Monotonic;
use push_server::broker::Message;
use push_server::store::embedded::{Durability, StoreOptions};
use push_server::store::{
    Clocks, Opening, Outcome, SessionNumber, Store as _, StoreFailure, Stored, WallMillis, Write,
};

use super::rig::{Rig, entry, message, options, put, put_session, release, remove};

/// What each message weighs beside topic and payload.
const OWN_BYTES: u64 = Message::OWN_BYTES as u64;

#[test]
fn what_is_put_and_removed_in_one_group_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path());
    rig.commit(vec![put_session(1, "one")]);
    let (records, coalesced) = (rig.counter(|c| &c.records), rig.counter(|c| &c.coalesced));
    let number = SessionNumber(1);
    rig.commit(vec![
        put(1, 1, &message("a", "small")),
        put(1, 2, &message("a", vec![0; 100_000])),
        put(1, 3, &message("a", "exactly once")),
        release(1, 3),
        remove(1, 1),
        remove(1, 2),
        remove(1, 3),
    ]);
    assert_eq!(rig.counter(|c| &c.records), records);
    assert_eq!(rig.counter(|c| &c.coalesced), coalesced + 7);
    // What is there already is removed for good, and what comes again is kept.
    rig.commit(vec![put(1, 4, &message("a", "x")), Write::PutExactlyOnce { number, packet_id: 9 }]);
    rig.commit(vec![
        Write::RemoveExactlyOnce { number, packet_id: 9 },
        Write::PutExactlyOnce { number, packet_id: 9 },
        Write::RemoveExactlyOnce { number, packet_id: 9 },
        release(1, 4),
        remove(1, 4),
        put(1, 5, &message("a", "y")),
    ]);
    drop(rig);
    let mut rig = Rig::open(dir.path());
    assert!(rig.session(1).exactly_once.is_empty());
    assert_eq!(rig.outbox(1), [(5, Stored::Entry(entry(&message("a", "y"))))]);
}

#[test]
fn large_bodies_are_kept_once() {
    let dir = tempfile::tempdir().unwrap();
    let large = message("a", vec![7; 100_000]);
    {
        let mut rig = Rig::open(dir.path());
        for number in 0..50 {
            rig.commit(vec![
                put_session(number, &format!("client {number}")),
                put(number, 1, &large),
            ]);
        }
        assert_eq!(rig.counter(|c| &c.shared_bodies), 1);
        assert!(rig.counter(|c| &c.bytes) < 120_000);
    }
    let mut rig = Rig::open(dir.path());
    assert_eq!(rig.session(3).outbox.bytes, OWN_BYTES + 100_001);
    let read = |rig: &mut Rig, number| match rig.outbox(number).pop() {
        Some((1, Stored::Entry(entry))) => entry.message,
        other => panic!("{other:?}"),
    };
    let (first, second) = (read(&mut rig, 0), read(&mut rig, 1));
    assert_eq!(first, large);
    assert!(Arc::ptr_eq(&first, &second), "read once as long as it is in memory");
    rig.commit((0..49).map(|number| remove(number, 1)).collect());
    assert_eq!(rig.counter(|c| &c.shared_bodies), 1);
    rig.commit(vec![release(49, 1)]);
    assert_eq!(rig.counter(|c| &c.shared_bodies), 0);
    assert_eq!(rig.outbox(49), [(1, Stored::Released)]);
}

#[test]
fn requests_that_wait_together_are_one_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig =
        Rig::try_open(StoreOptions { durability: Durability::Fsync, ..options(dir.path()) })
            .unwrap();
    let mut last = 0;
    for position in 0..1_000 {
        last = rig.queue(vec![put(1, position, &message("a", "x"))]);
    }
    for token in 1..=last {
        assert!(matches!(rig.wait(token), Outcome::Committed));
    }
    let groups = rig.counter(|c| &c.groups);
    assert!(groups < 1_000, "{groups}");
    assert_eq!(rig.counter(|c| &c.fsyncs), groups);
    assert_eq!(rig.counter(|c| &c.committed), 1_000);
    assert_eq!(rig.store.backlog_bytes(), 0);
}

#[test]
fn a_backlog_over_the_limit_is_refused_and_only_that() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::limited(dir.path());
    let large = message("a", vec![0; 9_000]);
    let tokens: Vec<_> =
        (0..1_000).map(|position| rig.queue(vec![put(1, position, &large)])).collect();
    let refused = rig.wait_for_refusals(tokens);
    assert_eq!(rig.counter(|c| &c.refused_backlog), refused);
    rig.commit(vec![put_session(1, "one")]);
    let kept = rig.outbox(1).len() as u64;
    assert_eq!(kept, 1_000 - refused);
}

#[test]
fn nothing_is_promised_in_a_session_whose_record_was_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::limited(dir.path());
    let large = message("a", vec![0; 20_000]);
    let refused = (1..1_000).find(|&number| {
        let before = rig.queue(vec![put(0, number, &large)]);
        let record = rig.queue(vec![put_session(number, "one")]);
        assert!(matches!(rig.wait(before), Outcome::Committed));
        matches!(rig.wait(record), Outcome::Failed(StoreFailure::Backlog))
    });
    let number = refused.expect("the store is not always that quick");
    let promise = vec![put(number, 0, &message("a", "x"))];
    assert_eq!(rig.try_commit(promise.clone()), Err(StoreFailure::Unsaved));
    rig.commit(vec![put_session(number, "one")]);
    rig.commit(promise);
}

#[test]
fn times_are_kept_on_the_wall_clock() {
    let dir = tempfile::tempdir().unwrap();
    let clocks = Clocks { monotonic: Monotonic(1_000_000_000), wall: WallMillis(50_000) };
    let at = |clocks| StoreOptions { opening: Opening::unlimited(clocks), ..options(dir.path()) };
    let expiring = |at_millis: u64| {
        let message = Message::clone(&message(&format!("a/{at_millis}"), "x"));
        Arc::new(Message { expires_at: Some(Monotonic(at_millis * 1_000_000)), ..message })
    };
    {
        let mut rig = Rig::try_open(at(clocks)).unwrap();
        rig.commit(vec![put_session(1, "one"), put(1, 1, &expiring(6_000))]);
        let retained = [4_000, 9_000].map(|at_millis| rig.retain(&expiring(at_millis)));
        rig.commit(retained.into());
    }
    // Booted anew: 5 seconds later by the wall clock, half a second by the other.
    let clocks = Clocks { monotonic: Monotonic(500_000_000), wall: WallMillis(55_000) };
    let mut rig = Rig::try_open(at(clocks)).unwrap();
    let retained = rig.retained();
    let topics: Vec<_> = retained.iter().map(|message| message.topic.as_str()).collect();
    assert_eq!(topics, ["a/9000"], "what expired meanwhile is gone");
    assert_eq!(retained[0].expires_at, Some(Monotonic(3_500_000_000)));
    let Some((1, Stored::Entry(entry))) = rig.outbox(1).pop() else { panic!("no entry") };
    assert_eq!(entry.message.expires_at, Some(Monotonic(500_000_000)));
}

#[test]
fn bodies_go_with_the_sessions_that_were_owed_them() {
    let dir = tempfile::tempdir().unwrap();
    let large = message("a", vec![1; 10_000]);
    {
        let mut rig = Rig::open(dir.path());
        rig.commit(vec![put_session(1, "one"), put_session(2, "two")]);
        rig.commit(vec![put(1, 500, &large), put(2, 1, &large)]);
        assert_eq!(rig.counter(|c| &c.shared_bodies), 1);
        // In the same group as changes of the session, before and after.
        let removal = Write::RemoveSession { number: SessionNumber(1) };
        rig.commit(vec![put(1, 501, &large), removal, put(1, 502, &large)]);
        assert_eq!(rig.outbox(1), []);
        rig.commit(vec![Write::RemoveSession { number: SessionNumber(2) }]);
        assert_eq!(rig.counter(|c| &c.shared_bodies), 0);
        rig.commit(vec![put_session(3, "same"), put(3, 1, &message("a", vec![0; 5_000]))]);
        rig.commit(vec![put_session(9, "same")]);
    }
    drop(Rig::open(dir.path()));
    let mut rig = Rig::open(dir.path());
    assert_eq!(rig.outbox(3), [], "what belonged to an older namesake is removed");
    assert_eq!(rig.counter(|c| &c.shared_bodies), 0);
}

#[test]
fn a_change_that_the_backlog_has_no_room_for_is_made_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let expected = {
        let mut rig = Rig::limited(dir.path());
        let large = message("a", vec![0; 9_000]);
        let mut tokens = Vec::new();
        for position in 0..1_000 {
            let text = if position % 10 == 0 { String::new() } else { position.to_string() };
            let retained = rig.retain(&message(&format!("r/{}", position % 100), text));
            tokens.push(rig.queue(vec![put(1, position, &large), retained]));
        }
        let refused = rig.wait_for_refusals(tokens);
        assert_eq!(rig.outbox(1).len() as u64, 1_000 - refused, "the rest of a refused one is not");
        rig.retained()
    };
    assert_eq!(Rig::open(dir.path()).retained(), expected);
}

/// Earlier versions let clients publish there.
#[test]
fn what_is_on_a_topic_of_the_servers_own_is_removed_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut rig = Rig::open(dir.path());
        for topic in ["$SYS/uptime", "$share/g/a", "a/$SYS"] {
            let write = rig.retain(&message(topic, "x"));
            rig.commit(vec![write]);
        }
    }
    let removed = |rig: &Rig| rig.store.counters().reserved_removed.load(Ordering::Relaxed);
    let rig = Rig::open(dir.path());
    assert_eq!((rig.retained(), removed(&rig)), (vec![message("a/$SYS", "x")], 2));
    drop(rig);
    let rig = Rig::open(dir.path());
    assert_eq!((rig.retained().len(), removed(&rig)), (1, 0), "from the disk, too");
}
