//! A shard's agenda: the instant of its turn, whose work comes next, which clients are flushed at its end,
//! and the time limit of each. It knows whose work waits, not what work it is.

mod fair_queue;

pub(super) use fair_queue::{Flow, FlowNumber, NextWork};

use std::time::Duration;

use push_common::clock::Monotonic;

use super::ports::Clock;
use fair_queue::FairQueue;

/// Units of work that a session may cause before the others have their turn: about 0.05 ms. A client waits at least
/// as long as all sessions with new work have a quantum each, so a quantum is small: 200 clients that subscribe at
/// once delay one more by 10 ms.
pub(super) const QUANTUM_UNITS: u32 = 1_024;

/// How long a turn handles input and letters as they arrive; later ones wait for their sessions' turns.
const INPUT_BUDGET: Duration = Duration::from_millis(3);

/// How often flows of closed connections and expired retained messages are looked for.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// Units between two looks at the clock.
pub(super) const UNITS_PER_LOOK: u32 = 1_024;

/// How far a piece of work got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Done,
    /// The budget is spent.
    Spent,
    /// Another shard takes no letters now, or has yet to give back memory.
    Blocked,
    /// The store does not keep up.
    StoreBehind,
}

/// Clients that are to be sent something.
#[derive(Debug)]
pub(super) enum Dirty {
    /// A client whose own work brings it something.
    One(u32),
    /// The receivers of one flow's publishes.
    Many(Vec<u32>),
}

/// What waits for its turn, `E`, and the clock `C` by which a turn is bounded.
#[derive(Debug)]
pub(super) struct Agenda<C, E> {
    clock: C,
    /// The turn's instant; read once after each wait.
    now: Monotonic,
    /// The turn handles no more input and letters as they arrive.
    is_over: bool,
    meter: Meter,
    /// Work that waits for its session's turn.
    work: FairQueue<E>,
    /// Clients that are sent something at the end of the turn, by the flow that pays for it.
    sends: FairQueue<Dirty>,
    /// The flow that pays for what clients are sent now, while its work is being done.
    payer: Option<Flow>,
    dirtied: Vec<u32>,
    /// When the shard last looked for what has expired.
    swept_at: Monotonic,
    /// Completions wait in the ring.
    leaves_completions: bool,
    /// More has expired than one turn removes.
    leaves_expired: bool,
    /// Work that is held back while the shard comes to rest, and rests.
    held: Option<Vec<(Flow, E)>>,
}

/// Counts units of work, so that a turn looks at the clock only now and then.
#[derive(Debug, Default)]
struct Meter {
    units: u32,
}

impl Meter {
    /// Counts; returns whether it is time for a look.
    fn count(&mut self, units: u32) -> bool {
        self.units = self.units.saturating_add(units);
        let is_time = self.units >= UNITS_PER_LOOK;
        if is_time {
            self.units = 0;
        }
        is_time
    }
}

impl<C: Clock, E> Agenda<C, E> {
    pub(super) fn new(clock: C) -> Self {
        let now = clock.now();
        Self {
            now,
            clock,
            is_over: false,
            meter: Meter::default(),
            work: FairQueue::new(QUANTUM_UNITS),
            sends: FairQueue::new(QUANTUM_UNITS),
            payer: None,
            dirtied: Vec::new(),
            swept_at: now,
            leaves_completions: false,
            leaves_expired: false,
            held: None,
        }
    }

    /// A turn begins now.
    pub(super) fn begin_turn(&mut self) {
        self.now = self.clock.now();
        self.is_over = false;
        self.work.begin_turn(self.now);
        self.sends.begin_turn(self.now);
    }

    /// The turn's instant.
    pub(super) fn now(&self) -> Monotonic {
        self.now
    }

    /// The time, which is later than the turn's instant.
    pub(super) fn read_clock(&self) -> Monotonic {
        self.clock.now()
    }

    /// What the wall clock says, in milliseconds since 1970.
    pub(super) fn wall_millis(&self) -> u64 {
        self.clock.wall_millis()
    }

    /// For how long the turn has been going on.
    pub(super) fn lasted(&self) -> Duration {
        self.clock.now() - self.now
    }

    /// Counts units of work. Returns, now and then, whether the step that has `begun` has lasted longer than
    /// `budget`.
    pub(super) fn uses_up(&mut self, units: u32, begun: Monotonic, budget: Duration) -> bool {
        self.meter.count(units) && self.clock.now() - begun > budget
    }

    /// Counts units of work that arrived. Looks now and then whether the turn has handled enough of it.
    pub(super) fn count_input(&mut self, units: u32) {
        if self.meter.count(units) {
            self.is_over |= self.lasted() > INPUT_BUDGET;
        }
    }

    /// What a flow may spend at once on work that comes now. `None`: the work has to wait.
    pub(super) fn allowance(&self, flow: Flow) -> Option<u32> {
        if self.is_over || self.is_resting() { None } else { self.work.allowance(flow) }
    }

    /// From now on what begins something new is to be held back.
    pub(super) fn begin_rest(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Whether what begins something new is to be held back.
    pub(super) fn is_resting(&self) -> bool {
        self.held.is_some()
    }

    /// Holds a piece of work back.
    pub(super) fn hold(&mut self, flow: Flow, work: E) {
        match &mut self.held {
            Some(held) => held.push((flow, work)),
            None => self.push(flow, work),
        }
    }

    /// What was held back waits for its flow's turn.
    pub(super) fn end_rest(&mut self) {
        for (flow, work) in self.held.take().unwrap_or_default() {
            self.push(flow, work);
        }
    }

    /// Whether no work waits, but for what is held back.
    pub(super) fn is_quiet(&self) -> bool {
        self.work.is_empty()
    }

    /// A flow has spent so much on work that came.
    pub(super) fn spend(&mut self, flow: Flow, units: u32) {
        self.work.spend(flow, units);
        self.count_input(units);
    }

    /// Work waits for its flow's turn.
    pub(super) fn push(&mut self, flow: Flow, work: E) {
        self.work.push(flow, work);
    }

    /// Pieces of work wait, in this order.
    pub(super) fn extend(&mut self, flow: Flow, work: impl Iterator<Item = E>) {
        self.work.extend(flow, work);
    }

    /// The work whose turn it is; to be given back by `put_back`.
    pub(super) fn next_work(&mut self) -> Option<NextWork<E>> {
        self.work.next()
    }

    /// A piece of work has cost so many units. `left`: the pieces that remain of it, in order, and why; none if it
    /// is done.
    pub(super) fn put_back(
        &mut self,
        flow: Flow,
        units: u32,
        left: impl DoubleEndedIterator<Item = E>,
        progress: Progress,
    ) {
        match progress {
            Progress::Blocked => self.work.blocked(flow, units, left),
            Progress::StoreBehind => self.work.parked(flow, units, left),
            Progress::Spent => self.work.unfinished(flow, units, left),
            Progress::Done => self.work.done(flow, units),
        }
    }

    /// The store keeps up again: work that has waited for it goes on.
    pub(super) fn unpark(&mut self) {
        self.work.unpark();
    }

    /// This flow pays for what clients are sent from now on.
    pub(super) fn begin_payment(&mut self, flow: Flow) {
        self.payer = Some(flow);
    }

    pub(super) fn end_payment(&mut self) {
        let Some(flow) = self.payer.take() else { return };
        if !self.dirtied.is_empty() {
            self.sends.push(flow, Dirty::Many(std::mem::take(&mut self.dirtied)));
        }
    }

    /// The flow that pays for what clients are sent now, if it is not each client's own.
    pub(super) fn payer(&self) -> Option<Flow> {
        self.payer
    }

    /// A client is sent something at the end of the turn; the payer pays, or else the client's `own` flow.
    pub(super) fn push_dirty(&mut self, own: Flow, client: u32) {
        match self.payer {
            Some(_) => self.dirtied.push(client),
            None => self.sends.push(own, Dirty::One(client)),
        }
    }

    /// The clients that are sent something next; to be given back by `put_back_send`.
    pub(super) fn next_send(&mut self) -> Option<NextWork<Dirty>> {
        self.sends.next()
    }

    /// The clients that are `left` were not sent anything yet; the others have cost so many units.
    pub(super) fn put_back_send(&mut self, flow: Flow, units: u32, left: Option<Vec<u32>>) {
        self.sends.unfinished(flow, units, left.into_iter().map(Dirty::Many));
    }

    /// Keeps an emptied list of clients for its memory.
    pub(super) fn reuse(&mut self, emptied: Vec<u32>) {
        if self.dirtied.capacity() == 0 {
            self.dirtied = emptied;
        }
    }

    /// Whether work waits that could be done now.
    pub(super) fn has_work(&self) -> bool {
        !self.work.is_idle()
    }

    /// Whether clients wait to be sent something.
    pub(super) fn has_sends(&self) -> bool {
        !self.sends.is_idle()
    }

    /// Whether it is time to look for what has expired.
    pub(super) fn is_sweep_due(&self) -> bool {
        self.now - self.swept_at >= SWEEP_PERIOD
    }

    /// The sweep is done.
    pub(super) fn end_sweep(&mut self) {
        self.swept_at = self.now;
    }

    /// Whether completions wait in the ring that the turn has left for the next one.
    pub(super) fn leaves_completions(&self) -> bool {
        self.leaves_completions
    }

    /// Whether the turn leaves completions in the ring, for the next one.
    pub(super) fn set_leaves_completions(&mut self, leaves: bool) {
        self.leaves_completions = leaves;
    }

    /// Whether the turn leaves expired things for the next one.
    pub(super) fn set_leaves_expired(&mut self, leaves: bool) {
        self.leaves_expired = leaves;
    }

    /// Whether the next turn has something to do at once.
    pub(super) fn is_unfinished(&self) -> bool {
        self.leaves_completions || self.leaves_expired || self.has_work() || self.has_sends()
    }

    /// Whether no work waits at all.
    pub(super) fn is_empty(&self) -> bool {
        self.is_quiet() && self.held.as_ref().is_none_or(Vec::is_empty)
    }

    /// Whether work waits for something that only time brings.
    pub(super) fn has_blocked(&self) -> bool {
        self.work.has_blocked()
    }

    /// Whether work waits for the store.
    pub(super) fn has_parked(&self) -> bool {
        self.work.has_parked()
    }

    /// How long the longest-waiting flow has waited, in milliseconds.
    pub(super) fn longest_wait_millis(&self) -> u64 {
        self.work.longest_wait_millis(self.now).max(self.sends.longest_wait_millis(self.now))
    }
}

#[cfg(test)]
mod tests;
