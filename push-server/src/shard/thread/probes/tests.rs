//! Tests of `probes`.

use super::*;

#[test]
fn probes_follow_each_other_faster_than_the_first_comes() {
    let seconds = |secs| keepalive(secs).map(|k| (k.idle.as_secs(), k.interval.as_secs()));
    assert_eq!(seconds(0), None);
    assert_eq!(seconds(1), Some((1, 1)));
    assert_eq!(seconds(100), Some((100, 10)));
    assert_eq!(seconds(1_800), Some((1_800, 60)));
    assert_eq!(seconds(u16::MAX), Some((65_535, 60)));
}
