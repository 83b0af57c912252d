//! How fast newcomers are let in, over all shards (`--connect-rate`). The clock is an argument.

use std::sync::atomic::{AtomicU64, Ordering};

use push_common::clock::Monotonic;
use push_common::rate::Rate;

/// One for all shards.
#[derive(Debug)]
pub(super) struct ConnectRate {
    rate: Rate,
    /// When the next one is due, in nanoseconds.
    due: AtomicU64,
}

impl ConnectRate {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, due: AtomicU64::new(0) }
    }

    /// Lets one in.
    ///
    /// # Errors
    /// Not now: not before then.
    pub(super) fn take(&self, now: Monotonic) -> Result<(), Monotonic> {
        if self.rate.is_off() {
            return Ok(());
        }
        let take = |due| {
            let due = Monotonic(due);
            (self.rate.opens_at(due) <= now).then(|| self.rate.spent(due, 1, now).0)
        };
        match self.due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(due) => Err(self.rate.opens_at(Monotonic(due))),
        }
    }
}

#[cfg(test)]
mod tests;
