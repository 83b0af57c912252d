//! A shard's journal: what its turn has to write and read, what the store has done and the sessions have
//! not noted yet, and whether the store keeps up. `retry_list` has what the store refused.
//!
//! It does not decide what is written, or what the store's answers mean: `durable` does.

mod outgoing;
pub(super) mod records;
mod retry_list;
mod shared_journal;
mod ticket;
mod unconfirmed_filters;
mod unremoved;

pub(super) use outgoing::Outgoing;
pub(crate) use outgoing::UNPUBLISHED_WILL_BYTES_MAX;
pub(super) use retry_list::{Again, Retrying};
pub(crate) use retry_list::{CHANGES_MAX, UNREMOVED_MAX};
pub(super) use shared_journal::{JournalStart, SharedJournal};
pub(super) use ticket::{
    Completions, Done, Draft, Giver, Leaver, OpenRequests, Part, StoreSink, Subscribed, Ticket,
    Unsubscribed, Waiters,
};
pub(crate) use unremoved::UNREMOVED_FILTER_BYTES_MAX;
pub(super) use unremoved::UnremovedFilter;

use std::collections::VecDeque;

use super::counters::ShardCounters;
use crate::broker::TopicFilter;
use crate::mqtt::{HEAD_MESSAGES_MAX, SessionChange};
use crate::store::{Outcome, PageLimit, Position, SessionNumber, Store};
use retry_list::RetryList;
use unconfirmed_filters::UnconfirmedFilters;

/// When so many bytes of all shards wait to be stored, work that would add to them waits
/// (`limit="store"`), until half of them is stored.
pub(crate) const STORE_BACKLOG_BYTES_MAX: u64 = 64 << 20;

/// What is read of an outbox at a time.
const PAGE: PageLimit = PageLimit { messages: HEAD_MESSAGES_MAX as u32, bytes: 256 << 10 };

/// The same where there is no memory for so much.
const PAGE_SHORT: PageLimit = PageLimit { messages: 1, bytes: PAGE.bytes };

/// The same of its oldest messages, to drop some: more, because those that come meanwhile must not
/// outrun it.
const TRIM_PAGE: PageLimit = PageLimit { messages: 1_024, bytes: 4 << 20 };

/// So many messages that are on disk may wait to be noted before the store counts as behind.
const WRITTEN_WAITING_MAX: usize = 65_536;

/// A page of an outbox that the store is to read at the end of the turn.
#[derive(Debug)]
pub(super) struct PageRead {
    number: SessionNumber,
    from: u64,
    limit: PageLimit,
    done: Done,
}

impl PageRead {
    /// The next messages from a place on.
    pub(super) fn next(number: SessionNumber, from: u64, done: Done) -> Self {
        Self { number, from, limit: PAGE, done }
    }

    /// The same where no more than `left_bytes` of memory are left.
    pub(super) fn into_memory(self, left_bytes: u64) -> Self {
        let limit = if left_bytes < PAGE.bytes { PAGE_SHORT } else { PAGE };
        Self { limit, ..self }
    }

    /// The oldest messages, to drop some.
    pub(super) fn oldest(number: SessionNumber, from: u64, done: Done) -> Self {
        Self { number, from, limit: TRIM_PAGE, done }
    }
}

/// A shard's side of the store.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// What this turn has to write.
    draft: Draft,
    /// Pages to be read from the store.
    page_reads: Vec<PageRead>,
    /// Too much waits to be stored: work that would add to it waits.
    is_behind: bool,
    /// What the store has written or read that sessions have not noted yet.
    written: VecDeque<(Done, Outcome)>,
    /// What else the store and other shards have done.
    settled: VecDeque<(Done, Outcome)>,
    /// Subscriptions that may not be on disk yet.
    unconfirmed: UnconfirmedFilters,
    retry_list: RetryList,
    /// Scratch, kept for its memory.
    done: Vec<(Done, Outcome)>,
}

impl Journal {
    /// Has a draft written at the end of the turn.
    pub(super) fn append(&mut self, draft: Draft) {
        self.draft.append(draft);
    }

    /// Has a page read at the end of the turn.
    pub(super) fn read_page(&mut self, page: PageRead) {
        self.page_reads.push(page);
    }

    /// Gives the store what the shard `own` has to write by now, behind all complete writes of several shards, and
    /// asks it for the pages.
    pub(super) fn submit(
        &mut self,
        own: u16,
        store: &dyn Store<Waiters>,
        shared: &SharedJournal,
        counters: &ShardCounters,
    ) {
        let commit = |Draft { writes, waiting }| {
            shared.open_requests().begin();
            store.commit(writes, waiting);
        };
        shared.complete_writes().file(commit);
        if !self.draft.is_empty() {
            commit(std::mem::take(&mut self.draft));
        }
        for PageRead { number, from, limit, done } in self.page_reads.drain(..) {
            shared.open_requests().begin();
            store.read_outbox(number, Position(from), limit, vec![(own, done)]);
        }
        let is_behind = store.backlog_bytes() > STORE_BACKLOG_BYTES_MAX
            || self.written.len() > WRITTEN_WAITING_MAX;
        if is_behind && !std::mem::replace(&mut self.is_behind, true) {
            counters.limit_store.add(1);
        }
    }

    /// Takes over what the store and other shards have done.
    pub(super) fn collect(&mut self, completions: &Completions) {
        completions.take(&mut self.done);
        for (done, outcome) in self.done.drain(..) {
            match done {
                // In order: a page must not come before what it is behind.
                Done::Written { .. }
                | Done::Changed { .. }
                | Done::Page { .. }
                | Done::Trim { .. } => {
                    self.written.push_back((done, outcome));
                }
                _ => self.settled.push_back((done, outcome)),
            }
        }
    }

    /// Whether nothing waits to be written, read or noted.
    pub(super) fn is_quiet(&self) -> bool {
        self.draft.is_empty()
            && self.page_reads.is_empty()
            && self.written.is_empty()
            && self.settled.is_empty()
    }

    /// Takes the next of what clients wait for.
    pub(super) fn take_settled(&mut self) -> Option<(Done, Outcome)> {
        self.settled.pop_front()
    }

    pub(super) fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Takes the next of what sessions have to note.
    pub(super) fn take_written(&mut self) -> Option<(Done, Outcome)> {
        self.written.pop_front()
    }

    pub(super) fn has_written(&self) -> bool {
        !self.written.is_empty()
    }

    /// Whether the store was behind, and keeps up again.
    pub(super) fn catches_up(&mut self, store: &dyn Store<Waiters>) -> bool {
        let catches_up = self.is_behind
            && store.backlog_bytes() < STORE_BACKLOG_BYTES_MAX / 2
            && self.written.len() < WRITTEN_WAITING_MAX / 2;
        self.is_behind &= !catches_up;
        catches_up
    }

    /// Whether too much waits to be stored.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// The same for all shards: another one may have brought the store so far behind.
    pub(super) fn is_store_behind(&self, store: &dyn Store<Waiters>) -> bool {
        self.is_behind || store.backlog_bytes() > STORE_BACKLOG_BYTES_MAX
    }

    /// A SUBSCRIBE begins; what tells it from others.
    pub(super) fn begin_subscribe(&mut self) -> u64 {
        self.unconfirmed.begin()
    }

    /// A SUBSCRIBE subscribes to a filter, which `is_new` to the session. Returns whether it is to say what
    /// became of it.
    pub(super) fn touch_filter(
        &mut self,
        subscribe: u64,
        number: SessionNumber,
        filter: &TopicFilter,
        is_new: bool,
    ) -> bool {
        self.unconfirmed.touch(subscribe, number, filter, is_new)
    }

    /// A session has unsubscribed.
    pub(super) fn end_filter(&mut self, number: SessionNumber, filter: &TopicFilter) {
        self.unconfirmed.end(number, filter);
    }

    /// A filter of a SUBSCRIBE is on disk: its removal, if that was refused, is not offered again.
    pub(super) fn filter_written(
        &mut self,
        subscribe: u64,
        number: SessionNumber,
        filter: TopicFilter,
    ) {
        self.retry_list.replace_filter(number, &filter);
        self.unconfirmed.written(subscribe, number, filter);
    }

    /// A filter of a SUBSCRIBE could not be written. Returns whether memory is to forget it.
    pub(super) fn subscribe_failed(
        &mut self,
        subscribe: u64,
        number: SessionNumber,
        filter: &TopicFilter,
    ) -> bool {
        self.unconfirmed.failed(subscribe, number, filter)
    }

    /// Begins to offer what was refused again, unless there is nothing, or that has begun already.
    pub(super) fn begin_retry(&mut self) -> Option<Retrying> {
        self.retry_list.begin_retry()
    }

    pub(super) fn end_retry(&mut self) {
        self.retry_list.end_retry();
    }

    /// Something of a session could not be written.
    pub(super) fn push_unwritten(&mut self, key: u32, number: SessionNumber) {
        self.retry_list.push_unwritten(key, number);
    }

    /// A session's record is on disk, or the session has ended.
    pub(super) fn end_unwritten(&mut self, key: u32, number: SessionNumber) {
        self.retry_list.end_unwritten(key, number);
    }

    /// The number of the session with this key of which the disk lacks something. It may have ended.
    pub(super) fn unwritten(&self, key: u32) -> Option<SessionNumber> {
        self.retry_list.unwritten(key)
    }

    /// Whether the disk lacks something of any session.
    pub(super) fn has_unwritten(&self) -> bool {
        self.retry_list.has_unwritten()
    }

    /// An ended session could not be removed. Returns whether there was room to remember it.
    pub(super) fn push_unremoved(&mut self, number: SessionNumber) -> bool {
        self.retry_list.push_unremoved(number)
    }

    /// A filter that was unsubscribed from could not be removed. Returns whether there was room to
    /// remember it.
    pub(super) fn push_unremoved_filter(&mut self, filter: UnremovedFilter) -> bool {
        self.retry_list.push_filter(filter)
    }

    /// A page of a session could not be read.
    pub(super) fn push_unread(&mut self, key: u32, number: SessionNumber) {
        self.retry_list.push_unread(key, number);
    }

    /// It is asked for again.
    pub(super) fn end_unread(&mut self, key: u32, number: SessionNumber) {
        self.retry_list.end_unread(key, number);
    }

    /// A page of an ended session could not be read, or not be given away.
    pub(super) fn push_leaver(&mut self, leaver: Leaver) {
        self.retry_list.push_leaver(leaver);
    }

    /// A change of a session could not be made. Returns whether there was room to remember it.
    pub(super) fn push_change(
        &mut self,
        key: u32,
        number: SessionNumber,
        change: SessionChange,
    ) -> bool {
        self.retry_list.push_change(key, number, change)
    }

    /// It is made, or is not to be made any more.
    pub(super) fn end_change(&mut self, number: SessionNumber, change: SessionChange) {
        self.retry_list.end_change(number, change);
    }

    /// Whether the disk still has a message, in this place of a session's outbox, that is owed no longer.
    pub(super) fn is_unsettled(&self, number: SessionNumber, position: u64) -> bool {
        self.retry_list.is_unsettled(number, position)
    }

    /// Whether anything waits to be offered again that is of the session with this key and number.
    pub(super) fn has_refused(&self, key: u32, number: SessionNumber) -> bool {
        self.unconfirmed.has(number) || self.retry_list.has(key, number)
    }

    /// A message of a session could not be passed on.
    pub(super) fn push_giver(&mut self, giver: Giver) {
        self.retry_list.push_giver(giver);
    }

    /// A will could not be published safely. Returns whether there was room to remember it.
    pub(super) fn push_will(&mut self, will: Outgoing) -> bool {
        self.retry_list.push_will(will)
    }

    /// Takes the will that has waited longest.
    pub(super) fn pop_will(&mut self) -> Option<Outgoing> {
        self.retry_list.pop_will()
    }

    /// What is left, by kind: nothing once every session and connection has ended.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn leftovers(&self) -> [(&'static str, usize); 4] {
        self.retry_list.leftovers()
    }
}
