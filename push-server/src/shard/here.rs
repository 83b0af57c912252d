//! Which shard this is, and what it has besides its parts: the state that all shards share, its own counters, and
//! its randomness.

use std::sync::Arc;

use super::Shared;
use super::counters::ShardCounters;
use super::ports::Randomness;

/// A shard's own place among all.
#[derive(Debug)]
pub(super) struct Here<R> {
    index: u16,
    shared: Arc<Shared>,
    counters: Arc<ShardCounters>,
    randomness: R,
}

impl<R: Randomness> Here<R> {
    /// Of the shard `index`.
    pub(super) fn new(
        index: u16,
        shared: Arc<Shared>,
        counters: Arc<ShardCounters>,
        randomness: R,
    ) -> Self {
        Self { index, shared, counters, randomness }
    }

    /// This shard's number.
    pub(super) fn index(&self) -> u16 {
        self.index
    }

    /// What all shards share.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn counters(&self) -> &ShardCounters {
        &self.counters
    }

    pub(super) fn randomness(&mut self) -> &mut R {
        &mut self.randomness
    }
}
