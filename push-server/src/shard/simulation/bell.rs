//! What wakes a shard in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::shard::ports::Waker;

/// Wakes a shard, once for any number of calls.
#[derive(Debug, Default)]
pub(super) struct Bell(AtomicBool);

impl Bell {
    pub(super) fn ring(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has rung since the last call.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

impl Waker for Arc<Bell> {
    fn wake(&self) {
        self.ring();
    }
}
