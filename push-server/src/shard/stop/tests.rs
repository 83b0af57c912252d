//! Tests of `stop`.

use super::*;

#[test]
fn connections_are_reset_once_and_the_shard_ends_soon_after() {
    let mut stop = Stop::default();
    let begun = Monotonic(7_000_000_000);
    assert!(!stop.begins_reset(begun) && !stop.is_over(begun), "it has not begun");
    stop.begin(begun);
    assert!(stop.has_begun() && !stop.begins_reset(begun));
    let deadline = begun.after_millis(STOP_MILLIS_MAX);
    assert!(stop.begins_reset(deadline) && stop.is_resetting());
    assert!(!stop.begins_reset(deadline) && !stop.is_over(deadline));
    assert!(stop.is_over(deadline.after_millis(RESET_MILLIS_MAX)));
}
