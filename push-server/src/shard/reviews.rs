//! Reviews: after a reload every shard looks whether its clients may still be here. One for all shards: the number of
//! the review, and how many clients may be told to go in a second. `turn/review` does it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use push_common::clock::Monotonic;

/// Clients that are told to go in any second, of all shards together: they come back, and a server that sends all of
/// them away at once would have to let all of them in at once.
pub(crate) const WITHDRAWALS_PER_SEC_MAX: u64 = 1_000;

/// How many of these may go at once.
const AT_ONCE: u64 = 20;

/// Time between two clients, such that no second has more than `WITHDRAWALS_PER_SEC_MAX`, those at once included.
const INTERVAL: Duration =
    Duration::from_nanos(1_000_000_000 / (WITHDRAWALS_PER_SEC_MAX - AT_ONCE));

/// What all shards know of reviews.
#[derive(Debug, Default)]
pub(crate) struct Reviews {
    /// The number of the latest one; 0: there was none.
    number: AtomicU32,
    /// The number of the latest one that looks at certificates.
    certificates: AtomicU32,
    /// When the next client may go, in nanoseconds.
    next_at: AtomicU64,
}

/// What a review looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Whether clients' certificates are judged again.
    pub(crate) certificates: bool,
}

impl Reviews {
    /// Every shard is to review its clients, by what the files say from now on.
    pub(crate) fn begin(&self, scope: Scope) {
        let number = self.number.load(Ordering::Acquire) + 1;
        if scope.certificates {
            self.certificates.store(number, Ordering::Release);
        }
        // Behind the other one, so that whoever sees it knows what it looks at.
        self.number.store(number, Ordering::Release);
    }

    /// The number of the latest review.
    pub(crate) fn number(&self) -> u32 {
        self.number.load(Ordering::Acquire)
    }

    /// What somebody has to look at who has seen all reviews up to `number`.
    pub(crate) fn scope_since(&self, number: u32) -> Scope {
        Scope { certificates: self.certificates.load(Ordering::Acquire) > number }
    }

    /// Takes leave to send a client away at `now`. `None`: it is too early.
    pub(crate) fn take_leave(&self, now: Monotonic) -> Option<()> {
        let interval = INTERVAL.as_nanos() as u64;
        let next = |at: u64| {
            // Time that nobody has used counts for a few clients.
            let at = at.max(now.0.saturating_sub((AT_ONCE - 1) * interval));
            (at <= now.0).then_some(at + interval)
        };
        self.next_at.try_update(Ordering::Relaxed, Ordering::Relaxed, next).ok().map(drop)
    }

    /// When the next client may go.
    pub(crate) fn next_leave(&self) -> Monotonic {
        Monotonic(self.next_at.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
