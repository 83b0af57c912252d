//! PINGREQ at ingress: what is answered, what the answer looks like, and what is left to user space.

use push_common::counter::Counter;
use push_common::flow::bits;
use push_common::segment::flags;

use crate::bytes::{Bytes, L3, read_right, sack, timestamps};
use crate::cases;
use crate::rig::{Outcome, Rig, Verdict};
use crate::world::{RX, RX_BASE, STACK_WINDOW, World};

cases! {
    ping_becomes_its_pingresp,
    timestamps_change_places_in_the_answer,
    answer_bears_the_newest_timestamp_of_the_stack,
    answer_is_cut_to_its_length_where_the_link_layer_has_padded,
    ping_with_the_sum_of_the_pseudo_header_alone_is_answered,
    every_combination_of_flags_but_ack_and_psh_is_left_to_user_space,
    options_besides_timestamps_are_left_to_user_space,
    ip_options_extension_headers_and_congestion_marks_are_left_to_user_space,
    windows_without_room_for_the_answer_are_left_to_user_space,
    payloads_that_are_no_single_ping_are_left_to_user_space,
    any_flipped_bit_is_noticed,
    numbers_beside_the_expected_ones_are_left_to_user_space,
    strangers_and_other_protocols_are_not_touched,
}

fn ping_becomes_its_pingresp(rig: &mut Rig, ipv6: bool) {
    for n in [0, 1, 2, 3, 0x7FFF_FFFF, u32::MAX] {
        let world = World::new(ipv6, n);
        let ping = world.ping();
        let outcome = world.run(rig, &ping);
        let answer = assert_answered(&outcome);
        assert_eq!((answer.seq, answer.ack), (ping.ack, ping.seq.wrapping_add(2)));
        assert_eq!((answer.window, answer.ttl), (STACK_WINDOW, 64));
        assert_eq!(answer.source_port, 1883);
        // Back to where it came from.
        let sent = ping.build();
        assert_eq!((&outcome.packet[..6], &outcome.packet[6..12]), (&sent[6..12], &sent[..6]));
        let flow = outcome.flow.expect("the flow stays");
        assert_eq!(flow.n, n.wrapping_add(1));
        assert!(flow.has(bits::PENDING));
        assert_eq!((flow.req_pos, flow.resp_pos), (ping.seq, ping.ack));
        assert_eq!(outcome.slot.pings, 1);
        assert!(outcome.slot.last_seen > world.slot.last_seen);
    }
}

fn timestamps_change_places_in_the_answer(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 1);
    for options in [timestamps(70, 9), [vec![1, 1, 1, 1], timestamps(70, 9)].concat()] {
        let outcome = world.run(rig, &Bytes { options: options.clone(), ..world.ping() });
        let answer = assert_answered(&outcome);
        assert!(answer.options.ends_with(&timestamps(9, 70)), "{:02x?}", answer.options);
        assert_eq!(answer.options.len(), options.len());
    }
}

fn answer_bears_the_newest_timestamp_of_the_stack(rig: &mut Rig, ipv6: bool) {
    let mut world = World::new(ipv6, 1);
    world.flow.stack_ts = 3;
    world.flow.bits |= bits::STACK_TS_KNOWN;
    let outcome = world.run(rig, &Bytes { options: timestamps(70, u32::MAX), ..world.ping() });
    assert_eq!(assert_answered(&outcome).options, timestamps(3, 70));
    // It is learned at egress.
    let ack = Bytes { options: timestamps(5, 70), ..world.server() };
    assert_eq!(world.run(rig, &ack).flow.expect("the flow stays").stack_ts, 5);
}

fn answer_is_cut_to_its_length_where_the_link_layer_has_padded(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 1);
    for padding in [1, 4, 18] {
        let outcome = world.run(rig, &Bytes { padding, ..world.ping() });
        assert_answered(&outcome);
        assert_eq!(outcome.packet.len(), world.ping().build().len());
    }
}

fn ping_with_the_sum_of_the_pseudo_header_alone_is_answered(rig: &mut Rig, ipv6: bool) {
    World::new(ipv6, 1).assert_half_summed_ping_is_answered(rig);
}

fn every_combination_of_flags_but_ack_and_psh_is_left_to_user_space(rig: &mut Rig, ipv6: bool) {
    for n in [0, 1] {
        let world = World::new(ipv6, n);
        for all in 0..=u8::MAX {
            let outcome = world.run(rig, &Bytes { flags: all, ..world.ping() });
            if all & !flags::PSH == flags::ACK {
                assert_answered(&outcome);
            } else {
                assert_eq!(outcome.verdict, Verdict::Next, "{all:#04x}");
                assert_eq!(outcome.flow.expect("the flow stays").n, n, "{all:#04x}");
            }
        }
    }
}

fn options_besides_timestamps_are_left_to_user_space(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 0);
    let blocks = |count: u32| (0..count).map(|i| (i * 20 + 9, i * 20 + 19)).collect::<Vec<_>>();
    let mut options: Vec<_> = (1..=4).map(|count| sack(&blocks(count))).collect();
    options.extend([
        vec![1, 1, 4, 2],
        vec![2, 4, 5, 0xB4],
        vec![3, 3, 7, 0],
        vec![19, 18, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        vec![254, 4, 0xF9, 0x89],
        vec![1, 1, 8, 0],
        vec![1, 1, 8, 1],
        vec![1, 1, 8, 11, 0, 0, 0, 0, 0, 0, 0, 0],
        vec![1, 1, 8, 255, 0, 0, 0, 0, 0, 0, 0, 0],
        vec![1, 1, 5, 9, 0, 0, 0, 0, 0, 0, 0, 0],
        vec![1, 1, 1, 8],
        vec![8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1],
    ]);
    for options in options {
        let outcome = world.run(rig, &Bytes { options: options.clone(), ..world.ping() });
        assert_left(&outcome, Counter::NotPlain);
        assert_eq!(outcome.flow.expect("the flow stays").n, 0, "{options:02x?}");
    }
}

fn ip_options_extension_headers_and_congestion_marks_are_left_to_user_space(
    rig: &mut Rig,
    ipv6: bool,
) {
    let world = World::new(ipv6, 0);
    let ping = world.ping();
    let mut odd = vec![Bytes { ecn: 3, ..ping.clone() }];
    if ipv6 {
        for kind in [0, 43, 60] {
            odd.push(Bytes { extensions: vec![(kind, vec![0; 8])], ..ping.clone() });
            odd.push(Bytes { extensions: vec![(kind, vec![0; 8]); 6], ..ping.clone() });
        }
    } else {
        for option in [vec![1, 1, 1, 1], vec![7, 7, 4, 0, 0, 0, 0, 0], vec![148, 4, 0, 0]] {
            odd.push(Bytes { ip_options: option, ..ping.clone() });
        }
    }
    for packet in odd {
        assert_left(&world.run(rig, &packet), Counter::NotPlain);
    }
    for ecn in [0, 1, 2] {
        assert_answered(&world.run(rig, &Bytes { ecn, ..ping.clone() }));
    }
}

fn windows_without_room_for_the_answer_are_left_to_user_space(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 0);
    for window in [0, 1] {
        assert_left(&world.run(rig, &Bytes { window, ..world.ping() }), Counter::Window);
    }
    assert_answered(&world.run(rig, &Bytes { window: 2, ..world.ping() }));
}

fn payloads_that_are_no_single_ping_are_left_to_user_space(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 0);
    let two = [0xC0, 0, 0xC0, 0];
    for payload in [&two[..1], &two[..3], &two[..], &[0xC0, 1], &[0xD0, 0], &[0, 0xC0], &[0; 200]] {
        let outcome = world.run(rig, &Bytes { payload: payload.to_vec(), ..world.ping() });
        assert_eq!(outcome.verdict, Verdict::Next, "{payload:02x?}");
        outcome.assert_counted(&[]);
        let passed = RX_BASE.wrapping_add(RX + payload.len() as u32);
        assert_eq!(outcome.flow.expect("the flow stays").ingress_nxt, passed);
    }
}

fn any_flipped_bit_is_noticed(rig: &mut Rig, ipv6: bool) {
    World::new(ipv6, 0).assert_flipped_bits_are_noticed(rig);
}

fn numbers_beside_the_expected_ones_are_left_to_user_space(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 2);
    for off in [1, 2, 4, 0x8000_0000, u32::MAX - 1, u32::MAX] {
        let ping = world.ping();
        let early = Bytes { seq: ping.seq.wrapping_add(off), ..ping.clone() };
        assert_left(&world.run(rig, &early), Counter::ClientBusy);
        let unshown = Bytes { ack: ping.ack.wrapping_add(off), ..ping };
        assert_left(&world.run(rig, &unshown), Counter::ServerBusy);
    }
}

fn strangers_and_other_protocols_are_not_touched(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 3);
    let ping = world.ping();
    let right = ping.build();
    let l4 = ping.l4();
    // Another port of either side, another address, another protocol, a VLAN tag.
    let protocol = if ipv6 { L3 + 6 } else { L3 + 9 };
    let edits: [(usize, u8); 5] =
        [(l4, 0xFF), (l4 + 3, 0xFF), (l4 - 1, 0xFF), (protocol, 17), (13, 0xA8)];
    for (at, value) in edits {
        let mut packet = right.clone();
        packet[at] = value;
        assert_untouched(&world.run_raw(rig, ping.way, &packet), &packet);
    }
    let mut tagged = right.clone();
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
    assert_untouched(&world.run_raw(rig, ping.way, &tagged), &tagged);
    // For another host: the stack would drop it.
    let mut overheard = right;
    overheard[5] = 1;
    assert_untouched(&world.run_raw(rig, ping.way, &overheard), &overheard);
}

#[track_caller]
fn assert_answered(outcome: &Outcome) -> crate::bytes::Read {
    assert_eq!(outcome.verdict, Verdict::Redirect, "{:?}", outcome.counted);
    outcome.assert_counted(&[Counter::Answered]);
    let answer = read_right(&outcome.packet);
    assert_eq!(answer.payload, [0xD0, 0x00]);
    assert_eq!(answer.flags, flags::ACK | flags::PSH);
    answer
}

/// Left to user space, for this reason and no other.
#[track_caller]
fn assert_left(outcome: &Outcome, reason: Counter) {
    assert_eq!(outcome.verdict, Verdict::Next);
    let declined = outcome.counted.iter().find(|(counter, _)| *counter == reason);
    assert!(declined.is_some(), "{:?}", outcome.counted);
    assert!(outcome.counted.iter().all(|(counter, _)| *counter != Counter::Answered));
    assert_eq!(outcome.slot.pings, 0);
}

#[track_caller]
fn assert_untouched(outcome: &Outcome, packet: &[u8]) {
    assert_eq!((outcome.verdict, &outcome.packet[..]), (Verdict::Next, packet));
    outcome.assert_counted(&[]);
}
