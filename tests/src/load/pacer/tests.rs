use super::*;

fn turns(pacer: &mut Pacer, now_ns: u64) -> Vec<usize> {
    std::iter::from_fn(|| pacer.take_turn(now_ns)).collect()
}

#[test]
fn every_client_has_its_turn_once_an_interval_at_its_own_phase() {
    let mut pacer = Pacer::never();
    pacer.set(100, 4, 1_000);
    assert_eq!(turns(&mut pacer, 999), [0; 0]);
    assert_eq!(turns(&mut pacer, 1_000), [0]);
    assert_eq!(turns(&mut pacer, 1_024), [0; 0]);
    assert_eq!(turns(&mut pacer, 1_050), [1, 2]);
    assert_eq!(turns(&mut pacer, 1_099), [3]);
    assert_eq!(turns(&mut pacer, 1_199), [0, 1, 2, 3]);
    assert_eq!(pacer.next_due_ns(), Some(1_200));
}

#[test]
fn an_interval_that_does_not_divide_does_not_drift() {
    let mut pacer = Pacer::never();
    pacer.set(1_000, 3, 0);
    assert_eq!(turns(&mut pacer, 1_000_000_000 - 1).len(), 3_000_000);
    assert_eq!(pacer.next_due_ns(), Some(1_000_000_000));
}

#[test]
fn whole_intervals_missed_are_passed_over() {
    let mut pacer = Pacer::never();
    pacer.set(100, 2, 0);
    assert_eq!(pacer.skip_late(99), 0);
    assert_eq!(pacer.skip_late(350), 6);
    assert_eq!(turns(&mut pacer, 350), [0, 1]);
    assert_eq!(pacer.next_due_ns(), Some(400));
}

#[test]
fn growing_goes_on_with_the_client_whose_turn_was_next() {
    let mut pacer = Pacer::never();
    pacer.set(100, 4, 0);
    turns(&mut pacer, 30);
    pacer.set(100, 8, 30);
    assert_eq!(pacer.take_turn(30), Some(2));
    pacer.set(100, 2, 30);
    assert_eq!(pacer.take_turn(30), Some(0));
    pacer.set(0, 2, 30);
    assert_eq!(pacer.take_turn(u64::MAX), None);
}
