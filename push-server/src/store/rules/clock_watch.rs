//! What the store's time is after a start: see [`Clocks`].
//!
//! What the server was down is told by the wall clock alone, so the store notes now and then, and at
//! once when it is told that the wall clock was set, what that said at which of its own times
//! ([`ClockMark`]). A start adds what has passed on the wall clock since the last such note.
//!
//! A clock that is behind the note has not been set yet, or the one before it was wrong: what the server
//! was down cannot be known, and none is counted, so that nothing ends too early. Nor is such a clock
//! noted, until it is set, has caught up, or the system says that a time service keeps it right.

use std::time::Duration;

use crate::store::{Clocks, WallMillis};

/// What the clocks say, and what is known of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockReading {
    /// What they say.
    pub clocks: Clocks,
    /// A time service keeps the wall clock right.
    pub is_synchronised: bool,
}

/// A look at the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    mark: ClockMark,
    is_synchronised: bool,
}

/// What the wall clock said at an instant of the store's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockMark {
    pub(in crate::store) stored: WallMillis,
    pub(in crate::store) wall: WallMillis,
}

impl ClockMark {
    /// What the wall clock says later, or earlier, if nobody sets it.
    fn at(self, stored: WallMillis) -> Self {
        let wall = self.wall.0.saturating_add(stored.0).saturating_sub(self.stored.0);
        Self { stored, wall: WallMillis(wall) }
    }
}

/// The monotonic clock and the store's time, `now` being the clocks at the start, and `mark` what the
/// store has noted last.
fn resumed(now: Clocks, mark: Option<ClockMark>) -> Clocks {
    let Some(mark) = mark else { return now };
    let passed = now.wall.0.saturating_sub(mark.wall.0);
    Clocks { wall: WallMillis(mark.stored.0.saturating_add(passed)), ..now }
}

/// How far the wall clock may be from where the last mark has it, before it counts as set. Reading two
/// clocks one after the other is never so far off.
const SET_MILLIS_MIN: u64 = 500;

/// A mark is made this often at least: what a start with a clock that is not set yet may miss.
const MARK_EVERY_MILLIS: u64 = 10 * 60 * 1_000;

/// Says when a mark is to be made, and what it says.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    /// The monotonic clock and the store's time.
    clocks: Clocks,
    /// The mark that the start found, as long as the wall clock is behind it. Whatever the wall clock says
    /// until it can be trusted must not be noted: the next start may come with a clock that is right, and
    /// would take all the time between the two for time that the server was down.
    unset_since: Option<ClockMark>,
    /// What the clocks said when the last mark was made.
    last: Option<ClockMark>,
}

impl ClockWatch {
    /// `now` is what the clocks say at the start, and `found` the last mark of the one before. Also the
    /// monotonic clock and the store's time.
    pub(crate) fn resumed(now: ClockReading, found: Option<ClockMark>) -> (Self, Clocks) {
        let clocks = resumed(now.clocks, found);
        let is_ahead = |mark: &ClockMark| now.clocks.wall < mark.wall && !now.is_synchronised;
        (Self { clocks, unset_since: found.filter(is_ahead), last: None }, clocks)
    }

    /// By how much the wall clock was behind at the start, if it is not to be trusted.
    pub(in crate::store) fn behind_at_start(&self, now: ClockReading) -> Option<Duration> {
        let behind = self.unset_since?.wall.0.saturating_sub(now.clocks.wall.0);
        Some(Duration::from_millis(behind))
    }

    /// What the clocks say at this moment, `now`.
    pub(crate) fn look(&self, now: ClockReading) -> Seen {
        let ClockReading { clocks, is_synchronised } = now;
        let stored = self.clocks.to_wall(clocks.monotonic);
        Seen { mark: ClockMark { stored, wall: clocks.wall }, is_synchronised }
    }

    /// In how long the next mark is due if nobody sets the clock, the clocks saying `seen`; at once when
    /// it is zero.
    pub(crate) fn due_in(&self, seen: Seen) -> Duration {
        let Some(last) = self.last else { return Duration::ZERO };
        if self.set_by(seen).is_some() {
            return Duration::ZERO;
        }
        let passed = seen.mark.stored.0.saturating_sub(last.stored.0);
        Duration::from_millis(MARK_EVERY_MILLIS.saturating_sub(passed))
    }

    /// By how many milliseconds the wall clock was set since the last mark, if it was.
    pub(in crate::store) fn set_by(&self, seen: Seen) -> Option<i64> {
        let expected = self.last?.at(seen.mark.stored);
        let set_by = seen.mark.wall.0.cast_signed().wrapping_sub(expected.wall.0.cast_signed());
        (set_by.unsigned_abs() >= SET_MILLIS_MIN).then_some(set_by)
    }

    /// The mark to be made, the clocks saying `seen`.
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

    /// The last mark may be gone from the disk: the next is due at once.
    pub(crate) fn forget_mark(&mut self) {
        self.last = None;
    }

    /// Whether the wall clock is still not to be trusted: it is behind, nobody has set it since the start,
    /// and no time service keeps it.
    fn is_unset(&self, seen: Seen) -> bool {
        let is_behind = |since: ClockMark| seen.mark.wall < since.at(seen.mark.stored).wall;
        let is_vouched_for = seen.is_synchronised || self.set_by(seen).is_some();
        self.unset_since.is_some_and(is_behind) && !is_vouched_for
    }
}

#[cfg(test)]
mod tests;
