//! A shard's journal: the writes and reads of its turn, completions of the store that its sessions have not noted
//! yet, and whether the store keeps up. `retry_list` has the writes that the store refused.
//!
//! It does not decide what is written, or what the store's answers mean: `turn/durable` does.

mod filters_by_session;
mod giver;
mod outgoing;
pub(super) mod records;
mod retry_list;
mod shared_journal;
mod subscribed;
mod ticket;
mod unconfirmed_filters;
mod unremoved;

pub(super) use giver::{Giver, HandOnCursor};
pub(super) use outgoing::Outgoing;
pub(crate) use outgoing::UNPUBLISHED_WILL_BYTES_MAX;
pub(super) use retry_list::{Again, RetryList, Retrying};
pub(crate) use retry_list::{CHANGES_MAX, UNREMOVED_MAX};
pub(super) use shared_journal::{JournalStart, SharedJournal};
pub(super) use subscribed::{FilterPacket, Subscribed, Unsubscribed};
pub(super) use ticket::{Completions, Done, Draft, OpenRequests, Part, StoreSink, Ticket, Waiters};
pub(crate) use unremoved::UNREMOVED_FILTER_BYTES_MAX;
pub(super) use unremoved::UnremovedFilter;

use std::collections::VecDeque;

use super::counters::ShardCounters;
use crate::broker::TopicFilter;
use crate::mqtt::HEAD_MESSAGES_MAX;
use crate::store::{Outcome, PageLimit, Position, SessionNumber, Store};
use unconfirmed_filters::UnconfirmedFilters;

/// When so many bytes of all shards wait to be stored, work that would add to them waits
/// (`limit="store"`), until half of them is stored.
pub(crate) const STORE_BACKLOG_BYTES_MAX: u64 = 64 << 20;

/// How much of an outbox is read at a time.
const PAGE: PageLimit = PageLimit { messages: HEAD_MESSAGES_MAX as u32, bytes: 256 << 10 };

/// The same where there is no memory for so much.
const PAGE_SHORT: PageLimit = PageLimit { messages: 1, bytes: PAGE.bytes };

/// How many of its oldest messages are read at a time, to drop some: more, because new ones must not come faster
/// than old ones go.
const TRIM_PAGE: PageLimit = PageLimit { messages: 1_024, bytes: 4 << 20 };

/// When so many completions wait to be noted, the store counts as behind.
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
    /// The next messages from a position on.
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
    /// The writes of this turn.
    draft: Draft,
    /// Pages to be read from the store.
    page_reads: Vec<PageRead>,
    /// Too much waits to be stored: work that would add to it waits.
    is_behind: bool,
    /// Writes and reads that are done and that sessions have not noted yet.
    written: VecDeque<(Done, Outcome)>,
    /// Other things that the store and other shards have done.
    settled: VecDeque<(Done, Outcome)>,
    /// Subscriptions that may not be on disk yet.
    unconfirmed: UnconfirmedFilters,
    retry_list: RetryList,
    /// Scratch, kept for its memory.
    done: Vec<(Done, Outcome)>,
}

impl Journal {
    /// Adds a draft to what is written at the end of the turn.
    pub(super) fn append(&mut self, draft: Draft) {
        self.draft.append(draft);
    }

    /// Adds a page to those that are read at the end of the turn.
    pub(super) fn read_page(&mut self, page: PageRead) {
        self.page_reads.push(page);
    }

    /// Gives the store the writes of the shard `own`, behind all complete writes of several shards, and asks it
    /// for the pages.
    pub(super) fn submit(
        &mut self,
        own: u16,
        store: &dyn Store<Waiters>,
        shared: &SharedJournal,
        counters: &ShardCounters,
    ) {
        let commit = |draft: Draft| {
            let (writes, waiting) = draft.into_parts();
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
                // In order: a page must come behind the writes that it was asked for behind.
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

    /// Takes the next completion that a client may wait for.
    pub(super) fn take_settled(&mut self) -> Option<(Done, Outcome)> {
        self.settled.pop_front()
    }

    pub(super) fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// Takes the next completion that a session has to note.
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

    /// The same for all shards together.
    pub(super) fn is_store_behind(&self, store: &dyn Store<Waiters>) -> bool {
        self.is_behind || store.backlog_bytes() > STORE_BACKLOG_BYTES_MAX
    }

    /// Subscriptions that may not be on disk yet.
    pub(super) fn unconfirmed_mut(&mut self) -> &mut UnconfirmedFilters {
        &mut self.unconfirmed
    }

    /// Whether anything waits to be offered again that is of the session with this key and number.
    pub(super) fn has_refused(&self, key: u32, number: SessionNumber) -> bool {
        self.unconfirmed.has(number) || self.retry_list.has(key, number)
    }

    /// The writes that the store has refused.
    pub(super) fn retry_list(&self) -> &RetryList {
        &self.retry_list
    }

    /// What the store has refused.
    pub(super) fn retry_list_mut(&mut self) -> &mut RetryList {
        &mut self.retry_list
    }

    /// A filter of a SUBSCRIBE is on disk. An earlier removal of it that was refused is not offered again.
    pub(super) fn filter_written(
        &mut self,
        subscribe: u64,
        number: SessionNumber,
        filter: &TopicFilter,
    ) {
        self.retry_list.replace_filter(number, filter);
        self.unconfirmed.written(subscribe, number, filter);
    }

    /// How much is left, by kind: nothing once every session and connection has ended.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn leftovers(&self) -> [(&'static str, usize); 4] {
        self.retry_list.leftovers()
    }
}
