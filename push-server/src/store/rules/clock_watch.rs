//! Works out the store's time after a start: see [`Clocks`].
//!
//! Only the wall clock tells how long the server was down. So the store notes now and then which
//! wall clock time belongs to which of its own times ([`ClockMark`]), and at once when it is told
//! that the wall clock was set. A start adds the wall clock time that has passed since the last
//! note.
//!
//! If the wall clock is behind the note, either it has not been set yet or it was wrong before: the
//! time that the server was down is unknown, and counts as none, so that nothing ends too early.
//! Such a clock is not noted either, until somebody sets it, it has caught up, or the system says
//! that a time service keeps it right.

use std::time::Duration;

use crate::store::{Clocks, WallMillis};

/// The clocks, and whether they can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockReading {
    /// The clocks.
    pub clocks: Clocks,
    /// A time service keeps the wall clock right.
    pub is_synchronised: bool,
}

/// One reading of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    mark: ClockMark,
    is_synchronised: bool,
}

/// The wall clock at an instant of the store's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockMark {
    pub(in crate::store) stored: WallMillis,
    pub(in crate::store) wall: WallMillis,
}

impl ClockMark {
    /// The mark for another instant, if nobody sets the wall clock.
    fn at(self, stored: WallMillis) -> Self {
        let wall = self.wall.0.saturating_add(stored.0).saturating_sub(self.stored.0);
        Self { stored, wall: WallMillis(wall) }
    }
}

/// The monotonic clock and the store's time at a start. `now`: the clocks at the start; `mark`: the
/// last mark of the store.
fn resumed(now: Clocks, mark: Option<ClockMark>) -> Clocks {
    let Some(mark) = mark else { return now };
    let passed = now.wall.0.saturating_sub(mark.wall.0);
    Clocks { wall: WallMillis(mark.stored.0.saturating_add(passed)), ..now }
}

/// Milliseconds between the wall clock and where the last mark expects it, from which it counts as
/// set. 500: reading two clocks one after the other never takes so long.
const SET_MILLIS_MIN: u64 = 500;

/// Most milliseconds between two marks: what a start whose clock is not set yet may miss.
const MARK_EVERY_MILLIS: u64 = 10 * 60 * 1_000;

/// Decides when to make a mark, and which.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    /// The monotonic clock and the store's time.
    clocks: Clocks,
    /// The mark that the start found, while the wall clock is behind it. Until that clock can be
    /// trusted, the store must not note it: the next start may have a right clock, and would take
    /// the whole difference for time that the server was down.
    unset_since: Option<ClockMark>,
    /// The clocks at the last mark.
    last: Option<ClockMark>,
}

impl ClockWatch {
    /// `now`: the clocks at the start; `found`: the last mark of the start before. Also returns the
    /// monotonic clock and the store's time.
    pub(crate) fn resumed(now: ClockReading, found: Option<ClockMark>) -> (Self, Clocks) {
        let clocks = resumed(now.clocks, found);
        let is_ahead = |mark: &ClockMark| now.clocks.wall < mark.wall && !now.is_synchronised;
        (Self { clocks, unset_since: found.filter(is_ahead), last: None }, clocks)
    }

    /// How far the wall clock was behind at the start, if it cannot be trusted.
    pub(in crate::store) fn behind_at_start(&self, now: ClockReading) -> Option<Duration> {
        let behind = self.unset_since?.wall.0.saturating_sub(now.clocks.wall.0);
        Some(Duration::from_millis(behind))
    }

    /// The clocks' reading `now`, with the store's time in place of the monotonic clock.
    pub(crate) fn look(&self, now: ClockReading) -> Seen {
        let ClockReading { clocks, is_synchronised } = now;
        let stored = self.clocks.to_wall(clocks.monotonic);
        Seen { mark: ClockMark { stored, wall: clocks.wall }, is_synchronised }
    }

    /// Time until the next mark is due, if nobody sets the clock; zero: now.
    pub(crate) fn due_in(&self, seen: Seen) -> Duration {
        let Some(last) = self.last else { return Duration::ZERO };
        if self.set_by(seen).is_some() {
            return Duration::ZERO;
        }
        let passed = seen.mark.stored.0.saturating_sub(last.stored.0);
        Duration::from_millis(MARK_EVERY_MILLIS.saturating_sub(passed))
    }

    /// Milliseconds by which the wall clock was set since the last mark, if it was.
    pub(in crate::store) fn set_by(&self, seen: Seen) -> Option<i64> {
        let expected = self.last?.at(seen.mark.stored);
        let set_by = seen.mark.wall.0.cast_signed().wrapping_sub(expected.wall.0.cast_signed());
        (set_by.unsigned_abs() >= SET_MILLIS_MIN).then_some(set_by)
    }

    /// The mark to make at `seen`.
    pub(crate) fn mark(&self, seen: Seen) -> ClockMark {
        match self.unset_since {
            Some(since) if self.is_unset(seen) => since.at(seen.mark.stored),
            _ => seen.mark,
        }
    }

    /// The mark for `seen` is on disk.
    pub(crate) fn marked(&mut self, seen: Seen) {
        if !self.is_unset(seen) {
            self.unset_since = None;
        }
        self.last = Some(seen.mark);
    }

    /// The last mark may be gone from the disk, so the next is due at once.
    pub(crate) fn forget_mark(&mut self) {
        self.last = None;
    }

    /// Whether the wall clock still cannot be trusted: it is behind, nobody has set it since the
    /// start, and no time service keeps it.
    fn is_unset(&self, seen: Seen) -> bool {
        let is_behind = |since: ClockMark| seen.mark.wall < since.at(seen.mark.stored).wall;
        let is_vouched_for = seen.is_synchronised || self.set_by(seen).is_some();
        self.unset_since.is_some_and(is_behind) && !is_vouched_for
    }
}

#[cfg(test)]
mod tests;
