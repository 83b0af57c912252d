//! The store's figures.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::out::Out;
use crate::shard::StoreView;

/// All of them.
pub(super) fn store(out: &mut Out<'_>, view: &StoreView) -> fmt::Result {
    let counters = view.counters();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let totals: [(&str, &str, &AtomicU64); 15] = [
        ("push_store_commits", "Groups of changes written as one", &counters.groups),
        ("push_store_fsyncs", "Waits for the disk", &counters.fsyncs),
        ("push_store_requests", "Requests of shards that were committed", &counters.committed),
        ("push_store_requests_failed", "Requests of shards that failed", &counters.failed),
        ("push_store_records", "Records written, removals included", &counters.records),
        ("push_store_coalesced", "Changes undone before they were written", &counters.coalesced),
        ("push_store_bytes", "Bytes of records written", &counters.bytes),
        ("push_store_pages", "Pages of outboxes read", &counters.pages),
        ("push_store_failures", "Times that the disk failed", &counters.failures),
        ("push_store_reopened", "Times that it was opened again", &counters.reopened),
        ("push_store_refused", "Requests beyond the backlog's limit", &counters.refused_backlog),
        ("push_store_unreadable", "Records left out as unreadable", &counters.unreadable),
        (
            "push_store_reserved_removed",
            "Retained messages removed at the start, their topic beginning with $",
            &counters.reserved_removed,
        ),
        ("push_store_commit_us_max", "Longest commit, in us", &counters.group_us_max),
        ("push_store_fsync_us_max", "Longest wait for the disk, in us", &counters.fsync_us_max),
    ];
    for (name, help, counter) in totals {
        if name.ends_with("_max") {
            out.gauge(name, help, read(counter))?;
        } else {
            out.counters(name, help, None, [("", read(counter))])?;
        }
    }
    out.gauge("push_store_shared_bodies", "Bodies kept once", read(&counters.shared_bodies))?;
    let help = "Messages copied into outboxes on disk, since no more of them may share bodies";
    out.counters("push_store_bodies_copied", help, None, [("", read(&counters.bodies_copied))])?;
    let help =
        "Sessions that the start left on disk, beyond --max-sessions or the totals of memory";
    out.gauge("push_store_sessions_left_out", help, read(&counters.sessions_left_out))?;
    let help = "Sessions that were gone, and that the start removed the remains of";
    out.gauge("push_store_remains_removed", help, read(&counters.remains_removed))?;
    let help = "Wills under way that the start left on disk, beyond --will-bytes-total";
    out.gauge("push_store_wills_left_out", help, read(&counters.wills_left_out))?;
    out.gauge("push_store_disk_bytes", "Bytes on disk", read(&counters.disk_bytes))?;
    out.gauge("push_store_backlog_bytes", "Bytes that wait to be stored", view.backlog_bytes())?;
    out.gauge("push_store_serving", "1 while the disk works", view.is_serving().into())
}
