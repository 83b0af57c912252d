use super::*;

const CLOCKS: Clocks =
    Clocks { monotonic: Monotonic(5_000 * NANOS_PER_MILLI), wall: WallMillis(1_000_000) };

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
fn a_fraction_of_a_millisecond_is_added_or_taken_away() {
    let base = CLOCKS.monotonic.0;
    for (at, up, down) in [
        (base, 1_000_000, 1_000_000),
        (base + 1, 1_000_001, 1_000_000),
        (base - 1, 1_000_000, 999_999),
        (base + NANOS_PER_MILLI, 1_000_001, 1_000_001),
    ] {
        assert_eq!(CLOCKS.to_wall(Monotonic(at)), WallMillis(up));
        assert_eq!(CLOCKS.to_wall_before(Monotonic(at)), WallMillis(down));
    }
}

#[test]
fn the_ends_of_time_do_not_overflow() {
    assert!(CLOCKS.to_monotonic(WallMillis(u64::MAX)) > CLOCKS.monotonic);
    assert!(CLOCKS.to_wall(Monotonic(u64::MAX)) > CLOCKS.wall);
}
