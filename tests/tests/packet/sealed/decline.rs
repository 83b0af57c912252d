//! Records that are left to user space: because they are no PINGREQ that can come next, or because of the state of
//! the connection.

use push_common::answer_table::{ENTRIES, RecordShape};
use push_common::counter::Counter;
use push_common::flow::NO_TABLE;
use push_common::slot::state;
use push_tests::records::{self, Kind, SHAPES, copied, fill, fill_up, first, number, sealed};

use super::{assert_passed, world};
use crate::bytes::{Bytes, read_right};
use crate::cases;
use crate::rig::{Outcome, Rig, Verdict};
use crate::world::World;

cases! {
    any_flipped_bit_is_noticed,
    any_flipped_bit_of_the_record_is_noticed_under_a_right_sum,
    records_of_other_numbers_kinds_and_lengths_pass,
    ping_again_passes_as_any_record,
    right_record_under_a_wrong_sum_is_left_to_user_space,
    ping_in_clear_is_nothing_where_records_are_spoken,
    while_user_space_holds_the_claim_pings_are_left_to_it,
    without_an_answer_for_the_number_the_ping_is_left_to_user_space,
    last_numbers_are_left_to_user_space,
    slots_that_are_not_armed_or_have_changed_hands_are_not_answered_for,
    flows_without_a_table_are_never_answered,
    windows_without_room_for_the_record_are_left_to_user_space,
    other_rules_decline_without_using_up_a_number,
}

/// Left to user space for this reason, as it came, and no number is used up.
#[track_caller]
fn assert_left(rig: &Rig, outcome: &Outcome, ping: &Bytes, before: &str, reason: Counter) {
    outcome.assert_counted(&[reason]);
    assert_passed(outcome, &ping.build(), rig.table, before);
}

fn any_flipped_bit_is_noticed(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        world(rig, shape, ipv6, 0).assert_flipped_bits_are_noticed(rig);
    }
}

fn any_flipped_bit_of_the_record_is_noticed_under_a_right_sum(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        let world = world(rig, shape, ipv6, 0);
        let before = copied(rig.table);
        for bit in 0..usize::from(shape.record_bytes()) * 8 {
            let mut ping = world.ping();
            ping.payload[bit / 8] ^= 0x80 >> (bit % 8);
            let outcome = world.run(rig, &ping);
            assert_left(rig, &outcome, &ping, &before, Counter::NotExpected);
        }
        world.run(rig, &world.ping()).assert_counted(&[Counter::Answered]);
    }
}

fn records_of_other_numbers_kinds_and_lengths_pass(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        let world = world(rig, shape, ipv6, 0);
        let before = copied(rig.table);
        let expected = first(Kind::Request);
        let (epoch, next) = (expected.epoch(), expected.number());
        let right = sealed(Kind::Request, shape, expected);
        let later = |more| sealed(Kind::Request, shape, number(epoch, next + more));
        let mut payloads = vec![
            // The one before, those behind, the one that has the same place in the table.
            sealed(Kind::Request, shape, number(epoch, next - 1)),
            later(1),
            later(ENTRIES as u64 - 1),
            later(ENTRIES as u64),
            sealed(Kind::Request, shape, number(epoch + 1, next)),
            sealed(Kind::Request, shape, number(epoch - 1, next)),
            // The server's own.
            sealed(Kind::Answer, shape, expected),
            sealed(Kind::Answer, shape, first(Kind::Answer)),
            // Padded, coalesced, split over two segments.
            [&right[..], &[0]].concat(),
            [&right[..], &[0; 8]].concat(),
            [&right[..], &later(1)].concat(),
            right[..right.len() - 1].to_vec(),
            right[1..].to_vec(),
            vec![0; right.len()],
            vec![0xFF; right.len()],
        ];
        payloads.extend((1..right.len()).map(|bytes| right[..bytes].to_vec()));
        let others = SHAPES.into_iter().filter(|other| *other != shape);
        payloads.extend(others.map(|other| sealed(Kind::Request, other, expected)));
        for payload in payloads {
            let segment = Bytes { payload, ..world.ping() };
            let outcome = world.run(rig, &segment);
            outcome.assert_counted(strange(&segment, shape));
            assert_passed(&outcome, &segment.build(), rig.table, &before);
        }
        world.run(rig, &world.ping()).assert_counted(&[Counter::Answered]);
    }
}

/// What is counted of a record that cannot come next.
fn strange(segment: &Bytes, shape: RecordShape) -> &'static [Counter] {
    if segment.payload.len() == usize::from(shape.record_bytes()) {
        &[Counter::NotExpected]
    } else {
        &[]
    }
}

fn ping_again_passes_as_any_record(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        let mut world = world(rig, shape, ipv6, 0);
        world.run(rig, &world.ping()).assert_counted(&[Counter::Answered]);
        world.flow.n = 1;
        let before = copied(rig.table);
        // At its own place, as TCP repeats it, and behind itself, as somebody might replay it.
        let replayed = world.ping();
        let repeated = Bytes {
            seq: replayed.seq.wrapping_sub(shape.record_bytes().into()),
            ..replayed.clone()
        };
        for ping in [replayed, repeated] {
            let outcome = world.run(rig, &ping);
            outcome.assert_counted(&[Counter::NotExpected, Counter::Translated]);
            assert_eq!((outcome.verdict, outcome.slot.pings), (Verdict::Next, 0));
            assert_eq!(read_right(&outcome.packet).payload, ping.payload);
            assert_eq!(copied(rig.table), before);
        }
    }
}

fn right_record_under_a_wrong_sum_is_left_to_user_space(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        let world = world(rig, shape, ipv6, 0);
        let before = copied(rig.table);
        let ping = world.ping();
        for bit in 0..16 {
            let mut packet = ping.build();
            packet[ping.l4() + 16 + bit / 8] ^= 1 << (bit % 8);
            let outcome = world.run_raw(rig, ping.way, &packet);
            outcome.assert_counted(&[Counter::Unverified]);
            assert_passed(&outcome, &packet, rig.table, &before);
        }
    }
}

fn ping_in_clear_is_nothing_where_records_are_spoken(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        let world = world(rig, shape, ipv6, 0);
        let before = copied(rig.table);
        let mut long = vec![0; shape.record_bytes().into()];
        long[0] = 0xC0;
        for payload in [vec![0xC0, 0], crate::world::frame([0; 4], [0xC0, 0]), long] {
            let segment = Bytes { payload, ..world.ping() };
            let outcome = world.run(rig, &segment);
            outcome.assert_counted(strange(&segment, shape));
            assert_passed(&outcome, &segment.build(), rig.table, &before);
        }
        // And a record is nothing where MQTT is in clear.
        let plain = World::new(ipv6, 0);
        let segment = Bytes { payload: world.ping().payload, ..plain.ping() };
        let outcome = plain.run(rig, &segment);
        outcome.assert_counted(&[]);
        assert_passed(&outcome, &segment.build(), rig.table, &before);
    }
}

fn while_user_space_holds_the_claim_pings_are_left_to_it(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        let world = world(rig, shape, ipv6, 0);
        let claim = rig.table.claim().expect("nobody holds it");
        let before = copied(rig.table);
        let outcome = world.run(rig, &world.ping());
        assert_left(rig, &outcome, &world.ping(), &before, Counter::Claimed);
        rig.table.release(claim).expect("nothing was sealed");
        world.run(rig, &world.ping()).assert_counted(&[Counter::Answered]);
    }
}

fn without_an_answer_for_the_number_the_ping_is_left_to_user_space(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        let world = world(rig, shape, ipv6, 0);
        // User space has sent as many records as there are entries, and not filled up the table.
        let mut claim = rig.table.claim().expect("nobody holds it");
        for _ in 0..ENTRIES {
            rig.table.seal(&mut claim).expect("numbers are left");
        }
        claim.handed(ENTRIES as u64);
        assert!(claim.publish_tx(&rig.slot_words[3], world.slot.tx));
        rig.table.release(claim).expect("published");
        let before = copied(rig.table);
        let outcome = world.run(rig, &world.ping());
        assert_left(rig, &outcome, &world.ping(), &before, Counter::NoAnswer);

        let claim = rig.table.claim().expect("nobody holds it");
        fill_up(rig.table, &claim, shape);
        rig.table.release(claim).expect("nothing was sealed");
        // A claim that seals nothing leaves alone what a program may be reading: the next answer.
        let before = copied(rig.table);
        let outcome = world.run(rig, &world.ping());
        assert_left(rig, &outcome, &world.ping(), &before, Counter::NoAnswer);
    }
}

fn last_numbers_are_left_to_user_space(rig: &mut Rig, ipv6: bool) {
    let shape = RecordShape::TLS_1_3;
    let world = World::with(shape.heartbeat(), ipv6, 0);
    let last = number(1, (1 << 48) - 1);
    for numbers in [[last, first(Kind::Request)], [first(Kind::Answer), last]] {
        records::fill_for(rig.table, shape, numbers);
        let before = copied(rig.table);
        let payload = sealed(Kind::Request, shape, numbers[1]);
        let ping = Bytes { payload, ..world.ping() };
        let outcome = world.run(rig, &ping);
        assert_left(rig, &outcome, &ping, &before, Counter::Claimed);
    }
}

fn slots_that_are_not_armed_or_have_changed_hands_are_not_answered_for(rig: &mut Rig, ipv6: bool) {
    let armed = world(rig, RecordShape::TLS_1_3, ipv6, 0);
    let before = copied(rig.table);
    for change in 0..6 {
        let mut world = armed;
        match change {
            0 => world.slot.state = state::FREE,
            1 => world.slot.state = state::HELD,
            2 => world.slot.state = state::CLOSING,
            3 => world.slot.generation += 1,
            4 => world.flow.generation += 1,
            _ => world.flow.slot = 1,
        }
        let outcome = world.run(rig, &world.ping());
        assert_left(rig, &outcome, &world.ping(), &before, Counter::NotArmed);
    }
    armed.run(rig, &armed.ping()).assert_counted(&[Counter::Answered]);
}

fn flows_without_a_table_are_never_answered(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        let mut world = world(rig, shape, ipv6, 0);
        let before = copied(rig.table);
        for table in [NO_TABLE, 1, 2, 0x8000_0000] {
            world.flow.table = table;
            for payload in
                [world.ping().payload, vec![0; shape.record_bytes().into()], vec![0xC0, 0]]
            {
                let segment = Bytes { payload, ..world.ping() };
                let outcome = world.run(rig, &segment);
                outcome.assert_counted(&[]);
                assert_passed(&outcome, &segment.build(), rig.table, &before);
            }
        }
    }
}

fn windows_without_room_for_the_record_are_left_to_user_space(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        let world = world(rig, shape, ipv6, 0);
        let before = copied(rig.table);
        let room = u16::from(shape.record_bytes());
        for window in [0, 2, room - 1] {
            let ping = Bytes { window, ..world.ping() };
            let outcome = world.run(rig, &ping);
            assert_left(rig, &outcome, &ping, &before, Counter::Window);
        }
        let outcome = world.run(rig, &Bytes { window: room, ..world.ping() });
        outcome.assert_counted(&[Counter::Answered]);
    }
}

fn other_rules_decline_without_using_up_a_number(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        fill(rig.table, shape);
        let before = copied(rig.table);
        let world = |change: fn(&mut World)| {
            let mut world = World::with(shape.heartbeat(), ipv6, 0);
            change(&mut world);
            world
        };
        for (world, reason) in [
            (world(|world| world.slot.rx -= 1), Counter::ClientBusy),
            (world(|world| world.slot.tx += 1), Counter::ServerBusy),
            (
                world(|world| world.flow.acked_nxt = world.flow.acked_nxt.wrapping_sub(1)),
                Counter::ServerBusy,
            ),
            (world(|world| world.flow.in_a_row = 255), Counter::EveryNth),
            (world(|world| world.flow.iface = 2), Counter::Interface),
        ] {
            let outcome = world.run(rig, &world.ping());
            assert_left(rig, &outcome, &world.ping(), &before, reason);
        }
    }
}
