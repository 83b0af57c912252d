//! How many pings a connection may send: so many a second, with a burst. One budget for both paths:
//! the kernel charges what it answers, user space charges everything.
//!
//! The generic cell rate algorithm (ITU-T I.371) in its virtual scheduling form: all it remembers is
//! the *theoretical arrival time*, when the next ping would be due if all had come evenly.

use crate::clock::Monotonic;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A sustained rate and the burst on top of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingRate {
    /// Pings a second, for ever; 0: no limit.
    pub per_sec: u32,
    /// Pings that may come at once after a pause; at least 1.
    pub burst: u32,
}

impl PingRate {
    /// No limit.
    pub const OFF: Self = Self { per_sec: 0, burst: 1 };

    /// Whether a ping that comes at `now` is within the budget, when the next one is due at `due`.
    #[inline(always)]
    #[must_use]
    pub const fn admits(self, due: Monotonic, now: Monotonic) -> bool {
        if self.per_sec == 0 {
            return true;
        }
        let ahead = self.interval_ns() * self.burst.saturating_sub(1) as u64;
        due.0 <= now.0.saturating_add(ahead)
    }

    /// When the next ping is due once this one is charged.
    #[inline(always)]
    #[must_use]
    pub const fn charged(self, due: Monotonic, now: Monotonic) -> Monotonic {
        let from = if due.0 > now.0 { due.0 } else { now.0 };
        Monotonic(from.saturating_add(self.interval_ns()))
    }

    /// The same for `pings` that came at times not known, the last `due` being from before them:
    /// as early as can be, which is in the client's favour.
    #[must_use]
    pub const fn charged_earlier(self, due: Monotonic, pings: u32) -> Monotonic {
        Monotonic(due.0.saturating_add(self.interval_ns() * pings as u64))
    }

    #[inline(always)]
    const fn interval_ns(self) -> u64 {
        if self.per_sec == 0 { 0 } else { NANOS_PER_SEC / self.per_sec as u64 }
    }
}

impl Default for PingRate {
    /// One a second with a burst of 20: far above any heartbeat that spares a battery, far below
    /// what costs the server something.
    fn default() -> Self {
        Self { per_sec: 1, burst: 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Monotonic = Monotonic(1_000 * NANOS_PER_SEC);

    /// How many of `pings`, one every `every_millis`, are admitted; what is not is not charged.
    fn admitted(rate: PingRate, pings: u64, every_millis: u64) -> u64 {
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
        assert_eq!(admitted(PingRate::default(), 1_000, 0), 20);
        assert_eq!(admitted(PingRate { per_sec: 5, burst: 1 }, 10, 0), 1);
    }

    #[test]
    fn sustained_rate_is_admitted_for_ever() {
        assert_eq!(admitted(PingRate::default(), 10_000, 1_000), 10_000);
        assert_eq!(admitted(PingRate { per_sec: 3, burst: 1 }, 10_000, 334), 10_000);
    }

    #[test]
    fn flood_gets_the_rate_and_the_burst() {
        // 100 a second for 100 seconds; the last comes 10 ms before the end.
        assert_eq!(admitted(PingRate::default(), 10_000, 10), 20 + 99);
    }

    #[test]
    fn a_pause_gives_back_the_burst_and_not_more() {
        let rate = PingRate::default();
        let now = START.after_millis(3_600_000);
        let mut due = rate.charged_earlier(START, 20);
        let mut burst = 0;
        while rate.admits(due, now) {
            due = rate.charged(due, now);
            burst += 1;
        }
        assert_eq!(burst, 20);
    }

    #[test]
    fn zero_admits_everything() {
        assert_eq!(admitted(PingRate::OFF, 1_000, 0), 1_000);
        assert_eq!(PingRate::OFF.charged_earlier(START, u32::MAX), START);
    }

    #[test]
    fn pings_of_elsewhere_count() {
        let rate = PingRate::default();
        let due = rate.charged_earlier(START, 20);
        assert!(!rate.admits(due, START));
        assert!(rate.admits(due, START.after_millis(1_000)));
    }

    #[test]
    fn end_of_time_overflows_nothing() {
        let rate = PingRate { per_sec: 1, burst: u32::MAX };
        let end = Monotonic(u64::MAX);
        assert!(rate.admits(end, end));
        assert_eq!(rate.charged(end, end), end);
        assert_eq!(rate.charged_earlier(end, u32::MAX), end);
    }
}
