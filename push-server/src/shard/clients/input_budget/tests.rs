//! Tests of `input_budget`.

use super::*;

const BUDGET_BYTES: u64 = 64_000;

struct Rig {
    budget: Arc<InputBudget>,
    charges: Vec<Option<Box<InputCharge>>>,
    now: Monotonic,
}

impl Rig {
    fn new() -> Self {
        let charges = (0..8).map(|_| None).collect();
        Self { budget: InputBudget::new(BUDGET_BYTES), charges, now: Monotonic(1) }
    }

    /// A client has so much waiting; returns who has to go.
    fn wait(&mut self, client: usize, input: Unfinished) -> Vec<u32> {
        let holder = (0, Token { index: client as u32, generation: 7 });
        let charge = &mut self.charges[client];
        let condemned = self.budget.charge(charge, holder, input, self.now);
        condemned.into_iter().map(|(_, token)| token.index).collect()
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.after_millis(millis);
    }

    fn held_bytes(&self) -> u64 {
        self.budget.lock().bytes
    }
}

fn of(bytes: usize) -> Unfinished {
    Unfinished { bytes, behind: 0, is_kept_waiting: false }
}

#[test]
fn who_has_held_the_most_for_the_longest_goes_and_not_who_comes_next() {
    let mut rig = Rig::new();
    assert!(rig.wait(0, of(30_000)).is_empty());
    rig.pass(1_000);
    assert!(rig.wait(1, of(30_000)).is_empty());
    rig.pass(1_000);
    assert_eq!(rig.wait(2, of(5_000)), [0], "as much as another, and longer");
    assert!(rig.charges[0].as_ref().is_some_and(|charge| charge.is_condemned()));
    assert_eq!(rig.held_bytes(), 35_000);
    assert_eq!(rig.wait(0, of(30_001)), [0], "it goes, whatever it still sends");
    rig.charges[0] = None;
    assert_eq!(rig.held_bytes(), 35_000);
    assert_eq!(rig.wait(2, of(60_000)), [1], "longer, though it has less");
    rig.charges.clear();
    assert_eq!(rig.held_bytes(), 0);
}

#[test]
fn who_alone_would_use_it_up_goes_itself() {
    let mut rig = Rig::new();
    assert!(rig.wait(0, of(8_000)).is_empty());
    rig.pass(10);
    assert!(rig.wait(1, of(50_000)).is_empty());
    rig.pass(10);
    assert_eq!(rig.wait(1, of(60_000)), [1]);
}

#[test]
fn a_packet_that_came_whole_is_held_no_longer() {
    let mut rig = Rig::new();
    assert!(rig.wait(0, of(30_000)).is_empty());
    assert!(rig.wait(1, of(30_000)).is_empty());
    rig.pass(10_000);
    // The first has ended its packet, and sends the next one.
    assert!(rig.wait(0, Unfinished { behind: 30_001, ..of(30_000) }).is_empty());
    rig.pass(1);
    assert_eq!(rig.wait(2, of(5_000)), [1]);
}

#[test]
fn who_is_kept_waiting_by_the_server_does_not_go_for_it() {
    let mut rig = Rig::new();
    assert!(rig.wait(0, Unfinished { is_kept_waiting: true, ..of(40_000) }).is_empty());
    rig.pass(60_000);
    assert!(rig.wait(1, of(20_000)).is_empty());
    rig.pass(1);
    assert_eq!(rig.wait(2, of(10_000)), [1]);
    assert_eq!(rig.held_bytes(), 50_000);
}

#[test]
fn little_input_is_not_counted() {
    let mut rig = Rig::new();
    assert!(rig.wait(0, of(CHARGED_BYTES_MIN - 1)).is_empty() && rig.charges[0].is_none());
    assert!(rig.wait(0, of(CHARGED_BYTES_MIN)).is_empty());
    assert_eq!(rig.held_bytes(), CHARGED_BYTES_MIN as u64);
    assert!(rig.wait(0, of(0)).is_empty() && rig.charges[0].is_none());
    assert_eq!(rig.held_bytes(), 0);
}

#[test]
fn a_packet_has_to_go_on_at_the_least_rate() {
    const RATE_MIN: u32 = 100;
    let mut rig = Rig::new();
    rig.wait(0, of(5_000));
    let begun = rig.now;
    let charge = rig.charges[0].as_mut().expect("charged");
    let due = charge.progress_deadline();
    assert_eq!(due, begun.after_millis(PROGRESS_WINDOW_MILLIS));
    assert!(!charge.is_too_slow(8_000, RATE_MIN, due));
    let next = charge.progress_deadline();
    assert_eq!(next, due.after_millis(PROGRESS_WINDOW_MILLIS));
    assert!(charge.is_too_slow(10_999, RATE_MIN, next));
}

#[test]
fn a_packet_that_the_server_keeps_waiting_has_its_time_when_that_is_over() {
    let mut rig = Rig::new();
    rig.wait(0, of(5_000));
    rig.pass(20_000);
    rig.wait(0, Unfinished { is_kept_waiting: true, ..of(5_000) });
    let charge = rig.charges[0].as_ref().expect("charged");
    assert_eq!(charge.progress_deadline(), rig.now.after_millis(PROGRESS_WINDOW_MILLIS));
}
