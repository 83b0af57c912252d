//! The world of one connection: every state that it can be in, and what can happen next in each.

use push_common::answer_table::{AnswerTable, Record};
use push_common::claim::RecordNumber;
use push_common::counter::Counter;
use push_common::flow::Flow;
use push_common::splice::{Decision, Verdict};

use super::client::{Client, Down, Piece, Up};
use super::ledger::Ledger;
use super::list::List;
use super::message::{Kind, Message, SHAPE};
use super::program::{self, Program, Step};
use super::rules::{Budget, Rules};
use super::stack::Stack;
use super::user::{self, Deed, User};
use super::word::ModelWord;

/// Entries each way: the fewest, so that places are used again soon.
pub(super) const ENTRIES: usize = 2;

pub(super) type Table = AnswerTable<ModelWord, ENTRIES, 3>;

/// What user space publishes in the slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct SlotWords {
    pub(super) rx: ModelWord,
    pub(super) tx: ModelWord,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A segment of the client reaches a CPU; so does a copy of it; it is lost between program and stack, or
    /// before the program.
    Arrive(usize),
    ArriveAgain(usize),
    ArriveAndGetLost(usize),
    LoseUp(usize),
    /// A CPU goes on; or its segment is lost between program and stack.
    Go(usize),
    GoAndLose(usize),
    User(Deed),
    Crash,
    StackSends,
    StackAcks,
    StackRepeats,
    /// A segment of the server reaches the client, or is lost.
    Reach(usize),
    LoseDown(usize),
    ClientSends,
    ClientAcks,
    ClientRepeats,
    /// The record at this place of all that the client has sent comes again as if it were the next.
    Forge(usize),
}

impl Act {
    /// Whether somebody begins something new.
    pub(super) fn begins(self) -> bool {
        matches!(self, Self::ClientSends | Self::User(Deed::Claim) | Self::Crash | Self::Forge(_))
    }
}

/// How often what happened, over all acts tried.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) answered: u64,
    pub(super) resent: u64,
    pub(super) refilled: u64,
    pub(super) stale: u64,
    pub(super) claimed: u64,
    pub(super) no_answer: u64,
    pub(super) crashed: u64,
    pub(super) forged: u64,
    pub(super) halved: u64,
    pub(super) half_filled: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    table: Table,
    slot: SlotWords,
    flow: Flow,
    cpus: [Program; 2],
    user: User,
    stack: Stack,
    client: Client,
    /// Segments under way.
    up: List<Up, 12>,
    down: List<Down, 12>,
    budget: Budget,
    ledger: Ledger,
}

impl World {
    /// CONNECT and CONNACK have been exchanged, the table is filled, and the slot is armed.
    pub(super) fn new(rules: &Rules<'_>) -> Self {
        let table = Table::new(ModelWord::default);
        let first = RecordNumber::new(1, 1).expect("small numbers");
        let claim = table.begin(first, first);
        table.fill_up(
            &claim,
            |at| Message::sealed(Kind::Ping, at).record(),
            |at| Message::sealed(Kind::Pong, at).record(),
        );
        table.release(claim).expect("nothing was sealed");
        Self {
            table,
            slot: SlotWords::default(),
            flow: program::flow(),
            cpus: <[Program; 2]>::default(),
            user: User::default(),
            stack: Stack::default(),
            client: Client::new(),
            up: List::default(),
            down: List::default(),
            budget: rules.budget,
            ledger: Ledger::default(),
        }
    }

    /// All that can happen now, by anybody.
    pub(super) fn acts(&self, rules: &Rules<'_>, acts: &mut Vec<Act>) {
        self.fair_acts(rules, true, acts);
        self.unfair_acts(acts);
    }

    /// What happens without an adversary; without `scripts`, nobody begins something new.
    fn fair_acts(&self, rules: &Rules<'_>, scripts: bool, acts: &mut Vec<Act>) {
        let is_locked = self.is_locked();
        for (index, cpu) in self.cpus.iter().enumerate() {
            let waits = is_locked && cpu.step == Step::Decide;
            if !cpu.is_idle() && !waits {
                acts.push(Act::Go(index));
            }
        }
        acts.extend(self.arrivals().map(Act::Arrive));
        let mut deeds = Vec::new();
        self.user.deeds(rules, &self.stack, scripts, &mut deeds);
        acts.extend(deeds.into_iter().map(Act::User));
        if !is_locked {
            if self.stack.has_new_bytes() {
                acts.push(Act::StackSends);
            } else if self.stack.owes_ack() {
                acts.push(Act::StackAcks);
            }
        }
        acts.extend(different(self.down.as_slice()).map(Act::Reach));
        if scripts && self.client.next_item(rules.client).is_some() {
            acts.push(Act::ClientSends);
        }
        if self.client.owes_ack() {
            acts.push(Act::ClientAcks);
        }
        if self.is_silent() {
            self.repetitions(acts);
        }
    }

    /// Segments of the client that may reach a CPU now. A bare ACK is decided about at once: nothing that
    /// the program reads before the lock matters for it.
    fn arrivals(&self) -> impl Iterator<Item = usize> {
        let (has_idle, is_locked) = (self.cpus.iter().any(Program::is_idle), self.is_locked());
        let can_arrive = move |is_ack| if is_ack { !is_locked } else { has_idle };
        different(self.up.as_slice()).filter(move |at| can_arrive(self.is_ack(*at)))
    }

    fn is_ack(&self, at: usize) -> bool {
        self.up.as_slice()[at].message.is_none()
    }

    fn is_locked(&self) -> bool {
        self.cpus.iter().any(Program::holds_lock)
    }

    fn repetitions(&self, acts: &mut Vec<Act>) {
        if !self.client.is_acknowledged() {
            acts.push(Act::ClientRepeats);
        }
        if self.stack.waits_for_ack() && !self.is_locked() {
            acts.push(Act::StackRepeats);
        }
    }

    fn unfair_acts(&self, acts: &mut Vec<Act>) {
        let Budget {
            lose_up,
            lose_down,
            lose_inside,
            repeat,
            hurry,
            halve,
            half_fill,
            forge,
            crash,
        } = self.budget;
        if lose_up > 0 {
            acts.extend(different(self.up.as_slice()).map(Act::LoseUp));
        }
        if repeat > 0 {
            acts.extend(self.arrivals().map(Act::ArriveAgain));
        }
        if lose_inside > 0 && !self.is_locked() {
            let decides = |(_, cpu): &(usize, &Program)| cpu.step == Step::Decide;
            let deciding = self.cpus.iter().enumerate().filter(decides);
            acts.extend(deciding.map(|(index, _)| Act::GoAndLose(index)));
            acts.extend(self.arrivals().filter(|at| self.is_ack(*at)).map(Act::ArriveAndGetLost));
        }
        if lose_down > 0 {
            acts.extend(different(self.down.as_slice()).map(Act::LoseDown));
        }
        if hurry > 0 && !self.is_silent() {
            self.repetitions(acts);
        }
        if halve > 0 && self.user.can_halve() {
            acts.push(Act::User(Deed::WriteHalf));
        }
        if half_fill > 0 && self.user.can_fill() {
            acts.push(Act::User(Deed::HalfFill));
        }
        if forge > 0 {
            acts.extend(self.client.pings_sent().map(Act::Forge));
        }
        if crash > 0 && !self.user.is_over() {
            acts.push(Act::Crash);
        }
    }

    /// Nothing is under way, so that timers fire.
    fn is_silent(&self) -> bool {
        self.up.is_empty()
            && self.down.is_empty()
            && self.cpus.iter().all(Program::is_idle)
            && !self.stack.has_new_bytes()
            && !self.stack.owes_ack()
            && !self.client.owes_ack()
    }

    /// One of those happens.
    pub(super) fn act(
        &mut self,
        rules: &Rules<'_>,
        act: Act,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let before = self.next_answer();
        self.happens(rules, act, tally)?;
        if !rules.only_outside {
            self.check_table(before)?;
        }
        self.sort_cpus();
        Ok(())
    }

    fn happens(&mut self, rules: &Rules<'_>, act: Act, tally: &mut Tally) -> Result<(), String> {
        match act {
            Act::Arrive(at) => {
                let segment = self.up.remove(at);
                self.arrives(rules, segment, false, tally)?;
            }
            Act::ArriveAgain(at) => {
                self.budget.repeat -= 1;
                self.arrives(rules, self.up.as_slice()[at], false, tally)?;
            }
            Act::ArriveAndGetLost(at) => {
                self.budget.lose_inside -= 1;
                let segment = self.up.remove(at);
                self.arrives(rules, segment, true, tally)?;
            }
            Act::LoseUp(at) => {
                self.budget.lose_up -= 1;
                self.up.remove(at);
            }
            Act::Go(cpu) => self.goes_on(rules, cpu, false, tally)?,
            Act::GoAndLose(cpu) => {
                self.budget.lose_inside -= 1;
                self.goes_on(rules, cpu, true, tally)?;
            }
            Act::User(deed) => {
                if deed == Deed::WriteHalf {
                    self.budget.halve -= 1;
                    tally.halved += 1;
                }
                if deed == Deed::HalfFill {
                    self.budget.half_fill -= 1;
                    tally.half_filled += 1;
                }
                self.user.does(deed, rules, &self.table, &self.slot, &mut self.stack)?;
            }
            Act::Crash => {
                self.budget.crash -= 1;
                tally.crashed += 1;
                self.user.crashes();
            }
            Act::StackSends => {
                let segment = self.stack.sends_new_bytes();
                self.leaves(segment, tally)?;
            }
            Act::StackAcks => {
                let segment = self.stack.sends_ack();
                self.leaves(segment, tally)?;
            }
            Act::StackRepeats => {
                self.hurries();
                let segment = self.stack.repeats();
                self.leaves(segment, tally)?;
            }
            Act::Reach(at) => {
                let segment = self.down.remove(at);
                if !self.client.is_ahead(&segment) {
                    self.client.takes(&segment)?;
                } else if self.budget.forge == rules.budget.forge {
                    return Err(format!("the client is told of bytes not sent: {segment:?}"));
                }
            }
            Act::LoseDown(at) => {
                self.budget.lose_down -= 1;
                self.down.remove(at);
            }
            Act::ClientSends => {
                let item = self.client.next_item(rules.client).ok_or("the script is over")?;
                self.up.put(self.client.sends(item));
            }
            Act::ClientAcks => self.up.put(self.client.ack()),
            Act::ClientRepeats => {
                self.hurries();
                self.up.put(self.client.repeats());
            }
            Act::Forge(at) => {
                self.budget.forge -= 1;
                tally.forged += 1;
                self.up.put(self.client.forged(at));
            }
        }
        Ok(())
    }

    /// Somebody repeats himself, before his time if something is still under way.
    fn hurries(&mut self) {
        self.budget.hurry -= u8::from(!self.is_silent());
    }

    fn arrives(
        &mut self,
        rules: &Rules<'_>,
        segment: Up,
        is_lost: bool,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let slot = user::seen(&self.slot, &self.user, rules);
        if segment.message.is_some() {
            let idle = self.cpus.iter_mut().find(|cpu| cpu.is_idle());
            idle.expect("a CPU is idle").begin(segment, slot);
            return Ok(());
        }
        let mut program = Program::default();
        program.begin(segment, slot);
        let decision = program.decides(&self.table, &mut self.flow);
        let record = program.settles(&self.table, &decision, rules.wrong);
        self.goes_out(segment, &decision, &record, is_lost, tally)
    }

    fn goes_on(
        &mut self,
        rules: &Rules<'_>,
        index: usize,
        is_lost: bool,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let cpu = &mut self.cpus[index];
        let decision = match cpu.step {
            Step::Decide => cpu.decides(&self.table, &mut self.flow),
            Step::Settle(decision) => decision,
            _ => {
                let slot = user::seen(&self.slot, &self.user, rules);
                cpu.goes_on(slot, &self.table, rules.wrong);
                return Ok(());
            }
        };
        let is_answered = decision.counter == Some(Counter::Answered);
        if is_answered && cpu.step == Step::Decide {
            cpu.step = Step::Settle(decision);
            return self.check_answer(rules.only_outside);
        }
        let record = cpu.settles(&self.table, &decision, rules.wrong);
        let segment = cpu.segment;
        *cpu = Program::default();
        self.goes_out(segment, &decision, &record, is_lost, tally)
    }

    /// What the ingress program makes of a segment.
    fn goes_out(
        &mut self,
        segment: Up,
        decision: &Decision,
        record: &Record,
        is_lost: bool,
        tally: &mut Tally,
    ) -> Result<(), String> {
        count(decision, tally);
        match decision.verdict {
            Verdict::Pass | Verdict::Translate if is_lost => {}
            Verdict::Pass | Verdict::Translate => {
                let shifted = Up {
                    seq: segment.seq.wrapping_sub(decision.seq_delta as u16),
                    ack: segment.ack.wrapping_sub(decision.ack_delta as u16),
                    ..segment
                };
                self.stack.takes(&shifted)?;
            }
            Verdict::TurnAround => {
                let (seq, ack) = (program::place(decision.seq), program::place(decision.ack));
                self.sends_record(seq, ack, record)?;
            }
            Verdict::Absorb | Verdict::Drop => {}
            Verdict::Resend | Verdict::Forget => unreachable!("{decision:?} at ingress"),
        }
        Ok(())
    }

    /// A segment of the stack passes the egress program.
    fn leaves(&mut self, segment: Down, tally: &mut Tally) -> Result<(), String> {
        let (decision, record) = program::egress(&self.table, &mut self.flow, &segment);
        count(&decision, tally);
        let seq = segment.seq.wrapping_add(decision.seq_delta as u16);
        let ack = segment.ack.wrapping_add(decision.ack_delta as u16);
        match decision.verdict {
            Verdict::Pass | Verdict::Translate => self.sends(Down { seq, ack, ..segment }),
            Verdict::Resend => self.sends_record(program::place(decision.seq), ack, &record),
            Verdict::Drop => Ok(()),
            Verdict::TurnAround | Verdict::Absorb | Verdict::Forget => {
                unreachable!("{decision:?} at egress")
            }
        }
    }

    fn sends_record(&mut self, seq: u16, ack: u16, record: &Record) -> Result<(), String> {
        let message = Message::pingresp(record).ok_or_else(|| format!("{record:?} leaves"))?;
        let mut pieces = List::default();
        pieces.push(Piece { message, from: 0, to: message.bytes() });
        self.sends(Down { seq, ack, pieces })
    }

    fn sends(&mut self, segment: Down) -> Result<(), String> {
        let mut at = segment.seq;
        let is_old = self.client.has(segment.seq.wrapping_add(segment.bytes()));
        for piece in segment.pieces.as_slice() {
            self.ledger.leaves(at.wrapping_sub(piece.from), piece.message, is_old)?;
            at = at.wrapping_add(piece.to - piece.from);
        }
        self.down.put(segment);
        Ok(())
    }

    /// What must hold when a program has taken a number.
    fn check_answer(&self, only_outside: bool) -> Result<(), String> {
        let request = program::place(self.flow.req_pos);
        let sent = self.client.sent_at(request);
        let cpu = self.cpus.iter().find(|cpu| cpu.holds_lock()).ok_or("no lock is held")?;
        if sent.is_none_or(|message| message.kind != Kind::Ping) || sent != cpu.segment.message {
            return Err(format!("{:?} is answered, and {sent:?} was sent", cpu.segment));
        }
        if !only_outside && (self.user.has_unsent() || self.stack.has_new_bytes()) {
            return Err("a program answers, and sealed bytes have not left".into());
        }
        Ok(())
    }

    /// The word as programs see it now, and the answer that they would give.
    fn next_answer(&self) -> (u64, Option<Record>) {
        let look = self.table.look();
        let mut answer = Record::default();
        let has_answer =
            look.is_open() && self.table.copy_answer(look.number(), SHAPE, &mut answer);
        (look_word(look), has_answer.then_some(answer))
    }

    /// Numbers only go on, and an answer is not touched before its number has been used.
    fn check_table(&self, (before, answer): (u64, Option<Record>)) -> Result<(), String> {
        let (after, answer_after) = self.next_answer();
        if after < before {
            return Err(format!("the word returns from {before:#x} to {after:#x}"));
        }
        if after == before && answer.is_some() && answer_after.is_some() && answer != answer_after {
            return Err("an answer was rewritten before its number was used".into());
        }
        Ok(())
    }

    /// The CPUs are alike, so it does not matter which of them does what.
    fn sort_cpus(&mut self) {
        let key = |cpu: &Program| (cpu.segment, cpu.step_number());
        if key(&self.cpus[0]) > key(&self.cpus[1]) {
            self.cpus.swap(0, 1);
        }
    }

    /// When nothing happens of its own accord any more: all that was begun ends well, if only the network is
    /// good from now on.
    pub(super) fn check_progress(&self, rules: &Rules<'_>) -> Result<(), String> {
        /// Far more than the longest script needs.
        const ACTS_MAX: usize = 300;

        if !self.is_silent() {
            return Ok(());
        }
        let mut world = self.clone();
        let (mut acts, mut tally) = (Vec::new(), Tally::default());
        for _ in 0..ACTS_MAX {
            if world.is_complete() {
                return Ok(());
            }
            acts.clear();
            world.fair_acts(rules, false, &mut acts);
            let Some(act) = acts.first() else { break };
            world.act(rules, *act, &mut tally)?;
        }
        Err(format!("this never ends well: {world:?}"))
    }

    /// User space does nothing any more.
    pub(super) fn is_deserted(&self) -> bool {
        self.user.is_over()
    }

    fn is_complete(&self) -> bool {
        let (client, user) = (&self.client, &self.user);
        let next = self.table.look().number();
        user.is_over()
            || client.pings == client.pongs
                && client.is_acknowledged()
                && self.stack.is_acknowledged()
                && user.rests()
                && !user.has_unsent()
                && self.table.look().is_open()
                && client.has_opened((next.epoch() as u8, next.number() as u8))
    }

    /// Both scripts have been carried out, and all ended well.
    pub(super) fn is_over(&self, rules: &Rules<'_>) -> bool {
        self.is_complete()
            && self.client.next_item(rules.client).is_none()
            && (self.user.is_over() || self.user.has_done_all(rules.server))
    }
}

/// Epoch and number, so that later ones are larger.
fn look_word(look: push_common::claim::Look) -> u64 {
    u64::from(look.number().epoch()) << 48 | look.number().number()
}

/// Indices of items in a sorted list, of equal ones the first.
fn different<T: PartialEq>(items: &[T]) -> impl Iterator<Item = usize> {
    (0..items.len()).filter(|&at| at == 0 || items[at - 1] != items[at])
}

fn count(decision: &Decision, tally: &mut Tally) {
    match decision.counter {
        Some(Counter::Answered) => tally.answered += 1,
        Some(Counter::Resent) => tally.resent += 1,
        Some(Counter::Refilled) => tally.refilled += 1,
        Some(Counter::StaleBytes) => tally.stale += 1,
        Some(Counter::Claimed) => tally.claimed += 1,
        Some(Counter::NoAnswer) => tally.no_answer += 1,
        _ => {}
    }
}
