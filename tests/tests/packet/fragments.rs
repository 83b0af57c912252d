//! Datagrams in fragments, either way: the first is translated, the others are not touched, and pings
//! are left to user space until the stream has gone beyond the longest datagram (rule 16).

use push_common::counter::Counter;
use push_common::early_fragment::place;
use push_common::flow::bits;
use push_common::segment::{FRAGMENTED_BYTES_MAX, flags};

use crate::bytes::{Bytes, key, put_together, read_right, timestamps};
use crate::cases;
use crate::rig::{PLACE_SEED, Rig, Verdict, Way};
use crate::world::{RX, RX_BASE, TX, TX_BASE, World};

cases! {
    first_fragments_are_shifted_and_their_datagrams_stay_right,
    nothing_of_a_fragment_is_changed_before_the_first_answer,
    fragments_without_ports_are_not_touched,
    pings_are_left_to_user_space_until_the_stream_is_beyond_the_longest_datagram,
    ping_in_fragments_is_left_to_user_space,
    first_fragment_that_cuts_the_tcp_header_is_dropped_after_an_answer,
    first_fragment_of_old_is_dropped_after_an_answer,
    stale_first_fragment_of_the_server_is_dropped,
    datagram_in_one_fragment_is_whole,
    whole_datagram_within_a_fragment_is_a_fragment,
    first_fragment_without_a_flow_is_noted_in_the_place_that_the_seed_of_this_load_says,
}

/// A TCP header with timestamps, in bytes.
const HEADER_BYTES: usize = 32;

fn first_fragments_are_shifted_and_their_datagrams_stay_right(rig: &mut Rig, ipv6: bool) {
    for n in [1, 3, u32::MAX] {
        let world = World::new(ipv6, n);
        for segment in [world.client(), world.server()] {
            for cut in [HEADER_BYTES, 40, 104] {
                let segment = datagram(&segment);
                let [first, last] = segment.fragments(cut);
                let outcome = world.run_raw(rig, segment.way, &first);
                assert_eq!(outcome.verdict, Verdict::Next);
                outcome.assert_counted(&[Counter::Translated, Counter::Fragment]);
                let whole = read_right(&put_together(&outcome.packet, &last));
                let delta = world.flow.delta_in();
                let is_egress = segment.way == Way::Egress;
                let shift = if is_egress { delta } else { delta.wrapping_neg() };
                let numbers = [segment.seq, segment.ack].map(|number| number.wrapping_add(shift));
                assert_eq!([whole.seq, whole.ack], numbers);
                assert_eq!((whole.payload, whole.options), (segment.payload, segment.options));

                let flow = outcome.flow.expect("the flow stays");
                let (nxt, place) = if is_egress {
                    (flow.egress_nxt, TX_BASE.wrapping_add(TX))
                } else {
                    (flow.ingress_nxt, RX_BASE.wrapping_add(RX))
                };
                assert_eq!(nxt, place.wrapping_add(FRAGMENTED_BYTES_MAX));
            }
        }
    }
}

fn nothing_of_a_fragment_is_changed_before_the_first_answer(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 0);
    for segment in [world.client(), world.server()] {
        let [first, _] = datagram(&segment).fragments(40);
        let outcome = world.run_raw(rig, segment.way, &first);
        assert_eq!((outcome.verdict, &outcome.packet), (Verdict::Next, &first));
        outcome.assert_counted(&[Counter::Fragment]);
        assert!(!outcome.flow.expect("the flow stays").has(bits::BARRED));
    }
}

fn first_fragment_without_a_flow_is_noted_in_the_place_that_the_seed_of_this_load_says(
    rig: &mut Rig,
    ipv6: bool,
) {
    let [first, last] = datagram(&World::new(ipv6, 0).client()).fragments(40);
    let key = key(ipv6);
    let expected = place(&key, PLACE_SEED);
    assert_ne!(expected, place(&key, 1), "which the programs have before they are loaded");
    assert_eq!(rig.run_without_flow(&first, key), (Verdict::Next, vec![expected]));
    assert_eq!(rig.run_without_flow(&last, key), (Verdict::Next, vec![]), "it has no ports");
}

fn fragments_without_ports_are_not_touched(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 3);
    for segment in [world.client(), world.server()] {
        let [_, last] = datagram(&segment).fragments(40);
        let outcome = world.run_raw(rig, segment.way, &last);
        assert_eq!((outcome.verdict, &outcome.packet), (Verdict::Next, &last));
        outcome.assert_counted(&[]);
        assert_eq!(outcome.flow, Some(world.flow));
    }
}

fn pings_are_left_to_user_space_until_the_stream_is_beyond_the_longest_datagram(
    rig: &mut Rig,
    ipv6: bool,
) {
    for n in [0, 3] {
        let mut world = World::new(ipv6, n);
        let [first, _] = datagram(&world.client()).fragments(40);
        world.flow = world.run_raw(rig, Way::Ingress, &first).flow.expect("the flow stays");
        let begin = RX;
        for passed in [200, 4_000, FRAGMENTED_BYTES_MAX - 2] {
            world.slot.rx = u64::from(begin + passed);
            let ping = world.ping();
            let ping = Bytes { seq: ping.seq.wrapping_add(passed), ..ping };
            let outcome = world.run(rig, &ping);
            assert_eq!(outcome.verdict, Verdict::Next, "{passed} bytes later");
            assert_eq!(outcome.counted.first(), Some(&(Counter::Fragments, 1)));
            assert_eq!(outcome.slot.pings, 0);
        }
        world.slot.rx = u64::from(begin + FRAGMENTED_BYTES_MAX);
        let ping = world.ping();
        let ping = Bytes { seq: ping.seq.wrapping_add(FRAGMENTED_BYTES_MAX), ..ping };
        let outcome = world.run(rig, &ping);
        assert_eq!(outcome.verdict, Verdict::Redirect);
        outcome.assert_counted(&[Counter::Answered]);
        assert!(!outcome.flow.expect("the flow stays").has(bits::FRAGMENTED));
    }
}

fn ping_in_fragments_is_left_to_user_space(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 3);
    let ping = Bytes { options: timestamps(70, 9), ..world.ping() };
    let [first, last] = ping.fragments(HEADER_BYTES);
    let outcome = world.run_raw(rig, Way::Ingress, &first);
    assert_eq!(outcome.verdict, Verdict::Next);
    outcome.assert_counted(&[Counter::Translated, Counter::Fragment]);
    let whole = read_right(&put_together(&outcome.packet, &last));
    assert_eq!(whole.payload, [0xC0, 0x00]);
    assert_eq!(outcome.slot.pings, 0);
}

fn first_fragment_that_cuts_the_tcp_header_is_dropped_after_an_answer(rig: &mut Rig, ipv6: bool) {
    for n in [0, 1] {
        let world = World::new(ipv6, n);
        for segment in [world.client(), world.server()] {
            for cut in [8, 16, 24] {
                let [first, _] = datagram(&segment).fragments(cut);
                let outcome = world.run_raw(rig, segment.way, &first);
                let flow = outcome.flow.expect("the flow stays");
                if n == 0 {
                    assert_eq!((outcome.verdict, &outcome.packet), (Verdict::Next, &first));
                    assert!(flow.has(bits::BARRED));
                } else {
                    assert_eq!(outcome.verdict, Verdict::Drop);
                    outcome.assert_counted(&[Counter::Unexpected]);
                    assert_eq!(flow, world.flow, "an off-path sender changes nothing");
                }
            }
        }
    }
}

fn first_fragment_of_old_is_dropped_after_an_answer(rig: &mut Rig, ipv6: bool) {
    let mut world = World::new(ipv6, 2);
    world.flow.client_ts = 100;
    world.flow.client_ts_secs = world.flow.stack_secs;
    world.flow.bits |= bits::CLIENT_TS_KNOWN;
    let [first, _] = datagram(&world.client()).fragments(40);
    let outcome = world.run_raw(rig, Way::Ingress, &first);
    assert_eq!(outcome.verdict, Verdict::Drop);
    outcome.assert_counted(&[Counter::OldTimestamp]);
    assert_eq!(outcome.flow, Some(world.flow), "it tells nothing");
}

fn stale_first_fragment_of_the_server_is_dropped(rig: &mut Rig, ipv6: bool) {
    let world = World::pending(ipv6, 3);
    let stale = Bytes { seq: world.server().seq.wrapping_sub(1), ..datagram(&world.server()) };
    let [first, _] = stale.fragments(40);
    let outcome = world.run_raw(rig, Way::Egress, &first);
    assert_eq!(outcome.verdict, Verdict::Drop);
    outcome.assert_counted(&[Counter::Unexpected]);
    // Behind the PINGRESP there is no harm, though the first fragment may have no payload.
    let [first, _] = datagram(&world.server()).fragments(HEADER_BYTES);
    let outcome = world.run_raw(rig, Way::Egress, &first);
    assert_eq!(outcome.verdict, Verdict::Next);
    outcome.assert_counted(&[Counter::Translated, Counter::Fragment]);
}

/// IPv6 alone has a header for it (RFC 6946).
fn datagram_in_one_fragment_is_whole(rig: &mut Rig, ipv6: bool) {
    if !ipv6 {
        return;
    }
    let world = World::new(ipv6, 3);
    let alone = (44, vec![0, 0, 0, 0, 1, 2, 3, 4]);
    for segment in [world.client(), world.server()] {
        let segment = Bytes { extensions: vec![alone.clone()], ..datagram(&segment) };
        let outcome = world.run(rig, &segment);
        assert_eq!(outcome.verdict, Verdict::Next);
        outcome.assert_counted(&[Counter::Translated]);
        assert_ne!(outcome.packet, segment.build());
    }
    let ping = Bytes { extensions: vec![alone], ..world.ping() };
    let outcome = world.run(rig, &ping);
    assert_eq!(outcome.verdict, Verdict::Next);
    outcome.assert_counted(&[Counter::NotPlain, Counter::Translated]);
}

/// Two fragment headers in a row: the inner says that all is there, the outer that more is to come.
fn whole_datagram_within_a_fragment_is_a_fragment(rig: &mut Rig, ipv6: bool) {
    if !ipv6 {
        return;
    }
    let world = World::new(ipv6, 3);
    let header = |more: u8| (44, vec![0, 0, 0, more, 1, 2, 3, 4]);
    for extensions in [vec![header(1), header(0)], vec![header(0), header(1)]] {
        for segment in [world.client(), world.server()] {
            let segment = Bytes { extensions: extensions.clone(), ..datagram(&segment) };
            let outcome = world.run(rig, &segment);
            assert_eq!(outcome.verdict, Verdict::Next);
            outcome.assert_counted(&[Counter::Translated, Counter::Fragment]);
        }
    }
}

/// The segment with options and a payload that is worth cutting.
fn datagram(segment: &Bytes) -> Bytes {
    let flags = flags::ACK | flags::PSH;
    let payload = (0..200).collect();
    Bytes { flags, payload, options: timestamps(70, 9), ..segment.clone() }
}
