//! Time: how much has passed, and what the machine's clocks make of it. Both of them may be wrong: the monotonic
//! clock begins anew with the machine, and the wall clock is set, forwards and backwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use push_common::clock::Monotonic;

use super::super::ports::Clock;
use crate::store::rules::clock_watch::ClockReading;
use crate::store::{Clocks, WallMillis};

/// When time begins. Not at 0, which the shard takes for never.
const BEGINNING: Monotonic = Monotonic(1_000_000_000_000);

/// The wall clock's time then: 2026-01-01.
const BEGINNING_WALL: WallMillis = WallMillis(1_767_225_600_000);

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Clocks that stand still unless they are set, or move by a step at each look. Clones are of the same machine, and
/// of the same boot of it.
#[derive(Clone, Debug)]
pub(super) struct VirtualClock {
    hands: Arc<Hands>,
    /// How far the monotonic clock is ahead of time, modulo 2^64: each boot has its own.
    ahead: u64,
}

#[derive(Debug)]
struct Hands {
    /// How much time has passed, from `BEGINNING` on.
    time: AtomicU64,
    step_ns: AtomicU64,
    /// By how much the wall clock was set in all.
    set_millis: AtomicI64,
}

impl VirtualClock {
    pub(super) fn new() -> Self {
        let hands = Hands {
            time: AtomicU64::new(BEGINNING.0),
            step_ns: AtomicU64::new(0),
            set_millis: AtomicI64::new(0),
        };
        Self { hands: Arc::new(hands), ahead: 0 }
    }

    /// That of the machine after another boot, so long ago.
    pub(super) fn booted(&self, ago: Duration) -> Self {
        let uptime = ago.as_nanos() as u64;
        Self { hands: Arc::clone(&self.hands), ahead: uptime.wrapping_sub(self.time().0) }
    }

    /// How much time has passed since the beginning, whatever a clock says.
    pub(super) fn time(&self) -> Monotonic {
        Monotonic(self.hands.time.load(Ordering::Relaxed))
    }

    /// Time passes until the monotonic clock says this.
    pub(super) fn set(&self, now: Monotonic) {
        self.hands.time.fetch_max(now.0.wrapping_sub(self.ahead), Ordering::Relaxed);
    }

    pub(super) fn set_step(&self, step: Duration) {
        self.hands.step_ns.store(step.as_nanos() as u64, Ordering::Relaxed);
    }

    /// The wall clock is set, by so much.
    pub(super) fn set_wall(&self, by_millis: i64) {
        self.hands.set_millis.fetch_add(by_millis, Ordering::Relaxed);
    }

    /// What the monotonic clock says, without a step.
    pub(super) fn peek(&self) -> Monotonic {
        Monotonic(self.time().0.wrapping_add(self.ahead))
    }

    /// What both clocks say. No time service keeps the wall clock.
    pub(super) fn reading(&self) -> ClockReading {
        let passed_millis = (self.time().0 - BEGINNING.0) / NANOS_PER_MILLI;
        let set_millis = self.hands.set_millis.load(Ordering::Relaxed);
        let wall = (BEGINNING_WALL.0 + passed_millis).saturating_add_signed(set_millis);
        let clocks = Clocks { monotonic: self.peek(), wall: WallMillis(wall) };
        ClockReading { clocks, is_synchronised: false }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Monotonic {
        let step = self.hands.step_ns.load(Ordering::Relaxed);
        let time = self.hands.time.fetch_add(step, Ordering::Relaxed) + step;
        Monotonic(time.wrapping_add(self.ahead))
    }

    fn wall_millis(&self) -> u64 {
        self.reading().clocks.wall.0
    }
}
