//! What the journals of all shards share: complete writes of several shards, each shard's completions, the numbers
//! that sessions and wills get, and the wall clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ticket::{CompleteWrites, Completions};
use crate::store::{Clocks, LeftOut, SessionNumber};

/// One for all shards.
#[derive(Debug)]
pub(crate) struct SharedJournal {
    complete_writes: CompleteWrites,
    /// What the store and other shards have done for each shard.
    completions: Arc<Vec<Completions>>,
    /// The next durable session's.
    next_number: AtomicU64,
    /// Turns instants into times of the wall clock, which the store keeps, and back.
    clocks: Clocks,
    /// Sessions that the start has left on disk.
    left_out: LeftOut,
}

impl SharedJournal {
    /// For a disk as a start has found it. `completions`: of each shard.
    pub(crate) fn new(
        completions: Arc<Vec<Completions>>,
        next_number: SessionNumber,
        clocks: Clocks,
        left_out: LeftOut,
    ) -> Self {
        let next_number = AtomicU64::new(next_number.0);
        Self {
            complete_writes: CompleteWrites::default(),
            completions,
            next_number,
            clocks,
            left_out,
        }
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
