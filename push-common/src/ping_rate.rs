//! How many pings a connection may send: so many a second, with a burst. One budget for both paths:
//! the kernel charges what it answers, user space charges everything.
//!
//! The generic cell rate algorithm (ITU-T I.371) in its virtual scheduling form: all it remembers is
//! the *theoretical arrival time*, when the next ping would be due if all had come evenly.
//!
//! A ping is read later than it was sent: by any time, where the network, a stopped process or a
//! suspended machine held it back, and then together with all that were sent since. Nobody can tell
//! when each was sent, so the budget does not ask. A connection keeps the pings that it has not used
//! for [`UNUSED_SECS_MAX`]: pings that were within the rate when they were sent are within it
//! whenever they are read. Nor can the time since the last packet replace that: it is zero for the
//! second part of what was read at once, and a suspended machine's clock may stand still. Who floods
//! wins nothing in the long run; over any time, a connection has its burst and the rate.

use crate::clock::Monotonic;

const NANOS_PER_SEC: u32 = 1_000_000_000;

/// How long a connection keeps pings that it has not used, in seconds: as long as TCP repeats what
/// it cannot deliver before it gives up (Linux: `tcp_retries2`, 924 s).
pub const UNUSED_SECS_MAX: u64 = 924;

/// A client may ping this often within its keep alive, however low the rate: brokers before this
/// one taught devices to ping at half of it, and a device that hears no answer tries again.
const PINGS_PER_KEEP_ALIVE: u32 = 4;

/// A sustained rate and the burst on top of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingRate {
    /// Pings a second, for ever; 0: no limit.
    pub per_sec: u32,
    /// Pings that may come at once, besides those that were not used before; at least 1.
    pub burst: u32,
}

impl PingRate {
    /// No limit.
    pub const OFF: Self = Self { per_sec: 0, burst: 1 };

    /// The pace of a client with this keep alive (0: none): never slower than it takes to keep the promise.
    #[must_use]
    pub const fn pace(self, keep_alive_secs: u16) -> PingPace {
        if self.per_sec == 0 {
            return PingPace::OFF;
        }
        let needed = if keep_alive_secs == 0 {
            0
        } else {
            PINGS_PER_KEEP_ALIVE.div_ceil(keep_alive_secs as u32)
        };
        let per_sec = if needed > self.per_sec { needed } else { self.per_sec };
        PingPace { interval_ns: NANOS_PER_SEC / per_sec, burst: self.burst }
    }
}

/// The rate of one connection, as the programs need it: they do not divide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingPace {
    /// Nanoseconds from one ping to the next, for ever; 0: no limit.
    pub interval_ns: u32,
    /// [`PingRate::burst`].
    pub burst: u32,
}

impl PingPace {
    /// No limit.
    pub const OFF: Self = Self { interval_ns: 0, burst: 1 };

    /// Whether a ping that comes at `now` is within the budget, when the next one is due at `due`.
    #[inline(always)]
    #[must_use]
    pub const fn admits(self, due: Monotonic, now: Monotonic) -> bool {
        if self.interval_ns == 0 {
            return true;
        }
        let ahead = self.interval_ns as u64 * self.burst.saturating_sub(1) as u64;
        due.0 <= now.0.saturating_add(ahead)
    }

    /// When the next ping is due once this one is charged.
    #[inline(always)]
    #[must_use]
    pub const fn charged(self, due: Monotonic, now: Monotonic) -> Monotonic {
        let oldest = now.0.saturating_sub(UNUSED_SECS_MAX * NANOS_PER_SEC as u64);
        let from = if due.0 > oldest { due.0 } else { oldest };
        Monotonic(from.saturating_add(self.interval_ns as u64))
    }

    /// The same for `pings` that came at times not known, the last `due` being from before them:
    /// as early as can be, which is in the client's favour.
    #[must_use]
    pub const fn charged_earlier(self, due: Monotonic, pings: u32) -> Monotonic {
        Monotonic(due.0.saturating_add(self.interval_ns as u64 * pings as u64))
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

    const START: Monotonic = Monotonic(1_000 * NANOS_PER_SEC as u64);

    /// How many of `pings`, one every `every_millis`, are admitted; what is not is not charged.
    fn admitted(rate: PingRate, pings: u64, every_millis: u64) -> u64 {
        let rate = rate.pace(0);
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

    /// How many pings are admitted at once, `secs` after the last of the first 20.
    fn admitted_after(secs: u64) -> u64 {
        let rate = PingRate::default().pace(0);
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
        let rate = PingRate { per_sec: 1, burst: 1 }.pace(0);
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
            PingRate { per_sec: rate, burst: 1 }.pace(keep_alive_secs).interval_ns / 1_000_000
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
        assert_eq!(admitted(PingRate::OFF, 1_000, 0), 1_000);
        assert_eq!(PingPace::OFF.charged_earlier(START, u32::MAX), START);
    }

    #[test]
    fn pings_of_elsewhere_count() {
        let rate = PingRate::default().pace(0);
        let due = rate.charged_earlier(START, 20);
        assert!(!rate.admits(due, START));
        assert!(rate.admits(due, START.after_millis(1_000)));
    }

    #[test]
    fn end_of_time_overflows_nothing() {
        let rate = PingRate { per_sec: 1, burst: u32::MAX }.pace(0);
        let end = Monotonic(u64::MAX);
        assert!(rate.admits(end, end));
        assert_eq!(rate.charged(end, end), end);
        assert_eq!(rate.charged_earlier(end, u32::MAX), end);
    }
}
