//! Time as every protocol decision sees it: an argument. Nothing here reads a clock.

use core::ops::Sub;
use core::time::Duration;

/// An instant on `CLOCK_MONOTONIC`, in nanoseconds since boot: the clock of
/// `bpf_ktime_get_ns`, so stamps of the kernel and of the server compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// The instant `duration` later, saturating at the end of time.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        let nanos = duration.as_secs().saturating_mul(1_000_000_000);
        let nanos = nanos.saturating_add(duration.subsec_nanos() as u64);
        Self(self.0.saturating_add(nanos))
    }

    /// The instant `millis` milliseconds later, saturating at the end of time.
    #[must_use]
    pub const fn after_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis.saturating_mul(1_000_000)))
    }

    /// How long after `earlier` this is; zero when it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Sub for Monotonic {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}
