//! Tests of how many clients may go in a second, and of what a review looks at.

use super::*;

/// When clients go of whom any number waits, in milliseconds.
fn leaves(reviews: &Reviews, millis: std::ops::Range<u64>) -> Vec<u64> {
    let mut left = Vec::new();
    for at in millis {
        let now = Monotonic(at * 1_000_000);
        while reviews.take_leave(now).is_some() {
            left.push(at);
        }
        assert!(reviews.next_leave() > now, "{at}");
    }
    left
}

#[test]
fn no_second_has_more_than_the_limit() {
    let reviews = Reviews::default();
    let left = leaves(&reviews, 5_000..9_000);
    for begin in 5_000..8_000 {
        let within = left.iter().filter(|at| (begin..begin + 1_000).contains(*at)).count();
        let within = within as u64;
        assert!(within <= WITHDRAWALS_PER_SEC_MAX, "{within} in the second from {begin} ms on");
    }
    let all = left.len() as u64;
    assert!(all >= 4 * (WITHDRAWALS_PER_SEC_MAX - AT_ONCE), "{all} in four seconds");
}

#[test]
fn certificates_are_looked_at_until_everybody_has() {
    let reviews = Reviews::default();
    assert_eq!(reviews.scope_since(0), Scope { certificates: false });
    reviews.begin(Scope { certificates: true });
    reviews.begin(Scope { certificates: false });
    assert_eq!(reviews.number(), 2);
    assert_eq!(reviews.scope_since(0), Scope { certificates: true });
    assert_eq!(reviews.scope_since(1), Scope { certificates: false });
}
