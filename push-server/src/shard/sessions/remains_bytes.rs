//! Memory of filters whose sessions have ended, until they are out of the tables (`remains`).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::broker::{MemoryBudget, NoMemory};

/// What filters of ended sessions still take of `--subscription-bytes-total`, on all shards.
#[derive(Debug, Default)]
pub(crate) struct RemainsBytes(AtomicU64);

impl RemainsBytes {
    pub(crate) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether there would be room for so many bytes, were all of it given back. `missing`: why there was
    /// none; there may be some by now.
    pub(crate) fn would_make_room(
        &self,
        memory: &MemoryBudget,
        missing: NoMemory,
        bytes: u64,
    ) -> bool {
        let remains = self.0.load(Ordering::Relaxed);
        let bytes_max = match missing {
            NoMemory::Total => memory.bytes_max(),
            // Shares do not bind then.
            NoMemory::Share => memory.bytes_max() / 2,
        };
        let used = memory.used_bytes().saturating_sub(remains);
        used.saturating_add(bytes) <= bytes_max
    }
}

#[cfg(test)]
mod tests;
