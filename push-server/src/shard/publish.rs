//! Where a shard's messages go: the subscriptions of its sessions, and what is still to happen to them. Filters
//! of ended sessions are to go, groups are to hear that a member is back, and retained messages are to be
//! brought. What each costs, and whose turn it is, is decided elsewhere.

mod backlog;

pub(super) use backlog::{Backlog, Wanted};

use std::collections::BTreeMap;

use super::ports::Token;
use crate::broker::{Matching, Subscriptions, TopicFilter};
use crate::mqtt::SubscriptionList;
use backlog::Backlogs;

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    subscriptions: Subscriptions,
    /// Filters of ended sessions that are still in the tables, by their keys.
    remains: BTreeMap<u32, SubscriptionList>,
    /// Sessions that are back, whose groups hear of it in turns, by key.
    returning: BTreeMap<u32, Return>,
    /// Retained messages that subscriptions still bring.
    backlogs: Backlogs,
    /// Scratch, kept for its memory.
    matching: Matching,
}

/// A session that is back, and whose groups do not all know.
#[derive(Debug)]
pub(super) struct Return {
    pub(super) client: Token,
    pub(super) packet_bytes_max: u32,
    /// The last one that has heard of it.
    pub(super) told: Option<TopicFilter>,
    /// CONNACK waits for it.
    pub(super) holds: bool,
}

impl Publishing {
    pub(super) fn subscriptions(&mut self) -> &mut Subscriptions {
        &mut self.subscriptions
    }

    pub(super) fn backlogs(&self) -> &Backlogs {
        &self.backlogs
    }

    pub(super) fn backlogs_mut(&mut self) -> &mut Backlogs {
        &mut self.backlogs
    }

    /// Scratch for a search; to be given back, empty.
    pub(super) fn take_matching(&mut self) -> Matching {
        std::mem::take(&mut self.matching)
    }

    pub(super) fn give_matching_back(&mut self, matching: Matching) {
        self.matching = matching;
    }

    /// A session has ended with these filters, one at least.
    pub(super) fn add_remains(&mut self, key: u32, filters: SubscriptionList) {
        self.remains.insert(key, filters);
    }

    /// Whether filters of an ended session are still in the tables.
    pub(super) fn has_remains(&self, key: u32) -> bool {
        self.remains.contains_key(&key)
    }

    /// The key of one such session.
    pub(super) fn first_remains(&self) -> Option<u32> {
        self.remains.first_key_value().map(|(key, _)| *key)
    }

    /// Takes one filter of an ended session. Returns with it whether it was the last one.
    pub(super) fn pop_remains(&mut self, key: u32) -> Option<(TopicFilter, bool)> {
        let filters = self.remains.get_mut(&key)?;
        let filter = filters.pop()?;
        let was_last = filters.is_empty();
        if was_last {
            self.remains.remove(&key);
        }
        Some((filter, was_last))
    }

    /// A session is back.
    pub(super) fn set_returning(&mut self, key: u32, returning: Return) {
        self.returning.insert(key, returning);
    }

    /// CONNACK waits until its groups have heard of it, if they have not by now. Returns whether it does.
    pub(super) fn hold_returning(&mut self, key: u32) -> bool {
        let Some(returning) = self.returning.get_mut(&key) else { return false };
        returning.holds = true;
        true
    }

    /// Takes a session whose groups are to hear of it.
    pub(super) fn take_returning(&mut self, key: u32) -> Option<Return> {
        self.returning.remove(&key)
    }
}
