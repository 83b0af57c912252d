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
    let mut verified = VerifiedPasswords::default();
    assert!(!verified.contains(key(1), at(0)));
    assert!(!verified.add(key(1), at(0)));
    assert!(verified.contains(key(1), at(599)), "and looking makes it no younger");
    assert!(!verified.contains(key(1), at(600)));
    assert!(!verified.contains(key(2), at(0)));
    assert!(verified.is_empty());
}

#[test]
fn password_that_was_verified_again_counts_from_then() {
    let mut verified = VerifiedPasswords::default();
    verified.add(key(1), at(0));
    verified.add(key(1), at(300));
    assert_eq!(verified.len(), 1);
    assert!(verified.contains(key(1), at(601)));
    assert!(!verified.contains(key(1), at(900)));
}

#[test]
fn beyond_the_limit_the_oldest_gives_way_and_memory_does_not_grow() {
    let mut verified = VerifiedPasswords::default();
    for number in 0..VERIFIED_MAX {
        assert!(!verified.add(key(number), at(0)));
    }
    for number in VERIFIED_MAX..VERIFIED_MAX + 3 {
        assert!(verified.add(key(number), at(1)), "one was forgotten for it");
    }
    assert_eq!((verified.len(), verified.order.len()), (VERIFIED_MAX, VERIFIED_MAX));
    let known = |verified: &mut VerifiedPasswords, number| verified.contains(key(number), at(1));
    assert!(!known(&mut verified, 2) && known(&mut verified, 3));
    assert!(known(&mut verified, VERIFIED_MAX + 2));
    // One key, again and again.
    for _ in 0..10 {
        verified.add(key(VERIFIED_MAX), at(2));
    }
    assert_eq!(verified.order.len(), VERIFIED_MAX);
    assert!(known(&mut verified, VERIFIED_MAX));
}

#[test]
fn those_that_have_expired_are_forgotten_a_few_at_a_time() {
    let mut verified = VerifiedPasswords::default();
    (0..10).for_each(|number| assert!(!verified.add(key(number), at(0))));
    verified.contains(key(0), at(600));
    assert_eq!(verified.len(), 8);
    verified.add(key(11), at(601));
    assert_eq!(verified.len(), 7);
}
