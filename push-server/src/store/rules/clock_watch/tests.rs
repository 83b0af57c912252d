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
