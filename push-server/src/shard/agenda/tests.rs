//! Tests of `agenda`.

use super::*;

#[test]
fn the_clock_is_looked_at_when_enough_was_done() {
    let mut meter = Meter::default();
    assert!(!meter.count(UNITS_PER_LOOK - 1));
    assert!(meter.count(1));
    assert!(!meter.count(1));
    assert!(meter.count(u32::MAX));
}
