//! Two clocks. The server reckons on the monotonic one, which starts anew with each boot; the
//! store's records are in the store's own time.
//!
//! The store's time starts as the wall clock when the store is made. From then on it follows the
//! monotonic clock while the server runs, however the wall clock is set: boards without a battery
//! start with a wrong one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use push_common::clock::Monotonic;
use rustix::time::{ClockId, clock_gettime};

/// An instant on the wall clock, or on the store's time, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallMillis(pub u64);

const NANOS_PER_MILLI: u64 = 1_000_000;

/// One instant on both clocks, or on the monotonic clock and the store's time. It converts between
/// them. Values converted by the same `Clocks` keep their distances if the wall clock is set later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// The instant on the monotonic clock.
    pub monotonic: Monotonic,
    /// The same instant on the wall clock or the store's time.
    pub wall: WallMillis,
}

impl Clocks {
    /// The current instant.
    pub fn now() -> Self {
        let monotonic = clock_gettime(ClockId::Monotonic);
        let since_boot = Duration::try_from(monotonic).unwrap_or_default();
        // A clock before 1970 reads as 1970: wrong, but no reason not to serve.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            monotonic: Monotonic(0).after(since_boot),
            wall: WallMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// `at` on the wall clock, rounded up to the millisecond.
    pub fn to_wall(&self, at: Monotonic) -> WallMillis {
        if at >= self.monotonic {
            let ahead = (at.0 - self.monotonic.0).div_ceil(NANOS_PER_MILLI);
            WallMillis(self.wall.0.saturating_add(ahead))
        } else {
            let behind = (self.monotonic.0 - at.0) / NANOS_PER_MILLI;
            WallMillis(self.wall.0.saturating_sub(behind))
        }
    }

    /// The same, rounded down: where a start reads it, nothing has longer than it had.
    pub fn to_wall_before(&self, at: Monotonic) -> WallMillis {
        let up = self.to_wall(at);
        let is_exact = at.0.abs_diff(self.monotonic.0).is_multiple_of(NANOS_PER_MILLI);
        WallMillis(up.0.saturating_sub(u64::from(!is_exact)))
    }

    /// `at` on the monotonic clock. An instant before the boot becomes the boot.
    pub fn to_monotonic(&self, at: WallMillis) -> Monotonic {
        if at >= self.wall {
            self.monotonic.after_millis(at.0 - self.wall.0)
        } else {
            let behind = (self.wall.0 - at.0).saturating_mul(NANOS_PER_MILLI);
            Monotonic(self.monotonic.0.saturating_sub(behind))
        }
    }
}

#[cfg(test)]
mod tests;
