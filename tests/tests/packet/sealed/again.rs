//! An answer leaves again (rules 6 to 8) as the bytes that left first, whatever has become of the table since
//! (rule 21).

use push_common::answer_table::RecordShape;
use push_common::counter::Counter;
use push_common::flow::bits;
use push_common::segment::flags;
use push_tests::records::{SHAPES, fill_pending, fill_up};

use super::first_answer;
use crate::bytes::{Bytes, read_right, sack, timestamps};
use crate::cases;
use crate::rig::{Rig, Verdict, Way};
use crate::world::World;
use push_tests::records::Table;

cases! {
    answers_leave_again_as_they_left_whatever_the_table_has_become,
    stale_bytes_of_any_length_leave_as_the_record,
    acknowledgement_of_the_whole_record_ends_pending,
}

/// What user space does to the table after an answer.
const CHANGES: [fn(&Table, RecordShape); 4] = [
    |_, _| {},
    // Sends more than the table has entries, and fills it up.
    |table, shape| {
        let mut claim = table.claim().expect("nobody holds it");
        for _ in 0..9 {
            table.seal(&mut claim).expect("numbers are left");
        }
        fill_up(table, &claim, shape);
    },
    // The same with another key.
    |table, shape| {
        let mut claim = table.claim().expect("nobody holds it");
        table.seal(&mut claim).expect("numbers are left");
        assert!(table.update_key(&mut claim));
        fill_up(table, &claim, shape);
    },
    // Dies while it holds the claim.
    |table, _| drop(table.claim().expect("nobody holds it")),
];

fn answers_leave_again_as_they_left_whatever_the_table_has_become(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        let world = World::with(shape.heartbeat(), ipv6, 3).and_pending();
        let at = world.flow.resp_pos;
        let blocks = sack(&[(9, 19)]);
        let misses = Bytes { ack: at, ..world.client() };
        let stale = Bytes { seq: world.server().seq.wrapping_sub(3), ..world.server() };
        // Zeros, because a test run has no partial sums: these are part of no sum.
        let stale = Bytes { payload: vec![0; 3], ..stale };
        for change in CHANGES {
            for (segment, counter) in [
                (misses.clone(), Counter::Refilled),
                (Bytes { options: blocks.clone(), ..misses.clone() }, Counter::Refilled),
                (Bytes { options: timestamps(70, 9), ..misses.clone() }, Counter::Refilled),
                (world.server(), Counter::Resent),
                (Bytes { options: blocks.clone(), ..world.server() }, Counter::Resent),
                (Bytes { options: timestamps(70, 9), ..world.server() }, Counter::Resent),
                (stale.clone(), Counter::StaleBytes),
            ] {
                fill_pending(rig.table, shape);
                change(rig.table, shape);
                let outcome = world.run(rig, &segment);
                outcome.assert_counted(&[counter]);
                let is_ingress = segment.way == Way::Ingress;
                let verdict = if is_ingress { Verdict::Redirect } else { Verdict::Next };
                assert_eq!(outcome.verdict, verdict);
                let again = read_right(&outcome.packet);
                assert_eq!((again.seq, again.payload), (at, first_answer(shape)), "{counter:?}");
                assert_eq!(again.flags, flags::ACK | flags::PSH);
                let ack = if is_ingress {
                    world.flow.req_pos.wrapping_add(shape.record_bytes().into())
                } else {
                    segment.ack.wrapping_add(world.flow.delta_in())
                };
                assert_eq!(again.ack, ack);
                assert_eq!((outcome.slot.pings, outcome.told.len()), (0, 0));
                assert!(outcome.flow.expect("the flow stays").has(bits::PENDING));
            }
        }
    }
}

fn stale_bytes_of_any_length_leave_as_the_record(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        fill_pending(rig.table, shape);
        for (gso_bytes, bytes) in
            [(0, 1), (0, 22), (0, 23), (0, 24), (0, 31), (0, 32), (0, 1_000), (1_000, 3_000)]
        {
            let world = World::with(shape.heartbeat(), ipv6, 3).and_pending();
            let world = World { gso_bytes, ..world };
            for fin in [0, flags::FIN] {
                let server = world.server();
                let stale = Bytes {
                    seq: server.seq.wrapping_sub(bytes),
                    payload: vec![0; bytes as usize],
                    flags: server.flags | fin,
                    ..server
                };
                let outcome = world.run(rig, &stale);
                assert_eq!(outcome.verdict, Verdict::Next);
                outcome.assert_counted(&[Counter::StaleBytes]);
                let again = read_right(&outcome.packet);
                assert_eq!((again.seq, again.payload), (world.flow.resp_pos, first_answer(shape)));
            }
        }
    }
}

fn acknowledgement_of_the_whole_record_ends_pending(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        fill_pending(rig.table, shape);
        let world = World::with(shape.heartbeat(), ipv6, 3).and_pending();
        let is_pending = |rig: &mut Rig, ack: u32| {
            let segment = Bytes { ack: world.flow.resp_pos.wrapping_add(ack), ..world.client() };
            world.run(rig, &segment).flow.expect("the flow stays").has(bits::PENDING)
        };
        let bytes = u32::from(shape.record_bytes());
        for part in 1..bytes {
            assert!(is_pending(rig, part), "{part} of {bytes} bytes");
        }
        assert!(!is_pending(rig, bytes));
        world.run(rig, &world.client()).assert_counted(&[Counter::Absorbed]);
    }
}
