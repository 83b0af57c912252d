//! Memory of filters whose sessions have ended, until they are out of the tables (`remains`).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::broker::{MemoryBudget, NoMemory};

/// Bytes of `--subscription-bytes-total` that filters of ended sessions still take, on all shards.
#[derive(Debug, Default)]
pub(crate) struct RemainsBytes(AtomicU64);

impl RemainsBytes {
    pub(crate) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether there would be room for so many bytes if all of these were given back. `missing`: why there was no
    /// room; there may be some by now.
    pub(crate) fn would_make_room(
        &self,
        memory: &MemoryBudget,
        missing: NoMemory,
        bytes: u64,
    ) -> bool {
        let remains = self.0.load(Ordering::Relaxed);
        let bytes_max = match missing {
            NoMemory::Total => memory.bytes_max(),
            // Below half of the total, shares do not bind.
            NoMemory::Share => memory.bytes_max() / 2,
        };
        let used = memory.used_bytes().saturating_sub(remains);
        used.saturating_add(bytes) <= bytes_max
    }
}

#[cfg(test)]
mod tests;
