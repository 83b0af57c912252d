//! Counts values that several outboxes share. A message counts once against the total, however many
//! outboxes hold it, until the last socket has taken it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::memory::MemoryBudget;

/// A field of a shared value: how many outboxes and sockets hold it. The first holder charges the
/// value's weight, the last one gives it back.
#[derive(Debug, Default)]
pub struct Held {
    outboxes: AtomicU32,
    /// The total that it is charged to, once an outbox has held it.
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

    /// One more socket holds it. The socket got it from an outbox, so the total is known.
    pub(crate) fn enter_socket(&self, weight_bytes: impl FnOnce() -> usize) {
        if self.outboxes.fetch_add(1, Ordering::AcqRel) == 0
            && let Some(memory) = self.memory.get()
        {
            memory.add(weight_bytes() as u64);
        }
    }

    /// One holder less. The first holder charged before it left, so the last one finds the charge.
    pub(crate) fn leave(&self, weight_bytes: impl FnOnce() -> usize) {
        if self.outboxes.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(memory) = self.memory.get()
        {
            memory.give_back(weight_bytes() as u64);
        }
    }
}

/// No outbox holds a copy yet.
impl Clone for Held {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Two messages are equal, whatever holds them.
impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Held {}

#[cfg(test)]
mod tests;
