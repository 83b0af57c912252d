//! Tests of `wheel`.

use super::*;

fn at(millis: u64) -> Monotonic {
    Monotonic(millis * 1_000_000)
}

/// Fires in steps of `next_deadline`, as the shard does; returns (key, fired at).
fn run_until(wheel: &mut Wheel<u32>, end: Monotonic) -> Vec<(u32, Monotonic)> {
    let mut seen = Vec::new();
    let mut fired = Vec::new();
    while let Some(next) = wheel.next_deadline().filter(|next| *next <= end) {
        wheel.fire(next, &mut fired);
        seen.extend(fired.drain(..).map(|timer| (timer.key, next)));
    }
    seen
}

#[test]
fn fires_within_one_tick_and_never_early_at_every_level() {
    let start = at(1_000_003);
    let mut wheel = Wheel::new(start);
    let delays_ms = [1, 15, 16, 17, 100, 4_095, 4_096, 5_000, 90_000, 1_048_576, 98_302_500];
    for (key, delay) in delays_ms.iter().enumerate() {
        wheel.arm(key as u32, start.after_millis(*delay));
    }
    let mut seen = run_until(&mut wheel, at(200_000_000));
    seen.sort();
    assert_eq!(seen.len(), delays_ms.len());
    for (key, fired_at) in seen {
        let deadline = start.after_millis(delays_ms[key as usize]);
        assert!(fired_at >= deadline, "timer {key} early");
        assert!(fired_at.0 - deadline.0 < TICK_NANOS, "timer {key} late");
    }
    assert_eq!(wheel.len(), 0);
}

#[test]
fn late_fire_catches_up_over_many_rounds() {
    let start = at(77);
    let mut wheel = Wheel::new(start);
    for key in 0..10_000u32 {
        wheel.arm(key, start.after_millis(u64::from(key) * 13));
    }
    let mut fired = Vec::new();
    wheel.fire(at(1_000_000), &mut fired);
    assert_eq!(fired.len(), 10_000);
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn past_deadline_fires_at_the_next_tick() {
    let mut wheel = Wheel::new(at(500));
    let tick = wheel.arm(1, at(3));
    assert_eq!(tick, at(500).0 / TICK_NANOS + 1);
    let mut fired = Vec::new();
    wheel.fire(at(520), &mut fired);
    assert_eq!(fired.len(), 1);
}

#[test]
fn deadline_beyond_the_horizon_fires_early_enough_to_be_armed_again() {
    let mut wheel = Wheel::new(at(0));
    wheel.arm(1, at(u64::from(u32::MAX) * 1_000));
    let next = wheel.next_deadline().expect("armed");
    assert!(next <= at(u64::from(u32::MAX) * 1_000));
    let seen = run_until(&mut wheel, at(u64::from(u32::MAX) * 1_000));
    assert_eq!(seen.len(), 1);
}

#[test]
fn timers_armed_while_time_passes_fire_in_order_of_deadline() {
    let mut wheel = Wheel::new(at(0));
    let mut fired = Vec::new();
    let mut last = 0;
    for step in 0..50_000u64 {
        wheel.arm(step as u32, at(step * 7 + 4_000 + (step * 31) % 3_000));
        wheel.fire(at(step * 7), &mut fired);
        for timer in fired.drain(..) {
            assert!(timer.due_tick >= last);
            assert!(timer.due_tick * TICK_NANOS <= at(step * 7).0);
            last = timer.due_tick;
        }
    }
}
