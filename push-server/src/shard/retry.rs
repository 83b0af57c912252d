//! What the store has refused, and is offered again as soon as it serves: records of sessions, ends of
//! sessions, and pages that somebody waits for.
//!
//! A client may have been told meanwhile that it is connected, with its session or without the one
//! before. What it is promised from then on stands on the session's record, which is written before
//! or with it. What was asked for when the shard did not know yet that the record had failed, fails,
//! too, though the disk may be back: the store sees to that.

use super::ticket::{Done, Draft};
use super::worker::Worker;
use crate::store::{SessionNumber, Write};

/// Ended sessions that the store has failed to remove, of a shard. Further ones are not tried again
/// (`limit="removals"`): a restart finds them on disk.
pub(crate) const UNREMOVED_MAX: usize = 1 << 20;

/// Records, and removals, that are tried again at a time.
const RETRIED_AT_A_TIME: usize = 16_384;

impl Worker {
    /// Offers again what the store has refused. Called now and then.
    pub(super) fn retry_store(&mut self) {
        if !self.shared.store.as_ref().is_some_and(|store| store.is_serving()) {
            return;
        }
        let unsaved = self.unsaved.iter().take(RETRIED_AT_A_TIME);
        for (key, number) in unsaved.map(|(key, number)| (*key, *number)).collect::<Vec<_>>() {
            if self.numbered(key, number).is_some() {
                self.file_unwritten(key);
                self.save_session(key);
            } else {
                self.unsaved.remove(&key);
            }
        }
        let from = self.unremoved.len().saturating_sub(RETRIED_AT_A_TIME);
        for number in self.unremoved.split_off(from) {
            self.file(self.removed(number, true));
        }
        self.retry_wills();
        for leaver in std::mem::take(&mut self.unread_leavers) {
            self.read_leavers_page(leaver);
        }
        for (key, number) in std::mem::take(&mut self.unread) {
            if let Some(index) = self.numbered(key, number).and_then(|e| e.presence.client()) {
                self.mark_dirty(index);
            }
        }
        // Not at the end of a turn that waits first.
        self.submit_draft();
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
        Draft {
            writes: vec![Write::RemoveSession { number }],
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
