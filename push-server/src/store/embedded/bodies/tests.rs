use bytes::Bytes;

use super::*;
use crate::broker::{Held, MemoryBudget, QoS, TopicName};

fn message() -> Arc<Message> {
    Arc::new(Message {
        topic: TopicName::parse("a", 8).unwrap(),
        payload: Bytes::new(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        expires_at: None,
        held: Held::default(),
    })
}

const fn place(number: u64, position: u64) -> EntryKey {
    (SessionNumber(number), Position(position))
}

#[test]
fn what_several_outboxes_hold_or_is_large_is_shared() {
    let (mut bodies, memory) = (Bodies::default(), MemoryBudget::new(u64::MAX));
    let small = message();
    for holders in 0..2 * SHARED_BY_MIN {
        assert_eq!(bodies.has_to_share(&small), holders >= SHARED_BY_MIN, "{holders}");
        small.held.enter(|| 1, &memory);
    }
    let large = Message { payload: vec![0; LARGE_BYTES].into(), ..Message::clone(&small) };
    assert!(bodies.has_to_share(&large));
    assert_eq!(bodies.take_copied(), 0);
}

#[test]
fn entries_that_refer_to_bodies_are_so_many_and_further_ones_are_copied() {
    let mut bodies = Bodies::default();
    let large =
        Arc::new(Message { payload: vec![0; LARGE_BYTES].into(), ..Message::clone(&message()) });
    for position in 0..SHARED_MESSAGES_MAX as u64 {
        assert!(bodies.has_to_share(&large));
        bodies.take(place(1, position), &large);
    }
    assert!(!bodies.has_to_share(&large));
    assert_eq!(bodies.take_copied(), 1);
    bodies.drop_place(place(1, 7));
    assert!(bodies.has_to_share(&large));
}

#[test]
fn a_body_lives_as_long_as_its_last_entry() {
    let mut bodies = Bodies::default();
    let message = message();
    let first = bodies.take(place(1, 1), &message);
    let second = bodies.take(place(2, 1), &message);
    assert!(first.is_new && !second.is_new);
    assert_eq!(first.number, second.number);
    assert_eq!(bodies.places_of(SessionNumber(2)), [place(2, 1)]);
    assert_eq!(bodies.drop_place(place(1, 1)), None);
    assert_eq!(bodies.drop_place(place(1, 1)), None);
    assert_eq!(bodies.drop_place(place(2, 1)), Some(first.number));
    assert_eq!(bodies.len(), 0);
    let again = bodies.take(place(3, 1), &message);
    assert!(again.is_new && again.number != first.number);
}

#[test]
fn another_message_at_the_same_address_is_another_body() {
    let mut bodies = Bodies::default();
    let mut numbers = Vec::new();
    for position in 0..100 {
        // Dropped in each round: an allocator likes to give the same address again.
        let taken = bodies.take(place(1, position), &message());
        assert!(taken.is_new);
        numbers.push(taken.number);
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 100);
}

#[test]
fn a_place_that_is_put_again_lets_go_of_its_body() {
    let mut bodies = Bodies::default();
    let (one, other) = (message(), message());
    let first = bodies.take(place(1, 1), &one);
    assert_eq!(bodies.take(place(1, 1), &one).orphan, None);
    assert_eq!(bodies.take(place(1, 1), &other).orphan, Some(first.number));
}

#[test]
fn a_body_that_was_read_is_shared_while_it_is_in_memory() {
    let mut bodies = Bodies::default();
    bodies.found(place(1, 1), BodyNumber(7));
    assert_eq!(bodies.in_memory(BodyNumber(7)), None);
    let message = message();
    bodies.was_read(BodyNumber(7), &message);
    assert!(bodies.in_memory(BodyNumber(7)).is_some());
    assert_eq!(bodies.take(place(2, 1), &message).number, BodyNumber(7));
    drop(message);
    assert_eq!(bodies.in_memory(BodyNumber(7)), None);
    assert_eq!(bodies.take(place(3, 1), &self::message()).number, BodyNumber(8));
}

#[test]
fn dead_messages_are_forgotten() {
    let mut bodies = Bodies::default();
    for position in 0..10 * SWEEP_FROM as u64 {
        bodies.take(place(1, position), &message());
    }
    assert!(bodies.by_address.len() <= SWEEP_FROM);
}
