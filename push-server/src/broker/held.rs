//! Counts what several outboxes share. A message counts once against the total, however many outboxes
//! hold it, until the last socket has taken it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::memory::MemoryBudget;

/// A field of what is shared: the number of outboxes and sockets that hold it. The first one charges its
/// weight, and the last one gives that back.
#[derive(Debug, Default)]
pub struct Held {
    outboxes: AtomicU32,
    /// What it counts against, once an outbox has held it.
    memory: OnceLock<Arc<MemoryBudget>>,
}

impl Held {
    /// How many outboxes and sockets hold it now.
    pub(crate) fn outboxes(&self) -> u32 {
        self.outboxes.load(Ordering::Relaxed)
    }

    /// One more outbox holds it.
    pub(crate) fn enter(&self, weight_bytes: impl FnOnce() -> usize, memory: &Arc<MemoryBudget>) {
        if self.outboxes.fetch_add(1, Ordering::AcqRel) == 0 {
            self.memory.get_or_init(|| Arc::clone(memory)).add(weight_bytes() as u64);
        }
    }

    /// A socket holds it as well. It comes from an outbox, so what it counts against is known.
    pub(crate) fn enter_socket(&self, weight_bytes: impl FnOnce() -> usize) {
        if self.outboxes.fetch_add(1, Ordering::AcqRel) == 0
            && let Some(memory) = self.memory.get()
        {
            memory.add(weight_bytes() as u64);
        }
    }

    /// One holder less. The first one charged before it left, so the last one finds what to give back.
    pub(crate) fn leave(&self, weight_bytes: impl FnOnce() -> usize) {
        if self.outboxes.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(memory) = self.memory.get()
        {
            memory.give_back(weight_bytes() as u64);
        }
    }
}

/// A copy is in no outbox.
impl Clone for Held {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Two messages are equal whoever holds them.
impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Held {}

#[cfg(test)]
mod tests;
