//! Two clocks: the server reckons on the monotonic one, which begins anew with each boot; what is
//! on disk is on the store's own time.
//!
//! The store's time begins as the wall clock when the store is made, and from then on goes on by the
//! monotonic clock while the server runs, however the wall clock is set: boards without a battery start
//! with a wrong one. What the server was down is told by the wall clock alone, so the store notes
//! now and then, and whenever the wall clock has been set, what that said at which of its own
//! times ([`ClockMark`]). A start adds what has passed on the wall clock since the last such
//! note. A clock that is behind the note has not been set yet, and says nothing: the store's time goes
//! on from where it was.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use push_common::clock::Monotonic;
use rustix::time::{ClockId, clock_gettime};

/// An instant on the wall clock, or on the store's time, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallMillis(pub u64);

const NANOS_PER_MILLI: u64 = 1_000_000;

/// One instant on both clocks, or on the monotonic clock and the store's time. What is converted by it
/// stays right, relative to everything else converted by it, when the wall clock is set later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// The instant.
    pub monotonic: Monotonic,
    /// The same.
    pub wall: WallMillis,
}

impl Clocks {
    /// This moment.
    pub fn now() -> Self {
        let monotonic = clock_gettime(ClockId::Monotonic);
        let since_boot = Duration::try_from(monotonic).unwrap_or_default();
        // A clock before 1970 reads as 1970: wrong, but no reason not to serve.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            monotonic: Monotonic(0).after(since_boot),
            wall: WallMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// The monotonic clock and the store's time, these being the clocks at the start, and `mark` what the store
    /// has noted last.
    #[must_use]
    pub(super) fn resumed(self, mark: Option<ClockMark>) -> Self {
        let Some(mark) = mark else { return self };
        let passed = self.wall.0.saturating_sub(mark.wall.0);
        Self { wall: WallMillis(mark.stored.0.saturating_add(passed)), ..self }
    }

    /// `at` on the wall clock, rounded up to the millisecond.
    pub fn to_wall(&self, at: Monotonic) -> WallMillis {
        if at >= self.monotonic {
            let ahead = (at.0 - self.monotonic.0).div_ceil(NANOS_PER_MILLI);
            WallMillis(self.wall.0.saturating_add(ahead))
        } else {
            let behind = (self.monotonic.0 - at.0) / NANOS_PER_MILLI;
            WallMillis(self.wall.0.saturating_sub(behind))
        }
    }

    /// `at` on the monotonic clock. What was before the boot becomes the boot.
    pub fn to_monotonic(&self, at: WallMillis) -> Monotonic {
        if at >= self.wall {
            self.monotonic.after_millis(at.0 - self.wall.0)
        } else {
            let behind = (self.wall.0 - at.0).saturating_mul(NANOS_PER_MILLI);
            Monotonic(self.monotonic.0.saturating_sub(behind))
        }
    }
}

/// What the wall clock said at an instant of the store's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockMark {
    pub(super) stored: WallMillis,
    pub(super) wall: WallMillis,
}

impl ClockMark {
    /// What the wall clock says later, or earlier, if nobody sets it.
    fn at(self, stored: WallMillis) -> Self {
        let wall = self.wall.0.saturating_add(stored.0).saturating_sub(self.stored.0);
        Self { stored, wall: WallMillis(wall) }
    }
}

/// How far the wall clock may be from where the last mark has it, before it counts as set. Reading two
/// clocks one after the other is never so far off.
const SET_MILLIS_MIN: u64 = 500;

/// A mark is made this often at least: what a start with a clock that is not set yet may miss.
const MARK_EVERY_MILLIS: u64 = 10 * 60 * 1_000;

/// Says when a mark is to be made, and what it says.
#[derive(Debug)]
pub(super) struct ClockWatch {
    /// The monotonic clock and the store's time.
    clocks: Clocks,
    /// The mark that the start found, as long as the wall clock is behind it. Whatever the wall clock says
    /// until it is set must not be noted: the next start may come with a clock that is right, and would
    /// take all the time between the two for time that the server was down.
    unset_since: Option<ClockMark>,
    /// What the clocks said when the last mark was made.
    last: Option<ClockMark>,
}

impl ClockWatch {
    /// `now` is what the clocks say at the start, and `found` the last mark of the one before. Also the
    /// monotonic clock and the store's time.
    pub(super) fn resumed(now: Clocks, found: Option<ClockMark>) -> (Self, Clocks) {
        let clocks = now.resumed(found);
        let unset_since = found.filter(|mark| now.wall < mark.wall);
        (Self { clocks, unset_since, last: None }, clocks)
    }

    /// What the clocks say at this moment, `now`.
    pub(super) fn look(&self, now: Clocks) -> ClockMark {
        ClockMark { stored: self.clocks.to_wall(now.monotonic), wall: now.wall }
    }

    /// Whether it is time for a mark, the clocks saying `seen`.
    pub(super) fn is_due(&self, seen: ClockMark) -> bool {
        let is_old =
            |last: ClockMark| seen.stored.0.saturating_sub(last.stored.0) >= MARK_EVERY_MILLIS;
        self.last.is_none_or(is_old) || self.set_by(seen).is_some()
    }

    /// By how many milliseconds the wall clock was set since the last mark, if it was.
    pub(super) fn set_by(&self, seen: ClockMark) -> Option<i64> {
        let expected = self.last?.at(seen.stored);
        let set_by = seen.wall.0.cast_signed().wrapping_sub(expected.wall.0.cast_signed());
        (set_by.unsigned_abs() >= SET_MILLIS_MIN).then_some(set_by)
    }

    /// The mark to be made, the clocks saying `seen`.
    pub(super) fn mark(&self, seen: ClockMark) -> ClockMark {
        match self.unset_since {
            Some(since) if self.is_unset(seen) => since.at(seen.stored),
            _ => seen,
        }
    }

    /// The mark for `seen` is on disk.
    pub(super) fn marked(&mut self, seen: ClockMark) {
        if !self.is_unset(seen) {
            self.unset_since = None;
        }
        self.last = Some(seen);
    }

    /// The last mark may be gone from the disk: the next is due at once.
    pub(super) fn forget_mark(&mut self) {
        self.last = None;
    }

    /// Whether the wall clock has still to be set: nobody has set it since the start, and it is behind.
    fn is_unset(&self, seen: ClockMark) -> bool {
        let is_behind = |since: ClockMark| seen.wall < since.at(seen.stored).wall;
        self.unset_since.is_some_and(is_behind) && self.set_by(seen).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCKS: Clocks =
        Clocks { monotonic: Monotonic(5_000 * NANOS_PER_MILLI), wall: WallMillis(1_000_000) };

    const DAY_MILLIS: i64 = 24 * 3_600 * 1_000;

    /// The clocks so many milliseconds after `CLOCKS`, the wall clock having been set by `set_by`.
    fn later(millis: u64, set_by: i64) -> Clocks {
        Clocks {
            monotonic: CLOCKS.monotonic.after_millis(millis),
            wall: WallMillis((CLOCKS.wall.0 + millis).saturating_add_signed(set_by)),
        }
    }

    #[test]
    fn a_start_adds_what_has_passed_on_the_wall_clock() {
        let mark = ClockMark { stored: WallMillis(5_000), wall: WallMillis(900_000) };
        assert_eq!(CLOCKS.resumed(None), CLOCKS, "a new store begins with the wall clock");
        let resumed = CLOCKS.resumed(Some(mark));
        assert_eq!(resumed, Clocks { wall: WallMillis(105_000), ..CLOCKS });
    }

    #[test]
    fn a_clock_that_is_behind_the_last_mark_adds_nothing() {
        let mark = ClockMark { stored: WallMillis(5_000), wall: WallMillis(1_000_001) };
        assert_eq!(CLOCKS.resumed(Some(mark)), Clocks { wall: WallMillis(5_000), ..CLOCKS });
    }

    /// A watch that has made a mark at `CLOCKS`, and the mark.
    fn watch() -> (ClockWatch, ClockMark) {
        let (mut watch, clocks) = ClockWatch::resumed(CLOCKS, None);
        assert_eq!(clocks, CLOCKS);
        let seen = watch.look(CLOCKS);
        assert!(watch.is_due(seen) && watch.set_by(seen).is_none(), "the first look");
        watch.marked(seen);
        let mark = watch.mark(seen);
        (watch, mark)
    }

    #[test]
    fn a_mark_is_made_at_once_when_the_clock_is_set_and_else_now_and_then() {
        let (watch, _) = watch();
        for (millis, is_due) in
            [(0, false), (1_000, false), (MARK_EVERY_MILLIS - 1, false), (MARK_EVERY_MILLIS, true)]
        {
            let seen = watch.look(later(millis, 0));
            assert_eq!((watch.is_due(seen), watch.set_by(seen)), (is_due, None), "{millis} ms");
        }
        for set_by in [8 * DAY_MILLIS, -600_000] {
            let seen = watch.look(later(2_000, set_by));
            assert!(watch.is_due(seen));
            assert_eq!(watch.set_by(seen), Some(set_by));
            assert_eq!(seen.stored, CLOCKS.to_wall(later(2_000, 0).monotonic), "no step in it");
        }
    }

    /// The whole of it: set while the server runs, then a restart, and a start with a clock not set.
    #[test]
    fn the_stores_time_has_no_step_whatever_the_wall_clock_does() {
        for set_by in [8 * DAY_MILLIS, -600_000] {
            let (watch, _) = watch();
            let seen = watch.look(later(3_000, set_by));
            assert!(watch.is_due(seen));
            let mark = watch.mark(seen);
            // Down from 4 s to 60 s.
            let (_, restarted) = ClockWatch::resumed(later(60_000, set_by), Some(mark));
            assert_eq!(restarted.wall, WallMillis(CLOCKS.wall.0 + 60_000));
            let not_set = Clocks { monotonic: Monotonic(7), wall: WallMillis(0) };
            let (_, restarted) = ClockWatch::resumed(not_set, Some(mark));
            assert_eq!(restarted.wall, mark.stored);
        }
    }

    /// A board loses its power before its clock has been set, and then starts with one that is right.
    #[test]
    fn a_clock_that_is_not_set_is_not_noted() {
        let (_, before) = watch();
        let boot = |millis, wall| Clocks {
            monotonic: Monotonic(0).after_millis(millis),
            wall: WallMillis(wall),
        };
        let (mut watch, clocks) = ClockWatch::resumed(boot(9, 77), Some(before));
        assert_eq!(clocks.wall, before.stored);
        let mut mark = before;
        for millis in [0, MARK_EVERY_MILLIS] {
            let seen = watch.look(boot(9 + millis, 77 + millis));
            assert!(watch.is_due(seen));
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
            assert!(watch.is_due(seen) && watch.set_by(seen).is_some());
            assert_eq!(watch.mark(seen).wall, WallMillis(wall));
        }
    }

    #[test]
    fn an_instant_survives_a_boot() {
        let due = CLOCKS.to_wall(CLOCKS.monotonic.after_millis(7_000));
        assert_eq!(due, WallMillis(1_007_000));
        let after_boot = Clocks { monotonic: Monotonic(0), wall: WallMillis(1_003_000) };
        assert_eq!(after_boot.to_monotonic(due), Monotonic(4_000 * NANOS_PER_MILLI));
    }

    #[test]
    fn what_was_before_the_boot_is_over() {
        assert_eq!(CLOCKS.to_monotonic(WallMillis(0)), Monotonic(0));
        assert_eq!(CLOCKS.to_wall(Monotonic(0)), WallMillis(995_000));
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        assert!(CLOCKS.to_monotonic(WallMillis(u64::MAX)) > CLOCKS.monotonic);
        assert!(CLOCKS.to_wall(Monotonic(u64::MAX)) > CLOCKS.wall);
    }
}
