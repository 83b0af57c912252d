//! Two CPUs at work for one connection at once: pings come in on one, while user space seals records of its own on
//! the other, or while the server's segments leave by it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use push_common::answer_table::RecordShape;
use push_common::counter::Counter;
use push_tests::expectations::PATIENCE;
use push_tests::records::{Kind, fill_up, first, number, sealed};

use super::world;
use crate::bytes::{Bytes, key, read_right};
use crate::cases;
use crate::contention::meanwhile;
use crate::rig::{Rig, Verdict, Way};
use crate::world::{RX, World};
use push_tests::records::Table;

/// Pings that the one CPU brings in a case.
const PINGS: u32 = 8_000;

/// What each CPU does while the other is at work too, in a case.
const AT_ONCE_MIN: u64 = 100;

cases! {
    no_number_is_used_twice_while_user_space_seals,
    answers_leave_again_whole_while_others_follow,
}

fn no_number_is_used_twice_while_user_space_seals(rig: &mut Rig, ipv6: bool) {
    for shape in [RecordShape::TLS_1_3, RecordShape::TLS_1_2_GCM] {
        let (begun, mut at_once) = (Instant::now(), 0);
        // On a busy machine the CPUs may hardly have worked at once.
        while at_once < AT_ONCE_MIN {
            assert!(begun.elapsed() < PATIENCE, "{at_once} of each");
            at_once += seal_meanwhile(rig, shape, ipv6);
        }
    }
}

/// The side that has used a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Program,
    UserSpace,
}

/// Pings are answered while user space seals; how many of both there were at least.
fn seal_meanwhile(rig: &mut Rig, shape: RecordShape, ipv6: bool) -> u64 {
    let world = world(rig, shape, ipv6, 0);
    let ping = world.run(rig, &world.ping());
    ping.assert_counted(&[Counter::Answered]);
    let claimed = rig.count(Counter::Claimed);

    let rig = &*rig;
    let passed = &AtomicU64::new(0);
    let mut user = UserSpace { table: rig.table, shape, read: 0, turn: 0, used: vec![] };
    let seal = || {
        user.read_up_to(passed.load(Ordering::Acquire), &rig.slot_words[2]);
        user.send(&rig.slot_words[3], world.slot.tx);
    };
    let (answered, _) = meanwhile(|| bring_pings(rig, world, passed), seal);
    let sealed_by_user = user.used;

    let mut used = BTreeMap::from([(first(Kind::Answer).number(), By::Program)]);
    let by = |numbers: &[u64], by| numbers.iter().map(|at| (*at, by)).collect::<Vec<_>>();
    let all = [by(&answered, By::Program), by(&sealed_by_user, By::UserSpace)].concat();
    for (at, by) in all {
        assert_eq!(used.insert(at, by), None, "{at} was used twice, at last by {by:?}");
    }
    let numbers = used.keys().next_back().zip(used.keys().next());
    let span = numbers.map(|(last, first)| last - first + 1);
    assert_eq!(span, Some(used.len() as u64), "each number was used");
    let claimed = rig.count(Counter::Claimed) - claimed;
    println!(
        "{} pings answered and {} records of user space at once; {claimed} met the claim",
        answered.len(),
        sealed_by_user.len()
    );
    answered.len().min(sealed_by_user.len()) as u64
}

/// Brings pings, one after the other, each with the record that comes next. Returns the numbers of the answers.
fn bring_pings(rig: &Rig, mut world: World, passed: &AtomicU64) -> Vec<u64> {
    let shape = RecordShape::of(world.flow.heartbeat);
    let (begun, mut answered) = (first(Kind::Request), Vec::new());
    world.flow.n = 1;
    for at in 1..u64::from(PINGS) {
        let request = begun.after(at).expect("small numbers");
        let left = passed.load(Ordering::Relaxed);
        let seq = world.client_nxt().wrapping_add(left as u32 * u32::from(shape.record_bytes()));
        let payload = sealed(Kind::Request, shape, request);
        let ping = Bytes { seq, payload, ..world.ping() };
        let (verdict, packet) = rig.run_as_it_is(Way::Ingress, &ping.build(), 0);
        if verdict == Verdict::Redirect {
            let answer = read_right(&packet);
            assert_eq!(answer.seq, world.server_nxt());
            answered.push(number_of(&answer.payload, shape, answered.last().copied()));
            world.flow.n += 1;
            continue;
        }
        assert_eq!(verdict, Verdict::Next);
        passed.store(left + 1, Ordering::Release);
        // User space reads it before the client sends again; most of the time it has.
        while !has_read(rig, left + 1, shape) {
            std::hint::spin_loop();
        }
    }
    answered
}

fn has_read(rig: &Rig, passed: u64, shape: RecordShape) -> bool {
    let rx = u64::from(RX) + passed * u64::from(shape.record_bytes());
    rig.slot_words[2].load(Ordering::Acquire) == rx
}

/// Which number the answer was sealed for: one behind the last.
fn number_of(answer: &[u8], shape: RecordShape, last: Option<u64>) -> u64 {
    let first = first(Kind::Answer);
    let from = last.unwrap_or(first.number()) + 1;
    let is_of = |at: &u64| sealed(Kind::Answer, shape, number(first.epoch(), *at)) == answer;
    (from..from + 1_000_000).find(is_of).expect("whole, and sealed for a number")
}

/// The server's thread: opens what was passed, and sends records of its own.
struct UserSpace {
    table: &'static Table,
    shape: RecordShape,
    /// Pings that it has read.
    read: u64,
    /// How often it has held the claim.
    turn: u64,
    /// The numbers that it has used.
    used: Vec<u64>,
}

impl UserSpace {
    fn read_up_to(&mut self, passed: u64, rx: &AtomicU64) {
        if self.read == passed {
            return;
        }
        let mut reading = self.table.read();
        while self.read < passed {
            assert!(reading.opened());
            self.read += 1;
        }
        let bytes = u64::from(RX) + passed * u64::from(self.shape.record_bytes());
        self.table.publish(reading).publish_rx(rx, bytes);
    }

    /// Seals some records, which the client acknowledges at once, so to speak: nothing leaves.
    fn send(&mut self, tx: &AtomicU64, bytes: u64) {
        let mut claim = self.table.claim().expect("it is this thread's alone");
        // Every third time it only fills up the table.
        self.turn += 1;
        for _ in 0..self.turn % 3 {
            let at = self.table.seal(&mut claim).expect("numbers are left");
            self.used.push(at.number());
        }
        claim.handed(u64::MAX);
        assert!(claim.publish_tx(tx, bytes));
        fill_up(self.table, &claim, self.shape);
        self.table.release(claim).expect("published");
        // Programs get a turn.
        for _ in 0..200 {
            std::hint::spin_loop();
        }
    }
}

fn answers_leave_again_whole_while_others_follow(rig: &mut Rig, ipv6: bool) {
    for shape in [RecordShape::TLS_1_3, RecordShape::TLS_1_2_CHACHA20] {
        let (begun, mut resent) = (Instant::now(), 0);
        // On a busy machine the CPUs may hardly have worked at once.
        while resent < AT_ONCE_MIN {
            assert!(begun.elapsed() < PATIENCE, "{resent} answers have left again");
            resent += resend_meanwhile(rig, shape, ipv6);
        }
        println!("{resent} answers left again while others followed");
    }
}

/// Pings while bare ACKs of the server leave, each as the answer that is pending. How many have left.
fn resend_meanwhile(rig: &mut Rig, shape: RecordShape, ipv6: bool) -> u64 {
    const PINGS: u32 = 250;
    let mut world = world(rig, shape, ipv6, 0);
    world.run(rig, &world.ping()).assert_counted(&[Counter::Answered]);
    world.flow.n = 1;
    let rig = &*rig;
    let (answered, begun) = (&AtomicU32::new(1), &AtomicU32::new(1));
    let pings = move || {
        for at in 1..PINGS {
            let claim = rig.table.claim().expect("it is this thread's alone");
            fill_up(rig.table, &claim, shape);
            rig.table.release(claim).expect("nothing was sealed");
            let request = first(Kind::Request).after(at.into()).expect("small numbers");
            let payload = sealed(Kind::Request, shape, request);
            begun.store(at + 1, Ordering::SeqCst);
            let ping = Bytes { payload, ..world.ping() };
            let (verdict, packet) = rig.run_as_it_is(Way::Ingress, &ping.build(), 0);
            assert_eq!(verdict, Verdict::Redirect);
            assert_eq!(read_right(&packet).seq, world.server_nxt());
            world.flow.n += 1;
            answered.store(world.flow.n, Ordering::SeqCst);
        }
    };
    let segment = || {
        let answered_min = answered.load(Ordering::SeqCst);
        let of_ping = leave_again(rig, &world, shape);
        let answered_max = begun.load(Ordering::SeqCst);
        assert!((answered_min..=answered_max).contains(&of_ping), "{of_ping}");
    };
    let ((), segments) = meanwhile(pings, segment);
    let (flow, slot) = rig.state(key(ipv6));
    assert_eq!((flow.expect("the flow stays").n, slot.pings), (PINGS, u64::from(PINGS)));
    segments
}

/// A bare ACK of the server leaves as the pending answer; which ping's that is, counted from 1.
fn leave_again(rig: &Rig, world: &World, shape: RecordShape) -> u32 {
    let bytes = u32::from(shape.record_bytes());
    let ack = world.server();
    let (verdict, packet) = rig.run_as_it_is(Way::Egress, &ack.build(), 0);
    assert_eq!(verdict, Verdict::Next);
    let left = read_right(&packet);
    let of_ping = left.ack.wrapping_sub(ack.ack) / bytes;
    assert_eq!(left.seq, ack.seq.wrapping_add((of_ping - 1) * bytes), "of one moment");
    let at = first(Kind::Answer).after(u64::from(of_ping) - 1).expect("small numbers");
    assert_eq!(left.payload, sealed(Kind::Answer, shape, at), "of ping {of_ping}");
    of_ping
}
