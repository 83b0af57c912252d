//! Durable sessions: what a shard writes to the store, reads from it, and answers when it hears back.
//!
//! A turn's changes are filed as one request at its end. An acknowledgement leaves when what it promises
//! is safe: PUBACK and PUBREC wait for the message in every durable outbox and for the publisher's
//! exactly-once id, PUBREL and PUBCOMP for the flow's next state, SUBACK and UNSUBACK for the
//! subscriptions. The shard itself never waits. While the store is behind, clients whose sessions it
//! keeps wait, and so do publishes for such sessions; while it fails, they are told so, and what was
//! acknowledged stays.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shard;
use super::subscribe::filter_units;
use crate::mqtt::codec::Reason;
use crate::mqtt::{Change, Connect, Fetched, Filing, PublishReceipt, Session, Version};
use crate::shard::clients::{Phase, Receipts};
use crate::shard::journal::{
    Done, Draft, Journal, PageRead, Part, Subscribed, Unsubscribed, records,
};
use crate::shard::mutant::{Rule, is_left_out};
use crate::shard::notices::Kind;
use crate::shard::ports::{Ports, Token};
use crate::shard::sessions::{Entry, Presence};
use crate::store::{Outcome, Page, SessionNumber, Stored, WallMillis, Write};

/// So long a turn notes what messages were written to disk, and as long what else has come to pass.
const NOTING_BUDGET: Duration = Duration::from_millis(2);

/// What it costs to note something, and messages fetched.
const NOTED_UNITS: u32 = 16;
const FETCHED_UNITS: u32 = 256;

/// What it costs to note that a filter is on disk.
const FRESH_UNITS: u32 = 4;

const MILLIS_PER_SEC: u64 = 1_000;

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
                let completions = &self.here.shared().completions[usize::from(shard)];
                completions.push(&mut vec![(done, Outcome::Committed)]);
            }
        }
    }

    /// Files a shard's part of a write, or has it wait for the others.
    pub(super) fn finish_part(&mut self, part: Part) {
        let is_shared = part.is_shared();
        if is_shared && self.journal.refused().has_unwritten() {
            // Another shard may file it at any time, behind the records that it needs.
            self.submit_draft();
        }
        let draft = part.finish();
        if is_shared && !draft.writes.is_empty() {
            self.here.shared().wholes.push(draft);
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
            &self.here.shared().wholes,
            self.here.counters(),
        );
    }

    /// Takes what the store and other shards have done, and notes it as far as the turn goes. A message
    /// may be in as many outboxes as there are sessions: what clients wait for comes first.
    pub(super) fn read_completions(&mut self) {
        self.journal.collect(&self.here.shared().completions[usize::from(self.here.index())]);
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

    fn on_done(&mut self, done: Done, outcome: Outcome) {
        let failed = matches!(outcome, Outcome::Failed(_));
        match done {
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
                if failed {
                    self.close_client(index, Some(Reason::ImplementationSpecificError));
                } else if let Phase::Serving { connection, .. } = &mut self.clients[index].phase {
                    connection.answer_now(answer);
                    self.mark_dirty(index);
                }
            }
            Done::Subscribe(subscribed) => self.on_subscribed(*subscribed, failed),
            Done::Unsubscribe(unsubscribed) => self.on_unsubscribed(*unsubscribed, failed),
            Done::FilterRemoved { session, number, filter } => {
                self.on_filter_removed((session, number, filter), failed);
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
            Done::PassOn(leaver) => self.on_leavers_page(leaver, outcome),
            Done::EndInput { client } => self.on_end_input(client),
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
        for filter in subscribed.fresh {
            if !failed {
                self.journal.refused().replace_filter(number, &filter);
                self.journal.fresh().written(subscribe, number, filter);
            } else if self.journal.fresh().failed(subscribe, number, &filter)
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
                self.file(records::changed(Change::Settle(position), number).into());
            }
            return;
        };
        let client = entry.presence.client();
        if failed {
            let dropped = entry.session.not_written(position);
            self.here.counters().dropped_store.add(u64::from(dropped));
            if !dropped {
                self.journal.refused().push_unwritten(key, number);
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

    /// A connection ends with publishes that are settled, and wait for earlier ones to be answered.
    pub(super) fn settle_unanswered(&mut self, key: u32, receipts: Receipts) {
        let Some(session) = self.sessions.session_mut(key) else { return };
        for (receipt, reason) in receipts.into_settled() {
            if receipt.exactly_once {
                session.routed_exactly_once(receipt.packet_id, reason.is_error());
            }
        }
    }

    /// The receipt of a client's publish waits; returns what tells it from others.
    pub(super) fn wait_receipt(&mut self, index: u32, receipt: PublishReceipt) -> u64 {
        self.clients[index].receipts.get_or_insert_default().push(receipt)
    }

    fn settle_receipt(&mut self, index: u32, number: u64, reason: Reason) {
        if let Some(receipts) = &mut self.clients[index].receipts {
            receipts.settle(number, reason);
        }
        // An answer may be the connection's last.
        while let Some(client) = self.clients.get_mut(index)
            && let Some(receipts) = &mut client.receipts
            && let Some((receipt, reason)) = receipts.pop_settled()
        {
            if receipts.is_empty() {
                client.receipts = None;
            }
            self.acknowledge_publish(index, receipt, reason);
        }
    }

    /// Answers a publish. A 3.1.1 client cannot be told that it failed: its connection ends, so that
    /// it sends again.
    pub(super) fn acknowledge_publish(
        &mut self,
        index: u32,
        receipt: PublishReceipt,
        reason: Reason,
    ) {
        let client = &mut self.clients[index];
        let Phase::Serving { connection, session: key, .. } = &mut client.phase else { return };
        let key = *key;
        let Some(session) = self.sessions.session_mut(key) else { return };
        // What a full outbox refuses, it would refuse again at once: an older client is not to be sent
        // into a loop for what somebody else does not fetch.
        let is_heard = reason != Reason::QuotaExceeded || connection.version() == Version::V5;
        let reason = if is_heard { reason } else { Reason::Success };
        let told = !reason.is_error() || connection.version() == Version::V5;
        if told {
            connection.publish_done(session, receipt, reason);
        } else if receipt.exactly_once {
            session.routed_exactly_once(receipt.packet_id, true);
        }
        self.file_changes(key, None);
        if told {
            self.mark_dirty(index);
        } else {
            self.tell(
                index,
                Kind::Ended,
                &"its message could not be taken, which 3.1.1 cannot say",
            );
            self.close_client(index, None);
        }
    }

    /// The client has gone meanwhile. If it is back and has sent its publish again, PUBREC is owed
    /// there; else its next one is answered.
    pub(super) fn settle_for_absent(
        &mut self,
        (key, number): (u32, SessionNumber),
        receipt: PublishReceipt,
        reason: Reason,
    ) {
        if !receipt.exactly_once {
            return;
        }
        let Some(entry) = self.numbered(key, number) else {
            // Its id may have come to the disk behind the session's end.
            if self.here.shared().store.is_some() && is_recorded(reason) {
                let packet_id = receipt.packet_id;
                self.file(Write::RemoveExactlyOnce { number, packet_id }.into());
            }
            return;
        };
        match entry.presence.client() {
            Some(index) if entry.session.has_asked_again(receipt.packet_id) => {
                self.acknowledge_publish(index, receipt, reason);
            }
            _ => {
                entry.session.routed_exactly_once(receipt.packet_id, reason.is_error());
                self.file_changes(key, None);
            }
        }
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
        let origin = self.sessions.origin(key);
        let Some(entry) = self.sessions.entry_mut(key) else { return Draft::default() };
        let number = entry.number;
        let changes = entry.session.take_changes().into_iter();
        let shared = self.here.shared();
        entry
            .session
            .charge_inflight(&shared.memory.inflight, |user| shared.holders.holder(origin, user));
        Draft {
            writes: changes.map(|change| records::changed(change, number)).collect(),
            waiting: Vec::new(),
        }
    }

    /// The store's number of a session, if it is durable.
    pub(super) fn number_of(&mut self, key: u32) -> Option<SessionNumber> {
        let entry = self.sessions.entry_mut(key)?;
        entry.session.is_durable().then_some(entry.number)
    }

    /// Makes the session that a CONNECT asks for, durable if it outlives its connection. Of one that
    /// does not, its will is kept: CONNACK promises it.
    pub(super) fn new_session(&mut self, connect: &Connect) -> (Session, SessionNumber) {
        let (client_id, expiry_secs) = (&connect.client_id, connect.session_expiry_secs);
        let number = SessionNumber(self.here.shared().next_number.fetch_add(1, Ordering::Relaxed));
        let session = match self.here.shared().store {
            Some(_) if expiry_secs > 0 => Session::durable(client_id, expiry_secs),
            Some(_) if connect.will.is_some() && !is_left_out(Rule::WillOfBriefSession) => {
                Session::keeping_will(client_id)
            }
            _ => Session::new(client_id, expiry_secs),
        };
        (session.of_user(connect.user()), number)
    }

    /// A session begins, or goes on, with a connection: CONNACK waits for what it says of the session,
    /// and that of one that `ended` for it. If the store fails, CONNACK leaves all the same: who is
    /// connected has its heartbeats answered and gets what needs no disk, where a refusal would only
    /// bring it back the next second. SUBACK and PUBACK tell that nothing is promised, and what the
    /// CONNACK said becomes true when the store is back.
    pub(super) fn save_connected(&mut self, index: u32, key: u32, ended: bool) {
        let mut draft = self.saved_session(key);
        if draft.writes.is_empty() && !ended {
            return;
        }
        if is_left_out(Rule::ConnackWaits) {
            self.journal.append(draft);
            return;
        }
        self.clients[index].holds += 1;
        draft.waiting.push((self.here.index(), Done::Connect { client: self.token_of(index) }));
        self.journal.append(draft);
    }

    /// Writes the record of a session that is durable, or keeps its will.
    pub(super) fn save_session(&mut self, key: u32) {
        let draft = self.saved_session(key);
        self.file(draft);
    }

    /// The record of a session that is durable, or keeps its will, to be written together with something
    /// else.
    pub(super) fn saved_session(&mut self, key: u32) -> Draft {
        let clocks = self.here.shared().clocks;
        let Some(entry) = self.sessions.entry_mut(key) else { return Draft::default() };
        if !entry.session.is_durable() && !entry.session.keeps_will() {
            return Draft::default();
        }
        let number = entry.number;
        let (disconnected_at, will) = match &entry.presence {
            Presence::Connected(index) => {
                let phase = self.clients.get(*index).map(|client| &client.phase);
                let will = match phase {
                    Some(Phase::Serving { connection, .. }) => connection.will(),
                    _ => None,
                };
                (None, will.map(records::stored_will))
            }
            Presence::Absent(absence) => {
                let begun = absence.begun(entry.session.expiry_secs, clocks);
                (Some(begun), absence.will().map(|will| records::stored_pending_will(will, clocks)))
            }
        };
        let record = records::session_record(&entry.session, disconnected_at, will);
        Draft {
            writes: vec![Write::PutSession { number, record: Box::new(record) }],
            waiting: vec![(self.here.index(), Done::Session { session: key, number })],
        }
    }

    /// Asks for the next page of a connected client's outbox, if one is due.
    pub(super) fn begin_page(&mut self, key: u32) {
        self.begin_trim(key);
        let memory = &self.here.shared().memory.outboxes;
        if let Some(entry) = self.sessions.entry_mut(key)
            && let Some(from) = entry.session.begin_page(memory)
        {
            let number = entry.number;
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
            let number = entry.number;
            let done = Done::Trim { session: key, number };
            self.journal.read_page(PageRead::oldest(number, from, done));
        }
    }

    /// The oldest messages of an outbox are here, and as many are dropped as it is over its limits.
    fn on_trim(&mut self, key: u32, number: SessionNumber, outcome: Outcome) {
        let shared = Arc::clone(self.here.shared());
        let Some(entry) = self.numbered(key, number) else { return };
        let client = entry.presence.client();
        if let Outcome::Page(Page { entries, next }) = outcome {
            let sizes = entries.into_iter().filter_map(|(position, stored)| match stored {
                Stored::Entry(entry) => Some((position.0, entry.weight_bytes())),
                Stored::Released => None,
            });
            let (sizes, limits) = (sizes.collect::<Vec<_>>(), &shared.config.limits);
            let next = next.map(|next| next.0);
            let dropped = entry.session.trimmed(&sizes, next, limits, client.is_some());
            self.here.counters().dropped_outbox_full.add(u64::from(dropped));
            self.file_changes(key, None);
            self.begin_trim(key);
            if let Some(index) = client {
                self.mark_dirty(index);
            }
        } else {
            // The next message for it tries again, or its client when the store is back.
            entry.session.page_failed(client.is_some());
            self.journal.refused().push_unread(key, number);
        }
    }

    fn on_page(&mut self, key: u32, number: SessionNumber, outcome: Outcome) {
        let age_max_millis =
            u64::from(self.here.shared().config.outbox_age_max_secs).saturating_mul(MILLIS_PER_SEC);
        let oldest =
            self.here.shared().clocks.to_wall(self.agenda.now()).0.saturating_sub(age_max_millis);
        let Outcome::Page(Page { entries, next }) = outcome else {
            if let Some(entry) = self.numbered(key, number) {
                entry.session.page_failed(entry.presence.client().is_some());
                self.journal.refused().push_unread(key, number);
            }
            return;
        };
        let mut stale = 0;
        let fetched = entries.into_iter().map(|(position, stored)| {
            let shares = &self.here.shared().shares;
            let fetched = records::fetched(stored, WallMillis(oldest), shares);
            stale += u64::from(matches!(fetched, Fetched::Stale(_)));
            (position.0, fetched)
        });
        let fetched = fetched.collect();
        let shared = Arc::clone(self.here.shared());
        let Some(entry) = self.numbered(key, number) else { return };
        let client = entry.presence.client();
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
            NOTED_UNITS + subscribed.fresh.iter().map(each).sum::<u32>()
        }
        Done::Unsubscribe(unsubscribed) if matches!(outcome, Outcome::Failed(_)) => {
            NOTED_UNITS + FRESH_UNITS.saturating_mul(unsubscribed.filters.len() as u32)
        }
        Done::Page { .. } | Done::Trim { .. } | Done::PassOn(_) => FETCHED_UNITS,
        _ => NOTED_UNITS,
    }
}

/// Whether the id of a QoS 2 publish may be on disk when this is its outcome. A full outbox refuses the
/// message, and not the write that it is part of.
fn is_recorded(reason: Reason) -> bool {
    !reason.is_error() || reason == Reason::QuotaExceeded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_full_outbox_refuses_is_recorded_and_what_the_disk_refuses_is_not() {
        assert!(is_recorded(Reason::Success) && is_recorded(Reason::NoMatchingSubscribers));
        assert!(is_recorded(Reason::QuotaExceeded));
        assert!(!is_recorded(Reason::ImplementationSpecificError));
    }
}
