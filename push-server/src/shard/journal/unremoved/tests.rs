//! Tests of `unremoved`.

use super::*;

const SESSION: SessionNumber = SessionNumber(7);

fn filter(text: &str) -> UnremovedFilter {
    (3, SESSION, TopicFilter::parse(text, 8).expect("valid"))
}

#[test]
fn a_filter_waits_once_until_it_is_taken_or_replaced() {
    let mut unremoved = UnremovedFilters::default();
    for text in ["a", "b", "a"] {
        assert!(unremoved.push(filter(text)));
    }
    unremoved.replaced(SESSION, &filter("b").2);
    unremoved.replaced(SESSION, &filter("c").2);
    assert_eq!(unremoved.take(5), [filter("a")]);
    assert!(unremoved.is_empty() && unremoved.bytes == 0);
}

#[test]
fn there_is_room_for_so_many_bytes() {
    let mut unremoved = UnremovedFilters::default();
    let long = |n: usize| filter(&format!("{n}{}", "x".repeat(60_000)));
    let kept = (0..).take_while(|n| unremoved.push(long(*n))).count();
    assert!(unremoved.bytes <= UNREMOVED_FILTER_BYTES_MAX && kept > 200, "{kept}");
    assert!(unremoved.push(long(0)), "it is there already");
    assert_eq!(unremoved.take(1).len(), 1);
    assert!(unremoved.push(long(kept)));
}
