//! What a shard does in a turn, and for how long: clients' input and other shards' letters as they
//! arrive, within each session's share; then the work that waits; then the sends.

use std::collections::VecDeque;
use std::time::Duration;

use super::Shard;
use super::errand::Errand;
use super::input::Halt;
use crate::broker::Budget;
use crate::shard::agenda::{Dirty, Flow, NextWork, Progress, UNITS_PER_LOOK};
use crate::shard::clients::Phase;
use crate::shard::ports::{Ports, Token};
use crate::shard::post::{Letter, Mail, SharedMail};
use crate::shard::publish::Fanout;
use crate::store::Outcome;

/// How long a turn does waiting work.
const WORK_BUDGET: Duration = Duration::from_millis(3);

/// How long a turn sends.
const SENDS_BUDGET: Duration = Duration::from_millis(4);

/// Mail taken from the mailbox in one turn.
const MAIL_PER_TURN_MAX: usize = 4_096;

impl<P: Ports> Shard<P> {
    /// The flow that pays for a client's work.
    pub(super) fn flow_of(&self, index: u32) -> Flow {
        match self.clients.get(index).map(|client| client.phase()) {
            Some(Phase::Serving { flow, .. }) => Flow::session(self.here.index(), *flow),
            _ => Flow::newcomer(self.here.index(), index),
        }
    }

    /// The flow that pays for a session's work.
    pub(super) fn flow_of_session(&self, key: u32) -> Flow {
        Flow::session(self.here.index(), self.sessions.number(key).into())
    }

    /// Marks a client to be flushed at the end of the turn. A client that waits for one payer's turn is flushed
    /// earlier if another payer has something for it.
    pub(super) fn mark_dirty(&mut self, index: u32) {
        let payer = self.agenda.payer().unwrap_or_else(|| self.flow_of(index));
        let Some(client) = self.clients.get_mut(index) else { return };
        if client.output.mark_dirty(payer.tag()) {
            self.agenda.push_dirty(payer, index);
        }
    }

    /// Queues a client's input, to go on when it is its session's turn.
    pub(super) fn queue_input(&mut self, index: u32) {
        let Some(client) = self.clients.get_mut(index) else { return };
        client.intake.stall();
        let token = client.token(index);
        self.agenda.push(self.flow_of(index), Errand::Input(token));
    }

    /// Handles a client's input at once, as far as its session's allowance goes.
    pub(super) fn take_input(&mut self, index: u32) {
        let Some(client) = self.clients.get(index) else { return };
        if client.intake.is_stalled() {
            self.keep_input(index);
            return;
        }
        let (flow, token) = (self.flow_of(index), client.token(index));
        let Some(allowance) = self.agenda.allowance(flow) else {
            self.queue_input(index);
            self.keep_input(index);
            return;
        };
        let mut budget = Budget::new(allowance);
        let halt = self.pump(index, &mut budget);
        let units = spent(allowance, &budget);
        self.agenda.spend(flow, units);
        let (left, _) = left_of(halt, token);
        self.agenda.extend(flow, left.into_iter());
    }

    pub(super) fn read_mail(&mut self) {
        self.post.begin_reading();
        for _ in 0..MAIL_PER_TURN_MAX {
            match self.post.take() {
                Some(Mail::Publish(letter)) => self.on_letter(letter),
                Some(Mail::Share(mail)) => self.on_share(mail),
                Some(Mail::Adopt(adoption)) => {
                    self.on_adoption(*adoption);
                    self.agenda.count_input(UNITS_PER_LOOK / 8);
                }
                Some(Mail::Moved(moved)) => {
                    self.on_moved(*moved);
                    self.agenda.count_input(UNITS_PER_LOOK / 8);
                }
                Some(Mail::GiveWay(newcomer)) => {
                    self.on_give_way(newcomer);
                    self.agenda.count_input(UNITS_PER_LOOK / 8);
                }
                None => break,
            }
        }
    }

    fn on_letter(&mut self, letter: Letter) {
        let flow = letter.flow;
        let fanout = Fanout::received(letter);
        let Some(allowance) = self.agenda.allowance(flow) else {
            self.post.letter_waits();
            self.queue_fanout(fanout);
            return;
        };
        let mut budget = Budget::new(allowance);
        let left = self.begin_fanout(fanout, &mut budget);
        let units = spent(allowance, &budget);
        self.agenda.spend(flow, units);
        if let Some((fanout, _)) = left {
            self.post.letter_waits();
            self.agenda.push(flow, Errand::Fanout(fanout));
        }
    }

    fn on_share(&mut self, mail: Box<SharedMail>) {
        let flow = mail.flow();
        let flow = if flow.is_of(self.here.index()) { flow.returned() } else { flow };
        if self.agenda.allowance(flow).is_none() {
            self.post.letter_waits();
            self.agenda.push(flow, Errand::Share(mail));
            return;
        }
        let units = self.on_shared_mail(*mail);
        self.agenda.spend(flow, units);
    }

    /// Does waiting work, each session's in its turn.
    pub(super) fn do_work(&mut self) {
        if !self.agenda.has_work() {
            return;
        }
        let begun = self.agenda.read_clock();
        while let Some(NextWork { flow, work, allowance }) = self.agenda.next_work() {
            if self.agenda.is_resting() && work.is_held_at_rest() {
                self.agenda.hold(flow, work);
                self.agenda.put_back(flow, 0, std::iter::empty(), Progress::Done);
                continue;
            }
            let mut budget = Budget::new(allowance);
            let was_letter = work.is_letter();
            let (left, progress) = self.do_errand(work, &mut budget);
            let units = spent(allowance, &budget);
            if left.is_empty() && was_letter {
                self.post.letter_is_done();
            }
            let waits = matches!(progress, Progress::Blocked | Progress::StoreBehind);
            self.here.counters().turns_ended.add(u64::from(!left.is_empty() && !waits));
            self.agenda.put_back(flow, units, left.into_iter(), progress);
            if self.agenda.uses_up(units, begun, WORK_BUDGET) {
                break;
            }
        }
    }

    /// Does an errand. Returns the errands that are left of it, and why.
    fn do_errand(&mut self, errand: Errand, budget: &mut Budget) -> (VecDeque<Errand>, Progress) {
        match errand {
            Errand::Input(token) => {
                let halt = self.resolve(token).and_then(|index| self.resume_stalled(index, budget));
                left_of(halt, token)
            }
            Errand::Fanout(mut fanout) => {
                let progress = self.go_on_with(&mut fanout, budget);
                unless_done(progress, Errand::Fanout(fanout))
            }
            Errand::Subscribe(mut subscribing) => {
                let progress = self.go_on_subscribing(&mut subscribing, budget);
                unless_done(progress, Errand::Subscribe(subscribing))
            }
            Errand::Unsubscribe(mut unsubscribing) => {
                let progress = self.go_on_unsubscribing(&mut unsubscribing, budget);
                unless_done(progress, Errand::Unsubscribe(unsubscribing))
            }
            Errand::HandOn(giver) => unless_done(self.hand_on(giver, budget), errand),
            Errand::Forget(key) => unless_done(self.forget_remains(key, budget), errand),
            Errand::Retry(mut retrying) => {
                let progress = self.go_on_retrying(&mut retrying, budget);
                unless_done(progress, Errand::Retry(retrying))
            }
            Errand::Return(key) => unless_done(self.tell_shares(key, budget), errand),
            Errand::Door(doorway) => self.go_on_with_door(doorway, budget),
            Errand::Handshake(client, progress) => {
                budget.charge(UNITS_PER_LOOK / 8);
                self.go_on_with_handshake(client, *progress);
                (VecDeque::new(), Progress::Done)
            }
            Errand::News(done) => {
                budget.charge(UNITS_PER_LOOK / 8);
                self.on_done(*done, Outcome::Committed);
                (VecDeque::new(), Progress::Done)
            }
            Errand::Share(mail) => {
                budget.charge(self.on_shared_mail(*mail));
                (VecDeque::new(), Progress::Done)
            }
        }
    }

    /// Sends clients what they are owed, in turns of the flows that pay for it; nothing while shards rest.
    pub(super) fn send_dirty(&mut self) {
        if self.agenda.is_resting() {
            return;
        }
        self.close_overflowed();
        if !self.agenda.has_sends() {
            return;
        }
        let begun = self.agenda.read_clock();
        while let Some(NextWork { flow, work, allowance }) = self.agenda.next_send() {
            let (units, left) = match work {
                Dirty::One(index) => (self.flush_dirty(index), None),
                Dirty::Many(indices) => self.flush_many(indices, allowance),
            };
            self.agenda.put_back_send(flow, units, left);
            if self.agenda.uses_up(units, begun, SENDS_BUDGET) {
                break;
            }
        }
    }

    /// Flushes clients until the allowance is spent. Returns the cost, and the clients that are left.
    fn flush_many(&mut self, mut indices: Vec<u32>, allowance: u32) -> (u32, Option<Vec<u32>>) {
        let mut units = 0;
        while units < allowance
            && let Some(index) = indices.pop()
        {
            units += self.flush_dirty(index);
        }
        if !indices.is_empty() {
            return (units, Some(indices));
        }
        self.agenda.reuse(indices);
        (units, None)
    }

    /// Sends a client what it is owed, if it is to be sent something. Returns the units that this has cost.
    pub(super) fn flush_dirty(&mut self, index: u32) -> u32 {
        let client = self.clients.get_mut(index);
        let is_dirty = client.is_some_and(|client| client.output.take_dirty());
        if is_dirty { self.flush(index) } else { 1 }
    }
}

fn unless_done(progress: Progress, errand: Errand) -> (VecDeque<Errand>, Progress) {
    let left = if progress == Progress::Done { VecDeque::new() } else { VecDeque::from([errand]) };
    (left, progress)
}

fn spent(allowance: u32, budget: &Budget) -> u32 {
    u32::try_from(i64::from(allowance) - budget.left()).unwrap_or(0)
}

/// The errands, in order, that go on with a client's input, and why they have to wait.
fn left_of(halt: Option<Halt>, token: Token) -> (VecDeque<Errand>, Progress) {
    match halt {
        None => (VecDeque::new(), Progress::Done),
        Some(Halt::Turn) => (VecDeque::from([Errand::Input(token)]), Progress::Spent),
        Some(Halt::Packet(errand, progress)) => {
            (VecDeque::from([errand, Errand::Input(token)]), progress)
        }
    }
}
