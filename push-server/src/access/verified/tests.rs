use super::*;
use crate::access::{Password, Users};

fn key(number: usize) -> CheckKey {
    let users = Users::parse("", [7; 32]).expect("no users");
    users.check(&number.to_string(), Password::new(b"pencil")).key(&[1; 32])
}

fn at(secs: u64) -> Monotonic {
    Monotonic::default().after(Duration::from_secs(secs))
}

#[test]
fn password_is_remembered_for_ten_minutes_from_when_it_was_verified() {
    let mut verified = Verified::default();
    assert!(verified.get(key(1), at(0)).is_none());
    assert_eq!(verified.add(key(1), (), PASSWORD_BYTES, at(0)), 0);
    assert!(verified.get(key(1), at(599)).is_some(), "and looking makes it no younger");
    assert!(verified.get(key(1), at(600)).is_none());
    assert!(verified.get(key(2), at(0)).is_none());
    assert!(verified.is_empty());
}

#[test]
fn password_that_was_verified_again_counts_from_then() {
    let mut verified = Verified::default();
    verified.add(key(1), (), PASSWORD_BYTES, at(0));
    verified.add(key(1), (), PASSWORD_BYTES, at(300));
    assert_eq!(verified.len(), 1);
    assert!(verified.get(key(1), at(601)).is_some());
    assert!(verified.get(key(1), at(900)).is_none());
}

#[test]
fn beyond_the_limit_the_oldest_gives_way_and_memory_does_not_grow() {
    let mut verified = Verified::default();
    for number in 0..VERIFIED_MAX {
        assert_eq!(verified.add(key(number), (), PASSWORD_BYTES, at(0)), 0);
    }
    for number in VERIFIED_MAX..VERIFIED_MAX + 3 {
        assert_eq!(
            verified.add(key(number), (), PASSWORD_BYTES, at(1)),
            1,
            "one was forgotten for it"
        );
    }
    assert_eq!((verified.len(), verified.order.len()), (VERIFIED_MAX, VERIFIED_MAX));
    let known = |verified: &mut Verified<()>, number| verified.get(key(number), at(1)).is_some();
    assert!(!known(&mut verified, 2) && known(&mut verified, 3));
    assert!(known(&mut verified, VERIFIED_MAX + 2));
    // One key, again and again.
    for _ in 0..10 {
        verified.add(key(VERIFIED_MAX), (), PASSWORD_BYTES, at(2));
    }
    assert_eq!(verified.order.len(), VERIFIED_MAX);
    assert!(known(&mut verified, VERIFIED_MAX));
}

#[test]
fn those_that_have_expired_are_forgotten_a_few_at_a_time() {
    let mut verified = Verified::default();
    (0..10).for_each(|number| assert_eq!(verified.add(key(number), (), PASSWORD_BYTES, at(0)), 0));
    assert!(verified.get(key(0), at(600)).is_none());
    assert_eq!(verified.len(), 8);
    verified.add(key(11), (), PASSWORD_BYTES, at(601));
    assert_eq!(verified.len(), 7);
}

#[test]
fn what_is_large_leaves_less_room_and_is_counted_right() {
    let mut verified = Verified::default();
    let large = VERIFIED_BYTES_MAX / 4;
    for number in 0..4 {
        assert_eq!(verified.add(key(number), number, large, at(0)), 0);
    }
    assert_eq!(verified.add(key(4), 4, large, at(1)), 1);
    assert_eq!(verified.get(key(4), at(1)), Some(&4));
    assert_eq!(verified.get(key(0), at(1)), None);
    assert_eq!(verified.add(key(5), 5, 2 * large, at(2)), 2);
    // The same again takes the place of itself.
    verified.add(key(5), 6, PASSWORD_BYTES, at(3));
    assert_eq!(verified.get(key(5), at(3)), Some(&6));
    for _ in 0..10 {
        verified.get(key(9), at(3_000));
    }
    assert_eq!((verified.len(), verified.bytes), (0, 0));
}
