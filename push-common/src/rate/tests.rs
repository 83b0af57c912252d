use super::*;

const START: Monotonic = Monotonic(1_000 * NANOS_PER_SEC as u64);

/// How many of `pings`, one every `every_millis`, are admitted; what is not is not charged.
fn admitted(rate: Rate, pings: u64, every_millis: u64) -> u64 {
    let rate = rate.ping_pace(0);
    let mut due = START;
    let mut count = 0;
    for ping in 0..pings {
        let now = START.after_millis(ping * every_millis);
        if rate.admits(due, now) {
            due = rate.charged(due, now);
            count += 1;
        }
    }
    count
}

#[test]
fn burst_is_admitted_and_no_more() {
    assert_eq!(admitted(Rate::PINGS, 1_000, 0), 20);
    assert_eq!(admitted(Rate { per_sec: 5, burst: 1 }, 10, 0), 1);
}

#[test]
fn sustained_rate_is_admitted_for_ever() {
    assert_eq!(admitted(Rate::PINGS, 10_000, 1_000), 10_000);
    assert_eq!(admitted(Rate { per_sec: 3, burst: 1 }, 10_000, 334), 10_000);
}

#[test]
fn flood_gets_the_rate_and_the_burst() {
    // 100 a second for 100 seconds; the last comes 10 ms before the end.
    assert_eq!(admitted(Rate::PINGS, 10_000, 10), 20 + 99);
}

/// How many pings are admitted at once, `secs` after the last of the first 20.
fn admitted_after(secs: u64) -> u64 {
    let rate = Rate::PINGS.ping_pace(0);
    let now = START.after_millis(secs * 1_000);
    let mut due = rate.charged_earlier(START, 20);
    let mut count = 0;
    while rate.admits(due, now) {
        due = rate.charged(due, now);
        count += 1;
    }
    count
}

#[test]
fn pings_held_back_are_admitted_together() {
    assert_eq!(admitted_after(0), 0);
    assert_eq!(admitted_after(30), 30);
    assert_eq!(admitted_after(600), 600);
}

#[test]
fn pings_are_kept_no_longer_than_tcp_repeats_them() {
    let kept = UNUSED_SECS_MAX + 20;
    assert_eq!(admitted_after(3_600), kept);
    assert_eq!(admitted_after(1_000_000), kept);
}

#[test]
fn a_stop_in_the_middle_changes_nothing() {
    // A ping a second, of which 30 are read at once, in two parts at the same instant.
    let rate = Rate { per_sec: 1, burst: 1 }.ping_pace(0);
    let mut due = START;
    for ping in 0..100 {
        let read_at = if (20..50).contains(&ping) { 50 } else { ping };
        let now = START.after_millis(read_at * 1_000);
        assert!(rate.admits(due, now), "ping {ping}");
        due = rate.charged(due, now);
    }
}

#[test]
fn the_rate_follows_the_keep_alive() {
    let millis = |rate: u32, keep_alive_secs| {
        Rate { per_sec: rate, burst: 1 }.ping_pace(keep_alive_secs).interval_ns / 1_000_000
    };
    for (keep_alive_secs, expected) in
        [(0, 1_000), (1, 250), (2, 500), (3, 500), (4, 1_000), (u16::MAX, 1_000)]
    {
        assert_eq!(millis(1, keep_alive_secs), expected, "{keep_alive_secs} s");
    }
    assert_eq!(millis(5, 1), 200);
    assert_eq!(millis(0, 1), 0, "no limit stays none");
}

#[test]
fn zero_admits_everything() {
    assert_eq!(admitted(Rate::OFF, 1_000, 0), 1_000);
    assert_eq!(Pace::OFF.charged_earlier(START, u32::MAX), START);
}

#[test]
fn pings_of_elsewhere_count() {
    let rate = Rate::PINGS.ping_pace(0);
    let due = rate.charged_earlier(START, 20);
    assert!(!rate.admits(due, START));
    assert!(rate.admits(due, START.after_millis(1_000)));
}

#[test]
fn end_of_time_overflows_nothing() {
    let rate = Rate { per_sec: 1, burst: u32::MAX }.ping_pace(0);
    let end = Monotonic(u64::MAX);
    assert!(rate.admits(end, end));
    assert_eq!(rate.charged(end, end), end);
    assert_eq!(rate.charged_earlier(end, u32::MAX), end);
}

/// How many of `count`, one every `every_nanos`, are within a rate whose unused parts are not kept.
fn within(rate: Rate, count: u64, every_nanos: u64) -> u64 {
    let (mut due, mut within) = (Monotonic(0), 0);
    for one in 0..count {
        let now = Monotonic(START.0 + one * every_nanos);
        if rate.opens_at(due) <= now {
            due = rate.spent(due, 1, now);
            within += 1;
        }
    }
    within
}

#[test]
fn a_rate_lets_its_burst_in_at_once_and_then_so_many_a_second() {
    let rate = Rate { per_sec: 100, burst: 1_000 };
    assert_eq!(within(rate, 5_000, 0), 1_000);
    // Two seconds at ten times the rate.
    assert_eq!(within(rate, 2_000, 1_000_000), 1_000 + 199);
    assert_eq!(within(Rate { per_sec: 7, burst: 1 }, 700, u64::from(NANOS_PER_SEC) / 7 + 1), 700);
    assert_eq!(within(Rate::OFF, 5_000, 0), 5_000);
}

#[test]
fn what_a_rate_has_not_used_is_no_more_than_its_burst() {
    let rate = Rate { per_sec: 10, burst: 5 };
    let due = rate.spent(START, 1, START);
    let later = START.after_millis(3_600_000);
    let mut due_later = due;
    for _ in 0..5 {
        assert!(rate.opens_at(due_later) <= later);
        due_later = rate.spent(due_later, 1, later);
    }
    assert_eq!(rate.opens_at(due_later), later.after_millis(100));
}

#[test]
fn what_is_more_than_the_burst_is_paid_for_afterwards() {
    let rate = Rate { per_sec: 1_000, burst: 100 };
    let due = rate.spent(Monotonic(0), 10_100, START);
    assert_eq!(rate.opens_at(due), START.after_millis(10_001));
    let whole = Rate { per_sec: u32::MAX, burst: u32::MAX };
    assert!(whole.opens_at(whole.spent(START, u64::MAX, START)) > START, "it does not wrap");
}
