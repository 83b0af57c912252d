//! To whom on the link an answer goes: to the neighbour that the stack sends to (rule 5).

use push_common::counter::Counter;
use push_common::mac::Mac;

use crate::bytes::{Bytes, PEER_MAC, read_right};
use crate::cases;
use crate::rig::{Outcome, Rig, Verdict};
use crate::world::World;

/// Another router on the same link.
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x0A];

cases! {
    ping_from_another_neighbour_is_left_to_user_space_once,
    neighbour_that_the_stack_sends_to_is_known,
    missed_pingresp_goes_to_whom_the_stack_sends,
    neighbour_is_learned_by_a_ping_that_the_stack_takes_alone,
}

fn ping_from_another_neighbour_is_left_to_user_space_once(rig: &mut Rig, ipv6: bool) {
    for n in [0, 3] {
        let mut world = World::new(ipv6, n);
        let ping = Bytes { neighbour: OTHER_MAC, ..world.ping() };
        let outcome = world.run(rig, &ping);
        assert_eq!(outcome.verdict, Verdict::Next);
        assert_eq!(outcome.counted.first(), Some(&(Counter::NextHop, 1)));
        assert_eq!(outcome.slot.pings, 0);
        // The stack has answered it, to the same neighbour as before, and goes on to.
        world.flow.sender = outcome.flow.expect("the flow stays").sender;
        assert_eq!(world.flow.sender, Mac::new(OTHER_MAC));
        assert_answered_to(&world.run(rig, &ping), PEER_MAC);
        // So are those that come the usual way, and no third one.
        assert_answered_to(&world.run(rig, &world.ping()), PEER_MAC);
        let third = Bytes { neighbour: [2, 0, 0, 0, 0, 0x0B], ..world.ping() };
        assert_eq!(world.run(rig, &third).verdict, Verdict::Next);
    }
}

fn neighbour_that_the_stack_sends_to_is_known(rig: &mut Rig, ipv6: bool) {
    let mut world = World::new(ipv6, 2);
    let segment = Bytes { payload: vec![7; 100], neighbour: OTHER_MAC, ..world.server() };
    world.flow.next_hop = world.run(rig, &segment).flow.expect("the flow stays").next_hop;
    assert_eq!(world.flow.next_hop, Mac::new(OTHER_MAC));
    let ping = Bytes { neighbour: OTHER_MAC, ..world.ping() };
    assert_answered_to(&world.run(rig, &ping), OTHER_MAC);
    assert_eq!(world.run(rig, &world.ping()).verdict, Verdict::Next);
}

fn missed_pingresp_goes_to_whom_the_stack_sends(rig: &mut Rig, ipv6: bool) {
    let world = World::pending(ipv6, 3);
    let missing = Bytes { ack: world.flow.resp_pos, neighbour: OTHER_MAC, ..world.client() };
    let outcome = world.run(rig, &missing);
    outcome.assert_counted(&[Counter::Refilled]);
    assert_eq!(outcome.packet[..6], PEER_MAC);
}

/// Whoever cannot have a ping answered cannot have its neighbour learned.
fn neighbour_is_learned_by_a_ping_that_the_stack_takes_alone(rig: &mut Rig, ipv6: bool) {
    let world = World::new(ipv6, 2);
    let ping = Bytes { neighbour: OTHER_MAC, ..world.ping() };
    for odd in [
        Bytes { seq: ping.seq.wrapping_add(1), ..ping.clone() },
        Bytes { ack: ping.ack.wrapping_add(1), ..ping.clone() },
        Bytes { payload: vec![0xC0, 0x01], ..ping.clone() },
        Bytes { window: 1, ..ping },
    ] {
        let outcome = world.run(rig, &odd);
        assert_eq!(outcome.verdict, Verdict::Next);
        assert_eq!(outcome.flow.expect("the flow stays").sender, Mac::NONE);
    }
}

#[track_caller]
fn assert_answered_to(outcome: &Outcome, neighbour: [u8; 6]) {
    assert_eq!(outcome.verdict, Verdict::Redirect, "{:?}", outcome.counted);
    outcome.assert_counted(&[Counter::Answered]);
    assert_eq!((&outcome.packet[..6], &outcome.packet[6..12]), (&neighbour[..], &[0; 6][..]));
    assert_eq!(read_right(&outcome.packet).payload, [0xD0, 0x00]);
}
