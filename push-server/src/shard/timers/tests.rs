//! Tests of `timers`.

use super::*;

#[test]
fn a_timer_fires_no_further_ahead_than_it_is_armed() {
    let now = Monotonic(1_000_000_000);
    let mut timers = Timers::new(now);
    let tick = timers.arm(Timed::Session(7), now.after_millis(10 * TIMER_MILLIS_MAX), now);
    let horizon = now.after_millis(TIMER_MILLIS_MAX);
    assert!(timers.fires_by(tick, horizon));
    timers.fire(horizon.after_millis(16));
    assert!(timers.has_due() && !timers.fires_by(tick, horizon));
    assert_eq!(timers.take_due(), Some((Timed::Session(7), tick)));
    assert!(!timers.has_due() && timers.next_deadline().is_none());
}
