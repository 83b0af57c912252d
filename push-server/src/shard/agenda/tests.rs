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

/// Stands still.
#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Monotonic {
        Monotonic(0)
    }

    fn wall_millis(&self) -> u64 {
        0
    }
}

#[test]
fn what_is_held_back_while_a_shard_rests_is_due_afterwards_in_the_order_it_came() {
    let mut agenda = Agenda::new(Stopped);
    let flow = Flow::nobody(0);
    agenda.hold(flow, "before any rest");
    assert!(!agenda.is_quiet() && agenda.allowance(Flow::door(0, 1)).is_some());
    let NextWork { flow, work, .. } = agenda.next_work().expect("nothing is held back");
    agenda.put_back(flow, 0, std::iter::empty(), Progress::Done);
    assert_eq!(work, "before any rest");
    agenda.begin_rest();
    assert_eq!(agenda.allowance(Flow::door(0, 1)), None, "what comes now has to wait");
    agenda.hold(flow, "first");
    agenda.hold(flow, "second");
    assert!(agenda.is_quiet() && !agenda.is_empty() && agenda.next_work().is_none());
    agenda.end_rest();
    assert!(!agenda.is_resting() && agenda.allowance(Flow::door(0, 1)).is_some());
    for expected in ["first", "second"] {
        let NextWork { flow, work, .. } = agenda.next_work().expect("it goes on");
        agenda.put_back(flow, 0, std::iter::empty(), Progress::Done);
        assert_eq!(work, expected);
    }
    assert!(agenda.is_empty());
}
