//! What the store has refused, and is offered again as soon as it serves: records of sessions, ends of
//! sessions, filters that were unsubscribed from, and pages that somebody waits for.
//!
//! A client may have been told meanwhile that it is connected, with its session or without the one
//! before. What it is promised from then on stands on the session's record, which is written before
//! or with it. What was asked for when the shard did not know yet that the record had failed, fails,
//! too, though the disk may be back: the store sees to that.

use std::vec;

use super::fair_queue::Flow;
use super::mutant::{Rule, is_left_out};
use super::ports::Ports;
use super::ticket::{Done, Draft, Leaver};
use super::turn::{Errand, Progress};
use super::unremoved::UnremovedFilter;
use super::worker::Worker;
use crate::broker::Budget;
use crate::store::{SessionNumber, Write};

/// Ended sessions that the store has failed to remove, of a shard. Further ones are not tried again
/// (`limit="removals"`): a restart finds them on disk.
pub(crate) const UNREMOVED_MAX: usize = 1 << 20;

/// Records, and as many removals of sessions and of filters, that are tried again at a time.
const RETRIED_AT_A_TIME: usize = 16_384;

/// What it costs to offer a record, a removal, a will or a page again.
const RETRIED_UNITS: u32 = 32;

/// What the store is being offered again.
#[derive(Debug)]
pub(super) struct Retrying {
    unsaved: vec::IntoIter<(u32, SessionNumber)>,
    removals: vec::IntoIter<SessionNumber>,
    filters: vec::IntoIter<UnremovedFilter>,
    /// How many wills.
    wills: usize,
    leavers: vec::IntoIter<Leaver>,
    unread: vec::IntoIter<(u32, SessionNumber)>,
}

impl<P: Ports> Worker<P> {
    /// Begins to offer the store again, in turns, what it has refused. Called now and then.
    pub(super) fn retry_store(&mut self) {
        let is_serving = self.shared.store.as_ref().is_some_and(|store| store.is_serving());
        let is_any = !self.unsaved.is_empty()
            || !self.unremoved.is_empty()
            || !self.unremoved_filters.is_empty()
            || !self.unpublished.is_empty()
            || !self.unread_leavers.is_empty()
            || !self.unread.is_empty();
        if !is_serving || !is_any || self.is_retrying {
            return;
        }
        self.is_retrying = true;
        let numbered = |(key, number): (&u32, &SessionNumber)| (*key, *number);
        let unsaved: Vec<_> = self.unsaved.iter().take(RETRIED_AT_A_TIME).map(numbered).collect();
        let from = self.unremoved.len().saturating_sub(RETRIED_AT_A_TIME);
        let unread: Vec<_> = self.unread.iter().take(RETRIED_AT_A_TIME).map(numbered).collect();
        let retrying = Retrying {
            unsaved: unsaved.into_iter(),
            removals: self.unremoved.split_off(from).into_iter(),
            filters: self.unremoved_filters.take(RETRIED_AT_A_TIME).into_iter(),
            wills: self.unpublished.len(),
            leavers: std::mem::take(&mut self.unread_leavers).into_iter(),
            unread: unread.into_iter(),
        };
        self.work.push(Flow::nobody(self.index), Errand::Retry(Box::new(retrying)));
    }

    /// Goes on with that until the budget is spent. What is left when the server stops is found by the next
    /// start.
    pub(super) fn go_on_retrying(
        &mut self,
        retrying: &mut Retrying,
        budget: &mut Budget,
    ) -> Progress {
        while !self.stopping {
            if budget.is_spent() {
                return Progress::Spent;
            }
            budget.charge(RETRIED_UNITS);
            if !self.retry_one(retrying) {
                break;
            }
        }
        self.is_retrying = false;
        Progress::Done
    }

    /// Returns whether there was anything left.
    fn retry_one(&mut self, retrying: &mut Retrying) -> bool {
        if let Some((key, number)) = retrying.unsaved.next() {
            if self.numbered(key, number).is_some() {
                self.file_unwritten(key);
                self.save_session(key);
            } else if self.unsaved.get(&key) == Some(&number) {
                self.unsaved.remove(&key);
            }
        } else if let Some(number) = retrying.removals.next() {
            self.file(self.removed(number, true));
        } else if let Some(filter) = retrying.filters.next() {
            self.retry_filter_removal(filter);
        } else if retrying.wills > 0 {
            retrying.wills -= 1;
            self.retry_will();
        } else if let Some(leaver) = retrying.leavers.next() {
            self.read_leavers_page(leaver);
        } else if let Some((key, number)) = retrying.unread.next() {
            if self.unread.get(&key) == Some(&number) {
                self.unread.remove(&key);
            }
            if let Some(index) = self.numbered(key, number).and_then(|e| e.presence.client()) {
                self.mark_dirty(index);
            }
        } else {
            return false;
        }
        true
    }

    /// The removal of a session and all that is its own, which is tried until it is done.
    pub(super) fn removal(&self, number: SessionNumber) -> Draft {
        self.removed(number, false)
    }

    /// The same for a session of which there is a record with its will alone. Where it fails, all that may
    /// be there is tried.
    pub(super) fn record_removal(&self, number: SessionNumber) -> Draft {
        Draft {
            writes: vec![Write::RemoveRecord { number }],
            waiting: vec![(self.index, Done::Removed { number, again: false })],
        }
    }

    fn removed(&self, number: SessionNumber, again: bool) -> Draft {
        let is_left = is_left_out(Rule::SessionRemoved);
        Draft {
            writes: if is_left { Vec::new() } else { vec![Write::RemoveSession { number }] },
            waiting: vec![(self.index, Done::Removed { number, again })],
        }
    }

    pub(super) fn on_removed(&mut self, number: SessionNumber, again: bool, failed: bool) {
        if !failed {
            self.counters.removals_retried.add(u64::from(again));
        } else if self.unremoved.len() < UNREMOVED_MAX {
            self.unremoved.push(number);
        } else {
            self.counters.limit_removals.add(1);
        }
    }

    /// A session's own record is on disk, or is not.
    pub(super) fn on_saved(&mut self, key: u32, number: SessionNumber, failed: bool) {
        if failed {
            if self.numbered(key, number).is_some() {
                self.unsaved.insert(key, number);
            }
        } else if self.unsaved.get(&key) == Some(&number) {
            self.unsaved.remove(&key);
        }
    }

    /// The record of a session that the disk does not have, to be written together with what is
    /// promised in it: a start takes what belongs to no session for leftovers.
    pub(super) fn owed_record(&mut self, key: u32) -> Draft {
        if !self.is_unsaved(key) {
            return Draft::default();
        }
        self.file_unwritten(key);
        self.saved_session(key)
    }

    /// The same for what is part of a write of several shards: in this shard's own draft, which
    /// `finish_part` has go before, because in a write that waits for others the record would be
    /// older than what is filed meanwhile.
    pub(super) fn save_if_owed(&mut self, key: u32) {
        let record = self.owed_record(key);
        self.file(record);
    }

    fn is_unsaved(&mut self, key: u32) -> bool {
        // Nearly always there is none at all.
        let Some(&number) = self.unsaved.get(&key) else { return false };
        self.numbered(key, number).is_some()
    }
}
