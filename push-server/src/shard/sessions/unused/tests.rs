//! Tests of `unused`.

use super::*;

const fn session(key: u32) -> Unused {
    (key, SessionNumber(key as u64))
}

#[test]
fn shards_that_have_some_are_asked_in_turn_and_not_the_one_that_asks() {
    let counts = UnusedCounts::new(4);
    assert_eq!(counts.next(1, 1), None);
    for (shard, count) in [(0, 3), (1, 5), (3, 1)] {
        counts.set(shard, count);
    }
    assert_eq!(counts.next(1, 1), Some(3));
    assert_eq!(counts.next(1, 3), Some(0));
    assert_eq!(counts.next(1, 0), Some(3));
    counts.set(3, 0);
    assert_eq!(counts.next(1, 0), Some(0), "it may be asked again");
    assert_eq!(counts.next(0, 0), Some(1));
    assert_eq!(UnusedCounts::new(1).next(0, 0), None);
}

#[test]
fn the_first_that_was_left_and_fits_gives_way() {
    let mut sessions = UnusedSessions::default();
    for key in 0..6 {
        sessions.push(session(key), |_| true);
    }
    let odd = |(key, _): &Unused| match key {
        0 | 1 => Fit::InUse,
        key if key % 2 == 1 => Fit::Yes,
        _ => Fit::NotThis,
    };
    assert_eq!(sessions.take(odd), Some(session(3)));
    assert_eq!(sessions.take(|_| Fit::Yes), Some(session(2)), "it kept its place");
    assert_eq!(sessions.take(odd), Some(session(5)));
    assert_eq!(sessions.take(odd), None);
    assert_eq!(sessions.take(|_| Fit::Yes), Some(session(4)));
    assert_eq!(sessions.take(|_| Fit::Yes), None);
}

#[test]
fn sessions_that_come_and_go_take_no_more_room_than_there_are() {
    let mut sessions = UnusedSessions::default();
    for round in 0..100_000 {
        sessions.push(session(round % 10), |_| true);
    }
    assert!(sessions.queue.len() <= SWEEP_FROM, "{}", sessions.queue.len());
    for round in 0..100_000 {
        sessions.push(session(round), |(key, _)| key % 1_000 == 0);
    }
    assert!(sessions.queue.len() <= 2 * SWEEP_FROM, "{}", sessions.queue.len());
}
