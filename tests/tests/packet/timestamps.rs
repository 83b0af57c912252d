//! Segments that are older, by their timestamps, than what was taken before them (PAWS).

use push_common::counter::Counter;
use push_common::flow::bits;
use push_common::segment::flags;

use crate::bytes::{Bytes, read_right, timestamps};
use crate::cases;
use crate::rig::{Rig, Verdict, now_ns};
use crate::world::World;

/// The client's newest timestamp.
const NEWEST: u32 = 3;
/// Before the wrap.
const OLD: u32 = u32::MAX;

cases! {
    old_pings_are_left_to_user_space_before_the_first_answer,
    old_segments_are_dropped_after_an_answer,
    answered_pings_and_echoes_of_the_stack_make_older_ones_old,
    ping_without_timestamp_is_left_to_user_space_where_others_have_one,
    ping_is_left_to_user_space_when_the_stack_was_silent_for_a_day,
}

fn old_pings_are_left_to_user_space_before_the_first_answer(rig: &mut Rig, ipv6: bool) {
    let world = stamped(ipv6, 0);
    for (payload, expected) in [(vec![0xC0, 0x00], &[Counter::Timestamp][..]), (vec![9; 100], &[])]
    {
        let old = Bytes { payload, options: timestamps(OLD, 9), ..world.client() };
        let outcome = world.run(rig, &old);
        assert_eq!((outcome.verdict, &outcome.packet), (Verdict::Next, &old.build()));
        outcome.assert_counted(expected);
        let flow = outcome.flow.expect("the flow stays");
        assert!(!flow.has(bits::PEER_WINDOW_KNOWN), "the stack does not take its window");
    }
}

fn old_segments_are_dropped_after_an_answer(rig: &mut Rig, ipv6: bool) {
    for world in [stamped(ipv6, 2), World { flow: pending(ipv6), ..World::new(ipv6, 3) }] {
        let missing = Bytes { ack: world.flow.resp_pos, ..world.client() };
        let fin = Bytes { flags: flags::ACK | flags::FIN, ..world.client() };
        let data = Bytes { payload: vec![7; 1_000], ..world.client() };
        for segment in [world.ping(), world.client(), missing, fin, data] {
            let outcome = world.run(rig, &Bytes { options: timestamps(OLD, 9), ..segment });
            assert_eq!(outcome.verdict, Verdict::Drop);
            outcome.assert_counted(&[Counter::OldTimestamp]);
            assert_eq!(outcome.flow, Some(world.flow), "it tells nothing");
            assert_eq!(outcome.slot.pings, 0);
        }
        // TCP takes a RST of any age.
        let reset = Bytes { flags: flags::RST, options: timestamps(OLD, 9), ..world.client() };
        let outcome = world.run(rig, &reset);
        outcome.assert_counted(&[Counter::Translated]);
        assert_eq!(read_right(&outcome.packet).seq, reset.seq.wrapping_sub(world.flow.delta_in()));
    }
}

fn answered_pings_and_echoes_of_the_stack_make_older_ones_old(rig: &mut Rig, ipv6: bool) {
    let world = stamped(ipv6, 2);
    let newest = |options, segment: Bytes, rig: &mut Rig| {
        let outcome = world.run(rig, &Bytes { options, ..segment });
        (outcome.verdict, outcome.flow.expect("the flow stays").client_ts)
    };
    let ping = newest(timestamps(NEWEST + 1, 9), world.ping(), rig);
    assert_eq!(ping, (Verdict::Redirect, NEWEST + 1));
    let absorbed = newest(timestamps(NEWEST + 2, 9), world.client(), rig);
    assert_eq!(absorbed, (Verdict::Drop, NEWEST + 2));
    let echo = newest(timestamps(9, NEWEST + 3), world.server(), rig);
    assert_eq!(echo, (Verdict::Next, NEWEST + 3));
    let echo_of_before = newest(timestamps(9, OLD), world.server(), rig);
    assert_eq!(echo_of_before, (Verdict::Next, NEWEST));
    // Whoever sent it: the stack has not taken it yet.
    let data = Bytes { payload: vec![7; 100], ..world.client() };
    assert_eq!(newest(timestamps(NEWEST + 4, 9), data, rig), (Verdict::Next, NEWEST));
}

fn ping_without_timestamp_is_left_to_user_space_where_others_have_one(rig: &mut Rig, ipv6: bool) {
    let world = stamped(ipv6, 2);
    let outcome = world.run(rig, &world.ping());
    assert_eq!(outcome.verdict, Verdict::Next);
    outcome.assert_counted(&[Counter::Timestamp, Counter::Translated]);
}

fn ping_is_left_to_user_space_when_the_stack_was_silent_for_a_day(rig: &mut Rig, ipv6: bool) {
    const DAY_SECS: u32 = 86_400;
    let mut world = World::new(ipv6, 2);
    let now_secs = world.flow.stack_secs;
    // Before the machine was up, perhaps.
    world.flow.stack_secs = now_secs.wrapping_sub(DAY_SECS + 60);
    let outcome = world.run(rig, &world.ping());
    assert_eq!(outcome.verdict, Verdict::Next);
    outcome.assert_counted(&[Counter::StackSilent, Counter::Translated]);
    // Its answer ends the silence.
    let outcome = world.run(rig, &world.server());
    let stamped = outcome.flow.expect("the flow stays").stack_secs;
    assert!(stamped >= now_secs && stamped < now_secs + DAY_SECS, "{stamped} after {now_secs}");
}

/// After `n` pings of a client with timestamps.
fn stamped(ipv6: bool, n: u32) -> World {
    let mut world = World::new(ipv6, n);
    world.flow.client_ts = NEWEST;
    world.flow.client_ts_secs = (now_ns() / 1_000_000_000) as u32;
    world.flow.bits |= bits::CLIENT_TS_KNOWN;
    world
}

fn pending(ipv6: bool) -> push_common::flow::Flow {
    let stamped = stamped(ipv6, 3).flow;
    let mut flow = World::pending(ipv6, 3).flow;
    (flow.client_ts, flow.client_ts_secs) = (stamped.client_ts, stamped.client_ts_secs);
    flow.bits |= bits::CLIENT_TS_KNOWN;
    flow
}
