//! Tests of `intake`.

use super::*;

#[test]
fn a_few_bytes_of_a_packet_keep_nobody_alive_and_a_good_part_of_it_does() {
    let mut intake = Intake::new(Monotonic(1));
    intake.hear(HEARD_BYTES_MIN - 1, Monotonic(2));
    assert_eq!(intake.last_seen(), Monotonic(1));
    intake.hear(1, Monotonic(3));
    assert_eq!(intake.last_seen(), Monotonic(3), "together they are a good part");
    intake.hear(HEARD_BYTES_MIN - 1, Monotonic(4));
    assert_eq!(intake.last_seen(), Monotonic(3), "what was heard counts once");
}

#[test]
fn a_whole_packet_keeps_alive_and_what_came_before_it_counts_no_more() {
    let mut intake = Intake::new(Monotonic(1));
    intake.hear(HEARD_BYTES_MIN - 1, Monotonic(2));
    intake.hear_whole(Monotonic(3));
    intake.hear(1, Monotonic(4));
    assert_eq!(intake.last_seen(), Monotonic(3));
}

#[test]
fn input_that_waits_for_answers_waits_from_the_last_one_that_left() {
    let mut intake = Intake::new(Monotonic(1));
    intake.throttle_again(Monotonic(2));
    assert_eq!(intake.throttled_since(), None, "it does not wait");
    intake.throttle(Monotonic(3));
    intake.throttle_again(Monotonic(4));
    assert_eq!(intake.throttled_since(), Some(Monotonic(4)));
    assert!(intake.end().is_none());
    assert_eq!(intake.throttled_since(), None);
}
