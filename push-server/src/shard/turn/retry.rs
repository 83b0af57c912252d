//! Offers the store again what it has refused, as soon as it serves: records of sessions, removals of acknowledged
//! messages, ends of sessions, removals of filters, wills, and pages.
//!
//! A client may have had its CONNACK although its session's record could not be written. Everything that it is
//! promised from then on needs that record, which is written before or with it. Requests that a shard made before
//! it knew of the failure fail, too, even if the disk is back: the store sees to that (`store/rules/unsaved`).

use super::Shard;
use super::errand::Errand;
use crate::broker::Budget;
use crate::mqtt::SessionChange;
use crate::mutant::{Rule, is_left_out};
use crate::shard::agenda::{Flow, Progress};
use crate::shard::journal::{Again, Done, Draft, Retrying, UnremovedFilter, records};
use crate::shard::ports::Ports;
use crate::store::{SessionNumber, Write};

/// Units that it costs to offer a record, a removal, a will or a page again.
const RETRIED_UNITS: u32 = 32;

impl<P: Ports> Shard<P> {
    /// Begins to offer the store again, in turns, what it has refused. To be called about once a second.
    pub(super) fn retry_store(&mut self) {
        let is_serving = self.here.shared().store.as_ref().is_some_and(|store| store.is_serving());
        if is_serving && let Some(retrying) = self.journal.retry_list_mut().begin_retry() {
            self.agenda.push(Flow::nobody(self.here.index()), Errand::Retry(Box::new(retrying)));
        }
    }

    /// Continues until the budget is spent. When the server stops, the next start finds the rest.
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
        self.journal.retry_list_mut().end_retry();
        Progress::Done
    }

    /// Offers the next thing again. Returns whether there was one.
    fn retry_one(&mut self, retrying: &mut Retrying) -> bool {
        match retrying.next() {
            Some(Again::Record(key, number)) => {
                if self.sessions.is_there(key, number) {
                    self.file_unwritten(key);
                    self.save_session(key);
                } else {
                    self.journal.retry_list_mut().end_unwritten(key, number);
                }
            }
            Some(Again::SessionChange(key, number, change)) => {
                self.retry_change((key, number), change);
            }
            Some(Again::Removal(number)) => self.file(self.removed(number, true)),
            Some(Again::FilterRemoval(filter)) => self.retry_filter_removal(filter),
            Some(Again::Will) => self.retry_will(),
            Some(Again::HandOn(giver)) => self.retry_hand_on(giver),
            Some(Again::HandOnPage(page)) => self.read_hand_on_page(page),
            Some(Again::Page(key, number)) => {
                self.journal.retry_list_mut().end_unread(key, number);
                if let Some(index) = self.sessions.numbered(key, number).and_then(|e| e.client()) {
                    self.mark_dirty(index);
                }
            }
            None => return false,
        }
        true
    }

    /// The removal of a session's record, outbox and subscriptions, which is tried until it works.
    pub(super) fn removal(&self, number: SessionNumber) -> Draft {
        self.removed(number, false)
    }

    /// The same for a session that has only a record with its will. If it fails, the retry removes all that a
    /// session may have.
    pub(super) fn record_removal(&self, number: SessionNumber) -> Draft {
        let done = Done::Removed { number, again: false };
        Draft::from(Write::RemoveRecord { number }).then(self.here.index(), done)
    }

    fn removed(&self, number: SessionNumber, again: bool) -> Draft {
        let is_left = is_left_out(Rule::SessionRemoved);
        let write = (!is_left).then_some(Write::RemoveSession { number });
        let draft: Draft = write.into_iter().collect();
        draft.then(self.here.index(), Done::Removed { number, again })
    }

    pub(super) fn on_removed(&mut self, number: SessionNumber, again: bool, failed: bool) {
        if !failed {
            self.here.counters().removals_retried.add(u64::from(again));
        } else if !self.journal.retry_list_mut().push_unremoved(number) {
            self.here.counters().limit_removals.add(1);
        }
    }

    /// A session's own record is on disk, or could not be written.
    pub(super) fn on_saved(&mut self, key: u32, number: SessionNumber, failed: bool) {
        if failed {
            if self.sessions.is_there(key, number) {
                self.journal.retry_list_mut().push_unwritten(key, number);
            }
        } else {
            self.journal.retry_list_mut().end_unwritten(key, number);
        }
    }

    /// Changes of a session are made on disk, or have failed: then they are offered again.
    pub(super) fn on_changed(
        &mut self,
        (key, number): (u32, SessionNumber),
        changes: Vec<SessionChange>,
        again: bool,
        failed: bool,
    ) {
        for change in changes {
            if failed {
                if self.needs(key, number, change)
                    && !self.journal.retry_list_mut().push_change(key, number, change)
                {
                    self.here.counters().limit_changes.add(1);
                }
                continue;
            }
            if again {
                self.journal.retry_list_mut().end_change(number, change);
                self.here.counters().removals_retried.add(1);
            }
            let entry = self.sessions.numbered(key, number);
            if let (SessionChange::Release(position), Some(entry)) = (change, entry) {
                entry.session.released(position);
                if let Some(index) = entry.client() {
                    self.mark_dirty(index);
                }
            }
        }
    }

    /// Whether a change is still needed: its session may have gone on, or have ended.
    fn needs(&mut self, key: u32, number: SessionNumber, change: SessionChange) -> bool {
        if let Some(entry) = self.sessions.numbered(key, number) {
            return entry.session.needs(change);
        }
        // It reads messages from its outbox, to hand them on.
        self.sessions.hands_on(number) && matches!(change, SessionChange::Settle(_))
    }

    /// Offers a change again. It stays in the retry list until it is made: a page that is being read may still have
    /// its message.
    fn retry_change(&mut self, (key, number): (u32, SessionNumber), change: SessionChange) {
        if !self.needs(key, number, change) {
            self.journal.retry_list_mut().end_change(number, change);
            return;
        }
        let changes = vec![change];
        let done = Done::Changed { session: key, number, changes, again: true };
        self.file(Draft::from(records::changed(change, number)).then(self.here.index(), done));
        if matches!(change, SessionChange::EndExactlyOnce(_)) {
            // It has to come before a new publish under the same packet id, which another shard may file.
            self.submit_draft();
        }
    }

    /// The record of a session, if the disk lacks it, to be written together with promises to that session: a start
    /// takes messages of no session for leftovers.
    pub(super) fn owed_record(&mut self, key: u32) -> Draft {
        if !self.is_unwritten(key) {
            return Draft::default();
        }
        self.file_unwritten(key);
        self.saved_session(key)
    }

    /// The same before a write of several shards. The record goes into this shard's own draft, which `finish_part`
    /// submits first: in a write that waits for other shards it would be older than records that are filed
    /// meanwhile.
    pub(super) fn save_if_owed(&mut self, key: u32) {
        let record = self.owed_record(key);
        self.file(record);
    }

    fn is_unwritten(&mut self, key: u32) -> bool {
        let Some(number) = self.journal.retry_list().unwritten(key) else { return false };
        self.sessions.is_there(key, number)
    }

    /// A filter that was unsubscribed from could not be removed.
    pub(super) fn keep_unremoved(&mut self, filter: UnremovedFilter) {
        if !self.journal.retry_list_mut().push_filter(filter) {
            self.here.counters().limit_filter_removals.add(1);
        }
    }

    /// Offers a removal again, unless the session has ended, and with it all that it has on disk.
    pub(super) fn retry_filter_removal(&mut self, (key, number, filter): UnremovedFilter) {
        let Some(entry) = self.sessions.numbered(key, number) else { return };
        if entry.session.subscriptions().contains(&filter) {
            // The session has subscribed to it again. That write may fail yet, so the removal is looked at again
            // later.
            self.keep_unremoved((key, number, filter));
            return;
        }
        let write = Write::RemoveSubscription { number, filter: filter.clone() };
        let done = Done::FilterRemoved { session: key, number, filter };
        self.file(Draft::from(write).then(self.here.index(), done));
    }

    pub(super) fn on_filter_removed(&mut self, filter: UnremovedFilter, failed: bool) {
        if failed {
            self.keep_unremoved(filter);
        } else {
            self.here.counters().removals_retried.add(1);
        }
    }
}
