//! When a PINGREQ is answered: rules 1 to 5, 12 and 13.

use super::*;
use crate::mac::Mac;

#[test]
fn quiescent_ping_is_turned_around() {
    let mut world = World::new();
    let ping = world.ping();
    let decision = world.answered_ping();
    assert_eq!(decision.verdict, Verdict::TurnAround);
    assert_eq!(decision.seq, ping.ack);
    assert_eq!(decision.ack, ping.seq.wrapping_add(2));
    assert_eq!(decision.window, STACK_WINDOW);
    assert_eq!(world.flow.n, 1);
    assert!(world.flow.has(bits::PENDING));
    assert_eq!((world.flow.req_pos, world.flow.resp_pos), (ping.seq, ping.ack));
}

#[test]
fn pings_are_answered_on_and_on_across_the_wrap() {
    let world = World::after_pings(200);
    assert_eq!(world.flow.delta_in(), 400);
    assert_eq!(world.flow.ingress_nxt, RX_BASE.wrapping_add(RX));
    assert_eq!(world.flow.egress_nxt, TX_BASE.wrapping_add(TX));
}

#[test]
fn delta_wraps_with_the_number_circle() {
    let mut world = World::new();
    world.flow.n = u32::MAX;
    let decision = world.answered_ping();
    assert_eq!(decision.seq, TX_BASE.wrapping_add(TX).wrapping_sub(2));
    assert_eq!(world.flow.delta_in(), 0);
}

#[test]
fn rule_1_unverified_ping_is_declined() {
    let mut world = World::new();
    let ping = world.ping();
    world.declines(Segment { verified: false, ..ping }, Counter::Unverified);
}

#[test]
fn rule_1_options_or_congestion_mark_decline() {
    let mut world = World::new();
    let ping = world.ping();
    world.declines(Segment { plain: false, ..ping }, Counter::NotPlain);
}

#[test]
fn rule_1_only_ack_and_psh_may_be_set() {
    for flags in [flags::ACK | flags::FIN, flags::ACK | 0x20, flags::ACK | 0x40, flags::PSH, 0] {
        let mut world = World::new();
        let ping = world.ping();
        world.declines(Segment { flags, ..ping }, Counter::NotPlain);
    }
    let mut world = World::new();
    let ping = Segment { flags: flags::ACK, ..world.ping() };
    assert_eq!(world.ingress(ping).counter, Some(Counter::Answered));
}

#[test]
fn rule_1_window_must_hold_the_answer() {
    let mut world = World::new();
    let ping = world.ping();
    world.declines(Segment { window: 1, ..ping }, Counter::Window);
}

#[test]
fn rule_2_repeated_ping_is_declined_and_maps_to_old_bytes() {
    let mut world = World::new();
    let ping = world.ping();
    world.answered_ping();
    let decision = world.ingress(ping);
    assert_eq!(decision.counter, Some(Counter::Pending));
    assert_eq!((decision.verdict, decision.seq_delta), (Verdict::Translate, 2));
    let seen_by_stack = ping.seq.wrapping_sub(decision.seq_delta);
    assert_eq!(seen_by_stack.wrapping_add(2), RX_BASE.wrapping_add(RX), "old bytes");
    assert_eq!(world.flow.ingress_nxt, RX_BASE.wrapping_add(RX));
}

#[test]
fn rule_2_next_ping_that_acknowledges_the_answer_is_answered() {
    let mut world = World::new();
    world.answered_ping();
    world.answered_ping();
    assert_eq!(world.flow.n, 2);
}

#[test]
fn rule_3_unparsed_bytes_before_the_ping_decline() {
    let mut world = World::new();
    let ping = world.ping();
    world.slot.rx -= 1;
    world.declines(ping, Counter::ClientBusy);
}

#[test]
fn rule_3_later_bytes_passed_earlier_decline() {
    let mut world = World::new();
    let ping = world.ping();
    let ahead = Segment { seq: ping.seq.wrapping_add(2), ..world.client_data(100) };
    assert_eq!(world.ingress(ahead).verdict, Verdict::Pass);
    world.declines(ping, Counter::ClientBusy);
}

#[test]
fn rule_3_hole_before_the_ping_declines() {
    let mut world = World::new();
    let ping = Segment { seq: world.client_nxt().wrapping_add(5), ..world.ping() };
    world.declines(ping, Counter::ClientBusy);
}

#[test]
fn rule_3_answers_again_when_passed_bytes_are_parsed() {
    let mut world = World::after_pings(3);
    let data = world.client_data(100);
    let decision = world.ingress(data);
    assert_eq!((decision.verdict, decision.seq_delta), (Verdict::Translate, 6));
    world.slot.rx += 100;
    world.answered_ping();
}

#[test]
fn rule_4_half_written_frame_declines() {
    let mut world = World::new();
    let data = world.server_data(world.server_nxt(), 1000);
    world.egress(data);
    let acked = world.bare_ack(data.seq.wrapping_add(1000));
    world.ingress(acked);
    // The socket has accepted a part only, so `tx` has not moved.
    let ping = Segment { ack: acked.ack, ..world.ping() };
    world.declines(ping, Counter::ServerBusy);
}

#[test]
fn rule_4_accepted_but_unsent_frame_declines() {
    let mut world = World::new();
    let ping = world.ping();
    world.slot.tx += 1000;
    world.declines(ping, Counter::ServerBusy);
}

#[test]
fn rule_4_unacknowledged_bytes_decline() {
    let mut world = World::new();
    let ping = world.ping();
    let data = world.server_data(world.server_nxt(), 1000);
    world.egress(data);
    world.slot.tx += 1000;
    world.declines(ping, Counter::ServerBusy);
}

#[test]
fn rule_4_ack_that_the_stack_has_not_seen_declines_once() {
    let mut world = World::new();
    let data = world.server_data(world.server_nxt(), 1000);
    world.egress(data);
    world.slot.tx += 1000;
    let ping = world.ping();
    world.declines(ping, Counter::ServerBusy);
    assert_eq!(world.flow.acked_nxt, world.flow.egress_nxt);
    world.slot.rx += 2;
    world.answered_ping();
}

#[test]
fn rule_4_old_acknowledgement_of_the_ping_declines() {
    let mut world = World::after_pings(1);
    let old_ack = world.server_nxt();
    let data = world.server_data(TX_BASE.wrapping_add(TX), 10);
    world.egress(data);
    world.slot.tx += 10;
    let ack = world.bare_ack(world.server_nxt());
    world.ingress(ack);
    let late = Segment { ack: old_ack, ..world.ping() };
    assert_eq!(world.ingress(late).counter, Some(Counter::ServerBusy));
}

#[test]
fn rule_4_retransmission_of_the_stack_takes_back_what_it_was_shown() {
    let mut world = World::after_pings(1);
    let again = world.server_data(TX_BASE, TX);
    assert_eq!(world.egress(again).verdict, Verdict::Translate);
    let ping = world.ping();
    assert_eq!(world.ingress(ping).counter, Some(Counter::ServerBusy), "and the ack is passed");
    assert_eq!(world.flow.acked_nxt, world.flow.egress_nxt);
}

#[test]
fn rule_5_slot_must_be_armed() {
    for state in [state::FREE, state::HELD, state::CLOSING] {
        let mut world = World::new();
        world.slot.state = state;
        let ping = world.ping();
        world.declines(ping, Counter::NotArmed);
    }
}

#[test]
fn rule_5_slot_of_another_generation_declines() {
    let mut world = World::new();
    world.slot.generation += 1;
    let ping = world.ping();
    world.declines(ping, Counter::NotArmed);
}

#[test]
fn rule_5_other_interface_than_egress_declines() {
    let mut world = World::new();
    let ping = world.ping();
    world.declines(Segment { iface: IFACE + 1, ..ping }, Counter::Interface);
}

#[test]
fn rule_5_interface_follows_the_egress_segments() {
    let mut world = World::new();
    let moved = Segment { iface: IFACE + 1, ..world.server_ack() };
    world.egress(moved);
    let ping = world.ping();
    world.declines(ping, Counter::Interface);
}

#[test]
fn rule_5_silent_shard_is_not_vouched_for() {
    let mut world = World::new();
    world.slot.heartbeat_ns = NOW.0 - HEARTBEAT_AGE_NS_MAX - 1;
    let ping = world.ping();
    world.declines(ping, Counter::ShardSilent);
    let mut world = World::new();
    world.slot.heartbeat_ns = NOW.0 - HEARTBEAT_AGE_NS_MAX;
    world.answered_ping();
}

#[test]
fn rule_5_heartbeat_stamped_after_the_clock_was_read_is_fresh() {
    let mut world = World::new();
    world.slot.heartbeat_ns = NOW.0 + 1;
    world.answered_ping();
}

#[test]
fn rule_12_every_256th_ping_is_left_to_user_space() {
    let mut world = World::after_pings(IN_A_ROW_MAX.into());
    let ping = world.ping();
    world.declines(ping, Counter::EveryNth);
    world.slot.rx += 2;
    let answer = world.server_data(TX_BASE.wrapping_add(TX), 2);
    world.egress(answer);
    world.slot.tx += 2;
    let ack = world.bare_ack(world.server_nxt());
    assert_eq!(world.ingress(ack).verdict, Verdict::Translate);
    world.answered_ping();
    assert_eq!(world.flow.n, u32::from(IN_A_ROW_MAX) + 1);
}

#[test]
fn rule_12_the_stack_is_never_silent_for_more_than_a_day() {
    // The same where user space allows more, which it cannot.
    for silence_secs_max in [0, u32::MAX] {
        the_stack_is_silent_for_24_pings_at_most(silence_secs_max, 3_600);
    }
}

#[test]
fn rule_12_the_stack_is_no_longer_silent_than_user_space_wants() {
    the_stack_is_silent_for_24_pings_at_most(240, 10);
    the_stack_is_silent_for_24_pings_at_most(24, 1);
}

fn the_stack_is_silent_for_24_pings_at_most(silence_secs_max: u32, ping_secs: u64) {
    let mut world = World::new();
    world.slot.silence_secs_max = silence_secs_max;
    let pass = |world: &mut World| {
        world.now = world.now.after_millis(ping_secs * 1_000);
        world.slot.heartbeat_ns = world.now.0;
    };
    for _ in 0..24 {
        pass(&mut world);
        world.answered_ping();
        let ack = world.ack_of_pingresp();
        world.ingress(ack);
    }
    pass(&mut world);
    let ping = world.ping();
    world.declines(ping, Counter::StackSilent);
    world.slot.rx += 2;
    let answer = world.server_data(TX_BASE.wrapping_add(TX), 2);
    world.egress(answer);
    world.slot.tx += 2;
    let ack = world.bare_ack(world.server_nxt());
    world.ingress(ack);
    world.answered_ping();
}

#[test]
fn rule_13_only_a_new_ping_says_answered() {
    let mut world = World::new();
    let ping = world.ping();
    assert_eq!(world.answered_ping().counter, Some(Counter::Answered));
    let others = [
        world.ingress(ping),
        world.egress(world.server_ack()),
        world.ingress(world.bare_ack(world.flow.resp_pos)),
        world.ingress(world.ack_of_pingresp()),
    ];
    assert!(others.iter().all(|decision| decision.counter != Some(Counter::Answered)));
}

#[test]
fn pings_beyond_the_rate_are_left_to_user_space() {
    let mut world = World::new();
    for _ in 0..world.pace.burst {
        world.answered_ping();
        world.slot.ping_due = world.pace.charged(world.slot.ping_due, world.now);
        let ack = world.ack_of_pingresp();
        world.ingress(ack);
    }
    let ping = world.ping();
    world.declines(ping, Counter::PingRate);
    // User space has parsed and answered it, and the client taken the answer.
    (world.slot.rx, world.slot.tx) = (RX + 2, TX + 2);
    let (seq, ack) = (TX_BASE.wrapping_add(TX), RX_BASE.wrapping_add(RX + 2));
    let answer = Segment { seq, ack, ..world.server_data(seq, 2) };
    world.egress(answer);
    let ack = world.bare_ack(world.server_nxt());
    world.ingress(ack);
    world.now = world.now.after_millis(1_000);
    world.answered_ping();
}

#[test]
fn rate_of_zero_leaves_nothing_to_user_space() {
    let mut world = World::new();
    world.pace = Pace::OFF;
    world.slot.ping_due = Monotonic(u64::MAX);
    world.answered_ping();
}

#[test]
fn rule_5_answer_goes_to_whom_the_stack_sends() {
    let mut world = World::new();
    let router = Mac::new([2, 0, 0, 0, 0, 1]);
    let ack = Segment { neighbour: router, ..world.server_ack() };
    world.egress(ack);
    let ping = Segment { neighbour: router, ..world.ping() };
    assert_eq!(world.ingress(ping).next_hop, router);
}

#[test]
fn rule_5_ping_from_another_neighbour_is_declined_once() {
    let mut world = World::new();
    let [back, there, third] = [1, 2, 3].map(|last| Mac::new([2, 0, 0, 0, 0, last]));
    let ack = Segment { neighbour: back, ..world.server_ack() };
    world.egress(ack);
    let ping = Segment { neighbour: there, ..world.ping() };
    world.declines(ping, Counter::NextHop);
    // User space takes it, and answers; the stack sends to whom it did before.
    world.slot.rx += 2;
    let pingresp = world.server_data(world.server_nxt(), 2);
    world.egress(Segment { neighbour: back, ..pingresp });
    world.slot.tx += 2;
    let ack = world.bare_ack(world.server_nxt());
    world.ingress(ack);
    let ping = Segment { neighbour: there, ..world.ping() };
    let decision = world.ingress(ping);
    assert_eq!((decision.counter, decision.next_hop), (Some(Counter::Answered), back));
    // The next change is left to user space again.
    let ping = Segment { neighbour: third, ..world.ping() };
    world.declines(ping, Counter::NextHop);
}

#[test]
fn rule_5_neighbour_is_learned_by_a_ping_that_the_stack_takes() {
    let mut world = World::new();
    let ping = Segment { neighbour: Mac::new([2, 0, 0, 0, 0, 2]), ..world.ping() };
    world.declines(Segment { verified: false, ..ping }, Counter::Unverified);
    world.declines(Segment { window: 1, ..ping }, Counter::Window);
    assert_eq!(world.flow.sender, Mac::NONE);
}
