//! While a PINGRESP is pending, and what is absorbed after it: rules 6 to 9.

use super::*;

#[test]
fn rule_6_bare_ack_leaves_as_the_pending_pingresp() {
    let mut world = World::new();
    world.answered_ping();
    let decision = world.egress(world.server_ack());
    assert_eq!(decision.verdict, Verdict::Resend);
    assert_eq!(decision.counter, Some(Counter::Resent));
    assert_eq!(decision.seq, world.flow.resp_pos);
    assert_eq!((decision.seq_delta, decision.ack_delta), (0, 2));
}

#[test]
fn rule_6_bare_ack_is_only_translated_when_nothing_is_pending() {
    let mut world = World::after_pings(1);
    let decision = world.egress(world.server_ack());
    assert_eq!((decision.verdict, decision.seq_delta), (Verdict::Translate, 2));
}

#[test]
fn rule_6_reset_is_no_pingresp() {
    let mut world = World::new();
    world.answered_ping();
    let reset = Segment { flags: flags::RST | flags::ACK, ..world.server_ack() };
    assert_eq!(world.egress(reset).verdict, Verdict::Translate);
}

#[test]
fn rule_7_client_that_misses_the_pingresp_gets_it_again() {
    let mut world = World::new();
    let answer = world.answered_ping();
    let data = world.server_data(TX_BASE.wrapping_add(TX), 1000);
    assert_eq!(world.egress(data).verdict, Verdict::Translate);
    let misses = Segment { plain: false, ..world.bare_ack(world.flow.resp_pos) };
    let decision = world.ingress(misses);
    assert_eq!(decision.verdict, Verdict::TurnAround);
    assert_eq!(decision.counter, Some(Counter::Refilled));
    assert_eq!((decision.seq, decision.ack), (answer.seq, answer.ack));
    assert!(world.flow.has(bits::PENDING));
}

#[test]
fn rule_7_needs_a_verified_bare_ack_of_exactly_that_place() {
    let mut world = World::new();
    world.answered_ping();
    let misses = world.bare_ack(world.flow.resp_pos);
    for other in [
        Segment { verified: false, ..misses },
        Segment { ack: misses.ack.wrapping_sub(1), ..misses },
        Segment { flags: flags::ACK | flags::FIN, ..misses },
        Segment { plain_or_sack: false, ..misses },
        Segment { payload_bytes: 1, ..misses },
    ] {
        let mut world = World { flow: world.flow, slot: world.slot, ..world };
        assert_eq!(world.ingress(other).verdict, Verdict::Translate, "{other:?}");
    }
}

#[test]
fn rule_7_ends_with_the_acknowledgement() {
    let mut world = World::after_pings(1);
    let late = world.bare_ack(world.flow.resp_pos);
    assert_eq!(world.ingress(late).verdict, Verdict::Translate);
}

#[test]
fn rule_7_waits_for_room_and_takes_congestion_marks() {
    let mut world = World::new();
    world.answered_ping();
    let missing = Segment { seq: world.client_nxt(), ..world.bare_ack(world.flow.resp_pos) };
    let full = Segment { window: 1, ..missing };
    assert_ne!(world.ingress(full).counter, Some(Counter::Refilled), "it would be dropped again");
    let marked = Segment { flags: flags::ACK | flags::ECE, ..missing };
    assert_eq!(world.ingress(marked).counter, Some(Counter::Refilled));
}

#[test]
fn rule_8_retransmission_onto_the_pingresp_leaves_as_the_pingresp() {
    let mut world = World::new();
    world.answered_ping();
    let end = TX_BASE.wrapping_add(TX);
    for back in 1..=TX {
        let stale = world.server_data(end.wrapping_sub(back), back);
        let decision = world.egress(stale);
        assert_eq!(decision.verdict, Verdict::Resend);
        assert_eq!(decision.counter, Some(Counter::StaleBytes));
        assert_eq!(decision.seq, world.flow.resp_pos);
    }
    assert_eq!(world.egress(world.server_data(end, 10)).verdict, Verdict::Translate);
}

#[test]
fn rule_8_old_bytes_are_translated_once_the_pingresp_is_acknowledged() {
    let mut world = World::after_pings(1);
    let stale = world.server_data(TX_BASE, TX);
    assert_eq!(world.egress(stale).verdict, Verdict::Translate);
}

#[test]
fn rule_9_ack_of_the_pingresp_is_absorbed() {
    let mut world = World::new();
    world.answered_ping();
    let ack = world.ack_of_pingresp();
    let decision = world.ingress(ack);
    assert_eq!(decision.verdict, Verdict::Absorb);
    assert_eq!(decision.counter, Some(Counter::Absorbed));
    assert!(!world.flow.has(bits::PENDING));
}

#[test]
fn rule_9_unverified_or_impossible_ack_ends_nothing() {
    let mut world = World::new();
    world.answered_ping();
    let ack = world.ack_of_pingresp();
    world.ingress(Segment { verified: false, ..ack });
    assert!(world.flow.has(bits::PENDING));
    world.ingress(Segment { ack: ack.ack.wrapping_add(1), ..ack });
    assert!(world.flow.has(bits::PENDING), "acknowledges a byte never sent");
    world.ingress(Segment { ack: ack.ack.wrapping_sub(1), ..ack });
    assert!(world.flow.has(bits::PENDING), "half of the answer");
}

#[test]
fn rule_9_ack_that_tells_something_is_passed() {
    let mut world = World::new();
    world.answered_ping();
    let ack = world.ack_of_pingresp();
    for news in [
        Segment { window: WINDOW + 1, ..ack },
        Segment { plain: false, ..ack },
        Segment { flags: flags::ACK | flags::FIN, ..ack },
        Segment { seq: ack.seq.wrapping_sub(1), ..ack },
    ] {
        let mut world = World { flow: world.flow, slot: world.slot, ..world };
        let decision = world.ingress(news);
        assert_eq!((decision.verdict, decision.seq_delta), (Verdict::Translate, 2), "{news:?}");
    }
}

#[test]
fn rule_9_ack_is_passed_while_the_server_waits_for_one() {
    let mut world = World::after_pings(1);
    let data = world.server_data(TX_BASE.wrapping_add(TX), 1000);
    world.egress(data);
    world.slot.tx += 1000;
    let ack = world.bare_ack(world.server_nxt());
    assert_eq!(world.ingress(ack).verdict, Verdict::Translate);
    assert_eq!(world.flow.acked_nxt, world.flow.egress_nxt);
}

#[test]
fn rule_9_window_of_an_unverified_segment_is_not_trusted() {
    let mut world = World::after_pings(1);
    let ack = world.bare_ack(world.server_nxt());
    world.ingress(Segment { verified: false, ..ack });
    assert_eq!(world.ingress(ack).verdict, Verdict::Translate);
    assert_eq!(world.ingress(ack).verdict, Verdict::Absorb);
}

#[test]
fn rule_9_nothing_is_absorbed_before_the_first_answer() {
    let mut world = World::new();
    let ack = world.bare_ack(world.server_nxt());
    assert_eq!(world.ingress(ack).verdict, Verdict::Pass);
}

#[test]
fn rule_9_ack_is_passed_after_the_stack_asked_again() {
    let mut world = World::after_pings(1);
    let probe = Segment { seq: world.flow.egress_nxt.wrapping_sub(1), ..world.server_ack() };
    world.egress(probe);
    let ack = world.bare_ack(world.server_nxt());
    assert_eq!(world.ingress(ack).verdict, Verdict::Translate);
    assert_eq!(world.ingress(ack).counter, Some(Counter::Absorbed), "once it has been told");
}

#[test]
fn rule_9_nothing_is_absorbed_for_a_connection_that_is_gone() {
    let mut world = World::after_pings(1);
    world.slot.state = state::CLOSING;
    let ack = world.bare_ack(world.server_nxt());
    assert_eq!(world.ingress(ack).verdict, Verdict::Translate);
    world.slot.state = state::ARMED;
    world.slot.generation += 1;
    assert_eq!(world.ingress(ack).verdict, Verdict::Translate);
}

#[test]
fn rule_9_ack_from_far_off_ends_nothing() {
    let mut world = World::new();
    world.answered_ping();
    let ack = world.ack_of_pingresp();
    let forged = Segment { seq: ack.seq.wrapping_add(WINDOW_BYTES_MAX + 1), ..ack };
    world.ingress(forged);
    assert!(world.flow.has(bits::PENDING));
}

#[test]
fn rule_9_ack_behind_a_lost_segment_ends_pending() {
    let mut world = World::new();
    world.answered_ping();
    let ack = world.ack_of_pingresp();
    let behind_a_hole = Segment { seq: ack.seq.wrapping_add(1), ..ack };
    assert_eq!(world.ingress(behind_a_hole).verdict, Verdict::Translate);
    assert!(!world.flow.has(bits::PENDING));
}
