//! Tests of `intake`.

use super::*;

#[test]
fn input_that_waits_for_answers_waits_from_the_last_one_that_left() {
    let mut intake = Intake::default();
    intake.throttle_again(Monotonic(2));
    assert_eq!(intake.throttled_since(), None, "it does not wait");
    intake.throttle(Monotonic(3));
    intake.throttle_again(Monotonic(4));
    assert_eq!(intake.throttled_since(), Some(Monotonic(4)));
    assert!(intake.end().is_none());
    assert_eq!(intake.throttled_since(), None);
}
