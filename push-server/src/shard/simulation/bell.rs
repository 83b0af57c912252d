//! Wakes a shard, once for any number of calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::shard::ports::Waker;

/// Whether somebody has something for a shard.
#[derive(Debug, Default)]
pub(super) struct Bell(AtomicBool);

impl Bell {
    /// Whether it has rung since the last call.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

impl Waker for Bell {
    fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Waker for Arc<Bell> {
    fn wake(&self) {
        Bell::wake(self);
    }
}
