//! Retained messages: the disk follows memory, whatever comes in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use push_common::clock::Monotonic;
use push_server::broker::Message;
use push_server::store::embedded::StoreOptions;
use push_server::store::{Clocks, Store as _, WallMillis, Write};

use super::rig::{Rig, message, options, put};

/// What a start finds on disk.
fn found(dir: &std::path::Path) -> Vec<Arc<Message>> {
    Rig::open(dir).retained()
}

#[test]
fn the_last_one_in_memory_is_kept_when_its_request_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut rig = Rig::open(dir.path());
        let older = rig.retain(&message("replaced", "older"));
        let newer = rig.retain(&message("replaced", "newer"));
        let put = rig.retain(&message("removed", "x"));
        let removal = rig.retain(&message("removed", ""));
        rig.commit(vec![newer, removal]);
        rig.commit(vec![older, put]);
    }
    assert_eq!(found(dir.path()), [message("replaced", "newer")]);
}

#[test]
fn the_last_one_in_memory_is_kept_within_one_request() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut rig = Rig::open(dir.path());
        let older = rig.retain(&message("a", "older"));
        let newer = rig.retain(&message("a", "newer"));
        rig.commit(vec![newer, older]);
    }
    assert_eq!(found(dir.path()), [message("a", "newer")]);
}

#[test]
fn a_committed_one_is_not_lost_when_its_successor_is_not_queued() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut rig = Rig::open(dir.path());
        let first = rig.retain(&message("a", "first"));
        rig.commit(vec![first]);
        let second = rig.retain(&message("a", "second"));
        let _waits_for_another_shard = rig.retain(&message("a", "third"));
        rig.commit(vec![second]);
    }
    assert_eq!(found(dir.path()), [message("a", "third")], "it or a later one");
}

#[test]
fn threads_that_queue_in_any_order_leave_on_disk_what_memory_has() {
    const THREADS: u64 = 4;
    const SETS: u64 = 3_000;
    const TOPICS: u64 = 7;
    const HELD_BACK: usize = 50;
    let dir = tempfile::tempdir().unwrap();
    let expected = {
        let rig = Rig::open(dir.path());
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let rig = (&rig.store, &rig.retained);
                scope.spawn(move || {
                    let mut held_back: Vec<Write> = Vec::new();
                    for number in 0..SETS {
                        let is_removal = (number + thread) % 3 == 0;
                        let text =
                            if is_removal { String::new() } else { format!("{thread} {number}") };
                        let message = message(&format!("t/{}", number % TOPICS), text);
                        rig.1.set(&message).unwrap();
                        held_back.push(Write::SaveRetained { cause: message });
                        if held_back.len() == HELD_BACK || number + 1 == SETS {
                            // The last first, in two requests.
                            held_back.reverse();
                            let rest = held_back.split_off(held_back.len() / 2);
                            rig.0.commit(std::mem::replace(&mut held_back, rest), 0);
                            rig.0.commit(std::mem::take(&mut held_back), 0);
                        }
                    }
                });
            }
        });
        rig.retained()
    };
    assert_eq!(found(dir.path()), expected);
}

#[test]
fn what_has_expired_is_removed_and_not_what_came_instead() {
    let dir = tempfile::tempdir().unwrap();
    let clocks = Clocks { monotonic: Monotonic(1_000_000_000), wall: WallMillis(50_000) };
    let options = StoreOptions { clocks, ..options(dir.path()) };
    let short = |topic| {
        let message = Message::clone(&message(topic, "short"));
        Arc::new(Message { expires_at: Some(Monotonic(2_000_000_000)), ..message })
    };
    {
        let mut rig = Rig::try_open(options.clone()).unwrap();
        for topic in ["expired", "set again before", "set again after"] {
            let write = rig.retain(&short(topic));
            rig.commit(vec![write]);
        }
        let before = rig.retain(&message("set again before", "new"));
        let expired = rig.retained.remove_expired(Monotonic(3_000_000_000));
        assert_eq!(expired.len(), 2);
        let after = rig.retain(&message("set again after", "new"));
        let removals = expired.into_iter().map(|cause| Write::SaveRetained { cause });
        let removals = removals.collect();
        // The removal is overtaken.
        rig.commit(vec![before, after]);
        rig.commit(removals);
    }
    // By this clock nothing has expired yet.
    let found = Rig::try_open(options).unwrap().retained();
    assert_eq!(found, [message("set again after", "new"), message("set again before", "new")]);
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
    assert_eq!(found(dir.path()), expected);
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

#[test]
fn who_published_one_is_kept_with_it() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut rig = Rig::open(dir.path());
        let kept = message("a", "x");
        rig.retained.set_by(&kept, Some("publisher")).unwrap();
        rig.commit(vec![Write::SaveRetained { cause: kept }]);
    }
    let found = Rig::open(dir.path()).retained.all();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].publisher.as_deref(), Some("publisher"));
}
