//! The store's counters: written by the store's thread (relaxed), read by `control`.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the store did so far. Totals, unless it says gauge or maximum.
#[derive(Debug, Default)]
pub struct StoreCounters {
    /// Requests that came back as committed.
    pub committed: AtomicU64,
    /// Requests that came back as failed.
    pub failed: AtomicU64,
    /// Pages read.
    pub pages: AtomicU64,
    /// Groups of requests written as one.
    pub groups: AtomicU64,
    /// Most requests in a group.
    pub group_requests_max: AtomicU64,
    /// Waits for the disk (fdatasync) on behalf of commits.
    pub fsyncs: AtomicU64,
    /// Records written, removals included.
    pub records: AtomicU64,
    /// Changes that needed no record, because a later one of the same group undid them.
    pub coalesced: AtomicU64,
    /// Bytes of keys and values written, before what the database makes of them.
    pub bytes: AtomicU64,
    /// Longest time from taking a group to its completion, in microseconds.
    pub group_us_max: AtomicU64,
    /// Longest wait for the disk, in microseconds.
    pub fsync_us_max: AtomicU64,
    /// Times that the disk or the database failed while it was thought to work.
    pub failures: AtomicU64,
    /// Times that it was opened again after a failure.
    pub reopened: AtomicU64,
    /// Requests refused because too much was waiting.
    pub refused_backlog: AtomicU64,
    /// Records that could not be understood, and were left out.
    pub unreadable: AtomicU64,
    /// Retained messages removed at the start, their topic beginning with `$`.
    pub reserved_removed: AtomicU64,
    /// Sessions that the start left on disk, for want of places or of room in memory.
    pub sessions_left_out: AtomicU64,
    /// Sessions that were not there, or had a younger namesake, and that the start has removed the rest of.
    pub remains_removed: AtomicU64,
    /// Wills under way that the start left on disk, for want of room in memory.
    pub wills_left_out: AtomicU64,
    /// Messages copied into outboxes since no more entries may refer to bodies.
    pub bodies_copied: AtomicU64,
    /// Gauge: bodies kept once for all their outboxes.
    pub shared_bodies: AtomicU64,
    /// Gauge: bytes on disk, as last looked at.
    pub disk_bytes: AtomicU64,
}

/// Adds to a total.
pub(in crate::store) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Keeps the larger.
pub(in crate::store) fn max(counter: &AtomicU64, n: u64) {
    counter.fetch_max(n, Ordering::Relaxed);
}

/// Sets a gauge.
pub(in crate::store) fn set(counter: &AtomicU64, n: u64) {
    counter.store(n, Ordering::Relaxed);
}
