//! Segments besides PINGREQ: translation, the recovery rules, and what cannot be followed.

use push_common::counter::Counter;
use push_common::flow::bits;
use push_common::segment::flags;

use crate::bytes::{Bytes, L3, read_right, sack, timestamps};
use crate::cases;
use crate::rig::{Outcome, Rig, Verdict, Way};
use crate::world::{RX, RX_BASE, STACK_WINDOW, TX, TX_BASE, World};

cases! {
    nothing_is_changed_before_the_first_answer,
    numbers_and_sack_blocks_are_shifted_both_ways,
    super_packets_are_shifted_like_others,
    segments_with_every_flag_are_shifted_or_dropped,
    bare_ack_of_the_server_leaves_as_the_pending_pingresp,
    server_echoes_the_newest_timestamp_of_the_client,
    stale_bytes_leave_as_the_pending_pingresp,
    client_that_misses_the_pingresp_gets_it_again,
    acknowledgement_of_the_pingresp_ends_pending_and_is_absorbed,
    keepalive_probes_pass_shifted_or_bring_the_pending_pingresp,
    synack_deletes_the_flow_and_a_syn_does_not,
    what_cannot_be_followed_passes_before_the_first_answer_and_is_dropped_after,
    truncated_packets_never_pass_untranslated,
}

fn nothing_is_changed_before_the_first_answer(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 0);
    for segment in [world.client(), world.server()] {
        for payload in [vec![], vec![7], vec![7; 1_000]] {
            let segment = Bytes { payload, options: timestamps(5, 6), ..segment.clone() };
            let outcome = world.run(rig, &segment);
            assert_eq!(outcome.verdict, Verdict::Next);
            assert_eq!(outcome.packet, segment.build());
            outcome.assert_counted(&[]);
        }
    }
}

fn numbers_and_sack_blocks_are_shifted_both_ways(rig: &mut Rig, ipv6: bool) {
    for n in [1, 3, 0x4000_0000, u32::MAX] {
        let world = World::new(ipv6, n);
        for segment in [world.client(), world.server()] {
            for blocks in 0..=4_u32 {
                // Across 2^32, as the streams are.
                let near = |at: u32| segment.ack.wrapping_add(at);
                let blocks: Vec<_> =
                    (0..blocks).map(|i| (near(i * 9 + 3), near(i * 9 + 8))).collect();
                let mut options = if blocks.is_empty() { vec![] } else { sack(&blocks) };
                if blocks.len() < 4 {
                    options.splice(0..0, timestamps(70, 9));
                }
                let payload = vec![0x5A; 100];
                let segment = Bytes { options, payload, ..segment.clone() };
                assert_shifted(&world.run(rig, &segment), &segment, &world, blocks.len());
            }
        }
    }
}

fn super_packets_are_shifted_like_others(rig: &mut Rig, ipv6: bool) {
    let world = World { gso_bytes: 1_000, ..World::new(ipv6, 2) };
    for segment in [world.client(), world.server()] {
        let segment = Bytes { payload: vec![0x5A; 3_000], options: timestamps(70, 9), ..segment };
        assert_shifted(&world.run(rig, &segment), &segment, &world, 0);
    }
}

fn segments_with_every_flag_are_shifted_or_dropped(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 2);
    for all in 0..=u8::MAX {
        for segment in [world.client(), world.server()] {
            let segment = Bytes { flags: all, payload: vec![1; 10], ..segment };
            let outcome = world.run(rig, &segment);
            if all & flags::SYN != 0 {
                assert_eq!(outcome.verdict, Verdict::Next, "{all:#04x}");
                assert_eq!(outcome.packet, segment.build(), "rule 10: {all:#04x}");
                continue;
            }
            assert_eq!(outcome.verdict, Verdict::Next, "{all:#04x}");
            let read = read_right(&outcome.packet);
            assert_eq!(read.seq, shifted(segment.seq, &segment, &world), "{all:#04x}");
            assert_eq!(read.flags, all);
        }
    }
}

fn bare_ack_of_the_server_leaves_as_the_pending_pingresp(rig: &mut Rig, ipv6: bool) {
    let world = World::pending(ipv6, 3);
    for options in [vec![], timestamps(70, 9), [timestamps(70, 9), sack(&[(9, 19)])].concat()] {
        let ack = Bytes { options: options.clone(), ..world.server() };
        let outcome = world.run(rig, &ack);
        outcome.assert_counted(&[Counter::Resent]);
        let answer = assert_pingresp(&outcome, Verdict::Next, &world);
        assert_eq!(answer.ack, ack.ack.wrapping_add(6));
        assert_eq!(answer.window, STACK_WINDOW + 1);
        assert_eq!(answer.options.len(), options.len());
        assert_eq!(answer.options.get(..12), options.get(..12), "timestamps stay");
        if options.len() > 12 {
            assert!(answer.options.ends_with(&sack(&[(15, 25)])));
        }
    }
}

/// Rule 23.
fn server_echoes_the_newest_timestamp_of_the_client(rig: &mut Rig, ipv6: bool) {
    for (mut world, counter) in
        [(World::pending(ipv6, 3), Counter::Resent), (World::new(ipv6, 3), Counter::Translated)]
    {
        world.flow.set(bits::CLIENT_TS_KNOWN);
        (world.flow.client_ts, world.flow.client_ts_secs) = (60_009, world.flow.stack_secs);
        for (echo, expected) in [(9, 60_009), (60_009, 60_009), (60_010, 60_010), (0, 0)] {
            for behind in [vec![], sack(&[(9, 19)]), sack(&[(9, 19), (29, 39), (49, 59)])] {
                let options = [timestamps(70, echo), behind].concat();
                let segment = Bytes { options: options.clone(), ..world.server() };
                let outcome = world.run(rig, &segment);
                outcome.assert_counted(&[counter]);
                let read = read_right(&outcome.packet);
                assert_eq!(read.options[..12], timestamps(70, expected), "{echo}, {counter:?}");
                assert_eq!(read.options.len(), options.len());
            }
        }
        // The client's own echo is about the server's clock, and stays.
        let segment = Bytes { options: timestamps(60_010, 9), payload: vec![7], ..world.client() };
        let read = read_right(&world.run(rig, &segment).packet);
        assert_eq!(read.options, timestamps(60_010, 9));
    }
}

fn stale_bytes_leave_as_the_pending_pingresp(rig: &mut Rig, ipv6: bool) {
    for (gso_bytes, payload_bytes) in [(0, 1), (0, 4), (0, 1_000), (1_000, 3_000)] {
        let world = World { gso_bytes, ..World::pending(ipv6, 3) };
        for fin in [0, flags::FIN] {
            // Zeros, because a test run has no partial sums: these are part of no sum.
            let stale = Bytes {
                seq: TX_BASE.wrapping_add(TX).wrapping_sub(1),
                payload: vec![0; payload_bytes],
                flags: flags::ACK | fin,
                ..world.server()
            };
            let outcome = world.run(rig, &stale);
            outcome.assert_counted(&[Counter::StaleBytes]);
            let answer = assert_pingresp(&outcome, Verdict::Next, &world);
            assert_eq!(answer.ack, stale.ack.wrapping_add(6));
        }
    }
    // Behind the PINGRESP there is no harm.
    let world = World::pending(ipv6, 3);
    let news = Bytes { payload: vec![1; 100], ..world.server() };
    assert_shifted(&world.run(rig, &news), &news, &world, 0);
}

fn client_that_misses_the_pingresp_gets_it_again(rig: &mut Rig, ipv6: bool) {
    let world = World::pending(ipv6, 3);
    let missing = Bytes { ack: world.flow.resp_pos, ..world.client() };
    let blocks: Vec<_> = (1..=4).map(|i| (i * 30, i * 30 + 9)).collect();
    for count in 0..=4 {
        let mut options = if count == 0 { vec![] } else { sack(&blocks[..count]) };
        if count < 4 {
            options.splice(0..0, timestamps(70, 9));
        }
        let outcome = world.run(rig, &Bytes { options, ..missing.clone() });
        outcome.assert_counted(&[Counter::Refilled]);
        let answer = assert_pingresp(&outcome, Verdict::Redirect, &world);
        assert_eq!(answer.ack, world.flow.req_pos.wrapping_add(2));
        assert_eq!(answer.window, STACK_WINDOW);
        let mut expected = if count < 4 { timestamps(9, 70) } else { vec![] };
        expected.extend(vec![1; if count == 0 { 0 } else { 4 + 8 * count }]);
        assert_eq!(answer.options, expected, "SACK blocks become NOPs");
        assert_eq!(outcome.slot.pings, 0, "no new sign of life");
    }
    // Not without room for it, and not for an ACK of other bytes, or one that is spoiled.
    for odd in [
        Bytes { window: 1, ..missing.clone() },
        Bytes { ack: missing.ack.wrapping_sub(1), ..missing.clone() },
        Bytes { flags: flags::ACK | flags::FIN, ..missing.clone() },
    ] {
        assert_eq!(world.run(rig, &odd).verdict, Verdict::Next);
    }
    let mut spoiled = missing.build();
    spoiled[missing.l4() + 17] ^= 1;
    assert_eq!(world.run_raw(rig, Way::Ingress, &spoiled).verdict, Verdict::Next);
}

fn acknowledgement_of_the_pingresp_ends_pending_and_is_absorbed(rig: &mut Rig, ipv6: bool) {
    let world = World::pending(ipv6, 3);
    let ack = world.client();
    let outcome = world.run(rig, &ack);
    assert_eq!(outcome.verdict, Verdict::Drop);
    outcome.assert_counted(&[Counter::Absorbed]);
    assert!(!outcome.flow.expect("the flow stays").has(bits::PENDING));
    // The stack hears what is news to it.
    let news = [
        Bytes { window: ack.window + 1, ..ack.clone() },
        Bytes { options: sack(&[(1, 2)]), ..ack.clone() },
        Bytes { ecn: 3, ..ack.clone() },
    ];
    for ack in news {
        let outcome = world.run(rig, &ack);
        assert_eq!(outcome.verdict, Verdict::Next);
        assert!(!outcome.flow.expect("the flow stays").has(bits::PENDING));
    }
    // Of bytes that were never sent, or spoiled: nothing ends.
    let never = Bytes { ack: ack.ack.wrapping_add(1), ..ack.clone() };
    assert!(world.run(rig, &never).flow.expect("the flow stays").has(bits::PENDING));
    let mut spoiled = ack.build();
    spoiled[ack.l4() + 17] ^= 1;
    let outcome = world.run_raw(rig, Way::Ingress, &spoiled);
    assert!(outcome.flow.expect("the flow stays").has(bits::PENDING));
}

fn keepalive_probes_pass_shifted_or_bring_the_pending_pingresp(rig: &mut Rig, ipv6: bool) {
    let options = timestamps(70, 9);
    for n in [1, 3, 0x4000_0000, u32::MAX] {
        let world = World::new(ipv6, n);
        for segment in [world.client(), world.server()] {
            // Linux sends none; some stacks send a byte, which the peer has had already.
            for payload in [vec![], vec![0]] {
                let seq = segment.seq.wrapping_sub(1);
                let probe = Bytes { seq, payload, options: options.clone(), ..segment.clone() };
                assert_shifted(&world.run(rig, &probe), &probe, &world, 0);
            }
        }
    }
    let world = World::pending(ipv6, 3);
    let of_server = Bytes { seq: world.server().seq.wrapping_sub(1), ..world.server() };
    let outcome = world.run(rig, &of_server);
    outcome.assert_counted(&[Counter::Resent]);
    assert_pingresp(&outcome, Verdict::Next, &world);
    let flow = outcome.flow.expect("the flow stays");
    assert!(!flow.has(bits::PEER_WINDOW_KNOWN), "the answer is for the stack");
    let of_client = Bytes {
        seq: world.client().seq.wrapping_sub(1),
        ack: world.flow.resp_pos,
        ..world.client()
    };
    let outcome = world.run(rig, &of_client);
    outcome.assert_counted(&[Counter::Refilled]);
    assert_pingresp(&outcome, Verdict::Redirect, &world);
}

fn synack_deletes_the_flow_and_a_syn_does_not(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 3);
    let synack = Bytes { flags: flags::SYN | flags::ACK, ..world.server() };
    let outcome = world.run(rig, &synack);
    assert_eq!((outcome.verdict, outcome.packet.clone()), (Verdict::Next, synack.build()));
    outcome.assert_counted(&[Counter::Replaced]);
    assert!(outcome.flow.is_none());
    let syn = Bytes { flags: flags::SYN, ..world.client() };
    let outcome = world.run(rig, &syn);
    assert_eq!((outcome.verdict, outcome.packet.clone()), (Verdict::Next, syn.build()));
    assert_eq!(outcome.flow, Some(world.flow));
}

fn what_cannot_be_followed_passes_before_the_first_answer_and_is_dropped_after(
    rig: &mut Rig,
    ipv6: bool,
) {
    for n in [0, 1] {
        let world = World::new(ipv6, n);
        for segment in [world.client(), world.server()] {
            let segment = Bytes { payload: vec![1; 64], ..segment };
            let l4 = segment.l4();
            let mut odd = vec![];
            // Headers that do not add up: a data offset below 5 and beyond the end, a length in the
            // IP header that is shorter than TCP's, or longer than the packet.
            for offset in [0, 4] {
                let mut packet = segment.build();
                packet[l4 + 12] = offset << 4;
                odd.push(packet);
            }
            if ipv6 {
                for length in [19_u16, 200] {
                    let mut packet = segment.build();
                    packet[L3 + 4..L3 + 6].copy_from_slice(&length.to_be_bytes());
                    odd.push(packet);
                }
            }
            for packet in odd {
                let outcome = world.run_raw(rig, segment.way, &packet);
                let flow = outcome.flow.expect("the flow stays");
                if n == 0 {
                    assert_eq!((outcome.verdict, &outcome.packet), (Verdict::Next, &packet));
                    assert!(flow.has(bits::BARRED));
                } else {
                    assert_eq!(outcome.verdict, Verdict::Drop);
                    outcome.assert_counted(&[Counter::Unexpected]);
                    assert_eq!(flow, world.flow, "an off-path sender changes nothing");
                }
            }
            // Options that may hide SACK blocks.
            let hidden = Bytes { options: vec![3, 3, 7, 5, 10, 0, 0, 0, 0, 0, 0, 0], ..segment };
            let outcome = world.run(rig, &hidden);
            assert_eq!(outcome.verdict, if n == 0 { Verdict::Next } else { Verdict::Drop });
        }
    }
}

fn truncated_packets_never_pass_untranslated(rig: &mut Rig, ipv6: bool) {
    for n in [0, 1] {
        let world = World::new(ipv6, n);
        for segment in [world.ping(), world.client(), world.server()] {
            let whole = Bytes { options: timestamps(5, 6), ..segment.clone() }.build();
            // A test run takes no less than an IP header.
            for bytes in L3 + if ipv6 { 40 } else { 20 }..whole.len() {
                let outcome = world.run_raw(rig, segment.way, &whole[..bytes]);
                assert_ne!(outcome.verdict, Verdict::Redirect, "{bytes} bytes");
                assert_eq!(outcome.slot.pings, 0);
                // With the ports the flow is known.
                let known = bytes >= segment.l4() + 4;
                let expected = if n > 0 && known { Verdict::Drop } else { Verdict::Next };
                assert_eq!(outcome.verdict, expected, "{bytes} of {} bytes", whole.len());
            }
        }
    }
}

/// A number of `segment` as it must leave.
fn shifted(number: u32, segment: &Bytes, world: &World) -> u32 {
    let delta = world.flow.delta_in();
    number.wrapping_add(if segment.way == Way::Egress { delta } else { delta.wrapping_neg() })
}

#[track_caller]
fn assert_shifted(outcome: &Outcome, segment: &Bytes, world: &World, blocks: usize) {
    assert_eq!(outcome.verdict, Verdict::Next);
    outcome.assert_counted(&[Counter::Translated]);
    let read = read_right(&outcome.packet);
    let expected = [segment.seq, segment.ack].map(|number| shifted(number, segment, world));
    assert_eq!([read.seq, read.ack], expected);
    assert_eq!((read.flags, read.window), (segment.flags, segment.window));
    assert_eq!(read.payload, segment.payload);
    let flow = outcome.flow.expect("the flow stays");
    let nxt = if segment.way == Way::Ingress { flow.ingress_nxt } else { flow.egress_nxt };
    let base = if segment.way == Way::Ingress { RX_BASE } else { TX_BASE };
    let seen = if segment.way == Way::Ingress { RX } else { TX };
    // A probe's byte was there before.
    let next = if segment.way == Way::Ingress { world.client() } else { world.server() };
    let behind = next.seq.wrapping_sub(segment.seq);
    let new_bytes = (segment.payload.len() as u32).saturating_sub(behind);
    assert_eq!(nxt, base.wrapping_add(seen + new_bytes));
    let mut options = segment.options.clone();
    let first = options.len() - blocks * 8;
    for edge in options[first..].chunks_exact_mut(4).take(2 * blocks) {
        let number = u32::from_be_bytes([edge[0], edge[1], edge[2], edge[3]]);
        edge.copy_from_slice(&shifted(number, segment, world).to_be_bytes());
    }
    assert_eq!(read.options, options);
}

#[track_caller]
fn assert_pingresp(outcome: &Outcome, verdict: Verdict, world: &World) -> crate::bytes::Read {
    assert_eq!(outcome.verdict, verdict);
    let answer = read_right(&outcome.packet);
    assert_eq!(answer.payload, [0xD0, 0x00]);
    assert_eq!(answer.seq, world.flow.resp_pos);
    assert_eq!(answer.flags, flags::ACK | flags::PSH);
    assert_eq!(answer.source_port, 1883);
    assert!(outcome.flow.expect("the flow stays").has(bits::PENDING));
    answer
}
