//! What all shards count together, beside the memory of sessions.

use std::sync::Arc;

use super::clients::InputBudget;
use super::sessions::{RemainsBytes, SessionShares, UnusedCounts};
use crate::config::Config;

/// One for all shards.
#[derive(Debug)]
pub(super) struct Totals {
    input_budget: Arc<InputBudget>,
    remains_bytes: RemainsBytes,
    session_shares: SessionShares,
    unused_counts: UnusedCounts,
}

impl Totals {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            input_budget: InputBudget::new(config.input_bytes_max),
            remains_bytes: RemainsBytes::default(),
            session_shares: SessionShares::new(config.sessions_max, config.sessions_share_percent),
            unused_counts: UnusedCounts::new(config.shards),
        }
    }

    /// Packets that have not come whole.
    pub(super) fn input_budget(&self) -> &Arc<InputBudget> {
        &self.input_budget
    }

    /// What filters of ended sessions take of the memory of all subscriptions.
    pub(super) fn remains_bytes(&self) -> &RemainsBytes {
        &self.remains_bytes
    }

    /// Sessions of all shards, and whose they are.
    pub(super) fn session_shares(&self) -> &SessionShares {
        &self.session_shares
    }

    /// How many sessions of each shard nobody uses.
    pub(super) fn unused_counts(&self) -> &UnusedCounts {
        &self.unused_counts
    }
}
