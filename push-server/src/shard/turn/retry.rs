//! What the store has refused, and is offered again as soon as it serves: records of sessions, what their
//! clients have acknowledged, ends of sessions, filters that were unsubscribed from, and pages that somebody waits for.
//!
//! A client may have been told meanwhile that it is connected, with its session or without the one
//! before. What it is promised from then on stands on the session's record, which is written before
//! or with it. What was asked for when the shard did not know yet that the record had failed, fails,
//! too, though the disk may be back: the store sees to that.

use super::Shard;
use super::errand::Errand;
use crate::broker::Budget;
use crate::mqtt::SessionChange;
use crate::mutant::{Rule, is_left_out};
use crate::shard::agenda::{Flow, Progress};
use crate::shard::journal::{Again, Done, Draft, Retrying, UnremovedFilter, records};
use crate::shard::ports::Ports;
use crate::store::{SessionNumber, Write};

/// What it costs to offer a record, a removal, a will or a page again.
const RETRIED_UNITS: u32 = 32;

impl<P: Ports> Shard<P> {
    /// Begins to offer the store again, in turns, what it has refused. Called now and then.
    pub(super) fn retry_store(&mut self) {
        let is_serving = self.here.shared().store.as_ref().is_some_and(|store| store.is_serving());
        if is_serving && let Some(retrying) = self.journal.begin_retry() {
            self.agenda.push(Flow::nobody(self.here.index()), Errand::Retry(Box::new(retrying)));
        }
    }

    /// Continues until the budget is spent. The next start finds what is left when the server stops.
    pub(super) fn go_on_retrying(
        &mut self,
        retrying: &mut Retrying,
        budget: &mut Budget,
    ) -> Progress {
        while !self.stop.has_begun() {
            if budget.is_spent() {
                return Progress::Spent;
            }
            budget.charge(RETRIED_UNITS);
            if !self.retry_one(retrying) {
                break;
            }
        }
        self.journal.end_retry();
        Progress::Done
    }

    /// Returns whether there was anything left.
    fn retry_one(&mut self, retrying: &mut Retrying) -> bool {
        match retrying.next() {
            Some(Again::Record(key, number)) => {
                if self.numbered(key, number).is_some() {
                    self.file_unwritten(key);
                    self.save_session(key);
                } else {
                    self.journal.end_unwritten(key, number);
                }
            }
            Some(Again::SessionChange(key, number, change)) => {
                self.retry_change((key, number), change);
            }
            Some(Again::Removal(number)) => self.file(self.removed(number, true)),
            Some(Again::FilterRemoval(filter)) => self.retry_filter_removal(filter),
            Some(Again::Will) => self.retry_will(),
            Some(Again::PassOn(giver)) => self.retry_giver(giver),
            Some(Again::LeaversPage(leaver)) => self.read_leavers_page(leaver),
            Some(Again::Page(key, number)) => {
                self.journal.end_unread(key, number);
                if let Some(index) = self.numbered(key, number).and_then(|e| e.presence.client()) {
                    self.mark_dirty(index);
                }
            }
            None => return false,
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
            waiting: vec![(self.here.index(), Done::Removed { number, again: false })],
        }
    }

    fn removed(&self, number: SessionNumber, again: bool) -> Draft {
        let is_left = is_left_out(Rule::SessionRemoved);
        Draft {
            writes: if is_left { Vec::new() } else { vec![Write::RemoveSession { number }] },
            waiting: vec![(self.here.index(), Done::Removed { number, again })],
        }
    }

    pub(super) fn on_removed(&mut self, number: SessionNumber, again: bool, failed: bool) {
        if !failed {
            self.here.counters().removals_retried.add(u64::from(again));
        } else if !self.journal.push_unremoved(number) {
            self.here.counters().limit_removals.add(1);
        }
    }

    /// A session's own record is on disk, or is not.
    pub(super) fn on_saved(&mut self, key: u32, number: SessionNumber, failed: bool) {
        if failed {
            if self.numbered(key, number).is_some() {
                self.journal.push_unwritten(key, number);
            }
        } else {
            self.journal.end_unwritten(key, number);
        }
    }

    /// Changes of a session are made on disk, or are not: then they are offered again.
    pub(super) fn on_changed(
        &mut self,
        (key, number): (u32, SessionNumber),
        changes: Vec<SessionChange>,
        again: bool,
        failed: bool,
    ) {
        for change in changes {
            if failed {
                if self.needs(key, number, change) && !self.journal.push_change(key, number, change)
                {
                    self.here.counters().limit_changes.add(1);
                }
                continue;
            }
            if again {
                self.journal.end_change(number, change);
                self.here.counters().removals_retried.add(1);
            }
            let entry = self.numbered(key, number);
            if let (SessionChange::Release(position), Some(entry)) = (change, entry) {
                entry.session.released(position);
                if let Some(index) = entry.presence.client() {
                    self.mark_dirty(index);
                }
            }
        }
    }

    /// Whether a change is still to be made: its session may have gone on, or have ended.
    fn needs(&mut self, key: u32, number: SessionNumber, change: SessionChange) -> bool {
        if let Some(entry) = self.numbered(key, number) {
            return entry.session.needs(change);
        }
        // What it leaves to others is read from its outbox.
        let is_leaving = self.sessions.leaving(number).is_some();
        is_leaving && matches!(change, SessionChange::Settle(_))
    }

    /// Offers a change again. It stays among those that were refused until it is made: a page that is being
    /// read may still have its message.
    fn retry_change(&mut self, (key, number): (u32, SessionNumber), change: SessionChange) {
        if !self.needs(key, number, change) {
            self.journal.end_change(number, change);
            return;
        }
        let changes = vec![change];
        let done = Done::Changed { session: key, number, changes, again: true };
        let waiting = vec![(self.here.index(), done)];
        self.file(Draft { writes: vec![records::changed(change, number)], waiting });
        if matches!(change, SessionChange::EndExactlyOnce(_)) {
            // Ahead of what a client may begin now under the same packet id, which another shard may file.
            self.submit_draft();
        }
    }

    /// The record of a session that the disk does not have, to be written together with what is
    /// promised in it: a start takes what belongs to no session for leftovers.
    pub(super) fn owed_record(&mut self, key: u32) -> Draft {
        if !self.is_unwritten(key) {
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

    fn is_unwritten(&mut self, key: u32) -> bool {
        let Some(number) = self.journal.unwritten(key) else { return false };
        self.numbered(key, number).is_some()
    }

    /// A filter that was unsubscribed from could not be removed.
    pub(super) fn keep_unremoved(&mut self, filter: UnremovedFilter) {
        if !self.journal.push_unremoved_filter(filter) {
            self.here.counters().limit_filter_removals.add(1);
        }
    }

    /// Offers a removal again, unless the session has ended, and with it all that it has on disk.
    pub(super) fn retry_filter_removal(&mut self, (key, number, filter): UnremovedFilter) {
        let Some(entry) = self.numbered(key, number) else { return };
        if entry.session.subscriptions.contains(&filter) {
            // It is subscribed to again. Its write may have to fail yet, so it is asked again later.
            self.keep_unremoved((key, number, filter));
            return;
        }
        let write = Write::RemoveSubscription { number, filter: filter.clone() };
        let done = Done::FilterRemoved { session: key, number, filter };
        self.file(Draft { writes: vec![write], waiting: vec![(self.here.index(), done)] });
    }

    pub(super) fn on_filter_removed(&mut self, filter: UnremovedFilter, failed: bool) {
        if failed {
            self.keep_unremoved(filter);
        } else {
            self.here.counters().removals_retried.add(1);
        }
    }
}
