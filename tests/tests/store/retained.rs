//! Retained messages: the disk follows memory, whatever comes in between.

use std::sync::Arc;

use push_common::clock::Monotonic;
use push_server::broker::Message;
use push_server::store::{Clocks, Opening, Store as _, WallMillis, Write};

use super::rig::{Place, Rig, claims, message};

claims! {
    the_last_one_in_memory_is_kept_when_its_request_comes_first
    the_last_one_in_memory_is_kept_within_one_request
    a_committed_one_is_not_lost_when_its_successor_is_not_queued
    threads_that_queue_in_any_order_leave_on_disk_what_memory_has
    what_has_expired_is_removed_and_not_what_came_instead
    who_published_one_is_kept_with_it
}

/// What a start finds on disk.
fn found<P: Place>(place: &P) -> Vec<Arc<Message>> {
    Rig::at(place).retained()
}

fn the_last_one_in_memory_is_kept_when_its_request_comes_first<P: Place>() {
    let place = P::default();
    {
        let mut rig = Rig::at(&place);
        let older = rig.retain(&message("replaced", "older"));
        let newer = rig.retain(&message("replaced", "newer"));
        let put = rig.retain(&message("removed", "x"));
        let removal = rig.retain(&message("removed", ""));
        rig.commit(vec![newer, removal]);
        rig.commit(vec![older, put]);
    }
    assert_eq!(found(&place), [message("replaced", "newer")]);
}

fn the_last_one_in_memory_is_kept_within_one_request<P: Place>() {
    let place = P::default();
    {
        let mut rig = Rig::at(&place);
        let older = rig.retain(&message("a", "older"));
        let newer = rig.retain(&message("a", "newer"));
        rig.commit(vec![newer, older]);
    }
    assert_eq!(found(&place), [message("a", "newer")]);
}

fn a_committed_one_is_not_lost_when_its_successor_is_not_queued<P: Place>() {
    let place = P::default();
    {
        let mut rig = Rig::at(&place);
        let first = rig.retain(&message("a", "first"));
        rig.commit(vec![first]);
        let second = rig.retain(&message("a", "second"));
        let _waits_for_another_shard = rig.retain(&message("a", "third"));
        rig.commit(vec![second]);
    }
    assert_eq!(found(&place), [message("a", "second")], "nobody has asked for the third");
}

fn threads_that_queue_in_any_order_leave_on_disk_what_memory_has<P: Place>() {
    const THREADS: u64 = 4;
    const SETS: u64 = 3_000;
    const TOPICS: u64 = 7;
    const HELD_BACK: usize = 50;
    let place = P::default();
    let expected = {
        let rig = Rig::at(&place);
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
                        let change = rig.1.change(&message, None).unwrap();
                        held_back.push(Write::SaveRetained { change });
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
    assert_eq!(found(&place), expected);
}

fn what_has_expired_is_removed_and_not_what_came_instead<P: Place>() {
    let place = P::default();
    let clocks = Clocks { monotonic: Monotonic(1_000_000_000), wall: WallMillis(50_000) };
    let opening = Opening::unlimited(clocks);
    let short = |topic| {
        let message = Message::clone(&message(topic, "short"));
        Arc::new(Message { expires_at: Some(Monotonic(2_000_000_000)), ..message })
    };
    {
        let mut rig = Rig::opened(&place, opening.clone());
        for topic in ["expired", "set again before", "set again after"] {
            let write = rig.retain(&short(topic));
            rig.commit(vec![write]);
        }
        let before = rig.retain(&message("set again before", "new"));
        let expired = rig.retained.remove_expired(Monotonic(3_000_000_000));
        assert_eq!(expired.len(), 2);
        let after = rig.retain(&message("set again after", "new"));
        let removals = expired.into_iter().map(|change| Write::SaveRetained { change });
        let removals = removals.collect();
        // The removal is overtaken.
        rig.commit(vec![before, after]);
        rig.commit(removals);
    }
    // By this clock nothing has expired yet.
    let found = Rig::opened(&place, opening).retained();
    assert_eq!(found, [message("set again after", "new"), message("set again before", "new")]);
}

fn who_published_one_is_kept_with_it<P: Place>() {
    let place = P::default();
    {
        let mut rig = Rig::at(&place);
        let kept = message("a", "x");
        let change = rig.retained.change(&kept, Some("publisher")).unwrap();
        rig.commit(vec![Write::SaveRetained { change }]);
    }
    let found = Rig::at(&place).retained.all();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].publisher.as_deref(), Some("publisher"));
}
