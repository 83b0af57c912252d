//! How often something may happen: a rate, with a burst. Of pings the programs and user space charge
//! one budget: the kernel charges what it answers, user space charges everything.
//!
//! The generic cell rate algorithm (ITU-T I.371) in its virtual scheduling form: it only remembers
//! the *theoretical arrival time*, when the next ping would be due if all had come evenly. That is
//! 8 bytes for each rate.
//!
//! The server reads a ping later than the client sent it. The network, a stopped process or a
//! suspended machine may hold pings back for any time, and then they are read together. Nobody can
//! tell when each was sent, so the budget of pings does not ask. A connection keeps the pings that
//! it has not used for [`UNUSED_SECS_MAX`]: pings that were within the rate when they were sent stay
//! within it whenever they are read. The time since the last packet cannot replace that: it is zero
//! for the second part of what was read at once, and a suspended machine's clock may stand still. A
//! client that floods wins nothing in the long run: over any time, it has its burst and the rate.

use crate::clock::Monotonic;

const NANOS_PER_SEC: u32 = 1_000_000_000;

/// How long a connection keeps unused pings, in seconds: as long as TCP retransmits before it gives
/// up (Linux: `tcp_retries2`, 924 s).
pub const UNUSED_SECS_MAX: u64 = 924;

/// Pings that a client may send within its keep alive, however low the rate. 4: other brokers have
/// taught devices to ping at half of it, and a device that gets no answer tries again.
const PINGS_PER_KEEP_ALIVE: u32 = 4;

/// A sustained rate and the burst on top of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many a second, for ever; 0: no limit.
    pub per_sec: u32,
    /// How many may come at once, of pings besides unused ones; at least 1.
    pub burst: u32,
}

impl Rate {
    /// No limit.
    pub const OFF: Self = Self { per_sec: 0, burst: 1 };

    /// Pings: one a second with a burst of 20, far more than any device on a battery sends, and far
    /// less than costs the server something.
    pub const PINGS: Self = Self { per_sec: 1, burst: 20 };

    /// The pace of the pings of a client with this keep alive (0: none). Always allows
    /// `PINGS_PER_KEEP_ALIVE` pings within it.
    #[must_use]
    pub const fn ping_pace(self, keep_alive_secs: u16) -> Pace {
        if self.per_sec == 0 {
            return Pace::OFF;
        }
        let needed = if keep_alive_secs == 0 {
            0
        } else {
            PINGS_PER_KEEP_ALIVE.div_ceil(keep_alive_secs as u32)
        };
        let per_sec = if needed > self.per_sec { needed } else { self.per_sec };
        Pace { interval_ns: NANOS_PER_SEC / per_sec, burst: self.burst }
    }

    /// Whether there is no limit.
    #[must_use]
    pub const fn is_off(self) -> bool {
        self.per_sec == 0
    }

    /// From when on one more is within the rate and its burst, if the next is due at `due`. Nothing
    /// that was not used is kept beyond the burst.
    #[must_use]
    pub const fn opens_at(self, due: Monotonic) -> Monotonic {
        if self.is_off() {
            return Monotonic(0);
        }
        Monotonic(due.0.saturating_sub(self.takes_ns(self.burst as u64 - 1)))
    }

    /// When the next is due once `count` have come at `now`. They may be more than the burst: then
    /// it takes the longer until one more is within the rate.
    #[must_use]
    pub const fn spent(self, due: Monotonic, count: u64, now: Monotonic) -> Monotonic {
        if self.is_off() {
            return due;
        }
        let from = if due.0 > now.0 { due.0 } else { now.0 };
        Monotonic(from.saturating_add(self.takes_ns(count)))
    }

    /// Nanoseconds in which so many come that come evenly.
    const fn takes_ns(self, count: u64) -> u64 {
        count.saturating_mul(NANOS_PER_SEC as u64) / self.per_sec as u64
    }
}

/// The rate of one connection's pings in the form that the programs need: they do not divide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Nanoseconds from one ping to the next, for ever; 0: no limit.
    pub interval_ns: u32,
    /// [`Rate::burst`].
    pub burst: u32,
}

impl Pace {
    /// No limit.
    pub const OFF: Self = Self { interval_ns: 0, burst: 1 };

    /// Whether a ping at `now` is within the budget if the next one is due at `due`.
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

    /// Like `charged`, for `pings` that came at unknown times after `due` was noted: assumes the
    /// earliest times, in the client's favour.
    #[must_use]
    pub const fn charged_earlier(self, due: Monotonic, pings: u32) -> Monotonic {
        Monotonic(due.0.saturating_add(self.interval_ns as u64 * pings as u64))
    }
}

#[cfg(test)]
mod tests;
