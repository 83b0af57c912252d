//! Durable sessions: when a shard writes to the store and reads from it, and what it does when the store answers.
//!
//! A turn's changes are filed as one request at its end. An acknowledgement leaves when its promise is safe: PUBACK
//! and PUBREC wait for the message in every durable outbox and for the publisher's exactly-once id, PUBREL and
//! PUBCOMP for the flow's next state, SUBACK and UNSUBACK for the subscriptions. The shard itself never waits.
//! While the store is behind, clients with durable sessions wait, and so do publishes for such sessions; while it
//! fails, their publishers are told, and all that was acknowledged stays.

use std::time::Duration;

use super::Shard;
use crate::mqtt::codec::Reason;
use crate::mqtt::{Filing, SessionChange, Version};
use crate::shard::journal::{
    Done, Draft, FilterPacket, Journal, Part, Subscribed, Unsubscribed, records,
};
use crate::shard::notices::NoticeKind;
use crate::shard::ports::{Ports, Token};
use crate::shard::publish::filter_units;
use crate::store::{Outcome, SessionNumber};

/// How long a turn notes that messages are on disk, and as long again other completions.
const NOTING_BUDGET: Duration = Duration::from_millis(2);

/// Units that it costs to note a completion, and a page of messages.
const NOTED_UNITS: u32 = 16;
const FETCHED_UNITS: u32 = 256;

/// Units that it costs to note that a filter is on disk.
const FILTER_NOTED_UNITS: u32 = 4;

impl<P: Ports> Shard<P> {
    /// Queues a draft, to be written at the end of the turn. A draft without writes is done at once.
    pub(super) fn file(&mut self, draft: Draft) {
        if draft.has_writes() {
            self.journal.append(draft);
            return;
        }
        let (_, waiting) = draft.into_parts();
        for (shard, done) in waiting {
            if shard == self.here.index() {
                self.on_done(done, Outcome::Committed);
            } else {
                let completions = self.here.shared().journal.completions(shard);
                completions.push(&mut vec![(done, Outcome::Committed)]);
            }
        }
    }

    /// Files this shard's part of a write, or leaves it to wait for the others'.
    pub(super) fn finish_part(&mut self, part: Part) {
        let is_shared = part.is_shared();
        if is_shared && self.journal.retry_list().has_unwritten() {
            // Another shard may file it at any time, behind the records that it needs.
            self.submit_draft();
        }
        let draft = part.finish();
        if is_shared && draft.has_writes() {
            self.here.shared().journal.complete_writes().push(draft);
        } else {
            self.file(draft);
        }
    }

    /// Gives the store the writes and reads of this turn. Complete writes of several shards go first, so that what
    /// a turn removes from an outbox comes behind what it has helped to put there.
    pub(super) fn submit_draft(&mut self) {
        let Some(store) = &self.here.shared().store else { return };
        self.journal.submit(
            self.here.index(),
            &**store,
            &self.here.shared().journal,
            self.here.counters(),
        );
    }

    /// Takes the completions of the store and of other shards, and notes as many as the turn has time for. A
    /// message may be in as many outboxes as there are sessions, so those come first that clients wait for.
    pub(super) fn read_completions(&mut self) {
        self.journal.collect(self.here.shared().journal.completions(self.here.index()));
        self.note(Journal::take_settled, Journal::has_settled);
        self.note(Journal::take_written, Journal::has_written);
        if let Some(store) = &self.here.shared().store
            && self.journal.catches_up(&**store)
        {
            self.agenda.unpark();
            self.resume_all_stalled();
        }
    }

    fn note(
        &mut self,
        take: fn(&mut Journal) -> Option<(Done, Outcome)>,
        has_more: fn(&Journal) -> bool,
    ) {
        let begun = self.agenda.read_clock();
        while let Some((done, outcome)) = take(&mut self.journal) {
            let units = noted_units(&done, &outcome);
            self.on_done(done, outcome);
            if self.agenda.uses_up(units, begun, NOTING_BUDGET) {
                self.here.counters().cut_completions.add(u64::from(has_more(&self.journal)));
                break;
            }
        }
    }

    pub(super) fn on_done(&mut self, done: Done, outcome: Outcome) {
        let failed = matches!(outcome, Outcome::Failed(_));
        match done {
            Done::EndInput { .. } | Done::Answered { .. } if self.agenda.is_resting() => {
                self.hold_news(done);
            }
            Done::Publish { client, number, reason, session, receipt } => {
                let reason = if failed { Reason::ImplementationSpecificError } else { reason };
                match self.resolve(client).filter(|index| self.is_served(*index)) {
                    Some(index) => self.settle_receipt(index, number, reason),
                    None => self.settle_for_absent(session, receipt, reason),
                }
            }
            Done::Connect { client } => {
                if let Some(index) = self.resolve(client) {
                    self.let_send(index);
                }
            }
            Done::Answer { client, answer } => {
                let Some(index) = self.resolve(client) else { return };
                let Some(connection) = self.clients[index].connection_mut() else { return };
                if failed {
                    self.close_client(index, Some(Reason::ImplementationSpecificError));
                } else {
                    connection.answer_now(answer);
                    self.mark_dirty(index);
                }
            }
            Done::Subscribe(subscribed) => self.on_subscribed(*subscribed, failed),
            Done::Unsubscribe(unsubscribed) => self.on_unsubscribed(*unsubscribed, failed),
            Done::FilterRemoved { session, number, filter } => {
                self.on_filter_removed((session, number, filter), failed);
            }
            Done::Changed { session, number, changes, again } => {
                self.on_changed((session, number), changes, again, failed);
            }
            Done::Written { session, number, position, filed } => {
                self.on_written(session, number, position, filed, failed);
            }
            Done::Session { session, number } => self.on_saved(session, number, failed),
            Done::Removed { number, again } => self.on_removed(number, again, failed),
            Done::Page { session, number } => self.on_page(session, number, outcome),
            Done::Trim { session, number } => self.on_trim(session, number, outcome),
            Done::Will(will) => self.on_will_published(will, failed),
            Done::EndWritten(giver) => self.on_end_written(giver, failed),
            Done::HandedOn(giver, message) => self.on_handed_on(giver, *message, failed),
            Done::HandOnPage(page) => self.on_hand_on_page(page, outcome),
            Done::EndInput { client } => self.on_end_input(client),
            Done::Knock(doorway) => self.on_knock(doorway),
            Done::Entered { entered, reason } => {
                entered.settle(if failed { Reason::ImplementationSpecificError } else { reason });
            }
            Done::Answered { client, number, verdict } => self.on_answer(client, number, *verdict),
            #[cfg(any(test, feature = "simulation"))]
            Done::Move { client_id, to } => self.on_move_asked(&client_id, to),
        }
    }

    /// The filters of a SUBSCRIBE are on disk, or could not be written.
    fn on_subscribed(&mut self, mut subscribed: Subscribed, failed: bool) {
        let FilterPacket { client, session: (key, number), packet_id } = subscribed.packet();
        let subscribe = subscribed.number();
        for filter in subscribed.take_unconfirmed() {
            if !failed {
                self.journal.filter_written(subscribe, number, &filter);
            } else if self.journal.unconfirmed_mut().failed(subscribe, number, &filter)
                && self.sessions.is_there(key, number)
            {
                self.forget_subscription(key, &filter);
            }
        }
        let Some(index) = self.resolve(client) else { return };
        if let Some(connection) = self.clients[index].connection_mut() {
            if failed && connection.version() == Version::V31 {
                // A SUBACK of MQTT 3.1 cannot say that it failed.
                self.close_client(index, None);
                return;
            }
            connection.subscribed(packet_id, &subscribed.into_results(failed));
            self.release_retained(key, subscribe, failed);
            self.mark_dirty(index);
        }
    }

    /// The filters of an UNSUBSCRIBE are off the disk, or could not be removed: then that is tried again.
    fn on_unsubscribed(&mut self, mut unsubscribed: Unsubscribed, failed: bool) {
        let FilterPacket { client, session: (key, number), packet_id } = unsubscribed.packet();
        if failed {
            for filter in unsubscribed.take_filters() {
                self.keep_unremoved((key, number, filter));
            }
        }
        let Some(index) = self.resolve(client) else { return };
        let Some(connection) = self.clients[index].connection_mut() else { return };
        if failed && connection.version() != Version::V5 {
            // An UNSUBACK before MQTT 5 cannot say that it failed.
            self.tell(index, NoticeKind::Ended, &"its UNSUBSCRIBE could not be stored");
            self.close_client(index, None);
            return;
        }
        connection.unsubscribed(packet_id, &unsubscribed.into_reasons(failed));
        self.mark_dirty(index);
    }

    fn on_written(
        &mut self,
        key: u32,
        number: SessionNumber,
        position: u64,
        filed: Filing,
        failed: bool,
    ) {
        let Some(entry) = self.sessions.numbered(key, number) else {
            if self.on_written_after_end(number, position, failed) {
                return;
            }
            // The write came behind the session's end.
            if filed == Filing::Pending && !failed {
                self.file(records::changed(SessionChange::Settle(position), number).into());
            }
            return;
        };
        let client = entry.client();
        if failed {
            let dropped = entry.session.not_written(position);
            self.here.counters().dropped_store.add(u64::from(dropped));
            if !dropped {
                self.journal.retry_list_mut().push_unwritten(key, number);
            }
        } else {
            entry.session.written(position, filed, client.is_some());
        }
        self.file_changes(key, None);
        self.go_on_with_held(key);
        if let Some(index) = client {
            // A QoS 2 message may leave now, or has to be read from disk first.
            if self.has_more_for(index) {
                self.mark_dirty(index);
            } else {
                self.begin_page(key);
            }
        }
    }

    pub(super) fn is_served(&self, index: u32) -> bool {
        self.clients[index].is_served()
    }

    /// Files the changes of a session, and what is to be done when they are made.
    pub(super) fn file_changes(&mut self, key: u32, done: Option<Done>) {
        let mut draft = self.drafted_changes(key);
        if let Some(done) = done {
            draft.wait(self.here.index(), done);
        }
        if !draft.is_empty() {
            self.file(draft);
        }
    }

    /// Takes the changes of a session, to be filed.
    pub(super) fn drafted_changes(&mut self, key: u32) -> Draft {
        let network = self.sessions.network(key);
        let Some(entry) = self.sessions.entry_mut(key) else { return Draft::default() };
        let number = entry.number();
        let changes = entry.session.take_changes();
        let shared = self.here.shared();
        entry
            .session
            .charge_inflight(&shared.memory.inflight, |user| shared.holders.holder(network, user));
        let draft: Draft = changes.iter().map(|&change| records::changed(change, number)).collect();
        if changes.is_empty() {
            return draft;
        }
        let done = Done::Changed { session: key, number, changes, again: false };
        draft.then(self.here.index(), done)
    }

    /// A client's token, for work that comes back later.
    pub(super) fn token_of(&self, index: u32) -> Token {
        self.clients[index].token(index)
    }
}

/// Units that it costs to note a completion.
fn noted_units(done: &Done, outcome: &Outcome) -> u32 {
    match done {
        Done::Subscribe(subscribed) => {
            let failed = matches!(outcome, Outcome::Failed(_));
            let each = |filter| if failed { filter_units(filter) } else { FILTER_NOTED_UNITS };
            NOTED_UNITS + subscribed.unconfirmed().iter().map(each).sum::<u32>()
        }
        Done::Unsubscribe(unsubscribed) if matches!(outcome, Outcome::Failed(_)) => {
            NOTED_UNITS + FILTER_NOTED_UNITS.saturating_mul(unsubscribed.filters().len() as u32)
        }
        Done::Changed { changes, .. } => NOTED_UNITS.saturating_mul(changes.len() as u32),
        Done::Page { .. } | Done::Trim { .. } | Done::HandOnPage(_) => FETCHED_UNITS,
        _ => NOTED_UNITS,
    }
}
