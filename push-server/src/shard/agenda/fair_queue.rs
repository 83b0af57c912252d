//! Whose work a shard does next: deficit round robin over the sessions that cause it, newcomers
//! first.
//!
//! Each session with work waiting may cause `quantum` units of it a round (Shreedhar and Varghese, 1995). A session
//! with more work waits for its next round, and all others have theirs in between. Flows whose work is new go
//! before those that have had a turn (RFC 8290, section 4.2): a heartbeat or a single publish passes by any
//! backlog. They get at most eight times as much as the others, because thousands of flows that come and go must
//! not starve one with more to do. Units that a flow spends while it has nothing waiting count for its turn, so
//! that coming and going wins nothing.
//!
//! Pure: it knows neither clocks nor rings; the caller does the work, and says what it cost.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use push_common::clock::Monotonic;

use crate::store::SessionNumber;

/// On whose account work is done: a session's, by its shard and its number.
///
/// Not by its key, which another session gets as soon as this one has ended: its will or a publish under way may
/// wait for the store much longer, and the other session's work would wait behind that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    shard: u16,
    kind: FlowKind,
    number: u32,
}

/// The low half of a session's number. That is enough: at worst two sessions with four billion others
/// between them share a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowNumber(u32);

impl From<SessionNumber> for FlowNumber {
    fn from(number: SessionNumber) -> Self {
        Self(number.0 as u32)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum FlowKind {
    Session,
    Newcomer,
    Ended,
    HandOn,
    Door,
    Nobody,
    Returned,
}

impl Flow {
    /// A session's flow, over all its connections.
    pub(crate) fn session(shard: u16, number: FlowNumber) -> Self {
        Self { shard, kind: FlowKind::Session, number: number.0 }
    }

    /// The flow of a connection without a session.
    pub(crate) fn newcomer(shard: u16, client: u32) -> Self {
        Self { shard, kind: FlowKind::Newcomer, number: client }
    }

    /// The clearing up after an ended session. It does not wait behind the session's other work.
    pub(crate) fn ended(shard: u16, key: u32) -> Self {
        Self { shard, kind: FlowKind::Ended, number: key }
    }

    /// Messages for groups that have come back to this flow's shard, because a member elsewhere was gone or refused
    /// them. They do not wait behind the flow's other work: that may wait for another shard to take letters, and
    /// the other shard does when these have been dealt with.
    pub(crate) fn returned(self) -> Self {
        Self { kind: FlowKind::Returned, ..self }
    }

    /// Whether it is a flow of this shard's own.
    pub(crate) fn is_of(self, shard: u16) -> bool {
        self.shard == shard
    }

    /// Sixteen bits that differ between nearly all flows.
    pub(crate) fn tag(self) -> NonZeroU16 {
        let place = u32::from(self.shard) << 3 | self.kind as u32;
        let mixed = (self.number ^ place << 24).wrapping_mul(0x9E37_79B1) >> 16;
        NonZeroU16::new(mixed as u16).unwrap_or(NonZeroU16::MAX)
    }

    /// Messages that ended sessions hand on. One flow for all of them: a thousand sessions that end at once get as
    /// much of a shard as one that goes on.
    pub(crate) fn hand_on(shard: u16) -> Self {
        Self { shard, kind: FlowKind::HandOn, number: 0 }
    }

    /// A door's messages.
    pub(crate) fn door(shard: u16, number: u32) -> Self {
        Self { shard, kind: FlowKind::Door, number }
    }

    /// Work of no session: writes that the store is offered again, and wills that a start has found.
    pub(crate) fn nobody(shard: u16) -> Self {
        Self { shard, kind: FlowKind::Nobody, number: 0 }
    }
}

/// Work that waits, in order for each flow.
#[derive(Debug)]
pub(crate) struct FairQueue<W> {
    quantum: u32,
    flows: HashMap<Flow, WaitingFlow<W>, foldhash::fast::RandomState>,
    /// Flows that have not had a turn since their work came.
    fresh: VecDeque<Flow>,
    /// Flows that have had one.
    rest: VecDeque<Flow>,
    /// Flows whose work cannot go on in this turn.
    blocked: Vec<Flow>,
    /// Flows whose work cannot go on before `unpark`.
    parked: Vec<Flow>,
    /// Units that flows without waiting work have spent in this turn.
    spent: HashMap<Flow, u32, foldhash::fast::RandomState>,
    /// Emptied queues, kept for their memory: flows come and go all the time.
    spare: Vec<VecDeque<W>>,
    /// Units that fresh flows have had ahead of their share against the others.
    fresh_lead: i64,
    now: Monotonic,
}

/// Fresh flows get at most so many times the units of the others while both wait: many that come and go must not
/// starve one with more to do.
const FRESH_SHARE: i64 = 8;

/// How many emptied queues are kept, and up to which capacity.
const SPARE_MAX: usize = 256;
const SPARE_CAPACITY_MAX: usize = 16;

#[derive(Debug)]
struct WaitingFlow<W> {
    work: VecDeque<W>,
    /// Units it may spend before its turn ends; negative where it has overspent.
    deficit: i64,
    /// When a piece of its work was last done.
    since: Monotonic,
    is_fresh: bool,
    is_parked: bool,
}

/// Until when the rest of a piece of work waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Its flow's next round.
    Round,
    /// The next turn.
    Turn,
    /// `unpark`.
    Unpark,
}

/// A piece of work whose turn it is. To be given back by `done`, `unfinished`, `blocked` or `parked`.
#[derive(Debug)]
#[must_use]
pub(crate) struct NextWork<W> {
    pub(crate) flow: Flow,
    pub(crate) work: W,
    /// Units that may be spent on it.
    pub(crate) allowance: u32,
}

impl<W> FairQueue<W> {
    /// `quantum`: units of a flow a round.
    pub(crate) fn new(quantum: u32) -> Self {
        Self {
            quantum,
            flows: HashMap::default(),
            fresh: VecDeque::new(),
            rest: VecDeque::new(),
            blocked: Vec::new(),
            parked: Vec::new(),
            spent: HashMap::default(),
            spare: Vec::new(),
            fresh_lead: 0,
            now: Monotonic(0),
        }
    }

    /// A turn begins: what has been spent is forgotten, and blocked work is tried again.
    pub(crate) fn begin_turn(&mut self, now: Monotonic) {
        self.now = now;
        if !self.spent.is_empty() {
            self.spent.clear();
        }
        self.rest.extend(self.blocked.drain(..));
    }

    /// Whether no work waits that could be done now.
    pub(crate) fn is_idle(&self) -> bool {
        self.fresh.is_empty() && self.rest.is_empty()
    }

    /// Whether no work waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Whether work waits for the next turn.
    pub(crate) fn has_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Whether work waits for `unpark`.
    pub(crate) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Parked work may go on.
    pub(crate) fn unpark(&mut self) {
        for flow in self.parked.drain(..) {
            if let Some(waiting) = self.flows.get_mut(&flow) {
                waiting.is_parked = false;
                waiting.since = self.now;
                self.rest.push_back(flow);
            }
        }
    }

    /// How long the longest-waiting flow has waited, in milliseconds. Parked flows do not count: they wait for the
    /// store.
    pub(crate) fn longest_wait_millis(&self, now: Monotonic) -> u64 {
        let waiting = self.flows.values().filter(|waiting| !waiting.is_parked);
        let oldest = waiting.map(|waiting| waiting.since).min();
        oldest.map_or(0, |since| now.since(since).as_millis() as u64)
    }

    /// How many units a flow may spend at once on work that comes now. `None`: the work has to wait, because the
    /// flow has work waiting or has had its share of this turn.
    pub(crate) fn allowance(&self, flow: Flow) -> Option<u32> {
        if !self.flows.is_empty() && self.flows.contains_key(&flow) {
            return None;
        }
        let spent = if self.spent.is_empty() { 0 } else { self.spent_of(flow) };
        self.quantum.checked_sub(spent).filter(|allowance| *allowance > 0)
    }

    /// A flow without work waiting has spent so much of its allowance.
    pub(crate) fn spend(&mut self, flow: Flow, units: u32) {
        let spent = self.spent.entry(flow).or_insert(0);
        *spent = spent.saturating_add(units);
    }

    /// Work comes, behind what the flow has waiting.
    pub(crate) fn push(&mut self, flow: Flow, work: W) {
        let spent = if self.spent.is_empty() { 0 } else { self.spent_of(flow) };
        match self.flows.entry(flow) {
            Entry::Occupied(waiting) => waiting.into_mut().work.push_back(work),
            Entry::Vacant(place) => {
                let mut waiting = self.spare.pop().unwrap_or_default();
                waiting.push_back(work);
                let deficit = i64::from(self.quantum) - i64::from(spent);
                let is_fresh = spent == 0;
                if is_fresh { &mut self.fresh } else { &mut self.rest }.push_back(flow);
                let since = self.now;
                let is_parked = false;
                place.insert(WaitingFlow { work: waiting, deficit, since, is_fresh, is_parked });
            }
        }
    }

    /// The same of several pieces.
    pub(crate) fn extend(&mut self, flow: Flow, work: impl Iterator<Item = W>) {
        work.for_each(|work| self.push(flow, work));
    }

    /// The piece of work whose turn it is, if any can be done now.
    pub(crate) fn next(&mut self) -> Option<NextWork<W>> {
        loop {
            let flow = self.next_flow()?;
            let Some(waiting) = self.flows.get_mut(&flow) else { continue };
            if waiting.deficit <= 0 {
                // A new round begins; a flow that has overspent sits some of them out.
                waiting.deficit += i64::from(self.quantum);
            }
            if waiting.deficit <= 0 {
                self.rest.push_back(flow);
                continue;
            }
            // A deficit is at most the quantum, so it fits.
            let allowance = waiting.deficit as u32;
            let Some(work) = waiting.work.pop_front() else { continue };
            return Some(NextWork { flow, work, allowance });
        }
    }

    fn next_flow(&mut self) -> Option<Flow> {
        if self.fresh_lead >= FRESH_SHARE * i64::from(self.quantum) || self.fresh.is_empty() {
            match self.rest.pop_front() {
                None => self.fresh_lead = 0,
                found => return found,
            }
        }
        self.fresh.pop_front()
    }

    /// A piece of work is done; it has cost so many units.
    pub(crate) fn done(&mut self, flow: Flow, units: u32) {
        self.settle(flow, units, std::iter::empty(), Until::Round);
    }

    /// A piece of work has used up its flow's allowance. The pieces that are `left` of it, in order, go before the
    /// flow's other work.
    pub(crate) fn unfinished(
        &mut self,
        flow: Flow,
        units: u32,
        left: impl DoubleEndedIterator<Item = W>,
    ) {
        self.settle(flow, units, left, Until::Round);
    }

    /// A piece of work cannot go on before the next turn.
    pub(crate) fn blocked(
        &mut self,
        flow: Flow,
        units: u32,
        left: impl DoubleEndedIterator<Item = W>,
    ) {
        self.settle(flow, units, left, Until::Turn);
    }

    /// A piece of work cannot go on before `unpark`.
    pub(crate) fn parked(
        &mut self,
        flow: Flow,
        units: u32,
        left: impl DoubleEndedIterator<Item = W>,
    ) {
        self.settle(flow, units, left, Until::Unpark);
    }

    fn settle(
        &mut self,
        flow: Flow,
        units: u32,
        left: impl DoubleEndedIterator<Item = W>,
        until: Until,
    ) {
        let (quantum, now) = (self.quantum, self.now);
        let Some(waiting) = self.flows.get_mut(&flow) else { return };
        for work in left.rev() {
            waiting.work.push_front(work);
        }
        waiting.deficit -= i64::from(units);
        if waiting.is_fresh {
            self.fresh_lead += i64::from(units);
        } else {
            self.fresh_lead = (self.fresh_lead - FRESH_SHARE * i64::from(units)).max(0);
        }
        if units > 0 {
            waiting.since = now;
        }
        if waiting.work.is_empty() {
            let spent = i64::from(quantum) - waiting.deficit;
            if let Some(WaitingFlow { work, .. }) = self.flows.remove(&flow)
                && self.spare.len() < SPARE_MAX
                && work.capacity() <= SPARE_CAPACITY_MAX
            {
                self.spare.push(work);
            }
            self.spent.insert(flow, u32::try_from(spent.max(0)).unwrap_or(u32::MAX));
        } else if until != Until::Round {
            waiting.is_fresh = false;
            waiting.is_parked = until == Until::Unpark;
            if waiting.is_parked { &mut self.parked } else { &mut self.blocked }.push(flow);
        } else if waiting.deficit > 0 {
            let queue = if waiting.is_fresh { &mut self.fresh } else { &mut self.rest };
            queue.push_front(flow);
        } else {
            waiting.is_fresh = false;
            self.rest.push_back(flow);
        }
    }

    fn spent_of(&self, flow: Flow) -> u32 {
        self.spent.get(&flow).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
