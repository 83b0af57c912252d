//! Tests of `notices`.

use super::*;

fn at(millis: u64) -> Monotonic {
    Monotonic(5_000_000_000).after_millis(millis)
}

#[test]
fn ten_lines_of_a_kind_are_said_in_a_second_and_the_others_counted_once() {
    let mut rate = LineRate::default();
    let admitted = (0..25).filter(|millis| rate.admit(at(*millis))).count();
    assert_eq!(admitted, 10);
    assert_eq!(rate.take_held_back(at(999)), None, "the second is not over");
    assert_eq!(rate.take_held_back(at(1_000)), Some(15));
    assert_eq!(rate.take_held_back(at(1_001)), None, "told once");
    assert!(rate.admit(at(1_002)));
}

#[test]
fn a_slow_trickle_is_never_held_back() {
    let mut rate = LineRate::default();
    assert!((0..100).all(|line| rate.admit(at(line * 101))));
    assert!(!rate.holds_back());
}

#[test]
fn lines_of_the_next_second_do_not_hide_those_held_back() {
    let mut rate = LineRate::default();
    for _ in 0..12 {
        rate.admit(at(0));
    }
    assert!(rate.admit(at(1_500)));
    assert_eq!(rate.take_held_back(at(2_500)), Some(2));
}

#[test]
fn every_kind_has_its_own_place() {
    for (index, kind) in KINDS.into_iter().enumerate() {
        assert_eq!(kind as usize, index);
    }
}

#[test]
fn a_client_id_brings_no_line_and_no_terminal_code() {
    let shown = |id: &str| format!("{:?}", ClientId(id));
    assert_eq!(shown("sensor-1"), r#""sensor-1""#);
    let forged = shown("a\n2026-11-28 ERROR disk full\u{1b}[2J\"\u{202e}\u{9b}1m\r\u{7f}");
    assert!(forged.chars().all(|char| !char.is_control() && char != '\u{202e}'), "{forged}");
    assert!(forged.contains(r"\n2026") && forged.contains(r#"\""#), "{forged}");
    let long = shown(&"é".repeat(65_000 / 2));
    assert!(long.ends_with("\"...") && long.chars().count() < 70, "{long}");
}
