//! Tests of `rest`.

use super::*;

const NOW: Monotonic = Monotonic(5);

/// A shard's turn, at the end of which nothing is left.
fn quiet_turn(rest: &Rest, shard: u16, is_nothing_under_way: bool) -> bool {
    rest.begin_turn(shard);
    rest.end_turn(shard, || is_nothing_under_way)
}

#[test]
fn a_rest_comes_when_the_last_shard_has_nothing_left() {
    let rest = Rest::new(3);
    assert_eq!(rest.phase(), Phase::None);
    let number = rest.ask(NOW).expect("nobody has asked before");
    assert_eq!(rest.phase(), Phase::Asked(number));
    assert!(!quiet_turn(&rest, 0, true));
    assert!(!quiet_turn(&rest, 2, true));
    assert!(quiet_turn(&rest, 1, true));
    assert_eq!(rest.phase(), Phase::Come(number));
}

#[test]
fn a_shard_that_works_again_is_not_at_rest() {
    let rest = Rest::new(2);
    rest.ask(NOW);
    assert!(!quiet_turn(&rest, 0, true));
    rest.begin_turn(0);
    assert!(!quiet_turn(&rest, 1, true), "the other one is in a turn");
    assert!(rest.end_turn(0, || true));
}

#[test]
fn no_rest_comes_while_something_is_under_way_between_shards() {
    let rest = Rest::new(2);
    rest.ask(NOW);
    assert!(!quiet_turn(&rest, 0, true));
    assert!(!quiet_turn(&rest, 1, false));
    assert!(quiet_turn(&rest, 0, true), "whoever takes it looks again");
}

#[test]
fn a_rest_is_over_when_all_is_done_that_was_asked_for() {
    let rest = Rest::new(1);
    let number = rest.ask(NOW);
    assert_eq!(rest.ask(NOW), number, "the second one joins");
    assert!(quiet_turn(&rest, 0, true));
    assert_eq!(rest.ask(NOW), None, "the third one comes too late");
    assert!(!rest.end_wish());
    assert!(rest.end_wish());
    assert_eq!(rest.phase(), Phase::None);
    assert_ne!(rest.ask(NOW), number);
}

#[test]
fn a_rest_that_does_not_come_in_time_is_given_up_and_one_that_has_come_is_not() {
    let rest = Rest::new(1);
    let number = rest.ask(NOW);
    assert!(!rest.is_late(NOW.after_millis(REST_MILLIS_MAX - 1)));
    assert!(rest.is_late(NOW.after_millis(REST_MILLIS_MAX)));
    assert!(rest.give_up());
    assert!(!rest.give_up());
    assert_eq!(rest.phase(), Phase::None);
    assert!(!quiet_turn(&rest, 0, true));
    assert_ne!(rest.ask(NOW), number);
    assert!(quiet_turn(&rest, 0, true));
    assert!(!rest.give_up());
}
