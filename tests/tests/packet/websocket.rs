//! Heartbeats in WebSocket frames: 8 bytes from the client, masked, 4 back. The two streams are shifted by
//! different numbers.

use push_common::counter::Counter;
use push_common::heartbeat::Heartbeat;
use push_common::segment::flags;

use crate::bytes::{Bytes, read_right, sack, timestamps};
use crate::cases;
use crate::rig::{Rig, Verdict, Way};
use crate::world::{RX, RX_BASE, World, frame};

const PINGRESP: [u8; 4] = [0x82, 0x02, 0xD0, 0x00];

cases! {
    ping_under_any_mask_becomes_its_pingresp,
    ping_with_the_sum_of_the_pseudo_header_alone_is_answered,
    frames_that_are_no_single_ping_are_left_to_user_space,
    any_flipped_bit_is_noticed,
    windows_without_room_for_the_answer_are_left_to_user_space,
    each_stream_is_shifted_by_its_own_length,
    errors_quote_numbers_of_their_own_stream,
    recovery_brings_the_whole_frame,
}

fn world(ipv6: bool, n: u32) -> World {
    World::with(Heartbeat::WEBSOCKET, ipv6, n)
}

fn ping_under_any_mask_becomes_its_pingresp(rig: &mut Rig, ipv6: bool) {
    for n in [0, 1, 0x2000_0000, u32::MAX] {
        for mask in [[0; 4], [1, 2, 3, 4], [0xFF; 4], [0xC0, 0, 7, 8]] {
            for options in [vec![], timestamps(70, 9)] {
                let world = world(ipv6, n);
                let ping = Bytes { payload: frame(mask, [0xC0, 0]), options, ..world.ping() };
                let outcome = world.run(rig, &ping);
                assert_eq!(outcome.verdict, Verdict::Redirect, "{:?}", outcome.counted);
                outcome.assert_counted(&[Counter::Answered]);
                // Lengths and sums are right, too.
                let answer = read_right(&outcome.packet);
                assert_eq!(answer.payload, PINGRESP);
                assert_eq!((answer.seq, answer.ack), (ping.ack, ping.seq.wrapping_add(8)));
                assert_eq!(answer.flags, flags::ACK | flags::PSH);
                let flow = outcome.flow.expect("the flow stays");
                assert_eq!(flow.n, n.wrapping_add(1));
                assert_eq!((flow.req_pos, flow.resp_pos), (ping.seq, ping.ack));
            }
        }
    }
}

fn ping_with_the_sum_of_the_pseudo_header_alone_is_answered(rig: &mut Rig, ipv6: bool) {
    world(ipv6, 1).assert_half_summed_ping_is_answered(rig);
}

fn frames_that_are_no_single_ping_are_left_to_user_space(rig: &mut Rig, ipv6: bool) {
    let world = world(ipv6, 0);
    let ping = frame([1, 2, 3, 4], [0xC0, 0]);
    let with = |at: usize, byte: u8| {
        let mut other = ping.clone();
        other[at] = byte;
        other
    };
    let others = [
        // MQTT in clear; not masked; a text frame; the first and the last of some; a WebSocket ping.
        vec![0xC0, 0],
        vec![0x82, 0x02, 0xC0, 0],
        with(0, 0x81),
        with(0, 0x02),
        with(0, 0x80),
        with(0, 0x89),
        with(0, 0xC2),
        with(1, 0x02),
        with(1, 0x83),
        frame([1, 2, 3, 4], [0xC0, 1]),
        frame([1, 2, 3, 4], [0xD0, 0]),
        frame([1, 2, 3, 4], [0, 0xC0]),
        ping[..7].to_vec(),
        [&ping[..], &[0]].concat(),
        [&ping[..], &ping[..]].concat(),
    ];
    for payload in others {
        let outcome = world.run(rig, &Bytes { payload: payload.clone(), ..world.ping() });
        assert_eq!(outcome.verdict, Verdict::Next, "{payload:02x?}");
        outcome.assert_counted(&[]);
        let passed = RX_BASE.wrapping_add(RX + payload.len() as u32);
        assert_eq!(outcome.flow.expect("the flow stays").ingress_nxt, passed);
    }
    // And a frame is nothing where MQTT is in clear.
    let plain = World::new(ipv6, 0);
    let outcome = plain.run(rig, &Bytes { payload: ping, ..plain.ping() });
    assert_eq!(outcome.verdict, Verdict::Next);
    outcome.assert_counted(&[]);
}

fn any_flipped_bit_is_noticed(rig: &mut Rig, ipv6: bool) {
    world(ipv6, 0).assert_flipped_bits_are_noticed(rig);
}

fn windows_without_room_for_the_answer_are_left_to_user_space(rig: &mut Rig, ipv6: bool) {
    let world = world(ipv6, 0);
    for (window, verdict) in [(0, Verdict::Next), (3, Verdict::Next), (4, Verdict::Redirect)] {
        let outcome = world.run(rig, &Bytes { window, ..world.ping() });
        assert_eq!(outcome.verdict, verdict, "{window}");
    }
}

fn each_stream_is_shifted_by_its_own_length(rig: &mut Rig, ipv6: bool) {
    for n in [1, 3, 0x2000_0001, u32::MAX] {
        let world = world(ipv6, n);
        let (delta_in, delta_out) = (n.wrapping_mul(8), n.wrapping_mul(4));
        let blocks = [(0x1000, 0x2000), (0x3000, 0x4000)];
        let payload = vec![0x5A; 100];
        let from_client = Bytes { payload, options: sack(&blocks), ..world.client() };
        let outcome = world.run(rig, &from_client);
        let read = read_right(&outcome.packet);
        assert_eq!(read.seq, from_client.seq.wrapping_sub(delta_in));
        assert_eq!(read.ack, from_client.ack.wrapping_sub(delta_out));
        let moved = blocks.map(|(a, b)| (a.wrapping_sub(delta_out), b.wrapping_sub(delta_out)));
        assert_eq!(read.options, sack(&moved));

        let from_server =
            Bytes { payload: vec![0xA5; 100], options: sack(&blocks), ..world.server() };
        let outcome = world.run(rig, &from_server);
        let read = read_right(&outcome.packet);
        assert_eq!(read.seq, from_server.seq.wrapping_add(delta_out));
        assert_eq!(read.ack, from_server.ack.wrapping_add(delta_in));
        let moved = blocks.map(|(a, b)| (a.wrapping_add(delta_in), b.wrapping_add(delta_in)));
        assert_eq!(read.options, sack(&moved));
    }
}

fn errors_quote_numbers_of_their_own_stream(rig: &mut Rig, ipv6: bool) {
    crate::icmp::quoted_numbers_are_shifted(rig, &world(ipv6, 3));
}

fn recovery_brings_the_whole_frame(rig: &mut Rig, ipv6: bool) {
    let world = world(ipv6, 3).and_pending();
    // Rule 7: the client misses it.
    let misses = Bytes { ack: world.flow.resp_pos, ..world.client() };
    let outcome = world.run(rig, &misses);
    assert_eq!(outcome.verdict, Verdict::Redirect);
    outcome.assert_counted(&[Counter::Refilled]);
    let again = read_right(&outcome.packet);
    assert_eq!((again.seq, &again.payload[..]), (world.flow.resp_pos, &PINGRESP[..]));

    // Rule 6: a bare ACK of the server. Rule 8: bytes that would land on its place.
    let stale = Bytes { seq: world.server().seq.wrapping_sub(3), ..world.server() };
    // Zeros, because a test run has no partial sums: these are part of no sum.
    let stale = Bytes { payload: vec![0; 3], ..stale };
    for (segment, counter) in [(world.server(), Counter::Resent), (stale, Counter::StaleBytes)] {
        assert_eq!(segment.way, Way::Egress);
        let outcome = world.run(rig, &segment);
        assert_eq!(outcome.verdict, Verdict::Next);
        outcome.assert_counted(&[counter]);
        let again = read_right(&outcome.packet);
        assert_eq!((again.seq, &again.payload[..]), (world.flow.resp_pos, &PINGRESP[..]));
        assert_eq!(again.ack, segment.ack.wrapping_add(world.flow.delta_in()));
    }

    // Rule 9: acknowledged whole, and not in part.
    let part = Bytes { ack: world.flow.resp_pos.wrapping_add(2), ..world.client() };
    let flow = world.run(rig, &part).flow.expect("the flow stays");
    assert!(flow.has(push_common::flow::bits::PENDING));
    let whole = world.run(rig, &world.client());
    whole.assert_counted(&[Counter::Absorbed]);
    let flow = whole.flow.expect("the flow stays");
    assert!(!flow.has(push_common::flow::bits::PENDING));
}
