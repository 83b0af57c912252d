//! What the store has refused, until it is offered again (`retry`): each kind in a list of its own.
//!
//! Each list has a bound. `changes`, `unremoved`, `filters` and `wills` have a limit of their own, because what
//! they hold outlives its session. The others have one entry a session, which counts against the total of all
//! sessions: `unwritten` and `unread` one for each key, `givers` and `hand_on_pages` one for each session that
//! hands on messages, which has ended at the most once. Entries of sessions that have ended meanwhile go when
//! they are offered next.
//!
//! `unwritten` looks like the store's `rules::Unsaved`, and answers another question. There it is asked, of each
//! request in its order, whether an earlier record of the session has failed; a shard learns of that too late
//! to ask itself. Here it is asked which sessions' records, and messages that have left, the shard has to write
//! again, which the store cannot know: it has none of them. So each shard may promise once more in a session
//! before it hears of a failure (the store refuses that), and knows from then on what to write first.

use std::collections::{BTreeMap, btree_map};
use std::vec;

use super::giver::{Giver, HandOnCursor};
use super::outgoing::{Outgoing, Unpublished};
use super::unremoved::{UnremovedFilter, UnremovedFilters};
use crate::broker::TopicFilter;
use crate::mqtt::SessionChange;
use crate::store::SessionNumber;

/// Ended sessions of a shard that the store has failed to remove. Further ones are not tried again
/// (`limit="removals"`): a restart finds them on disk.
pub(crate) const UNREMOVED_MAX: usize = 1 << 20;

/// Changes of sessions (removals from outboxes, mostly) that the store of a shard has failed to make. Further ones
/// are not tried again (`limit="changes"`): after a restart their messages may come once more.
pub(crate) const CHANGES_MAX: usize = 1 << 20;

/// Records, and as many removals of sessions and of filters, that are tried again at a time.
const RETRIED_AT_A_TIME: usize = 16_384;

/// What a shard's store has refused.
#[derive(Debug, Default)]
pub(crate) struct RetryList {
    /// Sessions whose record could not be written, or messages of theirs that had been sent, by key.
    unwritten: BTreeMap<u32, SessionNumber>,
    /// Changes of sessions, with the keys that these have or had: messages that clients have acknowledged, say, and
    /// that the disk still has.
    changes: BTreeMap<(SessionNumber, SessionChange), u32>,
    /// Ended sessions that could not be removed.
    unremoved: Vec<SessionNumber>,
    /// Filters that could not be removed.
    filters: UnremovedFilters,
    /// Sessions whose page could not be read, by key.
    unread: BTreeMap<u32, SessionNumber>,
    /// Pages of ended sessions that could not be read, or whose messages could not be handed on.
    hand_on_pages: Vec<HandOnCursor>,
    /// Sessions of which a message could not be handed on, with the keys that they have or had.
    givers: BTreeMap<SessionNumber, Option<u32>>,
    /// Wills that could not be published safely.
    wills: Unpublished,
    /// Some of it is being offered again.
    is_retrying: bool,
}

/// What is to be offered again.
#[derive(Debug)]
pub(crate) enum Again {
    /// The record of the session with this key and number.
    Record(u32, SessionNumber),
    /// A change of the session that has this key, or had it.
    SessionChange(u32, SessionNumber, SessionChange),
    /// The removal of an ended session.
    Removal(SessionNumber),
    /// The removal of a filter.
    FilterRemoval(UnremovedFilter),
    /// The will that has waited longest.
    Will,
    /// A page of an ended session, whose messages it is to hand on.
    HandOnPage(HandOnCursor),
    /// Messages that a session could not hand on.
    HandOn(Giver),
    /// A page of the session with this key and number.
    Page(u32, SessionNumber),
}

/// What the store is being offered again.
#[derive(Debug)]
pub(crate) struct Retrying {
    unwritten: vec::IntoIter<(u32, SessionNumber)>,
    changes: vec::IntoIter<(u32, SessionNumber, SessionChange)>,
    removals: vec::IntoIter<SessionNumber>,
    filters: vec::IntoIter<UnremovedFilter>,
    /// How many wills are still to be offered.
    wills: usize,
    hand_on_pages: vec::IntoIter<HandOnCursor>,
    givers: btree_map::IntoIter<SessionNumber, Option<u32>>,
    unread: vec::IntoIter<(u32, SessionNumber)>,
}

impl Retrying {
    /// Takes the next one.
    pub(crate) fn next(&mut self) -> Option<Again> {
        if let Some((key, number)) = self.unwritten.next() {
            return Some(Again::Record(key, number));
        }
        if let Some((key, number, change)) = self.changes.next() {
            return Some(Again::SessionChange(key, number, change));
        }
        if let Some(number) = self.removals.next() {
            return Some(Again::Removal(number));
        }
        if let Some(filter) = self.filters.next() {
            return Some(Again::FilterRemoval(filter));
        }
        if self.wills > 0 {
            self.wills -= 1;
            return Some(Again::Will);
        }
        if let Some(page) = self.hand_on_pages.next() {
            return Some(Again::HandOnPage(page));
        }
        if let Some((number, key)) = self.givers.next() {
            return Some(Again::HandOn(Giver { key, number }));
        }
        self.unread.next().map(|(key, number)| Again::Page(key, number))
    }
}

impl RetryList {
    /// Begins to offer it all again, a bounded number of each kind. `None`: there is nothing, or an earlier retry
    /// has not come to `end_retry`.
    pub(crate) fn begin_retry(&mut self) -> Option<Retrying> {
        if self.is_empty() || self.is_retrying {
            return None;
        }
        self.is_retrying = true;
        let numbered = |(key, number): (&u32, &SessionNumber)| (*key, *number);
        let unwritten: Vec<_> =
            self.unwritten.iter().take(RETRIED_AT_A_TIME).map(numbered).collect();
        let keyed = |(&(number, change), &key): (&(SessionNumber, SessionChange), &u32)| {
            (key, number, change)
        };
        let changes: Vec<_> = self.changes.iter().take(RETRIED_AT_A_TIME).map(keyed).collect();
        let from = self.unremoved.len().saturating_sub(RETRIED_AT_A_TIME);
        let unread: Vec<_> = self.unread.iter().take(RETRIED_AT_A_TIME).map(numbered).collect();
        Some(Retrying {
            unwritten: unwritten.into_iter(),
            changes: changes.into_iter(),
            removals: self.unremoved.split_off(from).into_iter(),
            filters: self.filters.take(RETRIED_AT_A_TIME).into_iter(),
            wills: self.wills.len(),
            hand_on_pages: std::mem::take(&mut self.hand_on_pages).into_iter(),
            givers: std::mem::take(&mut self.givers).into_iter(),
            unread: unread.into_iter(),
        })
    }

    pub(crate) fn end_retry(&mut self) {
        self.is_retrying = false;
    }

    /// Whether it has anything of the session with this key and number.
    pub(crate) fn has(&self, key: u32, number: SessionNumber) -> bool {
        self.unwritten.get(&key) == Some(&number)
            || self.unread.get(&key) == Some(&number)
            || self.has_change(number)
            || self.filters.has(number)
            || self.givers.contains_key(&number)
            || self.wills.has(number)
    }

    /// Whether a change of this session waits. They are sorted by their sessions, of which all shards may wait to
    /// know, and there may be a million.
    fn has_change(&self, number: SessionNumber) -> bool {
        let least = (number, SessionChange::Settle(0));
        self.changes.range(least..).next().is_some_and(|((other, _), _)| *other == number)
    }

    fn is_empty(&self) -> bool {
        self.unwritten.is_empty()
            && self.changes.is_empty()
            && self.unremoved.is_empty()
            && self.filters.is_empty()
            && self.wills.is_empty()
            && self.hand_on_pages.is_empty()
            && self.givers.is_empty()
            && self.unread.is_empty()
    }

    /// A session's record could not be written, or messages of its that had been sent.
    pub(crate) fn push_unwritten(&mut self, key: u32, number: SessionNumber) {
        self.unwritten.insert(key, number);
    }

    /// A session's record is on disk, or the session has ended.
    pub(crate) fn end_unwritten(&mut self, key: u32, number: SessionNumber) {
        if self.unwritten.get(&key) == Some(&number) {
            self.unwritten.remove(&key);
        }
    }

    /// A change of a session could not be made. Returns whether there was room to remember it.
    pub(crate) fn push_change(
        &mut self,
        key: u32,
        number: SessionNumber,
        change: SessionChange,
    ) -> bool {
        let has_room = self.changes.len() < CHANGES_MAX;
        if has_room {
            self.changes.insert((number, change), key);
        }
        has_room
    }

    /// The change is made, or is no longer needed.
    pub(crate) fn end_change(&mut self, number: SessionNumber, change: SessionChange) {
        self.changes.remove(&(number, change));
    }

    /// Whether the disk still has a message, at this position of a session's outbox, that is owed no longer.
    pub(crate) fn is_unsettled(&self, number: SessionNumber, position: u64) -> bool {
        // Nearly always there is none at all.
        !self.changes.is_empty()
            && self.changes.contains_key(&(number, SessionChange::Settle(position)))
    }

    /// The number of the session with this key of which the disk lacks something. It may have ended.
    pub(crate) fn unwritten(&self, key: u32) -> Option<SessionNumber> {
        // Nearly always there is none at all.
        self.unwritten.get(&key).copied()
    }

    /// Whether the disk lacks something of any session.
    pub(crate) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// An ended session could not be removed. Returns whether there was room to remember it.
    pub(crate) fn push_unremoved(&mut self, number: SessionNumber) -> bool {
        let has_room = self.unremoved.len() < UNREMOVED_MAX;
        if has_room {
            self.unremoved.push(number);
        }
        has_room
    }

    /// A filter that was unsubscribed from could not be removed. Returns whether there was room to
    /// remember it.
    pub(crate) fn push_filter(&mut self, filter: UnremovedFilter) -> bool {
        self.filters.push(filter)
    }

    /// A later subscription to the filter is on disk, in the place of the one to be removed.
    pub(crate) fn replace_filter(&mut self, number: SessionNumber, filter: &TopicFilter) {
        self.filters.replaced(number, filter);
    }

    /// A page of a session could not be read.
    pub(crate) fn push_unread(&mut self, key: u32, number: SessionNumber) {
        self.unread.insert(key, number);
    }

    /// It is asked for again.
    pub(crate) fn end_unread(&mut self, key: u32, number: SessionNumber) {
        if self.unread.get(&key) == Some(&number) {
            self.unread.remove(&key);
        }
    }

    /// A page of an ended session could not be read, or one of its messages not be handed on.
    pub(crate) fn push_hand_on_page(&mut self, page: HandOnCursor) {
        self.hand_on_pages.push(page);
    }

    /// A message of a session could not be handed on.
    pub(crate) fn push_giver(&mut self, Giver { key, number }: Giver) {
        self.givers.insert(number, key);
    }

    /// A will could not be published safely. Returns whether there was room to remember it.
    pub(crate) fn push_will(&mut self, will: Outgoing) -> bool {
        self.wills.push(will)
    }

    /// Takes the will that has waited longest.
    pub(crate) fn pop_will(&mut self) -> Option<Outgoing> {
        self.wills.pop()
    }

    /// How much is left, by kind: nothing once every session and connection has ended.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn leftovers(&self) -> [(&'static str, usize); 4] {
        [
            ("changes not made", self.changes.len()),
            ("ended sessions not removed", self.unremoved.len()),
            ("sessions not saved", self.unwritten.len()),
            ("wills not published", self.wills.len()),
        ]
    }
}

#[cfg(test)]
mod tests;
