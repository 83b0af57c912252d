//! Tests of `fresh`.

use super::*;

const SESSION: SessionNumber = SessionNumber(7);

fn filter() -> TopicFilter {
    TopicFilter::parse("a/+", 8).expect("valid")
}

/// One SUBSCRIBE, to a filter that the session has or not.
fn subscribe(fresh: &mut Fresh, is_new: bool) -> u64 {
    let subscribe = fresh.begin();
    assert!(fresh.touch(subscribe, SESSION, &filter(), is_new));
    subscribe
}

#[test]
fn a_filter_whose_first_subscribe_failed_is_left_to_the_second() {
    let mut fresh = Fresh::default();
    let (first, second) = (subscribe(&mut fresh, true), subscribe(&mut fresh, false));
    assert!(!fresh.failed(first, SESSION, &filter()), "the second may have it written");
    fresh.written(second, SESSION, filter());
    assert!(fresh.touched.is_empty());

    let (first, second) = (subscribe(&mut fresh, true), subscribe(&mut fresh, false));
    assert!(!fresh.failed(first, SESSION, &filter()));
    assert!(fresh.failed(second, SESSION, &filter()), "no SUBSCRIBE has it written");
    assert!(fresh.touched.is_empty());
}

#[test]
fn a_filter_that_is_on_disk_is_not_forgotten_for_a_later_failure() {
    let mut fresh = Fresh::default();
    let (first, second) = (subscribe(&mut fresh, true), subscribe(&mut fresh, false));
    fresh.written(first, SESSION, filter());
    assert!(!fresh.failed(second, SESSION, &filter()));
    let third = fresh.begin();
    assert!(!fresh.touch(third, SESSION, &filter(), false), "it is not in question any more");
    assert!(fresh.touched.is_empty());
}

#[test]
fn an_unsubscribe_begins_anew() {
    let mut fresh = Fresh::default();
    let first = subscribe(&mut fresh, true);
    fresh.end(SESSION, &filter());
    let second = subscribe(&mut fresh, true);
    fresh.written(first, SESSION, filter());
    assert!(fresh.failed(second, SESSION, &filter()), "what was written is unsubscribed");
    assert!(fresh.touched.is_empty());
}
