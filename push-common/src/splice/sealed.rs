//! Heartbeats inside TLS: the splice's decision together with claim and answer table (rules 17 to 22).
//!
//! A program calls, in this order:
//! 1. before the lock: reads the slot; then [`Sealed::look`]; then reads `tx` again, which is the one that
//!    counts; then [`Sealed::compare`], whose answer is the segment's `pingreq`;
//! 2. under the lock: [`Sealed::on_ingress`];
//! 3. after it: says that the table runs low if it does after this answer ([`Sealed::runs_low`]); writes
//!    [`Sealed::record`] if the verdict turns the segment around, and wipes it.
//!
//! At egress there is nothing before the lock, and [`Sealed::on_egress`] under it.
//!
//! What is under the lock takes flows without a table, too: in clear rules 17 to 22 have nothing to ask. So a program
//! contains the other rules once, and its verifier goes through them once.

use crate::answer_table::{self, AnswerTable, Record, RecordShape};
use crate::claim::{Look, RecordNumber};
use crate::clock::Monotonic;
use crate::counter::Counter;
use crate::flow::Flow;
use crate::mutant::{Part, is_left_out};
use crate::rate::Pace;
use crate::segment::{Segment, SocketFacts};
use crate::shared_word::SharedWord;
use crate::slot::SlotView;

use super::{Decision, Verdict, ingress, on_egress};

/// What a program knows of the numbers before it takes the lock, and the record that leaves. Flat, and
/// every field always set, as [`Decision`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sealed {
    look: Look,
    /// The number that the client's record would have.
    request: RecordNumber,
    has_answer: bool,
    record: Record,
}

impl Sealed {
    /// The first step. What the program takes from `tx` and the table, it reads afterwards.
    #[inline(always)]
    #[must_use]
    pub fn look<W: SharedWord, const K: usize, const N: usize>(
        table: &AnswerTable<W, K, N>,
    ) -> Self {
        Self { look: table.look(), ..Self::default() }
    }

    /// Whether a payload is the PINGREQ that can come next. If so, also copies its answer.
    #[inline(always)]
    #[must_use]
    pub fn compare<W: SharedWord, const K: usize, const N: usize>(
        &mut self,
        table: &AnswerTable<W, K, N>,
        shape: RecordShape,
        payload: &Record,
    ) -> bool {
        let is_request = self.is_request(table, shape, payload);
        if is_request {
            self.copy(table, shape);
        }
        is_request
    }

    /// The first half of `compare`.
    #[inline(always)]
    #[must_use]
    pub fn is_request<W: SharedWord, const K: usize, const N: usize>(
        &mut self,
        table: &AnswerTable<W, K, N>,
        shape: RecordShape,
        payload: &Record,
    ) -> bool {
        self.request = table.expected();
        table.is_request(self.request, shape, payload)
    }

    /// Its second half.
    #[inline(always)]
    pub fn copy<W: SharedWord, const K: usize, const N: usize>(
        &mut self,
        table: &AnswerTable<W, K, N>,
        shape: RecordShape,
    ) {
        self.has_answer = table.copy_answer(self.look.number(), shape, &mut self.record);
    }

    /// Decides about a segment from the client, and takes a number if the ping is answered. Under the
    /// flow's lock. `table`: the flow's, if its heartbeats are sealed.
    #[inline(always)]
    pub fn on_ingress<W: SharedWord, const K: usize, const N: usize>(
        &mut self,
        table: Option<&AnswerTable<W, K, N>>,
        flow: &mut Flow,
        slot: &SlotView,
        segment: &Segment,
        pace: Pace,
        now: Monotonic,
    ) -> Decision {
        let decision = self.decide(table, flow, slot, segment, pace, now);
        self.settle(table, &decision);
        decision
    }

    /// The first half of `on_ingress`: the decision, up to the exchange of the claim word.
    #[inline(always)]
    pub fn decide<W: SharedWord, const K: usize, const N: usize>(
        &self,
        table: Option<&AnswerTable<W, K, N>>,
        flow: &mut Flow,
        slot: &SlotView,
        segment: &Segment,
        pace: Pace,
        now: Monotonic,
    ) -> Decision {
        ingress(flow, slot, segment, pace, now, || self.declines(table?))
    }

    /// Its second half, under the same lock: keeps the answer, or brings back the one that was kept.
    #[inline(always)]
    pub fn settle<W: SharedWord, const K: usize, const N: usize>(
        &mut self,
        table: Option<&AnswerTable<W, K, N>>,
        decision: &Decision,
    ) {
        let Some(table) = table else { return };
        match decision.counter {
            Some(Counter::Answered) => table.keep(&self.record, self.request),
            Some(Counter::Refilled) => self.record = kept(table),
            _ => self.record = Record::default(),
        }
    }

    /// Decides about a segment of the server's stack. With [`Verdict::Resend`], the record is the PINGRESP to
    /// send. Under the flow's lock. `table`: the flow's, if its heartbeats are sealed.
    #[inline(always)]
    pub fn on_egress<W: SharedWord, const K: usize, const N: usize>(
        &mut self,
        table: Option<&AnswerTable<W, K, N>>,
        flow: &mut Flow,
        segment: &Segment,
        socket: Option<&SocketFacts>,
        now: Monotonic,
    ) -> Decision {
        let decision = on_egress(flow, segment, socket, now);
        if let (Verdict::Resend, Some(table)) = (decision.verdict, table) {
            self.record = kept(table);
        }
        decision
    }

    /// The record that leaves, if the verdict turns the segment around or sends it in place of another.
    #[inline(always)]
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Forgets the record; it has left.
    #[inline(always)]
    pub fn wipe(&mut self) {
        self.record = Record::default();
    }

    /// Whether the table runs low, once the ping was answered.
    #[inline(always)]
    #[must_use]
    pub const fn runs_low(&self) -> bool {
        answer_table::runs_low(self.request)
    }

    /// Rules 17 and 18; the last question, because it takes the number.
    #[inline(always)]
    fn declines<W: SharedWord, const K: usize, const N: usize>(
        &self,
        table: &AnswerTable<W, K, N>,
    ) -> Option<Counter> {
        if !self.look.is_open() || self.request.is_last() {
            return Some(Counter::Claimed);
        }
        if !self.has_answer {
            return Some(Counter::NoAnswer);
        }
        if table.take(self.look) { None } else { Some(Counter::Claimed) }
    }
}

/// Rule 21: what leaves again is what left before, whatever has become of the table.
#[inline(always)]
fn kept<W: SharedWord, const K: usize, const N: usize>(table: &AnswerTable<W, K, N>) -> Record {
    if is_left_out(Part::KeptAnswer) { table.answer_before() } else { table.kept() }
}
