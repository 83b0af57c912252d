//! Durable sessions: what a shard writes to the store, reads from it, and answers when it hears back.
//!
//! A turn's changes are filed as one request at its end. An acknowledgement leaves when what it promises
//! is safe: PUBACK and PUBREC wait for the message in every durable outbox and for the publisher's
//! exactly-once id, PUBREL and PUBCOMP for the flow's next state, SUBACK and UNSUBACK for the
//! subscriptions. The shard itself never waits. While the store is behind, clients whose sessions it
//! keeps wait, and so do publishes for such sessions; while it fails, they are told so, and what was
//! acknowledged stays.

use std::time::Duration;

use super::Shard;
use crate::mqtt::codec::Reason;
use crate::mqtt::{Filing, SessionChange, Version};
use crate::shard::clients::Phase;
use crate::shard::journal::{Done, Draft, Journal, Part, Subscribed, Unsubscribed, records};
use crate::shard::notices::Kind;
use crate::shard::ports::{Ports, Token};
use crate::shard::publish::filter_units;
use crate::shard::sessions::Entry;
use crate::store::{Outcome, SessionNumber};

/// So long a turn notes what messages were written to disk, and as long what else has come to pass.
const NOTING_BUDGET: Duration = Duration::from_millis(2);

/// What it costs to note something, and messages fetched.
const NOTED_UNITS: u32 = 16;
const FETCHED_UNITS: u32 = 256;

/// What it costs to note that a filter is on disk.
const FRESH_UNITS: u32 = 4;

impl<P: Ports> Shard<P> {
    /// Has a draft written at the end of the turn. What changes nothing is done at once.
    pub(super) fn file(&mut self, draft: Draft) {
        if !draft.writes.is_empty() {
            self.journal.append(draft);
            return;
        }
        for (shard, done) in draft.waiting {
            if shard == self.here.index() {
                self.on_done(done, Outcome::Committed);
            } else {
                let completions = self.here.shared().journal.completions(shard);
                completions.push(&mut vec![(done, Outcome::Committed)]);
            }
        }
    }

    /// Files a shard's part of a write, or has it wait for the others.
    pub(super) fn finish_part(&mut self, part: Part) {
        let is_shared = part.is_shared();
        if is_shared && self.journal.has_unwritten() {
            // Another shard may file it at any time, behind the records that it needs.
            self.submit_draft();
        }
        let draft = part.finish();
        if is_shared && !draft.writes.is_empty() {
            self.here.shared().journal.complete_writes().push(draft);
        } else {
            self.file(draft);
        }
    }

    /// Gives the store what this turn has brought, and asks it for what clients wait for. What a
    /// turn does to an outbox comes behind what the same turn has helped to put there.
    pub(super) fn submit_draft(&mut self) {
        let Some(store) = &self.here.shared().store else { return };
        self.journal.submit(
            self.here.index(),
            &**store,
            &self.here.shared().journal,
            self.here.counters(),
        );
    }

    /// Takes what the store and other shards have done, and notes it as far as the turn goes. A message
    /// may be in as many outboxes as there are sessions: what clients wait for comes first.
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
                let Phase::Serving { connection, .. } = &mut self.clients[index].phase else {
                    return;
                };
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
            Done::Left(giver) => self.on_left(giver, failed),
            Done::PassedOn(giver, message) => self.on_passed_on(giver, *message, failed),
            Done::PassOn(leaver) => self.on_leavers_page(leaver, outcome),
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

    /// Whether the store keeps a session.
    pub(super) fn is_durable(&self, key: u32) -> bool {
        self.sessions.entry(key).is_some_and(|entry| entry.session.is_durable())
    }

    /// The session with this key, if it is still the one with this number.
    pub(super) fn numbered(&mut self, key: u32, number: SessionNumber) -> Option<&mut Entry> {
        self.sessions.entry_mut(key).filter(|entry| entry.number == number)
    }

    /// What a SUBSCRIBE brought is on disk, or is not.
    fn on_subscribed(&mut self, subscribed: Subscribed, failed: bool) {
        let Subscribed { client, session: (key, number), packet_id, results, .. } = subscribed;
        let (subscribe, mut results) = (subscribed.subscribe, results);
        for filter in subscribed.unconfirmed {
            if !failed {
                self.journal.filter_written(subscribe, number, filter);
            } else if self.journal.subscribe_failed(subscribe, number, &filter)
                && self.numbered(key, number).is_some()
            {
                self.forget_subscription(key, &filter);
            }
        }
        if failed {
            results = vec![Err(Reason::ImplementationSpecificError); results.len()];
        }
        let Some(index) = self.resolve(client) else { return };
        if let Phase::Serving { connection, .. } = &mut self.clients[index].phase {
            if failed && connection.version() == Version::V31 {
                // Its SUBACK always says that it was done.
                self.close_client(index, None);
                return;
            }
            connection.subscribed(packet_id, &results);
            self.release_retained(key, subscribe, failed);
            self.mark_dirty(index);
        }
    }

    /// What an UNSUBSCRIBE removed is off the disk, or is not: then it is offered again.
    fn on_unsubscribed(&mut self, unsubscribed: Unsubscribed, failed: bool) {
        let Unsubscribed { client, session: (key, number), packet_id, .. } = unsubscribed;
        let mut reasons = unsubscribed.reasons;
        if failed {
            for filter in unsubscribed.filters {
                self.keep_unremoved((key, number, filter));
            }
            reasons = vec![Reason::ImplementationSpecificError; reasons.len()];
        }
        let Some(index) = self.resolve(client) else { return };
        let Phase::Serving { connection, .. } = &mut self.clients[index].phase else {
            return;
        };
        if failed && connection.version() != Version::V5 {
            // Its UNSUBACK always says that it was done.
            self.tell(index, Kind::Ended, &"its UNSUBSCRIBE could not be stored");
            self.close_client(index, None);
            return;
        }
        connection.unsubscribed(packet_id, &reasons);
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
        let Some(entry) = self.numbered(key, number) else {
            if self.on_left_written(number, position, failed) {
                return;
            }
            // It came behind the session's end.
            if filed == Filing::Pending && !failed {
                self.file(records::changed(SessionChange::Settle(position), number).into());
            }
            return;
        };
        let client = entry.presence.client();
        if failed {
            let dropped = entry.session.not_written(position);
            self.here.counters().dropped_store.add(u64::from(dropped));
            if !dropped {
                self.journal.push_unwritten(key, number);
            }
        } else {
            entry.session.written(position, filed, client.is_some());
        }
        self.file_changes(key, None);
        if let Some(index) = client {
            // QoS 2 may go out now, or has to be fetched first.
            if self.has_more_for(index) {
                self.mark_dirty(index);
            } else {
                self.begin_page(key);
            }
        }
    }

    pub(super) fn is_served(&self, index: u32) -> bool {
        matches!(self.clients[index].phase, Phase::Serving { .. })
    }

    /// Files what has changed in a session, and what waits for it.
    pub(super) fn file_changes(&mut self, key: u32, done: Option<Done>) {
        let mut draft = self.drafted_changes(key);
        draft.waiting.extend(done.map(|done| (self.here.index(), done)));
        if !draft.is_empty() {
            self.file(draft);
        }
    }

    /// What has changed in a session, to be filed.
    pub(super) fn drafted_changes(&mut self, key: u32) -> Draft {
        let network = self.sessions.network(key);
        let Some(entry) = self.sessions.entry_mut(key) else { return Draft::default() };
        let number = entry.number;
        let changes = entry.session.take_changes();
        let shared = self.here.shared();
        entry
            .session
            .charge_inflight(&shared.memory.inflight, |user| shared.holders.holder(network, user));
        let writes = changes.iter().map(|&change| records::changed(change, number)).collect();
        let done = (!changes.is_empty()).then(|| Done::Changed {
            session: key,
            number,
            changes,
            again: false,
        });
        let own = self.here.index();
        Draft { writes, waiting: done.map(|done| (own, done)).into_iter().collect() }
    }

    /// What a client's token is, for whoever answers it later.
    pub(super) fn token_of(&self, index: u32) -> Token {
        self.clients[index].token(index)
    }
}

/// What it costs to note something.
fn noted_units(done: &Done, outcome: &Outcome) -> u32 {
    match done {
        Done::Subscribe(subscribed) => {
            let failed = matches!(outcome, Outcome::Failed(_));
            let each = |filter| if failed { filter_units(filter) } else { FRESH_UNITS };
            NOTED_UNITS + subscribed.unconfirmed.iter().map(each).sum::<u32>()
        }
        Done::Unsubscribe(unsubscribed) if matches!(outcome, Outcome::Failed(_)) => {
            NOTED_UNITS + FRESH_UNITS.saturating_mul(unsubscribed.filters.len() as u32)
        }
        Done::Changed { changes, .. } => NOTED_UNITS.saturating_mul(changes.len() as u32),
        Done::Page { .. } | Done::Trim { .. } | Done::PassOn(_) => FETCHED_UNITS,
        _ => NOTED_UNITS,
    }
}
