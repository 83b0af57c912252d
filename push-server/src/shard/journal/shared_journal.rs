//! What the journals of all shards share: complete writes of several shards, each shard's completions, the numbers
//! that sessions and wills get, and the wall clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ticket::{CompleteWrites, Completions, OpenRequests};
use crate::store::{Clocks, LeftOut, SessionNumber};

/// One for all shards.
#[derive(Debug)]
pub(crate) struct SharedJournal {
    complete_writes: CompleteWrites,
    /// What the store and other shards have done for each shard.
    completions: Arc<Vec<Completions>>,
    /// What the store has not told of yet.
    open_requests: OpenRequests,
    /// The next durable session's.
    next_number: AtomicU64,
    /// Turns instants into times of the wall clock, which the store keeps, and back.
    clocks: Clocks,
    /// Sessions that the start has left on disk.
    left_out: LeftOut,
}

/// How a start has found the disk.
#[derive(Debug)]
pub(crate) struct JournalStart {
    /// The next durable session's number.
    pub(crate) next_number: SessionNumber,
    pub(crate) clocks: Clocks,
    pub(crate) left_out: LeftOut,
}

impl SharedJournal {
    /// `completions`: of each shard; `open_requests`: of the store.
    pub(crate) fn new(
        completions: Arc<Vec<Completions>>,
        open_requests: OpenRequests,
        start: JournalStart,
    ) -> Self {
        let JournalStart { next_number, clocks, left_out } = start;
        Self {
            complete_writes: CompleteWrites::default(),
            completions,
            open_requests,
            next_number: AtomicU64::new(next_number.0),
            clocks,
            left_out,
        }
    }

    /// What the store has not told of yet.
    pub(crate) fn open_requests(&self) -> &OpenRequests {
        &self.open_requests
    }

    /// Whether neither the store nor any mailbox of completions holds something for a shard. It stays so if no
    /// shard is in a turn meanwhile, but for what comes from outside.
    pub(crate) fn is_nothing_under_way(&self) -> bool {
        // In this order: what the store has told is among the completions by then.
        self.complete_writes.is_empty()
            && self.open_requests.are_none()
            && self.completions.iter().all(Completions::is_empty)
    }

    pub(crate) fn complete_writes(&self) -> &CompleteWrites {
        &self.complete_writes
    }

    /// A shard's completions.
    pub(crate) fn completions(&self, shard: u16) -> &Completions {
        &self.completions[usize::from(shard)]
    }

    /// Those of all shards, for threads outside them.
    pub(crate) fn all_completions(&self) -> &Arc<Vec<Completions>> {
        &self.completions
    }

    /// A number that nothing else on disk has, nor ever will.
    pub(crate) fn take_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of the next session that begins.
    pub(crate) fn next_number(&self) -> SessionNumber {
        SessionNumber(self.next_number.load(Ordering::Relaxed))
    }

    pub(crate) fn clocks(&self) -> Clocks {
        self.clocks
    }

    /// Whether the start has left the session of a client on disk.
    pub(crate) fn has_left_out(&self, client_id: &str) -> bool {
        self.left_out.has_client(client_id)
    }
}
