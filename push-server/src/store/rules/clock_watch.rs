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
mod tests {
    use push_common::clock::Monotonic;

    use super::*;

    const NANOS_PER_MILLI: u64 = 1_000_000;

    const CLOCKS: Clocks =
        Clocks { monotonic: Monotonic(5_000 * NANOS_PER_MILLI), wall: WallMillis(1_000_000) };

    const DAY_MILLIS: i64 = 24 * 3_600 * 1_000;

    /// The clocks so many milliseconds after `CLOCKS`, the wall clock having been set by `set_by`.
    fn later(millis: u64, set_by: i64) -> ClockReading {
        unkept(Clocks {
            monotonic: CLOCKS.monotonic.after_millis(millis),
            wall: WallMillis((CLOCKS.wall.0 + millis).saturating_add_signed(set_by)),
        })
    }

    /// Of a machine without a time service.
    fn unkept(clocks: Clocks) -> ClockReading {
        ClockReading { clocks, is_synchronised: false }
    }

    /// So long after a boot.
    fn boot(millis: u64, wall: u64) -> ClockReading {
        let monotonic = Monotonic(0).after_millis(millis);
        unkept(Clocks { monotonic, wall: WallMillis(wall) })
    }

    #[test]
    fn a_start_adds_what_has_passed_on_the_wall_clock() {
        let mark = ClockMark { stored: WallMillis(5_000), wall: WallMillis(900_000) };
        assert_eq!(resumed(CLOCKS, None), CLOCKS, "a new store begins with the wall clock");
        let resumed = resumed(CLOCKS, Some(mark));
        assert_eq!(resumed, Clocks { wall: WallMillis(105_000), ..CLOCKS });
    }

    #[test]
    fn a_clock_that_is_behind_the_last_mark_adds_nothing() {
        let mark = ClockMark { stored: WallMillis(5_000), wall: WallMillis(1_000_001) };
        assert_eq!(resumed(CLOCKS, Some(mark)), Clocks { wall: WallMillis(5_000), ..CLOCKS });
    }

    fn is_due(watch: &ClockWatch, seen: Seen) -> bool {
        watch.due_in(seen).is_zero()
    }

    /// A watch that has made a mark at `CLOCKS`, and the mark.
    fn watch() -> (ClockWatch, ClockMark) {
        let (mut watch, clocks) = ClockWatch::resumed(unkept(CLOCKS), None);
        assert_eq!(clocks, CLOCKS);
        let seen = watch.look(unkept(CLOCKS));
        assert!(is_due(&watch, seen) && watch.set_by(seen).is_none(), "the first look");
        watch.marked(seen);
        let mark = watch.mark(seen);
        (watch, mark)
    }

    #[test]
    fn a_mark_is_made_at_once_when_the_clock_is_set_and_else_now_and_then() {
        let (watch, _) = watch();
        for (millis, left) in [
            (0, MARK_EVERY_MILLIS),
            (1_000, MARK_EVERY_MILLIS - 1_000),
            (MARK_EVERY_MILLIS, 0),
            (MARK_EVERY_MILLIS + 1, 0),
        ] {
            let seen = watch.look(later(millis, 0));
            let left = Duration::from_millis(left);
            assert_eq!((watch.due_in(seen), watch.set_by(seen)), (left, None), "{millis} ms");
        }
        for set_by in [8 * DAY_MILLIS, -600_000] {
            let seen = watch.look(later(2_000, set_by));
            assert!(is_due(&watch, seen));
            assert_eq!(watch.set_by(seen), Some(set_by));
            let monotonic = later(2_000, 0).clocks.monotonic;
            assert_eq!(seen.mark.stored, CLOCKS.to_wall(monotonic), "no step in it");
        }
    }

    /// The whole of it: set while the server runs, then a restart, and a start with a clock not set.
    #[test]
    fn the_stores_time_has_no_step_whatever_the_wall_clock_does() {
        for set_by in [8 * DAY_MILLIS, -600_000] {
            let (watch, _) = watch();
            let seen = watch.look(later(3_000, set_by));
            assert!(is_due(&watch, seen));
            let mark = watch.mark(seen);
            // Down from 4 s to 60 s.
            let (_, restarted) = ClockWatch::resumed(later(60_000, set_by), Some(mark));
            assert_eq!(restarted.wall, WallMillis(CLOCKS.wall.0 + 60_000));
            let (_, restarted) = ClockWatch::resumed(boot(7, 0), Some(mark));
            assert_eq!(restarted.wall, mark.stored);
        }
    }

    /// A board loses its power before its clock has been set, and then starts with one that is right.
    #[test]
    fn a_clock_that_is_not_set_is_not_noted() {
        let (_, before) = watch();
        let (mut watch, clocks) = ClockWatch::resumed(boot(9, 77), Some(before));
        assert_eq!(clocks.wall, before.stored);
        let mut mark = before;
        for millis in [0, MARK_EVERY_MILLIS] {
            let seen = watch.look(boot(9 + millis, 77 + millis));
            assert!(is_due(&watch, seen));
            mark = watch.mark(seen);
            let passed = |wall: WallMillis| WallMillis(wall.0 + millis);
            assert_eq!((mark.stored, mark.wall), (passed(before.stored), passed(before.wall)));
            watch.marked(seen);
        }
        // An hour went by before that boot, or after.
        let right = boot(9, before.wall.0 + MARK_EVERY_MILLIS + 3_600_000);
        let (_, clocks) = ClockWatch::resumed(right, Some(mark));
        assert_eq!(clocks.wall.0, mark.stored.0 + 3_600_000);
        // Set while the server runs, even to a time that is still behind, it is believed.
        for wall in [100_000, before.wall.0 + 3_600_000] {
            let seen = watch.look(boot(10 + MARK_EVERY_MILLIS, wall));
            assert!(is_due(&watch, seen) && watch.set_by(seen).is_some());
            assert_eq!(watch.mark(seen).wall, WallMillis(wall));
        }
    }

    /// The last note is of a clock that was a year ahead by mistake; now it is right, and nobody sets it.
    #[test]
    fn a_clock_behind_the_last_mark_is_noted_once_a_time_service_keeps_it() {
        const YEAR: u64 = 365 * 24 * 3_600_000;
        let ahead = ClockMark { stored: WallMillis(5_000), wall: WallMillis(9 * YEAR) };
        let kept = |reading| ClockReading { is_synchronised: true, ..reading };
        let start = boot(0, 8 * YEAR);
        let (mut watch, clocks) = ClockWatch::resumed(start, Some(ahead));
        assert_eq!(clocks.wall, ahead.stored, "what it was down is not known");
        assert_eq!(watch.behind_at_start(start), Some(Duration::from_millis(YEAR)));
        let seen = watch.look(start);
        assert_eq!(watch.mark(seen), ahead, "nor whether the clock is right");
        watch.marked(seen);
        let seen = watch.look(kept(boot(MARK_EVERY_MILLIS, 8 * YEAR + MARK_EVERY_MILLIS)));
        assert!(is_due(&watch, seen));
        let mark = watch.mark(seen);
        assert_eq!(mark, seen.mark, "it is now");
        watch.marked(seen);
        // A minute down, this time.
        let (watch, clocks) = ClockWatch::resumed(boot(0, mark.wall.0 + 60_000), Some(mark));
        assert_eq!(clocks.wall.0, mark.stored.0 + 60_000);
        assert_eq!(watch.unset_since, None);

        let (watch, clocks) = ClockWatch::resumed(kept(start), Some(ahead));
        assert_eq!(clocks.wall, ahead.stored);
        assert_eq!(watch.behind_at_start(kept(start)), None, "right from the start");
    }
}
