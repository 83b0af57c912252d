//! What the hook was asked, and what came of it.

use std::sync::atomic::AtomicU64;

use super::super::tally::{count, read};
use super::client::HookFailure;
use crate::access::HookAnswer;

/// Counts of the hook. All are zero without one.
#[derive(Debug, Default)]
pub(crate) struct HookCounts {
    allowed: AtomicU64,
    denied: AtomicU64,
    ignored: AtomicU64,
    timed_out: AtomicU64,
    unreachable: AtomicU64,
    ended: AtomicU64,
    status: AtomicU64,
    invalid: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) under_way: AtomicU64,
    pub(super) is_resting: AtomicU64,
    pub(super) rests: AtomicU64,
    pub(super) refused_resting: AtomicU64,
    pub(super) from_memory: AtomicU64,
    pub(super) in_memory: AtomicU64,
    pub(super) forgotten_early: AtomicU64,
}

impl HookCounts {
    /// Requests that have ended, by what came of them.
    pub(crate) fn requests(&self) -> [(&'static str, u64); 8] {
        [
            ("allow", read(&self.allowed)),
            ("deny", read(&self.denied)),
            ("ignore", read(&self.ignored)),
            ("timeout", read(&self.timed_out)),
            ("unreachable", read(&self.unreachable)),
            ("ended", read(&self.ended)),
            ("status", read(&self.status)),
            ("invalid", read(&self.invalid)),
        ]
    }

    /// Clients judged without a request, by why.
    pub(crate) fn unasked(&self) -> [(&'static str, u64); 2] {
        [("memory", read(&self.from_memory)), ("resting", read(&self.refused_resting))]
    }

    /// Questions that wait for a place among those under way.
    pub(crate) fn waiting(&self) -> u64 {
        read(&self.waiting)
    }

    /// Requests under way.
    pub(crate) fn under_way(&self) -> u64 {
        read(&self.under_way)
    }

    /// 1 while it rests.
    pub(crate) fn is_resting(&self) -> u64 {
        read(&self.is_resting)
    }

    /// Times that it began to rest.
    pub(crate) fn rests(&self) -> u64 {
        read(&self.rests)
    }

    /// Answers that are remembered, some of them perhaps over their time.
    pub(crate) fn in_memory(&self) -> u64 {
        read(&self.in_memory)
    }

    /// Answers forgotten for others, before their time.
    pub(crate) fn forgotten_early(&self) -> u64 {
        read(&self.forgotten_early)
    }

    /// Counts a request by what came of it.
    pub(super) fn of(&self, result: &Result<HookAnswer, HookFailure>) {
        count(match result {
            Ok(HookAnswer::Allow(..)) => &self.allowed,
            Ok(HookAnswer::Deny) => &self.denied,
            Ok(HookAnswer::Ignore) => &self.ignored,
            Err(HookFailure::TimedOut) => &self.timed_out,
            Err(HookFailure::Unreachable(_)) => &self.unreachable,
            Err(HookFailure::Ended(_)) => &self.ended,
            Err(HookFailure::Status(_)) => &self.status,
            Err(HookFailure::TooLarge | HookFailure::Invalid(_)) => &self.invalid,
        });
    }
}
