//! Tests of `unconfirmed`.

use super::*;

const SESSION: SessionNumber = SessionNumber(7);

fn filter() -> TopicFilter {
    TopicFilter::parse("a/+", 8).expect("valid")
}

/// One SUBSCRIBE, to a filter that the session has or not.
fn subscribe(unconfirmed: &mut UnconfirmedFilters, is_new: bool) -> u64 {
    let subscribe = unconfirmed.begin();
    assert!(unconfirmed.touch(subscribe, SESSION, &filter(), is_new));
    subscribe
}

#[test]
fn a_filter_whose_first_subscribe_failed_is_left_to_the_second() {
    let mut unconfirmed = UnconfirmedFilters::default();
    let (first, second) = (subscribe(&mut unconfirmed, true), subscribe(&mut unconfirmed, false));
    assert!(!unconfirmed.failed(first, SESSION, &filter()), "the second may have it written");
    unconfirmed.written(second, SESSION, &filter());
    assert!(unconfirmed.touched.is_empty());

    let (first, second) = (subscribe(&mut unconfirmed, true), subscribe(&mut unconfirmed, false));
    assert!(!unconfirmed.failed(first, SESSION, &filter()));
    assert!(unconfirmed.failed(second, SESSION, &filter()), "no SUBSCRIBE has it written");
    assert!(unconfirmed.touched.is_empty());
}

#[test]
fn a_filter_that_is_on_disk_is_not_forgotten_for_a_later_failure() {
    let mut unconfirmed = UnconfirmedFilters::default();
    let (first, second) = (subscribe(&mut unconfirmed, true), subscribe(&mut unconfirmed, false));
    unconfirmed.written(first, SESSION, &filter());
    assert!(!unconfirmed.failed(second, SESSION, &filter()));
    let third = unconfirmed.begin();
    assert!(!unconfirmed.touch(third, SESSION, &filter(), false), "it is not in question any more");
    assert!(unconfirmed.touched.is_empty());
}

#[test]
fn an_unsubscribe_begins_anew() {
    let mut unconfirmed = UnconfirmedFilters::default();
    let first = subscribe(&mut unconfirmed, true);
    unconfirmed.end(SESSION, &filter());
    let second = subscribe(&mut unconfirmed, true);
    unconfirmed.written(first, SESSION, &filter());
    assert!(unconfirmed.failed(second, SESSION, &filter()), "what was written is unsubscribed");
    assert!(unconfirmed.touched.is_empty());
}
