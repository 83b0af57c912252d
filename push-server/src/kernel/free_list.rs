//! Free places of a map, slots or answer tables: each shard has its own range of them, and what comes from another
//! shard's range goes to a list that all share.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Free places that came back at another shard than the one they began with, because their connections had moved.
/// Any shard that has run out takes one of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Returned(Arc<Mutex<Vec<u32>>>);

impl Returned {
    /// A panic elsewhere leaves a whole list behind.
    fn lock(&self) -> MutexGuard<'_, Vec<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shard's free places. The one given back last is taken first, so that few pages are touched.
#[derive(Debug)]
pub(super) struct FreeList {
    free: Vec<u32>,
    range: Range<u32>,
    returned: Returned,
}

impl FreeList {
    /// All places of the shard's own `range`.
    pub(super) fn new(range: Range<u32>, returned: Returned) -> Self {
        // Popped from the end, so low indices come first.
        Self { free: range.clone().rev().collect(), range, returned }
    }

    /// Takes a place, one of the shard's own if there is any.
    pub(super) fn take(&mut self) -> Option<u32> {
        self.free.pop().or_else(|| self.returned.lock().pop())
    }

    /// Gives a place back that nobody uses any more.
    pub(super) fn give_back(&mut self, index: u32) {
        if self.range.contains(&index) {
            self.free.push(index);
        } else {
            self.returned.lock().push(index);
        }
    }
}

#[cfg(test)]
mod tests;
