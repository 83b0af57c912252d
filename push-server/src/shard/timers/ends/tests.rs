use super::*;

#[test]
fn clients_leave_in_the_order_of_their_ends_and_never_before() {
    let mut ends = Ends::default();
    assert_eq!((ends.next_in_millis(0), ends.take_due(u64::MAX)), (None, None));
    for (client, secs) in [(1, 300), (2, 100), (3, 200), (4, 100)] {
        ends.set(client, secs);
    }
    assert_eq!(ends.next_in_millis(99_999), Some(1));
    assert_eq!(ends.take_due(99_999), None);
    assert_eq!(ends.next_in_millis(150_000), Some(0), "late already");
    let due: Vec<_> = std::iter::from_fn(|| ends.take_due(200_000)).collect();
    assert_eq!(due, [2, 4, 3]);
    // The clock was set back, and forwards again.
    assert_eq!(ends.next_in_millis(0), Some(300_000));
    assert_eq!(ends.take_due(u64::MAX), Some(1));
    assert!(ends.is_empty());
}

#[test]
fn a_client_that_is_gone_or_has_another_end_leaves_nothing_behind() {
    let mut ends = Ends::default();
    assert_eq!(ends.take(1), None);
    for secs in [100, 50, 400] {
        ends.set(1, secs);
    }
    assert_eq!((ends.len(), ends.next_in_millis(0)), (1, Some(400_000)));
    assert_eq!(ends.take(1), Some(400));
    assert_eq!((ends.len(), ends.take(1)), (0, None));
}

#[test]
fn an_end_beyond_all_times_is_none_that_comes() {
    let mut ends = Ends::default();
    ends.set(1, u64::MAX);
    assert_eq!(ends.take_due(u64::MAX - 1), None);
    assert!(ends.next_in_millis(1_700_000_000_000).is_some());
}
