//! When a shard looks at its clients and sessions again: its timer wheel, and the timers that have fired.
//! It knows clients and sessions by their numbers only, and reads no clock.
//! `ends` has the deadlines of the wall clock.

mod ends;
mod wheel;

use std::collections::VecDeque;

use push_common::clock::Monotonic;

use ends::Ends;
use wheel::{Timer, Wheel, tick_at_or_after};

/// A timer is armed at most so far ahead; its owner then looks at its own deadline and arms again. Timers are not
/// cancelled, so this bounds how long one outlives a client that comes and goes.
const TIMER_MILLIS_MAX: u64 = 300_000;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timed {
    /// A client: CONNECT, keep alive or linger deadline, by its phase.
    Client(u32),
    /// A session without a connection.
    Session(u32),
}

/// A shard's timers.
#[derive(Debug)]
pub(super) struct Timers {
    wheel: Wheel<Timed>,
    /// Due, and not handled yet.
    due: VecDeque<Timer<Timed>>,
    /// When clients have to leave by the wall clock.
    ends: Ends,
    /// Scratch, kept for its memory.
    scratch: Vec<Timer<Timed>>,
}

impl Timers {
    pub(super) fn new(now: Monotonic) -> Self {
        Self {
            wheel: Wheel::new(now),
            due: VecDeque::new(),
            ends: Ends::default(),
            scratch: Vec::new(),
        }
    }

    /// When clients have to leave by the wall clock.
    pub(super) fn ends(&self) -> &Ends {
        &self.ends
    }

    /// The same, to be changed.
    pub(super) fn ends_mut(&mut self) -> &mut Ends {
        &mut self.ends
    }

    /// Arms a timer. Returns the tick by which its owner tells it from a stale one.
    pub(super) fn arm(&mut self, timed: Timed, deadline: Monotonic, now: Monotonic) -> u64 {
        self.wheel.arm(timed, deadline.min(now.after_millis(TIMER_MILLIS_MAX)))
    }

    /// Whether the timer of the tick with that low half has not fired yet, and fires no later than `deadline`.
    /// 0: there is none.
    pub(super) fn fires_by(&self, low: u32, deadline: Monotonic) -> bool {
        let tick = self.wheel.near(low);
        low != 0 && self.wheel.is_ahead(tick) && tick <= tick_at_or_after(deadline)
    }

    /// When the next timer fires. `None`: none is armed.
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.wheel.next_deadline()
    }

    /// Fires what is due at `now`.
    pub(super) fn fire(&mut self, now: Monotonic) {
        self.wheel.fire(now, &mut self.scratch);
        self.due.extend(self.scratch.drain(..));
    }

    /// Takes the next timer that has fired, with its tick.
    pub(super) fn take_due(&mut self) -> Option<(Timed, u64)> {
        self.due.pop_front().map(|timer| (timer.key, timer.due_tick))
    }

    /// Whether timers have fired that have not been taken.
    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }
}

#[cfg(test)]
mod tests;
