//! Heartbeats inside TLS: what decides, and what leaves.

use core::sync::atomic::AtomicU64;

use super::*;
use crate::answer_table::{AnswerTable, ENTRIES, Record, RecordShape};
use crate::claim::RecordNumber;
use crate::mac::Mac;

type Table = AnswerTable<AtomicU64, 4, 3>;

const SHAPE: RecordShape = RecordShape::TLS_1_3;
const BYTES: u32 = 24;

struct Tls {
    world: World,
    table: Table,
}

fn first() -> RecordNumber {
    RecordNumber::new(1, 1).expect("it fits")
}

fn sealed(seed: u8, at: RecordNumber) -> Record {
    let mut record = [seed ^ at.number() as u8; BYTES as usize];
    record[..5].copy_from_slice(&[23, 3, 3, 0, 19]);
    Record::new(&record).expect("short enough")
}

fn request(number: u64) -> Record {
    sealed(0x40, first().after(number - 1).expect("it fits"))
}

fn response(number: u64) -> Record {
    sealed(0x80, first().after(number - 1).expect("it fits"))
}

impl Tls {
    fn new() -> Self {
        let table = Table::new(|| AtomicU64::new(0));
        let claim = table.begin(first(), first());
        table.fill_up(&claim, |at| sealed(0x40, at), |at| sealed(0x80, at));
        table.release(claim).expect("nothing was sealed");
        let mut world = World::new();
        world.flow.heartbeat = SHAPE.heartbeat();
        Self { world, table }
    }

    fn segment(&self) -> Segment {
        Segment { payload_bytes: BYTES, pingreq: false, ..self.world.ping() }
    }

    /// A segment with this payload, if any.
    fn ingress(&mut self, segment: Segment, payload: Option<Record>) -> (Decision, Record) {
        let mut sealed = Sealed::look(&self.table);
        let pingreq = payload.is_some_and(|payload| sealed.compare(&self.table, SHAPE, &payload));
        let segment = Segment { pingreq, ..segment };
        let World { flow, slot, pace, now, .. } = &mut self.world;
        let decision = sealed.on_ingress(Some(&self.table), flow, slot, &segment, *pace, *now);
        (decision, *sealed.record())
    }

    fn ping(&mut self, number: u64) -> (Decision, Record) {
        let segment = self.segment();
        self.ingress(segment, Some(request(number)))
    }

    fn ack(&mut self) -> (Decision, Record) {
        let ack = self.world.bare_ack(self.world.flow.resp_pos.wrapping_add(BYTES));
        self.ingress(ack, None)
    }

    fn egress(&mut self, segment: Segment) -> (Decision, Record) {
        let mut sealed = Sealed::default();
        let World { flow, now, .. } = &mut self.world;
        let decision = sealed.on_egress(Some(&self.table), flow, &segment, None, *now);
        (decision, *sealed.record())
    }
}

#[test]
fn pings_are_answered_by_the_records_of_their_numbers() {
    let mut tls = Tls::new();
    for number in 1..=4 {
        let (decision, record) = tls.ping(number);
        assert_eq!(decision.counter, Some(Counter::Answered));
        assert_eq!((decision.verdict, record), (Verdict::TurnAround, response(number)));
        assert_eq!(tls.world.flow.delta_in(), BYTES * number as u32);
        assert_eq!(tls.ack().0.counter, Some(Counter::Absorbed));
    }
    assert_eq!(tls.table.expected(), RecordNumber::new(1, 5).expect("it fits"));
    // All that was expected has come, so what comes next is not known to be a ping.
    assert_eq!(
        tls.ping(5).0,
        Decision { seq_delta: 96, ack_delta: 96, ..Decision::new(Verdict::Translate, None) }
    );
}

#[test]
fn flows_without_a_table_are_decided_about_as_in_clear() {
    let none = None::<&Table>;
    let plain = World::new();
    for segment in [plain.ping(), plain.bare_ack(TX_BASE), plain.server_ack()] {
        let (mut same, mut sealed) = (World::new(), Sealed::default());
        let mut clear = World::new();
        let World { flow, slot, pace, now, .. } = &mut same;
        let decided = sealed.on_ingress(none, flow, slot, &segment, *pace, *now);
        assert_eq!(decided, on_ingress(&mut clear.flow, slot, &segment, *pace, *now));
        let decided = sealed.on_egress(none, flow, &segment, None, *now);
        assert_eq!(decided, on_egress(&mut clear.flow, &segment, None, *now));
        assert_eq!((same.flow, sealed), (clear.flow, Sealed::default()));
    }
}

#[test]
fn the_table_runs_low_with_each_half_that_is_used_up() {
    let low = |number| {
        let table = AnswerTable::<AtomicU64, ENTRIES, 4>::new(|| AtomicU64::new(0));
        let at = RecordNumber::new(1, number).expect("it fits");
        let claim = table.begin(first(), at);
        table.fill_up(&claim, |at| sealed(0x40, at), |at| sealed(0x80, at));
        table.release(claim).expect("nothing was sealed");
        let mut looked = Sealed::look(&table);
        assert!(looked.compare(&table, SHAPE, &sealed(0x40, at)));
        looked.runs_low()
    };
    let numbers: Vec<_> = (0..32).filter(|number| low(*number)).collect();
    assert_eq!(numbers, [7, 15, 23, 31]);
}

#[test]
fn rule_17_without_an_answer_for_the_number_the_ping_is_left_to_user_space() {
    let mut tls = Tls::new();
    let mut claim = tls.table.claim().expect("free");
    for _ in 0..4 {
        tls.table.seal(&mut claim);
    }
    claim.handed(4);
    let tx = AtomicU64::new(0);
    assert!(claim.publish_tx(&tx, tls.world.slot.tx.into()));
    tls.table.release(claim).expect("published");
    let (decision, record) = tls.ping(1);
    assert_eq!((decision.verdict, decision.counter), (Verdict::Pass, Some(Counter::NoAnswer)));
    assert_eq!(record, Record::default(), "nothing is left behind");
    assert!(!tls.world.flow.has(bits::PENDING));
}

#[test]
fn rule_18_while_the_word_is_held_pings_are_left_to_user_space() {
    let mut tls = Tls::new();
    let claim = tls.table.claim().expect("free");
    let (decision, record) = tls.ping(1);
    assert_eq!((decision.verdict, decision.counter), (Verdict::Pass, Some(Counter::Claimed)));
    assert_eq!(record, Record::default());
    tls.table.release(claim).expect("nothing was sealed");
}

#[test]
fn rule_18_a_number_that_was_used_since_the_look_is_not_taken() {
    let mut tls = Tls::new();
    let mut looked = Sealed::look(&tls.table);
    assert!(looked.compare(&tls.table, SHAPE, &request(1)));
    let claim = tls.table.claim().expect("free");
    let segment = Segment { pingreq: true, ..tls.segment() };
    let World { flow, slot, pace, now, .. } = &mut tls.world;
    let decision = looked.on_ingress(Some(&tls.table), flow, slot, &segment, *pace, *now);
    assert_eq!(decision.counter, Some(Counter::Claimed));
    assert_eq!((flow.n, *looked.record()), (0, Record::default()), "the copy is wiped");
    drop(claim);
}

#[test]
fn rule_18_the_number_is_taken_when_nothing_else_declines() {
    let mut tls = Tls::new();
    tls.world.slot.state = state::CLOSING;
    assert_eq!(tls.ping(1).0.counter, Some(Counter::NotArmed));
    assert_eq!(tls.table.look().number(), first(), "no number was lost");
    let mut tls = Tls::new();
    let elsewhere = Segment { neighbour: Mac::new([1; 6]), ..tls.segment() };
    assert_eq!(tls.ingress(elsewhere, Some(request(1))).0.counter, Some(Counter::NextHop));
    assert_eq!(tls.table.look().number(), first(), "no number was lost");
}

#[test]
fn rule_21_what_leaves_again_is_what_left() {
    let mut tls = Tls::new();
    tls.ping(1);
    // The table goes on: another key, and all entries anew.
    let mut claim = tls.table.claim().expect("free");
    tls.table.seal(&mut claim);
    assert!(tls.table.update_key(&mut claim));
    tls.table.fill_up(&claim, |at| sealed(0x40, at), |at| sealed(0x11, at));
    // Rule 6.
    let ack = tls.world.server_ack();
    let (decision, record) = tls.egress(ack);
    assert_eq!((decision.counter, record), (Some(Counter::Resent), response(1)));
    // Rule 7.
    let missing = tls.world.bare_ack(tls.world.flow.resp_pos);
    let (decision, record) = tls.ingress(missing, None);
    assert_eq!((decision.counter, record), (Some(Counter::Refilled), response(1)));
    // Rule 8.
    let stale = tls.world.server_data(TX_BASE, TX);
    let (decision, record) = tls.egress(stale);
    assert_eq!((decision.counter, record), (Some(Counter::StaleBytes), response(1)));
    // Rule 9: and then no more. The stack has asked again, so it is shown the acknowledgement.
    assert_eq!(tls.ack().0.verdict, Verdict::Translate);
    let ack = tls.world.server_ack();
    assert_eq!(tls.egress(ack), (Decision::shifted_out(&tls.world.flow, None), Record::default()));
}
