//! Messages that a session leaves to other members of its groups, and how a durable session with such
//! messages ends.
//!
//! A member that unsubscribes, is sent what is too large for it, or ends, leaves what it was owed (`share`).
//! That may be a whole outbox, and each message of it asks as many members as any other. So it goes in
//! turns, of the session's own flow, or of the one flow of all that have ended; and it waits while the store
//! is behind or another shard takes no letters. Until a message has gone it counts against the totals of all
//! sessions (`mqtt::Left`). It goes in one write with its removal from the outbox that it leaves, so a crash
//! or a stop in between finds it with one of them. Should the write fail, it is passed on once more when the
//! store works, and at QoS 1 may come twice. What nobody takes is dropped and counted, as a new message would
//! be: by members that refuse it, or because the last member has left meanwhile. For then nobody has asked
//! for it any more, neither the one that it waited for nor anybody else.
//!
//! A durable session that ends is first marked on disk as ended, by the shard's own draft, like all that has
//! an order; CONNACK of whoever replaces it waits for that. With the mark a will leaves its record, and
//! goes its own way (`wills`). Then the messages go that are in memory, and those on disk, a page at a time.
//! The session's records go when all of that is safe. What could not be written is given away again when the
//! store works; and a stop or a crash in between leaves the mark, by which the next start goes on.

use std::sync::Arc;

use super::Shard;
use super::errand::Errand;
use super::fanout::GROUP_UNITS;
use super::share::Placed;
use crate::broker::{Budget, Group, QoS, TopicFilter, Via};
use crate::mqtt::{Delivery, Left, LeftMessage, Session};
use crate::mutant::{Rule, is_left_out};
use crate::shard::agenda::{Flow, Progress};
use crate::shard::clients::Phase;
use crate::shard::journal::{Done, Draft, Giver, Leaver, PageRead, Part, records};
use crate::shard::ports::Ports;
use crate::shard::sessions::{EndedSession, Leaving, Records};
use crate::store::{Outcome, Page, SessionNumber, Stored, Write};

impl<P: Ports> Shard<P> {
    /// A session has unsubscribed from a group: leaves to others what it was not sent yet, if there are
    /// any; else it is still its own. `pass_on` goes on with that.
    pub(super) fn leave_unsent(&mut self, key: u32, filter: &TopicFilter) {
        if let Some(session) = self.sessions.session_mut(key) {
            session.leaves_group();
        }
        if !self.here.shared().shares.is_served(filter) {
            return;
        }
        let (network, shared) = (self.sessions.network(key), self.here.shared());
        if let Some(session) = self.sessions.session_mut(key) {
            session.leave_shared(false, |left| left == filter);
            let holder = |user: Option<&str>| shared.holders.holder(network, user);
            session.charge_inflight(&shared.memory.inflight, holder);
        }
    }

    /// Has what a session has left go to others when it is its turn.
    pub(super) fn queue_left(&mut self, key: u32) {
        let giver = Giver { key: Some(key), number: self.sessions.number(key) };
        self.agenda.push(self.flow_of_session(key), Errand::PassOn(giver));
    }

    /// A session that is not on disk has ended.
    pub(super) fn leave_unwritten(&mut self, number: SessionNumber, session: &mut Session) {
        session.leave_shared(true, |_| true);
        let left = session.take_left(&self.here.shared().memory.inflight);
        if left.is_busy() {
            self.begin_leaving(number, Leaving { left, is_waiting: true, records: None });
        }
    }

    /// A durable session has ended, and is no longer one of the shard's.
    pub(super) fn leave_behind(&mut self, found: EndedSession) {
        let EndedSession { mut session, shares, number, will, key } = found;
        session.leave_shared(true, |_| true);
        let mut left = session.take_left(&self.here.shared().memory.inflight);
        // What a failed write has left there is in no part of the outbox that the session knew.
        let stored = match left.take_failed() {
            true => Some(0),
            false => session.on_disk().filter(|_| shares),
        };
        if stored.is_none() {
            self.here.counters().dropped_session_ended.add(session.owed() as u64);
        }
        if !left.is_busy() && stored.is_none() && will.is_none() {
            self.file(self.removal(number));
            return;
        }
        let from = stored.unwrap_or_default();
        let leaver = Leaver { number, sent_to: session.sent_to(), from };
        let page = Leaver { from: 0, ..leaver };
        let records = Some(Records { page, next: stored.map(|_| leaver) });
        self.begin_leaving(number, Leaving { left, is_waiting: true, records });
        let mut mark = self.leavers_draft(Giver { key, number });
        mark.writes.push(Write::PutSession {
            number,
            record: Box::new(records::ended_session_record(&session)),
        });
        if let Some(will) = will {
            self.publish_will((number, key), will.will, mark);
        } else {
            self.file(mark);
            // Ahead of all that other shards write for it.
            self.submit_draft();
        }
    }

    fn begin_leaving(&mut self, number: SessionNumber, mut leaving: Leaving) {
        // Its errand begins anew.
        leaving.left.take_held();
        self.sessions.begin_leaving(number, leaving);
        self.queue_leaving(number);
    }

    fn queue_leaving(&mut self, number: SessionNumber) {
        self.agenda
            .push(Flow::left(self.here.index()), Errand::PassOn(Giver { key: None, number }));
    }

    /// Gives what a session has left to others until the budget is spent.
    pub(super) fn pass_on(&mut self, giver: Giver, budget: &mut Budget) -> Progress {
        let is_ended = self.sessions.is_leaving(giver.number);
        if !is_ended && !self.has_left(giver) {
            return Progress::Done;
        }
        let flow = match is_ended {
            true => Flow::left(self.here.index()),
            false => Flow::session(self.here.index(), giver.number.into()),
        };
        // A message that this turn has put into its outbox must not come behind its removal there.
        self.submit_draft();
        self.agenda.begin_payment(flow);
        let progress = self.pass_on_from(giver, flow, budget);
        self.agenda.end_payment();
        if progress == Progress::Done {
            self.end_passing(giver);
        }
        progress
    }

    fn pass_on_from(&mut self, giver: Giver, flow: Flow, budget: &mut Budget) -> Progress {
        let is_durable = self.is_on_disk(giver);
        while self.has_left(giver) {
            if self.stop.has_begun() && is_durable {
                // The next start finds it.
                return Progress::Done;
            }
            if budget.is_spent() {
                return Progress::Spent;
            }
            if self.here.shared().store.is_some() && self.waits_for_store() {
                return Progress::StoreBehind;
            }
            budget.charge(GROUP_UNITS);
            let Some(message) = self.left_of(giver).and_then(Left::take) else { break };
            let placed = self.pass_on_one(giver, flow, message, is_durable);
            budget.charge(placed.refusal_units());
            if placed == Placed::Blocked {
                return Progress::Blocked;
            }
        }
        Progress::Done
    }

    /// Gives one message to another member, in one write with its removal from where it was.
    fn pass_on_one(
        &mut self,
        giver: Giver,
        flow: Flow,
        mut left: LeftMessage,
        is_durable: bool,
    ) -> Placed {
        let change = left
            .change()
            .filter(|_| is_durable)
            .map(|change| records::changed(change, giver.number));
        let Via::Share(group, _) = &left.delivery.via else {
            return Placed::Done { refusals: 0 };
        };
        if is_left_out(Rule::HandedOn) {
            self.file(Draft { writes: change.into_iter().collect(), ..Draft::default() });
            return Placed::Done { refusals: 0 };
        }
        let group = Arc::clone(group);
        if self.is_only_member(giver, &group) && self.is_too_large(giver, &left.delivery) {
            // It would come back.
            self.here.counters().dropped_too_large.add(1);
            self.file(Draft { writes: change.into_iter().collect(), ..Draft::default() });
            return Placed::Done { refusals: 0 };
        }
        let has_store = self.here.shared().store.is_some();
        let is_read_again = is_durable && self.sessions.is_leaving(giver.number);
        let done = match is_read_again {
            true => Done::Left(giver),
            // What fails is not read again from the disk: it was never there, or its client is, and has been sent
            // more.
            false => Done::PassedOn(giver, Box::new(left.for_another_try())),
        };
        let waiting = has_store.then_some((self.here.index(), done));
        let draft =
            Draft { writes: change.into_iter().collect(), waiting: waiting.into_iter().collect() };
        let mut part = Part::of_publisher(draft, has_store);
        let placed = self.place_left(flow, &mut left, &group, &mut part);
        if placed == Placed::Blocked {
            // Nobody has a part of it.
            let memory = Arc::clone(&self.here.shared().memory);
            if let Some(others) = self.left_of(giver) {
                others.put_back(left, &memory.outboxes);
            }
            return placed;
        }
        self.here.counters().shared_passed_on.add(1);
        if has_store && let Some(others) = self.left_of(giver) {
            others.begin_write();
        }
        self.finish_part(part);
        placed
    }

    /// Whether a session is a member of a group still, and nobody else is that could take a message.
    fn is_only_member(&mut self, giver: Giver, group: &Group) -> bool {
        let Some(key) = giver.key.filter(|&key| self.numbered(key, giver.number).is_some()) else {
            return false;
        };
        group.standing(self.member(key)).is_some_and(|standing| standing.others == 0)
    }

    /// Whether a message is too large for the client of a session. One that had to wait until it was safe need not be,
    /// and its session may have subscribed again meanwhile.
    fn is_too_large(&self, giver: Giver, delivery: &Delivery) -> bool {
        let entry = giver.key.and_then(|key| self.sessions.entry(key));
        let client = entry.and_then(|entry| entry.presence.client());
        match client.and_then(|index| Some(&self.clients.get(index)?.phase)) {
            Some(Phase::Serving { connection, .. }) => {
                !connection.takes(delivery, self.agenda.now())
            }
            _ => false,
        }
    }

    fn left_of(&mut self, Giver { key, number }: Giver) -> Option<&mut Left> {
        if self.sessions.is_leaving(number) {
            return self.sessions.leaving(number).map(|leaving| &mut leaving.left);
        }
        self.numbered(key?, number)?.session.left_mut()
    }

    fn has_left(&mut self, giver: Giver) -> bool {
        self.left_of(giver).is_some_and(|left| !left.is_empty())
    }

    fn is_on_disk(&mut self, Giver { key, number }: Giver) -> bool {
        match self.sessions.leaving(number) {
            Some(leaving) => leaving.records.is_some(),
            None => key
                .and_then(|key| self.numbered(key, number))
                .is_some_and(|entry| entry.session.is_durable()),
        }
    }

    /// All that is in memory has been offered, or the server stops.
    fn end_passing(&mut self, giver: Giver) {
        if self.has_left(giver) {
            return;
        }
        if giver.key.is_none()
            && let Some(leaving) = self.sessions.leaving(giver.number)
        {
            // Its own errand, not one from before its end.
            leaving.is_waiting = false;
        }
        self.go_on_leaving(giver);
    }

    /// For one more write that a session's end waits for.
    fn leavers_draft(&mut self, giver: Giver) -> Draft {
        let mut draft = Draft::default();
        if let Some(left) = self.left_of(giver) {
            left.begin_write();
            draft.waiting.push((self.here.index(), Done::Left(giver)));
        }
        draft
    }

    /// One of the writes is safe, or has failed.
    pub(super) fn on_left(&mut self, giver: Giver, failed: bool) {
        if let Some(left) = self.left_of(giver) {
            left.end_write(failed);
            self.go_on_leaving(giver);
        }
    }

    /// A message that a session has passed on is safe, or nobody has it: then it waits for the disk, to be
    /// passed on once more.
    pub(super) fn on_passed_on(&mut self, giver: Giver, message: LeftMessage, failed: bool) {
        let memory = Arc::clone(&self.here.shared().memory);
        let Some(left) = self.left_of(giver) else { return };
        left.end_write(false);
        if failed {
            left.put_back(message, &memory.outboxes);
            self.journal.push_giver(giver);
        } else {
            self.go_on_leaving(giver);
        }
    }

    /// Has what a session could not pass on go to others again, whether it goes on or has ended since.
    pub(super) fn retry_giver(&mut self, giver: Giver) {
        if !self.has_left(giver) {
            return;
        }
        if self.sessions.leaving(giver.number).is_some() {
            self.queue_leaving(giver.number);
        } else if let Some(key) = giver.key {
            self.queue_left(key);
        }
    }

    /// Goes on when all is safe elsewhere that has been left: what there is on disk may be read.
    fn go_on_leaving(&mut self, Giver { key, number }: Giver) {
        let Some(leaving) = self.sessions.leaving(number) else {
            if let Some(key) = key.filter(|&key| self.numbered(key, number).is_some()) {
                self.go_on_with_outbox(key);
            }
            return;
        };
        if leaving.is_waiting || leaving.left.is_busy() {
            return;
        }
        leaving.is_waiting = true;
        let failed = leaving.left.take_failed();
        let Some(records) = &mut leaving.records else {
            self.sessions.end_leaving(number);
            return;
        };
        if failed {
            self.journal.push_leaver(records.page);
        } else if let Some(next) = records.next {
            self.read_leavers_page(next);
        } else {
            self.sessions.end_leaving(number);
            self.file(self.removal(number));
        }
    }

    fn go_on_with_outbox(&mut self, key: u32) {
        let Some(entry) = self.sessions.entry_mut(key) else { return };
        let session = &mut entry.session;
        if session.left_mut().is_some_and(|left| left.is_busy()) {
            return;
        }
        session.tidy_left();
        match entry.presence.client() {
            Some(index) => self.mark_dirty(index),
            None => self.begin_trim(key),
        }
    }

    /// What became of the write of a message of a session that has ended. Returns whether the message
    /// still waits to go to others.
    pub(super) fn on_left_written(
        &mut self,
        number: SessionNumber,
        position: u64,
        failed: bool,
    ) -> bool {
        let Some(leaving) = self.sessions.leaving(number) else { return false };
        let waited = leaving.left.written(position, failed);
        let is_held = leaving.left.take_held();
        self.here.counters().dropped_store.add(u64::from(waited && failed));
        if is_held {
            self.queue_leaving(number);
        }
        waited
    }

    /// Something that a session is owed is safe, or has failed: what it leaves may have waited for that.
    pub(super) fn go_on_passing(&mut self, key: u32) {
        let Some(left) = self.sessions.session_mut(key).and_then(Session::left_mut) else { return };
        if !left.take_held() {
            return;
        }
        if left.is_empty() {
            self.go_on_with_outbox(key);
        } else {
            self.queue_left(key);
        }
    }

    pub(super) fn read_leavers_page(&mut self, leaver: Leaver) {
        let Leaver { number, from, .. } = leaver;
        self.journal.read_page(PageRead::next(number, from, Done::PassOn(leaver)));
    }

    /// Leaves the messages of a page to others.
    pub(super) fn on_leavers_page(&mut self, leaver: Leaver, outcome: Outcome) {
        let Outcome::Page(Page { entries, next }) = outcome else {
            self.journal.push_leaver(leaver);
            return;
        };
        let number = leaver.number;
        let memory = Arc::clone(&self.here.shared().memory);
        let journal = &self.journal;
        let owed =
            entries.into_iter().filter(|(position, _)| !journal.is_unsettled(number, position.0));
        let Some(leaving) = self.sessions.leaving(number) else { return };
        let next = next.map(|next| Leaver { from: next.0, ..leaver });
        leaving.records = Some(Records { page: leaver, next });
        for (position, stored) in owed {
            let was_sent = position.0 < leaver.sent_to;
            let Stored::Entry(entry) = stored else { continue };
            let delivery = records::delivery(entry, &self.here.shared().shares);
            let is_theirs = !was_sent || delivery.qos == QoS::AtLeastOnce;
            let Some(group) = delivery.via.group().filter(|_| is_theirs).cloned() else {
                self.here.counters().dropped_session_ended.add(1);
                continue;
            };
            // The identifier was its own.
            let delivery = Delivery { via: Via::Share(group, None), ..delivery };
            leaving.left.push_read(position.0, delivery, &memory.outboxes);
        }
        leaving.left.charge(&memory.inflight);
        self.queue_leaving(number);
    }
}
