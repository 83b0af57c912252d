//! Tests of `timers`.

use super::*;

#[test]
fn a_timer_fires_no_further_ahead_than_it_is_armed() {
    let now = Monotonic(1_000_000_000);
    let mut timers = Timers::new(now);
    let tick = timers.arm(Timed::Session(7), now.after_millis(10 * TIMER_MILLIS_MAX), now);
    let horizon = now.after_millis(TIMER_MILLIS_MAX);
    assert!(timers.fires_by(tick as u32, horizon));
    timers.fire(horizon.after_millis(16));
    assert!(timers.has_due() && !timers.fires_by(tick as u32, horizon));
    assert_eq!(timers.take_due(), Some((Timed::Session(7), tick)));
    assert!(!timers.has_due() && timers.next_deadline().is_none());
}

#[test]
fn the_low_half_of_a_tick_is_enough() {
    // Half a minute before the low half begins again.
    let now = Monotonic((u64::from(u32::MAX) - 2_000) * 16_000_000);
    let mut timers = Timers::new(now);
    let deadline = now.after_millis(60_000);
    assert!(!timers.fires_by(0, deadline), "none is armed");
    let tick = timers.arm(Timed::Client(0), deadline, now);
    assert!(tick > u32::MAX.into());
    assert!(timers.fires_by(tick as u32, deadline));
    assert!(!timers.fires_by(tick as u32, now.after_millis(50_000)), "it fires later");
}
