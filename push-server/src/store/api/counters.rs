//! The store's counters: the store's thread writes them (relaxed), `control` reads them.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the store has done so far. Totals, except where a field says gauge or maximum.
#[derive(Debug, Default)]
pub struct StoreCounters {
    /// Requests that came back as committed.
    pub committed: AtomicU64,
    /// Requests that came back as failed.
    pub failed: AtomicU64,
    /// Pages read.
    pub pages: AtomicU64,
    /// Groups of requests, each written as one batch.
    pub groups: AtomicU64,
    /// Most requests in a group.
    pub group_requests_max: AtomicU64,
    /// Waits for the disk (fdatasync) on behalf of commits.
    pub fsyncs: AtomicU64,
    /// Records written, removals included.
    pub records: AtomicU64,
    /// Changes that needed no record, because a later one of the same group undid them.
    pub coalesced: AtomicU64,
    /// Bytes of keys and values written, without what the database adds or writes again.
    pub bytes: AtomicU64,
    /// Longest time from taking a group to its completion, in microseconds.
    pub group_us_max: AtomicU64,
    /// Longest wait for the disk, in microseconds.
    pub fsync_us_max: AtomicU64,
    /// Failures of a disk or database that worked before.
    pub failures: AtomicU64,
    /// Times that the database was opened again after a failure.
    pub reopened: AtomicU64,
    /// Requests refused because too many bytes were waiting.
    pub refused_backlog: AtomicU64,
    /// Records that could not be decoded, and were skipped.
    pub unreadable: AtomicU64,
    /// Retained messages on topics that begin with `$`, which the start removed.
    pub reserved_removed: AtomicU64,
    /// Sessions that the start left on disk, because places or memory ran out.
    pub sessions_left_out: AtomicU64,
    /// Sessions whose remains the start removed: their record was gone, or a younger session has
    /// the client id.
    pub remains_removed: AtomicU64,
    /// Wills under way that the start left on disk, because memory ran out.
    pub wills_left_out: AtomicU64,
    /// Messages copied into outboxes because too many entries refer to shared bodies already.
    pub bodies_copied: AtomicU64,
    /// Gauge: bodies stored once for all their outboxes.
    pub shared_bodies: AtomicU64,
    /// Gauge: bytes on disk, when last measured.
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
