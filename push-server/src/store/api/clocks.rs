//! Two clocks: the server reckons on the monotonic one, which begins anew with each boot; what a store
//! keeps is on the store's own time.
//!
//! The store's time begins as the wall clock when the store is made, and from then on goes on by the
//! monotonic clock while the server runs, however the wall clock is set: boards without a battery start
//! with a wrong one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use push_common::clock::Monotonic;
use rustix::time::{ClockId, clock_gettime};

/// An instant on the wall clock, or on the store's time, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallMillis(pub u64);

const NANOS_PER_MILLI: u64 = 1_000_000;

/// One instant on both clocks, or on the monotonic clock and the store's time. What is converted by it
/// stays right, relative to everything else converted by it, when the wall clock is set later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// The instant.
    pub monotonic: Monotonic,
    /// The same.
    pub wall: WallMillis,
}

impl Clocks {
    /// This moment.
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

    /// `at` on the monotonic clock. What was before the boot becomes the boot.
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
