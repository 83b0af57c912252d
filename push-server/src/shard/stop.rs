//! How far the orderly stop of a shard has come. It decides by instants alone; `serve` sends the
//! DISCONNECTs.

use push_common::clock::Monotonic;

/// From the order to stop until the last connection is aborted.
const STOP_MILLIS_MAX: u64 = 2_500;

/// From that abort until the shard ends, even if the ring still has operations.
const RESET_MILLIS_MAX: u64 = 500;

/// The stop of a shard.
#[derive(Debug, Default)]
pub(super) struct Stop {
    /// When the remaining connections are reset. `None`: the stop has not begun.
    deadline: Option<Monotonic>,
    is_resetting: bool,
}

impl Stop {
    pub(super) fn begin(&mut self, now: Monotonic) {
        self.deadline = Some(now.after_millis(STOP_MILLIS_MAX));
    }

    pub(super) fn has_begun(&self) -> bool {
        self.deadline.is_some()
    }

    /// Whether the remaining connections are to be reset now. Says so once.
    pub(super) fn begins_reset(&mut self, now: Monotonic) -> bool {
        let is_due = self.deadline.is_some_and(|deadline| deadline <= now);
        is_due && !std::mem::replace(&mut self.is_resetting, true)
    }

    /// Whether connections are reset from now on.
    pub(super) fn is_resetting(&self) -> bool {
        self.is_resetting
    }

    /// Whether the shard ends, even with connections left.
    pub(super) fn is_over(&self, now: Monotonic) -> bool {
        self.deadline.is_some_and(|deadline| deadline.after_millis(RESET_MILLIS_MAX) <= now)
    }
}

#[cfg(test)]
mod tests;
