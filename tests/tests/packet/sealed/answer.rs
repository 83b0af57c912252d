//! PINGREQ records that are answered, and what else goes by on such a connection.

use push_common::answer_table::ENTRIES;
use push_common::counter::Counter;
use push_common::flow::bits;
use push_common::segment::flags;
use push_tests::records::{self, Kind, SHAPES, fill_for, number, sealed};

use super::{first_answer, world};
use crate::bytes::{Bytes, read_right, sack, timestamps};
use crate::cases;
use crate::rig::{Rig, SHARDS, Verdict};
use crate::world::{STACK_WINDOW, World};

cases! {
    ping_of_each_shape_becomes_the_record_that_answers_it,
    both_directions_count_for_themselves,
    pings_use_up_the_table_and_the_shard_is_told_in_time,
    ping_with_the_sum_of_the_pseudo_header_alone_is_answered,
    each_stream_is_shifted_by_the_length_of_its_records,
    errors_quote_shifted_numbers,
}

fn ping_of_each_shape_becomes_the_record_that_answers_it(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        let bytes = u32::from(shape.record_bytes());
        for n in [0, 1, 7, 0x1000_0001, u32::MAX] {
            for options in [vec![], timestamps(70, 9)] {
                let world = world(rig, shape, ipv6, n);
                let ping = Bytes { options, ..world.ping() };
                let outcome = world.run(rig, &ping);
                assert_eq!(outcome.verdict, Verdict::Redirect, "{:?}", outcome.counted);
                outcome.assert_counted(&[Counter::Answered]);
                // Lengths and sums are right, too.
                let answer = read_right(&outcome.packet);
                assert_eq!(answer.payload, first_answer(shape));
                assert_eq!((answer.seq, answer.ack), (ping.ack, ping.seq.wrapping_add(bytes)));
                assert_eq!((answer.window, answer.ttl), (STACK_WINDOW, 64));
                assert_eq!(answer.flags, flags::ACK | flags::PSH);
                assert_eq!(outcome.packet.len(), ping.build().len());
                if !ping.options.is_empty() {
                    assert_eq!(answer.options, timestamps(9, 70));
                }
                let flow = outcome.flow.expect("the flow stays");
                assert_eq!(flow.n, n.wrapping_add(1));
                assert!(flow.has(bits::PENDING));
                assert_eq!((flow.req_pos, flow.resp_pos), (ping.seq, ping.ack));
                assert_eq!((outcome.slot.pings, outcome.told), (1, vec![]));

                let [sent, received] = [Kind::Answer, Kind::Request].map(records::first);
                assert_eq!(Some(rig.table.look().number()), sent.after(1));
                assert!(rig.table.look().is_open());
                assert_eq!(Some(rig.table.expected()), received.after(1));
                let kept = rig.table.kept().bytes();
                assert_eq!(kept[..bytes as usize], first_answer(shape));
                assert!(kept[bytes as usize..].iter().all(|byte| *byte == 0));
            }
        }
    }
}

fn both_directions_count_for_themselves(rig: &mut Rig, ipv6: bool) {
    let last = (1 << 48) - 2;
    for [answer, request] in [
        [number(1, 0), number(1, 1)],
        [number(1, 7), number(2, 16)],
        [number(300, 1 << 24), number(1, (1 << 24) - 1)],
        [number(0x7FFF, last), number(0x7FFF, last)],
    ] {
        for shape in SHAPES {
            let world = World::with(shape.heartbeat(), ipv6, 1);
            fill_for(rig.table, shape, [answer, request]);
            let payload = sealed(Kind::Request, shape, request);
            let outcome = world.run(rig, &Bytes { payload, ..world.ping() });
            outcome.assert_counted(&[Counter::Answered]);
            assert_eq!(read_right(&outcome.packet).payload, sealed(Kind::Answer, shape, answer));
            assert_eq!(Some(rig.table.look().number()), answer.after(1));
            assert_eq!(Some(rig.table.expected()), request.after(1));
        }
    }
}

fn pings_use_up_the_table_and_the_shard_is_told_in_time(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        for from in [0, 5] {
            let mut world = World::with(shape.heartbeat(), ipv6, 1);
            fill_for(rig.table, shape, [number(1, 100), number(1, from)]);
            for at in 0..ENTRIES as u64 {
                let request = number(1, from + at);
                world.slot.shard = (at as u16) % SHARDS;
                let payload = sealed(Kind::Request, shape, request);
                let outcome = world.run(rig, &Bytes { payload, ..world.ping() });
                outcome.assert_counted(&[Counter::Answered]);
                let answer = sealed(Kind::Answer, shape, number(1, 100 + at));
                assert_eq!(read_right(&outcome.packet).payload, answer);
                // Half of the table is used up.
                let is_low = (from + at + 1).is_multiple_of(ENTRIES as u64 / 2);
                let told = if is_low { vec![world.slot.shard] } else { vec![] };
                assert_eq!(outcome.told, told, "{request:?}");
                world.flow.n += 1;
            }
            // What comes then is not known to be a ping.
            let payload = sealed(Kind::Request, shape, number(1, from + ENTRIES as u64));
            let outcome = world.run(rig, &Bytes { payload, ..world.ping() });
            assert_eq!((outcome.verdict, outcome.told.len()), (Verdict::Next, 0));
            outcome.assert_counted(&[Counter::NotExpected, Counter::Translated]);
        }
    }
}

fn ping_with_the_sum_of_the_pseudo_header_alone_is_answered(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        world(rig, shape, ipv6, 1).assert_half_summed_ping_is_answered(rig);
    }
}

fn each_stream_is_shifted_by_the_length_of_its_records(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        for n in [1, 3, 0x1000_0001, u32::MAX] {
            let world = world(rig, shape, ipv6, n);
            let before = records::copied(rig.table);
            let delta = n.wrapping_mul(shape.record_bytes().into());
            let blocks = [(0x1000, 0x2000), (0x3000, 0x4000)];
            for bytes in [1, usize::from(shape.record_bytes()), 100] {
                let payload = vec![0x5A; bytes];
                let client = Bytes { payload, options: sack(&blocks), ..world.client() };
                let read = read_right(&world.run(rig, &client).packet);
                let shifted = [client.seq, client.ack].map(|number| number.wrapping_sub(delta));
                assert_eq!([read.seq, read.ack], shifted);
                let moved = blocks.map(|(a, b)| (a.wrapping_sub(delta), b.wrapping_sub(delta)));
                assert_eq!((read.options, read.payload), (sack(&moved), client.payload));

                let payload = vec![0xA5; bytes];
                let server = Bytes { payload, options: sack(&blocks), ..world.server() };
                let read = read_right(&world.run(rig, &server).packet);
                let shifted = [server.seq, server.ack].map(|number| number.wrapping_add(delta));
                assert_eq!([read.seq, read.ack], shifted);
                let moved = blocks.map(|(a, b)| (a.wrapping_add(delta), b.wrapping_add(delta)));
                assert_eq!((read.options, read.payload), (sack(&moved), server.payload));
            }
            assert_eq!(records::copied(rig.table), before);
        }
    }
}

fn errors_quote_shifted_numbers(rig: &mut Rig, ipv6: bool) {
    for shape in SHAPES {
        let world = world(rig, shape, ipv6, 3);
        crate::icmp::quoted_numbers_are_shifted(rig, &world);
    }
}
