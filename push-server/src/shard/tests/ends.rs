//! Claims about clients whose proof of who they are expires, by the wall clock.

use super::*;
use crate::access::{Identity, Verdict};

/// What the wall clock says when time begins in the simulation: 2026-01-01.
const BEGINNING_SECS: u64 = 1_767_225_600;

const HOUR_MILLIS: i64 = 3_600_000;

/// A client that may stay for so many seconds from the beginning on, and whose keep alive does not end before.
fn served_until(world: &mut World, shard: u16, client_id: &str, secs: u64) -> Peer {
    let peer = world.connect(shard);
    let flags = [4, 0x82, 0, 0];
    peer.send(&packet(0x10, &[&string("MQTT"), &flags, &string(client_id), &string("ada")]));
    world.settle();
    let question = world.answerer().take().remove(0);
    let identity = Identity::of_user("ada".into()).until(BEGINNING_SECS + secs);
    question.answer(Verdict::Allowed(identity, None));
    world.settle();
    assert_eq!(peer.take(), CONNACK, "{client_id}");
    peer
}

fn expired(world: &World, shards: u16) -> u64 {
    (0..shards).map(|shard| world.counters(shard).authentications_expired.value()).sum()
}

#[test]
fn a_client_leaves_when_its_time_is_over_and_never_before() {
    let mut world = world(2);
    let soon = served_until(&mut world, 0, "soon", 10);
    let late = served_until(&mut world, 1, "late", 20);
    world.advance(Duration::from_millis(9_999));
    assert!(!soon.is_ended() && expired(&world, 2) == 0);
    world.advance(Duration::from_millis(1));
    assert!(soon.is_ended() && !late.is_ended());
    assert_eq!((expired(&world, 2), soon.take()), (1, Vec::new()), "3.1.1 is told nothing");
    world.advance(Duration::from_secs(11));
    assert!(late.is_ended());
    assert_eq!(expired(&world, 2), 2);
}

#[test]
fn a_wall_clock_that_is_set_counts_within_a_second() {
    let mut world = world(1);
    let hour = served_until(&mut world, 0, "hour", 3_600);
    let day = served_until(&mut world, 0, "day", 86_400);
    // Back, as after a start with a clock that is ahead: nobody has to leave for that.
    world.set_wall_clock(-HOUR_MILLIS, true);
    world.advance(Duration::from_secs(3_600));
    assert!(!hour.is_ended());
    world.set_wall_clock(2 * HOUR_MILLIS, true);
    world.advance(Duration::from_secs(1));
    assert!(hour.is_ended() && !day.is_ended());
    assert_eq!(expired(&world, 1), 1);
}

#[test]
fn a_client_that_has_gone_leaves_no_end_behind_and_one_that_moves_takes_it_along() {
    let mut world = world(2);
    let ids: Vec<_> = ids_at_home(&world, 0).take(2).collect();
    let gone = served_until(&mut world, 0, &ids[0], 10);
    gone.send(&DISCONNECT);
    gone.end();
    world.settle();
    let left: Vec<_> = world.leftovers().into_iter().filter(|(_, count)| *count > 0).collect();
    assert!(!left.iter().any(|(kind, _)| kind.contains("ends of clients")), "{left:?}");
    // Another client in its place has none.
    let other = served(&mut world, 0, &ids[0]);
    let moving = served_until(&mut world, 0, &ids[1], 12);
    assert!(world.move_client(&moving, 1), "it is served");
    world.settle();
    world.advance(Duration::from_millis(11_500));
    assert!(!moving.is_ended() && !other.is_ended());
    world.advance(Duration::from_millis(500));
    assert!(moving.is_ended() && !other.is_ended());
    assert_eq!(world.counters(1).authentications_expired.value(), 1, "by the shard that has it");
}
