//! Totals that all shards count together, beside the memory of sessions.

use std::sync::Arc;

use super::clients::InputBudget;
use super::sessions::{RemainsBytes, SessionShares, UnusedCounts};
use super::tls_places::TlsPlaces;
use crate::config::Config;

/// One for all shards.
#[derive(Debug)]
pub(super) struct Totals {
    input_budget: Arc<InputBudget>,
    remains_bytes: RemainsBytes,
    session_shares: SessionShares,
    unused_counts: UnusedCounts,
    tls_places: Arc<TlsPlaces>,
}

impl Totals {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            input_budget: InputBudget::new(config.input_bytes_max),
            remains_bytes: RemainsBytes::default(),
            session_shares: SessionShares::new(config.sessions_max, config.sessions_share_percent),
            unused_counts: UnusedCounts::new(config.shards),
            tls_places: TlsPlaces::new(config.tls.handshakes_max),
        }
    }

    /// Packets that have not come whole.
    pub(super) fn input_budget(&self) -> &Arc<InputBudget> {
        &self.input_budget
    }

    /// Memory of subscriptions that filters of ended sessions still take.
    pub(super) fn remains_bytes(&self) -> &RemainsBytes {
        &self.remains_bytes
    }

    /// How many sessions all shards have, and for which holders they count.
    pub(super) fn session_shares(&self) -> &SessionShares {
        &self.session_shares
    }

    /// Handshakes of TLS that are under way.
    pub(super) fn tls_places(&self) -> &Arc<TlsPlaces> {
        &self.tls_places
    }

    /// How many unused sessions each shard has.
    pub(super) fn unused_counts(&self) -> &UnusedCounts {
        &self.unused_counts
    }
}
