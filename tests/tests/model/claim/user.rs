//! User space: a shard's thread with the TLS of one connection, step by step. Between two steps others go
//! on; between two pieces of its work the thread may do something else.

use push_common::answer_table::Record;
use push_common::claim::{Claim, Published, Reading};
use push_common::mutant::Part;
use push_common::shared_word::SharedWord as _;

use super::list::List;
use super::message::{Kind, Message, SHAPE};
use super::program::Slot;
use super::rules::{Item, Rules, Wrong};
use super::stack::Stack;
use super::world::{ENTRIES, SlotWords, Table};

/// What it can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Reads and opens all that has come.
    Read,
    /// Claims, unless it has a claim, to answer a ping or go on with its script.
    Claim,
    /// Gives TCP what is sealed; or but half of the last record.
    Write,
    WriteHalf,
    /// The next step of what it is at.
    Next,
    /// Fills in requests alone.
    HalfFill,
    /// Goes on as if TCP had all.
    PublishEarly,
    /// Goes on without publishing.
    ReleaseEarly,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Step {
    #[default]
    Idle,
    Reply(Reading),
    Opened(Reading),
    PublishRx(Published),
    /// In the wrong order: `rx` is published.
    PublishReading(Reading),
    Seal,
    /// In the wrong order: sealed, and not claimed.
    ClaimSealed,
    Write,
    Publish,
    FillUp,
    Release,
    PublishLate,
    Over,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct User {
    step: Step,
    claim: Option<Claim>,
    /// How far it has come in its script.
    done: u8,
    /// Pings that it has read and not answered.
    unanswered: u8,
    /// Records whose last byte TCP does not have; of the first it may have half.
    sealed: List<Message, 8>,
    /// Bytes that it has read; bytes of whole records that TCP has.
    read: u16,
    given: u16,
}

impl User {
    pub(super) fn is_over(&self) -> bool {
        self.step == Step::Over
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// Nothing is under way, and no claim is held.
    pub(super) fn rests(&self) -> bool {
        self.step == Step::Idle && self.claim.is_none() && self.unanswered == 0
    }

    pub(super) fn has_done_all(&self, script: &[Item]) -> bool {
        usize::from(self.done) == script.len()
    }

    pub(super) fn crashes(&mut self) {
        // Its claim, if it has one, holds for good.
        self.step = Step::Over;
    }

    /// All that it can do now; without `script`, nothing of its own accord.
    pub(super) fn deeds(
        &self,
        rules: &Rules<'_>,
        stack: &Stack,
        script: bool,
        deeds: &mut Vec<Deed>,
    ) {
        let item = rules.server.get(usize::from(self.done));
        match self.step {
            // Behind close_notify it says nothing more.
            Step::Idle if self.has_closed(rules) => deeds.push(Deed::Write),
            Step::Idle => {
                if !stack.readable().is_empty() {
                    deeds.push(Deed::Read);
                }
                if self.has_unsent() {
                    deeds.push(Deed::Write);
                    let holds_reply = rules.wrong == Some(Wrong::ReleaseBeforeReply);
                    if self.claim.is_some() && holds_reply {
                        deeds.push(Deed::PublishEarly);
                    }
                }
                if self.unanswered > 0 || (script && item.is_some()) {
                    deeds.push(Deed::Claim);
                }
            }
            Step::Write => {
                deeds.push(Deed::Write);
                if rules.left_out == Some(Part::HandedToTcp) {
                    deeds.push(Deed::PublishEarly);
                }
            }
            Step::Publish if rules.left_out == Some(Part::TxPublished) => {
                deeds.extend([Deed::Next, Deed::ReleaseEarly]);
            }
            Step::Over => {}
            _ => deeds.push(Deed::Next),
        }
    }

    pub(super) fn can_halve(&self) -> bool {
        self.step == Step::Write
    }

    pub(super) fn can_fill(&self) -> bool {
        self.step == Step::FillUp
    }

    pub(super) fn does(
        &mut self,
        deed: Deed,
        rules: &Rules<'_>,
        table: &Table,
        slot: &SlotWords,
        stack: &mut Stack,
    ) -> Result<(), String> {
        match deed {
            Deed::Read => self.reads(table, stack)?,
            Deed::Claim if self.claim.is_some() => self.step = Step::Seal,
            Deed::Claim if rules.wrong == Some(Wrong::SealFirst) => {
                let kind = self.next_kind(rules);
                self.sealed.push(Message::sealed(kind, table.look().number()));
                self.step = Step::ClaimSealed;
            }
            Deed::Claim => {
                self.claim = Some(table.claim().ok_or("the word is held already")?);
                self.step = Step::Seal;
            }
            Deed::Write => self.writes(stack, rules),
            Deed::WriteHalf => self.writes_half(stack, rules),
            Deed::PublishEarly => {
                if rules.wrong.is_some() {
                    self.says_all_is_handed();
                }
                self.step = Step::Publish;
            }
            Deed::ReleaseEarly => self.step = Step::FillUp,
            Deed::HalfFill => self.fills(table, false)?,
            Deed::Next => self.next(rules, table, slot)?,
        }
        Ok(())
    }

    fn next(&mut self, rules: &Rules<'_>, table: &Table, slot: &SlotWords) -> Result<(), String> {
        self.step = match std::mem::take(&mut self.step) {
            Step::Reply(reading) => {
                if self.claim.is_none() {
                    self.claim = Some(table.claim().ok_or("the word is held already")?);
                }
                self.seals(Kind::KeyUpdate, table, rules.only_outside)?;
                Step::Opened(reading)
            }
            Step::Opened(reading) if rules.wrong == Some(Wrong::RxFirst) => {
                slot.rx.store(self.read.into());
                Step::PublishReading(reading)
            }
            Step::Opened(reading) => Step::PublishRx(table.publish(reading)),
            Step::PublishReading(reading) => {
                let _ = table.publish(reading);
                Step::Idle
            }
            Step::PublishRx(published) => {
                published.publish_rx(&slot.rx, self.read.into());
                Step::Idle
            }
            Step::Seal => {
                let kind = self.next_kind(rules);
                self.seals(kind, table, rules.only_outside)?;
                Step::Write
            }
            Step::ClaimSealed => {
                let mut claim = table.claim().ok_or("the word is held already")?;
                table.seal(&mut claim);
                self.claim = Some(claim);
                Step::Write
            }
            Step::Publish => {
                let claim = self.claim.as_mut().ok_or("no claim")?;
                if !claim.publish_tx(&slot.tx, self.given.into()) {
                    return Err("TCP does not have all that was sealed".into());
                }
                Step::FillUp
            }
            Step::FillUp => return self.fills(table, true),
            Step::Release => {
                let claim = self.claim.take().ok_or("no claim")?;
                table.release(claim).map_err(|_| "the word cannot be released")?;
                let is_late = slot.tx.load() != u64::from(self.given);
                let closes = self.has_closed(rules);
                if is_late {
                    Step::PublishLate
                } else if closes {
                    Step::Over
                } else {
                    Step::Idle
                }
            }
            Step::PublishLate => {
                slot.tx.store(self.given.into());
                Step::Idle
            }
            step @ (Step::Idle | Step::Write | Step::Over) => unreachable!("{step:?}"),
        };
        Ok(())
    }

    fn fills(&mut self, table: &Table, answers_too: bool) -> Result<(), String> {
        let claim = self.claim.as_ref().ok_or("no claim")?;
        let ping = |at| Message::sealed(Kind::Ping, at).record();
        let pong = |at| Message::sealed(Kind::Pong, at).record();
        if answers_too {
            table.fill_up(claim, ping, pong);
        } else {
            let next = table.expected();
            for at in (0..).map_while(|more| next.after(more)).take(ENTRIES) {
                table.fill_request(claim, at, &ping(at));
            }
        }
        self.step = Step::Release;
        Ok(())
    }

    fn next_kind(&mut self, rules: &Rules<'_>) -> Kind {
        if self.unanswered > 0 {
            self.unanswered -= 1;
            return Kind::Pong;
        }
        let item = rules.server[usize::from(self.done)];
        self.done += 1;
        match item {
            Item::Ping | Item::Data => Kind::Data,
            Item::KeyUpdate | Item::KeyUpdateAsking => Kind::KeyUpdate,
            Item::Close => Kind::CloseNotify,
        }
    }

    fn has_closed(&self, rules: &Rules<'_>) -> bool {
        self.done > 0 && rules.server[usize::from(self.done) - 1] == Item::Close
    }

    fn seals(&mut self, kind: Kind, table: &Table, only_outside: bool) -> Result<(), String> {
        let claim = self.claim.as_mut().ok_or("no claim")?;
        let at = table.seal(claim).ok_or("no number is left")?;
        if !only_outside && table.copy_answer(at, SHAPE, &mut Record::default()) {
            return Err(format!("{at:?} is sealed by, and its answer is in the table"));
        }
        self.sealed.push(Message::sealed(kind, at));
        if kind == Kind::KeyUpdate && !table.update_key(claim) {
            return Err("no epoch is left".into());
        }
        Ok(())
    }

    fn reads(&mut self, table: &Table, stack: &mut Stack) -> Result<(), String> {
        let mut reading = table.read();
        let mut is_asked = false;
        self.read = stack.received();
        for record in stack.read().as_slice() {
            let message = record.message;
            if !message.is_for(reading.next()) {
                if record.is_forged {
                    // An alert follows, and the end.
                    self.step = Step::Over;
                    return Ok(());
                }
                return Err(format!("user space opens {message:?} with {:?}", reading.next()));
            }
            let goes_on = match message.kind {
                Kind::KeyUpdate | Kind::KeyUpdateAsking => reading.update_key(),
                _ => reading.opened(),
            };
            if !goes_on {
                return Err("no number is left".into());
            }
            self.unanswered += u8::from(message.kind == Kind::Ping);
            is_asked |= message.kind == Kind::KeyUpdateAsking;
        }
        self.step = if is_asked { Step::Reply(reading) } else { Step::Opened(reading) };
        Ok(())
    }

    fn writes(&mut self, stack: &mut Stack, rules: &Rules<'_>) {
        for message in std::mem::take(&mut self.sealed).as_slice() {
            stack.accepts(*message, message.bytes());
            self.given += message.bytes();
            if let Some(claim) = &mut self.claim {
                claim.handed(1);
            }
        }
        self.step = if self.claim.is_none() {
            // It was released too early.
            Step::PublishLate
        } else if self.has_closed(rules) && rules.wrong != Some(Wrong::ReleaseAfterClose) {
            Step::Over
        } else {
            Step::Publish
        };
    }

    fn writes_half(&mut self, stack: &mut Stack, rules: &Rules<'_>) {
        let sealed = std::mem::take(&mut self.sealed);
        let (last, whole) = sealed.as_slice().split_last().expect("something is sealed");
        for message in whole {
            stack.accepts(*message, message.bytes());
            self.given += message.bytes();
            if let Some(claim) = &mut self.claim {
                claim.handed(1);
            }
        }
        stack.accepts(*last, last.bytes() / 2);
        self.sealed.push(*last);
        self.step = Step::Idle;
        if rules.wrong == Some(Wrong::ReleaseAtHalf) {
            self.says_all_is_handed();
            self.step = Step::Publish;
        }
    }

    fn says_all_is_handed(&mut self) {
        if let Some(claim) = &mut self.claim {
            claim.handed(self.sealed.len() as u64);
        }
    }
}

/// What a program reads of the slot.
pub(super) fn seen(slot: &SlotWords, user: &User, rules: &Rules<'_>) -> Slot {
    let is_armed = !user.is_over() || !user.has_closed(rules);
    Slot { rx: slot.rx.load(), tx: slot.tx.load(), is_armed }
}
