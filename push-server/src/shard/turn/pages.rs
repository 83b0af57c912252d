//! Outboxes of which a part is on disk alone: when a page is read, and what becomes of it.

use std::sync::Arc;

use super::Shard;
use crate::mqtt::Fetched;
use crate::shard::journal::{Done, PageRead, records};
use crate::shard::ports::Ports;
use crate::shard::sessions::Entry;
use crate::store::{Outcome, Page, SessionNumber, Stored, WallMillis};

const MILLIS_PER_SEC: u64 = 1_000;

impl<P: Ports> Shard<P> {
    /// Asks for the next page of a connected client's outbox, if one is due. While shards rest it waits, with what
    /// is to be sent.
    pub(super) fn begin_page(&mut self, key: u32) {
        if self.agenda.is_resting() {
            if let Some(index) = self.sessions.entry(key).and_then(Entry::client) {
                self.mark_dirty(index);
            }
            return;
        }
        self.begin_trim(key);
        let memory = &self.here.shared().memory.outboxes;
        if let Some(entry) = self.sessions.entry_mut(key)
            && let Some(from) = entry.session.begin_page(memory)
        {
            let number = entry.number();
            // Without its record, a restart would take messages that are sent from now on for ones that were not.
            self.save_if_owed(key);
            let memory = &self.here.shared().memory.outboxes;
            let done = Done::Page { session: key, number };
            let page = PageRead::next(number, from, done).into_memory(memory.left_bytes());
            self.journal.read_page(page);
        }
    }

    /// Asks for the oldest messages of an outbox that is over its limits, to drop them.
    pub(super) fn begin_trim(&mut self, key: u32) {
        let limits = &self.here.shared().config.limits;
        if let Some(entry) = self.sessions.entry_mut(key)
            && let Some(from) = entry.session.begin_trim(limits)
        {
            let number = entry.number();
            let done = Done::Trim { session: key, number };
            self.journal.read_page(PageRead::oldest(number, from, done));
        }
    }

    /// The oldest messages of an outbox are here: drops as many as the outbox is over its limits.
    pub(super) fn on_trim(&mut self, key: u32, number: SessionNumber, outcome: Outcome) {
        let shared = Arc::clone(self.here.shared());
        let Some(client) = self.sessions.numbered(key, number).map(|entry| entry.client()) else {
            return;
        };
        if let Outcome::Page(Page { entries, next }) = outcome {
            let retry_list = self.journal.retry_list();
            let sizes = entries.into_iter().filter_map(|(position, stored)| match stored {
                _ if retry_list.is_unsettled(number, position.0) => None,
                Stored::Entry(entry) => Some((position.0, entry.weight_bytes())),
                Stored::Released => None,
            });
            let (sizes, limits) = (sizes.collect::<Vec<_>>(), &shared.config.limits);
            let next = next.map(|next| next.0);
            let Some(entry) = self.sessions.numbered(key, number) else { return };
            let dropped = entry.session.trimmed(&sizes, next, limits, client.is_some());
            self.here.counters().dropped_outbox_full.add(u64::from(dropped));
            self.file_changes(key, None);
            self.begin_trim(key);
            if let Some(index) = client {
                self.mark_dirty(index);
            }
        } else {
            // The next message for it tries again, or the retry when the store is back.
            if let Some(entry) = self.sessions.numbered(key, number) {
                entry.session.page_failed(client.is_some());
            }
            self.journal.retry_list_mut().push_unread(key, number);
        }
    }

    pub(super) fn on_page(&mut self, key: u32, number: SessionNumber, outcome: Outcome) {
        let age_max_millis =
            u64::from(self.here.shared().config.outbox_age_max_secs).saturating_mul(MILLIS_PER_SEC);
        let oldest = self
            .here
            .shared()
            .journal
            .clocks()
            .to_wall(self.agenda.now())
            .0
            .saturating_sub(age_max_millis);
        let Outcome::Page(Page { entries, next }) = outcome else {
            if let Some(entry) = self.sessions.numbered(key, number) {
                entry.session.page_failed(entry.client().is_some());
                self.journal.retry_list_mut().push_unread(key, number);
            }
            return;
        };
        let mut stale = 0;
        let retry_list = self.journal.retry_list();
        let owed = entries
            .into_iter()
            .filter(|(position, _)| !retry_list.is_unsettled(number, position.0));
        let fetched = owed.map(|(position, stored)| {
            let shares = &self.here.shared().shares;
            let fetched = records::fetched(stored, WallMillis(oldest), shares);
            stale += u64::from(matches!(fetched, Fetched::Stale(_)));
            (position.0, fetched)
        });
        let fetched = fetched.collect();
        let shared = Arc::clone(self.here.shared());
        let Some(entry) = self.sessions.numbered(key, number) else { return };
        let client = entry.client();
        let next = next.map(|next| next.0);
        let memory = &shared.memory.outboxes;
        let lost = entry.session.page_loaded(fetched, next, client.is_some(), memory);
        if client.is_some() {
            self.here.counters().dropped_stale.add(stale);
        }
        if lost > 0 {
            self.here.counters().dropped_store.add(u64::from(lost));
            tracing::error!(lost, "messages of a session are missing in the data directory");
        }
        self.file_changes(key, None);
        match client {
            Some(index) => self.mark_dirty(index),
            None => self.begin_trim(key),
        }
    }
}
