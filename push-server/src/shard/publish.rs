//! Where a shard's messages go: the subscriptions of its sessions, and the work on them that is not done yet:
//! filters of ended sessions to be removed, groups to be told that a member is back, retained messages to be
//! delivered. What each costs, and whose turn it is, is decided elsewhere.

mod author;
mod backlog;
mod fanout;
mod subscribing;

pub(super) use author::{Author, Publisher};
pub(super) use backlog::{Backlog, SubscriptionWalk};
pub(super) use fanout::{Fanout, FanoutStage};
pub(super) use subscribing::{Subscribing, Unsubscribing, filter_units};

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ports::Token;
use crate::broker::{
    Budget, Matching, Message, Retained, SubscriptionOptions, Subscriptions, TopicFilter,
};
use crate::mqtt::SubscriptionList;
use crate::store::SessionNumber;
use backlog::Backlogs;

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    subscriptions: Subscriptions,
    /// Filters of ended sessions that are still in the tables, by their keys.
    remains: BTreeMap<u32, SubscriptionList>,
    /// Sessions that are back and whose groups are told in turns, by key.
    returning: BTreeMap<u32, Return>,
    /// Retained messages that sessions are still owed for their subscriptions.
    backlogs: Backlogs,
    /// Scratch, kept for its memory. `None`: lent, or never used yet.
    matching: Option<Box<Matching>>,
}

/// A session that is back, and not all of whose groups have been told.
#[derive(Debug)]
pub(super) struct Return {
    pub(super) client: Token,
    pub(super) packet_bytes_max: u32,
    /// The last group that was told, by its filter.
    pub(super) told: Option<TopicFilter>,
    /// CONNACK waits for it.
    pub(super) holds: bool,
}

impl Publishing {
    /// A session subscribes to a filter. Returns whether it did before, and whether no session did.
    pub(super) fn insert(
        &mut self,
        filter: &TopicFilter,
        key: u32,
        options: SubscriptionOptions,
    ) -> (bool, bool) {
        self.subscriptions.insert(filter, key, options)
    }

    /// A session unsubscribes from a filter. Returns whether it was subscribed, and whether no session is any more.
    pub(super) fn remove(&mut self, filter: &TopicFilter, key: u32) -> (bool, bool) {
        self.subscriptions.remove(filter, key)
    }

    /// Looks for the subscribers of a publish. `sender`: the number of the session that now has the publisher's
    /// key. Returns whether all are known.
    pub(super) fn find_matches(
        &self,
        fanout: &mut Fanout,
        sender: Option<SessionNumber>,
        budget: &mut Budget,
    ) -> bool {
        fanout.find_matches(&self.subscriptions, sender, budget)
    }

    /// Whether a session is still owed retained messages.
    pub(super) fn has_backlog(&self, key: u32) -> bool {
        self.backlogs.has(key)
    }

    /// For how many subscriptions a session is still owed retained messages.
    pub(super) fn walks(&self, key: u32) -> usize {
        self.backlogs.walks(key)
    }

    /// The session with this key and number is owed the retained messages of one more subscription. A backlog of an
    /// earlier session with the same key ends.
    pub(super) fn push_walk(
        &mut self,
        key: u32,
        number: SessionNumber,
        walk: SubscriptionWalk,
        retained: &Retained,
    ) {
        if self.backlogs.number(key).is_some_and(|other| other != number) {
            self.backlogs.end(key, retained);
        }
        self.backlogs.push(key, number, walk);
    }

    /// The SUBACK of a SUBSCRIBE is out: its retained messages may follow.
    pub(super) fn release_walks(&mut self, key: u32, subscribe: u64) {
        self.backlogs.release(key, subscribe);
    }

    /// A SUBSCRIBE has failed: its retained messages are not delivered.
    pub(super) fn fail_walks(&mut self, key: u32, subscribe: u64, retained: &Retained) {
        self.backlogs.fail(key, subscribe, retained);
    }

    /// A session has lost its connection: its backlog waits for no SUBACK any more.
    pub(super) fn leave_backlog(&mut self, key: u32) {
        self.backlogs.leave(key);
    }

    /// Ends a session's backlog. Returns how many messages were found and not brought.
    pub(super) fn end_backlog(&mut self, key: u32, retained: &Retained) -> usize {
        self.backlogs.end(key, retained)
    }

    /// Takes a session's backlog out, to be put back if messages are left.
    pub(super) fn take_backlog(&mut self, key: u32) -> Option<Backlog> {
        self.backlogs.take(key)
    }

    pub(super) fn put_backlog_back(&mut self, key: u32, backlog: Backlog) {
        self.backlogs.put_back(key, backlog);
    }

    /// How many sessions without a connection have a backlog.
    pub(super) fn absent_backlogs(&self) -> usize {
        self.backlogs.absent()
    }

    /// Takes the next session without connection.
    pub(super) fn take_absent(&mut self) -> Option<u32> {
        self.backlogs.take_absent()
    }

    /// Puts a session without a connection behind the others.
    pub(super) fn push_absent(&mut self, key: u32) {
        self.backlogs.push_absent(key);
    }

    /// So many topics were visited.
    pub(super) fn add_walked(&mut self, nodes: u32) {
        self.backlogs.add_walked(nodes);
    }

    /// Takes the number of visited topics that no flow was charged for.
    pub(super) fn take_walked(&mut self) -> u32 {
        self.backlogs.take_walked()
    }

    /// Scratch for retained messages that are found; to be given back, empty.
    pub(super) fn take_scratch(&mut self) -> Vec<Arc<Message>> {
        self.backlogs.take_scratch()
    }

    pub(super) fn give_scratch_back(&mut self, found: Vec<Arc<Message>>) {
        self.backlogs.give_scratch_back(found);
    }

    /// Scratch for a search; to be given back, empty.
    pub(super) fn take_matching(&mut self) -> Box<Matching> {
        self.matching.take().unwrap_or_default()
    }

    pub(super) fn give_matching_back(&mut self, matching: Box<Matching>) {
        self.matching = Some(matching);
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

    /// CONNACK waits until a session's groups have been told, if some have not. Returns whether it waits.
    pub(super) fn hold_returning(&mut self, key: u32) -> bool {
        let Some(returning) = self.returning.get_mut(&key) else { return false };
        returning.holds = true;
        true
    }

    /// Whether groups of a session that is back are still to hear of it.
    pub(super) fn is_returning(&self, key: u32) -> bool {
        self.returning.contains_key(&key)
    }

    /// Takes a session whose groups are to be told.
    pub(super) fn take_returning(&mut self, key: u32) -> Option<Return> {
        self.returning.remove(&key)
    }
}
