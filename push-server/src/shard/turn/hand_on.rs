//! A session hands on messages to other members of its groups; and how a durable session with such messages
//! ends.
//!
//! A member that unsubscribes, that is sent a message too large for it, or that ends, owes messages that any
//! other member may have (`share`). They may be a whole outbox, and each of them asks as many members as a new
//! message would. So this goes in turns: of the session's own flow, or of the one flow of all ended sessions;
//! and it waits while the store is behind or another shard takes no letters. Until a message has gone, it counts
//! against the totals of all sessions (`mqtt::Left`). One write puts it into the other outbox and removes it from
//! this one, so after a crash or a stop in between it is in one of the two. If the write fails, the message is
//! handed on once more when the store works, and at QoS 1 may come twice. A message that no member takes is
//! dropped and counted, as a new one would be: because all refuse it, or because the last member has left
//! meanwhile, and then no subscription asks for it any more.
//!
//! A durable session that ends is first marked on disk as ended, in the shard's own draft, like all writes
//! that have an order; the CONNACK of a client that replaces it waits for that. In the same write a will leaves
//! the record, and goes its own way (`wills`). Then the messages in memory go, and then those on disk, a page at
//! a time (`sessions/hand_on` says what comes next). The session's records go when all of that is safe. Messages
//! whose write failed are handed on again when the store works; after a stop or a crash the next start sees the
//! mark, and goes on.

use std::sync::Arc;

use super::Shard;
use super::errand::Errand;
use super::fanout::GROUP_UNITS;
use super::share::Placed;
use crate::broker::{Budget, Group, QoS, TopicFilter, Via};
use crate::mqtt::{Delivery, Left, LeftMessage, Session};
use crate::mutant::{Rule, is_left_out};
use crate::shard::agenda::{Flow, Progress};
use crate::shard::clients::Client;
use crate::shard::journal::{Done, Draft, Giver, HandOnCursor, PageRead, Part, records};
use crate::shard::ports::Ports;
use crate::shard::sessions::{EndedSession, Entry, HandOn, NextStep};
use crate::store::{Outcome, Page, SessionNumber, Stored, Write};

impl<P: Ports> Shard<P> {
    /// A session has unsubscribed from a group: the other members, if there are any, get the messages that
    /// its client was not sent yet; without any they stay the session's own. `hand_on` goes on with that.
    pub(super) fn hand_on_unsent(&mut self, key: u32, filter: &TopicFilter) {
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

    /// Queues a session, to hand on its messages when it is its turn.
    pub(super) fn queue_hand_on(&mut self, key: u32) {
        let giver = Giver { key: Some(key), number: self.sessions.number(key) };
        self.agenda.push(self.flow_of_session(key), Errand::HandOn(giver));
    }

    /// Ends a session that is not on disk: its groups get what it owes them.
    pub(super) fn end_in_memory(&mut self, number: SessionNumber, session: &mut Session) {
        session.leave_shared(true, |_| true);
        let left = session.take_left(&self.here.shared().memory.inflight);
        if left.is_busy() {
            self.begin_hand_on(number, HandOn::in_memory(left));
        }
    }

    /// Ends a durable session that is in the shard's table no longer: marks it as ended, publishes its will,
    /// and has it hand on its messages. Without any it removes its records at once.
    pub(super) fn end_on_disk(&mut self, found: EndedSession) {
        let EndedSession { mut session, shares, number, will, key } = found;
        session.leave_shared(true, |_| true);
        let mut left = session.take_left(&self.here.shared().memory.inflight);
        // The message of a failed write may be on disk outside the part of the outbox that the session knows.
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
        let begin = HandOnCursor::new(number, session.sent_to(), stored.unwrap_or_default());
        let record = Box::new(records::ended_session_record(&session));
        let mut hand_on = HandOn::on_disk(left, begin, stored.is_some());
        if will.is_some() {
            hand_on.keep_mark(record.clone());
        }
        self.begin_hand_on(number, hand_on);
        let mut mark = self.draft_of_end(Giver { key, number });
        mark.write(Write::PutSession { number, record });
        if let Some(will) = will {
            self.publish_will((number, key), will.will, mark);
        } else {
            self.file(mark);
            // Ahead of all that other shards write for it.
            self.submit_draft();
        }
    }

    /// The mark of an ended session once more, to be written with its will: the record on disk may still have that,
    /// and a start would publish both. After the session's removal there is none.
    pub(super) fn mark_again(&mut self, number: SessionNumber) -> Draft {
        let mark = self.sessions.hand_on_mut(number).and_then(|hand_on| hand_on.mark());
        let Some(record) = mark else { return Draft::default() };
        let mut draft = self.draft_of_end(Giver { key: None, number });
        draft.write(Write::PutSession { number, record });
        draft
    }

    fn begin_hand_on(&mut self, number: SessionNumber, mut hand_on: HandOn) {
        // Its errand begins anew.
        hand_on.left_mut().take_held();
        self.sessions.begin_hand_on(number, hand_on);
        self.queue_hand_on_of_ended(number);
    }

    fn queue_hand_on_of_ended(&mut self, number: SessionNumber) {
        self.agenda
            .push(Flow::hand_on(self.here.index()), Errand::HandOn(Giver { key: None, number }));
    }

    /// Hands on messages of a session until the budget is spent.
    pub(super) fn hand_on(&mut self, giver: Giver, budget: &mut Budget) -> Progress {
        let is_ended = self.sessions.hands_on(giver.number);
        if !is_ended && !self.has_left(giver) {
            return Progress::Done;
        }
        let flow = match is_ended {
            true => Flow::hand_on(self.here.index()),
            false => Flow::session(self.here.index(), giver.number.into()),
        };
        // A message that this turn has put into its outbox must not come behind its removal there.
        self.submit_draft();
        self.agenda.begin_payment(flow);
        let progress = self.hand_on_from(giver, flow, budget);
        self.agenda.end_payment();
        if progress == Progress::Done {
            self.end_hand_on_errand(giver);
        }
        progress
    }

    fn hand_on_from(&mut self, giver: Giver, flow: Flow, budget: &mut Budget) -> Progress {
        let is_durable = self.is_on_disk(giver);
        while self.has_left(giver) {
            if self.stop.has_begun() && is_durable {
                // The next start finds it.
                return Progress::Done;
            }
            if budget.is_spent() {
                return Progress::Spent;
            }
            if self.waits_for_store() {
                return Progress::StoreBehind;
            }
            budget.charge(GROUP_UNITS);
            let Some(message) = self.left_of(giver).and_then(Left::take) else { break };
            let placed = self.hand_on_one(giver, flow, message, is_durable);
            budget.charge(placed.refusal_units());
            if placed == Placed::Blocked {
                return Progress::Blocked;
            }
        }
        Progress::Done
    }

    /// Gives one message to another member, in one write with its removal from where it was.
    fn hand_on_one(
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
            self.file(change.into_iter().collect());
            return Placed::Done { refusals: 0 };
        }
        let group = Arc::clone(group);
        if self.is_only_member(giver, &group) && self.is_too_large(giver, &left.delivery) {
            // It would come back.
            self.here.counters().dropped_too_large.add(1);
            self.file(change.into_iter().collect());
            return Placed::Done { refusals: 0 };
        }
        let has_store = self.here.shared().store.is_some();
        let is_read_again = is_durable && self.sessions.hands_on(giver.number);
        let done = match is_read_again {
            true => Done::EndWritten(giver),
            // If it fails, the disk is not read for it: the message was never there, or its client is here, and has
            // been sent more.
            false => Done::HandedOn(giver, Box::new(left.for_another_try())),
        };
        let mut draft: Draft = change.into_iter().collect();
        if has_store {
            draft.wait(self.here.index(), done);
        }
        let mut part = Part::of_publisher(draft, has_store);
        let placed = self.place_left(flow, &mut left, &group, &mut part);
        if placed == Placed::Blocked {
            // No shard has added to its write.
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

    /// Whether a session is still a member of a group, and the group has no other member that could take a message.
    fn is_only_member(&mut self, giver: Giver, group: &Group) -> bool {
        let Some(key) = giver.key.filter(|&key| self.sessions.is_there(key, giver.number)) else {
            return false;
        };
        group.standing(self.member(key)).is_some_and(|standing| standing.others == 0)
    }

    /// Whether a message is too large for the client of a session. A message that had to wait until it was safe need
    /// not be: its session may have subscribed again meanwhile.
    fn is_too_large(&self, giver: Giver, delivery: &Delivery) -> bool {
        let entry = giver.key.and_then(|key| self.sessions.entry(key));
        let client = entry.and_then(Entry::client).and_then(|index| self.clients.get(index));
        let connection = client.and_then(Client::connection);
        connection.is_some_and(|connection| !connection.takes(delivery, self.agenda.now()))
    }

    fn left_of(&mut self, Giver { key, number }: Giver) -> Option<&mut Left> {
        if self.sessions.hands_on(number) {
            return self.sessions.hand_on_mut(number).map(HandOn::left_mut);
        }
        self.sessions.numbered(key?, number)?.session.left_mut()
    }

    fn has_left(&mut self, giver: Giver) -> bool {
        self.left_of(giver).is_some_and(|left| !left.is_empty())
    }

    fn is_on_disk(&mut self, Giver { key, number }: Giver) -> bool {
        match self.sessions.hand_on_mut(number) {
            Some(hand_on) => hand_on.is_on_disk(),
            None => key
                .and_then(|key| self.sessions.numbered(key, number))
                .is_some_and(|entry| entry.session.is_durable()),
        }
    }

    /// All messages in memory have been offered, or the server stops.
    fn end_hand_on_errand(&mut self, giver: Giver) {
        if self.has_left(giver) {
            return;
        }
        if giver.key.is_none()
            && let Some(hand_on) = self.sessions.hand_on_mut(giver.number)
        {
            // Its own errand, not one from before its end.
            hand_on.end_errand();
        }
        self.go_on_handing_on(giver);
    }

    /// A draft for one more write that the session's end waits for.
    fn draft_of_end(&mut self, giver: Giver) -> Draft {
        let mut draft = Draft::default();
        if let Some(left) = self.left_of(giver) {
            left.begin_write();
            draft.wait(self.here.index(), Done::EndWritten(giver));
        }
        draft
    }

    /// A write that a session's end waits for is safe, or has failed.
    pub(super) fn on_end_written(&mut self, giver: Giver, failed: bool) {
        if let Some(left) = self.left_of(giver) {
            left.end_write(failed);
            self.go_on_handing_on(giver);
        }
    }

    /// A message that a session has handed on is safe, or no member has it: then it waits for the disk, to be
    /// handed on once more.
    pub(super) fn on_handed_on(&mut self, giver: Giver, message: LeftMessage, failed: bool) {
        let memory = Arc::clone(&self.here.shared().memory);
        let Some(left) = self.left_of(giver) else { return };
        left.end_write(false);
        if failed {
            left.put_back(message, &memory.outboxes);
            self.journal.retry_list_mut().push_giver(giver);
        } else {
            self.go_on_handing_on(giver);
        }
    }

    /// Queues a session, to hand on again the messages whose write failed, whether it goes on or has ended since.
    pub(super) fn retry_hand_on(&mut self, giver: Giver) {
        if !self.has_left(giver) {
            return;
        }
        if self.sessions.hands_on(giver.number) {
            self.queue_hand_on_of_ended(giver.number);
        } else if let Some(key) = giver.key {
            self.queue_hand_on(key);
        }
    }

    /// Goes on when all messages that were handed on are safe elsewhere: the session's outbox on disk may be
    /// read.
    fn go_on_handing_on(&mut self, Giver { key, number }: Giver) {
        if self.sessions.hands_on(number) {
            match self.sessions.next_step(number) {
                Some(NextStep::ReadAgain(page)) => {
                    self.journal.retry_list_mut().push_hand_on_page(page);
                }
                Some(NextStep::Read(page)) => self.read_hand_on_page(page),
                Some(NextStep::RemoveRecords) => self.file(self.removal(number)),
                Some(NextStep::Forget) | None => {}
            }
        } else if let Some(key) = key.filter(|&key| self.sessions.is_there(key, number)) {
            self.go_on_with_outbox(key);
        }
    }

    fn go_on_with_outbox(&mut self, key: u32) {
        let Some(entry) = self.sessions.entry_mut(key) else { return };
        let session = &mut entry.session;
        if session.left_mut().is_some_and(|left| left.is_busy()) {
            return;
        }
        session.tidy_left();
        match entry.client() {
            Some(index) => self.mark_dirty(index),
            None => self.begin_trim(key),
        }
    }

    /// The message in this position of an ended session's outbox is on disk, or could not be written. Returns
    /// whether it still waits to be handed on.
    pub(super) fn on_written_after_end(
        &mut self,
        number: SessionNumber,
        position: u64,
        failed: bool,
    ) -> bool {
        let Some(hand_on) = self.sessions.hand_on_mut(number) else { return false };
        let waited = hand_on.left_mut().written(position, failed);
        let is_held = hand_on.left_mut().take_held();
        self.here.counters().dropped_store.add(u64::from(waited && failed));
        if is_held {
            self.queue_hand_on_of_ended(number);
        }
        waited
    }

    /// A message that a session is owed is on disk, or could not be written: another that it hands on may have
    /// waited for that.
    pub(super) fn go_on_with_held(&mut self, key: u32) {
        let Some(left) = self.sessions.session_mut(key).and_then(Session::left_mut) else { return };
        if !left.take_held() {
            return;
        }
        if left.is_empty() {
            self.go_on_with_outbox(key);
        } else {
            self.queue_hand_on(key);
        }
    }

    pub(super) fn read_hand_on_page(&mut self, page: HandOnCursor) {
        let done = Done::HandOnPage(page);
        self.journal.read_page(PageRead::next(page.number(), page.from(), done));
    }

    /// A page of an ended session's outbox is here: its messages for groups are handed on.
    pub(super) fn on_hand_on_page(&mut self, page: HandOnCursor, outcome: Outcome) {
        let Outcome::Page(Page { entries, next }) = outcome else {
            self.journal.retry_list_mut().push_hand_on_page(page);
            return;
        };
        let number = page.number();
        let Some(hand_on) = self.sessions.hand_on_mut(number) else { return };
        let (shared, retry_list) = (Arc::clone(self.here.shared()), self.journal.retry_list());
        let mut dropped = 0;
        let messages = entries
            .into_iter()
            .filter(|(position, _)| !retry_list.is_unsettled(number, position.0))
            .filter_map(|(position, stored)| {
                let Stored::Entry(entry) = stored else { return None };
                let delivery = records::delivery(entry, &shared.shares);
                let is_theirs = !page.was_sent(position.0) || delivery.qos == QoS::AtLeastOnce;
                let group = delivery.via.group().filter(|_| is_theirs).cloned();
                dropped += u64::from(group.is_none());
                // The subscription identifier was the session's own.
                group.map(|group| {
                    (position.0, Delivery { via: Via::Share(group, None), ..delivery })
                })
            });
        hand_on.page_read(page, next.map(|next| next.0), messages, &shared.memory);
        self.here.counters().dropped_session_ended.add(dropped);
        self.queue_hand_on_of_ended(number);
    }
}
