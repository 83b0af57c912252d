//! When clients have to leave because what has proved who they are does not count any longer, as a token whose time is
//! over. That is a time of the wall clock, which may be set meanwhile: so it is looked at in each turn, and never
//! turned into an instant.

use std::collections::{BTreeSet, HashMap};

/// Clients that have to leave at some time. Others cost nothing here.
#[derive(Debug, Default)]
pub(in crate::shard) struct Ends {
    /// In seconds since 1970, by client.
    by_client: HashMap<u32, u64>,
    in_order: BTreeSet<(u64, u32)>,
}

impl Ends {
    /// A client has to leave then: in seconds since 1970.
    pub(in crate::shard) fn set(&mut self, client: u32, secs: u64) {
        self.take(client);
        self.by_client.insert(client, secs);
        self.in_order.insert((secs, client));
    }

    /// A client is gone, or goes elsewhere. Returns when it has to leave.
    pub(in crate::shard) fn take(&mut self, client: u32) -> Option<u64> {
        if self.by_client.is_empty() {
            return None;
        }
        let secs = self.by_client.remove(&client)?;
        self.in_order.remove(&(secs, client));
        Some(secs)
    }

    /// In how many milliseconds the next client has to leave, by what the wall clock says. `None`: none has to.
    pub(in crate::shard) fn next_in_millis(&self, wall_millis: u64) -> Option<u64> {
        let (secs, _) = self.in_order.first()?;
        Some(secs.saturating_mul(1_000).saturating_sub(wall_millis))
    }

    /// Takes a client that has to leave by now.
    pub(in crate::shard) fn take_due(&mut self, wall_millis: u64) -> Option<u32> {
        let &(secs, client) = self.in_order.first()?;
        if secs.saturating_mul(1_000) > wall_millis {
            return None;
        }
        self.take(client);
        Some(client)
    }

    /// Whether no client has to leave at any time.
    pub(in crate::shard) fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(in crate::shard) fn len(&self) -> usize {
        self.by_client.len().max(self.in_order.len())
    }
}

#[cfg(test)]
mod tests;
