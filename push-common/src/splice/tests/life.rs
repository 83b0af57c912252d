//! Life, death and the unexpected: rules 10 and 11, the anchor, and who may move what.

use super::*;

#[test]
fn connack_anchors_the_flow() {
    let world = World::new();
    assert_eq!((world.flow.rx_base, world.flow.tx_base), (RX_BASE, TX_BASE));
    assert_eq!(world.flow.egress_nxt, TX_BASE.wrapping_add(TX));
    assert_eq!(world.flow.ingress_nxt, RX_BASE.wrapping_add(RX));
    assert_eq!((world.flow.iface, world.flow.stack_window), (IFACE, STACK_WINDOW));
}

#[test]
fn ping_before_connack_is_declined() {
    let mut world = World::unanchored();
    let ping = world.ping();
    world.declines(ping, Counter::NotAnchored);
}

#[test]
fn retransmitted_connack_does_not_anchor_again() {
    let mut world = World::new();
    world.egress(world.server_data(TX_BASE.wrapping_add(TX), 50));
    let before = world.flow;
    let decision = world.egress(world.connack());
    assert_eq!(decision.counter, None);
    let bases = |flow: &Flow| (flow.rx_base, flow.tx_base, flow.egress_nxt, flow.ingress_nxt);
    assert_eq!(bases(&world.flow), bases(&before));
}

#[test]
fn first_segment_that_is_not_the_first_byte_bars_the_flow() {
    let mut world = World::unanchored();
    world.egress(world.server_data(TX_BASE.wrapping_add(1), 4));
    world.egress(world.connack());
    assert!(!world.flow.has(bits::ANCHORED));
    assert!(world.flow.has(bits::BARRED));
}

#[test]
fn segment_without_socket_bars_the_flow() {
    let mut world = World::unanchored();
    let connack = world.connack();
    assert_eq!(on_egress(&mut world.flow, &connack, None, NOW).verdict, Verdict::Pass);
    assert!(world.flow.has(bits::BARRED));
}

#[test]
fn bytes_seen_ahead_of_the_anchor_are_remembered() {
    let mut world = World::unanchored();
    let ahead = Segment { seq: world.client_nxt().wrapping_add(2), ..world.client_data(30) };
    world.ingress(ahead);
    world.egress(world.connack());
    let ack = world.bare_ack(world.server_nxt());
    world.ingress(ack);
    let ping = world.ping();
    world.declines(ping, Counter::ClientBusy);
}

#[test]
fn forged_segments_cannot_lead_ingress_around_the_circle() {
    let mut world = World::new();
    let ping = world.ping();
    let ahead = Segment { seq: ping.seq.wrapping_add(2), ..world.client_data(100) };
    world.ingress(ahead);
    // Each is "ahead" of the one before by less than half the circle.
    for step in 1..=8_u32 {
        let seq = ping.seq.wrapping_add(step.wrapping_mul(0x3000_0000));
        world.ingress(Segment { seq, ..world.client_data(0x1000) });
    }
    assert_ne!(world.flow.ingress_nxt, RX_BASE.wrapping_add(RX));
    world.declines(ping, Counter::ClientBusy);
}

#[test]
fn unverified_ack_moves_nothing() {
    let mut world = World::new();
    world.egress(world.server_data(world.server_nxt(), 1000));
    world.slot.tx += 1000;
    let before = world.flow.acked_nxt;
    let ack = world.bare_ack(world.server_nxt());
    world.ingress(Segment { verified: false, ..ack });
    assert_eq!(world.flow.acked_nxt, before);
    world.ingress(Segment { seq: ack.seq.wrapping_sub(1), ..ack });
    assert_eq!(world.flow.acked_nxt, before, "not next in order");
    world.ingress(Segment { ack: ack.ack.wrapping_add(1), ..ack });
    assert_eq!(world.flow.acked_nxt, before, "acknowledges a byte never sent");
    world.ingress(ack);
    assert_eq!(world.flow.acked_nxt, world.flow.egress_nxt);
}

#[test]
fn fin_counts_as_a_byte_either_way() {
    let mut world = World::new();
    let fin = Segment { flags: flags::FIN | flags::ACK, ..world.bare_ack(world.server_nxt()) };
    world.ingress(fin);
    assert_eq!(world.flow.ingress_nxt, RX_BASE.wrapping_add(RX + 1));
    let mut world = World::new();
    let ping = world.ping();
    world.egress(Segment { flags: flags::FIN | flags::ACK, ..world.server_ack() });
    world.declines(ping, Counter::ServerBusy);
}

#[test]
fn rule_10_egress_syn_ack_deletes_the_flow() {
    let mut world = World::after_pings(1);
    let syn_ack = Segment { flags: flags::SYN | flags::ACK, ..world.server_ack() };
    assert_eq!(world.egress(syn_ack).verdict, Verdict::Forget);
}

#[test]
fn rule_10_ingress_syn_proves_nothing_and_is_not_translated() {
    let mut world = World::after_pings(1);
    let before = world.flow;
    let syn = Segment { flags: flags::SYN, seq: 12345, ..world.ping() };
    assert_eq!(world.ingress(syn).verdict, Verdict::Pass);
    assert_eq!(world.flow, before);
}

#[test]
fn rule_10_fin_and_rst_are_translated() {
    let mut world = World::after_pings(2);
    let fin = Segment { flags: flags::FIN | flags::ACK, ..world.server_ack() };
    let decision = world.egress(fin);
    assert_eq!((decision.verdict, decision.seq_delta), (Verdict::Translate, 4));
    assert_eq!(world.flow.egress_nxt, TX_BASE.wrapping_add(TX + 1));
    let reset = Segment { flags: flags::RST | flags::ACK, ..world.bare_ack(world.server_nxt()) };
    assert_eq!(world.ingress(reset).verdict, Verdict::Translate);
}

#[test]
fn rule_10_only_a_syn_ack_deletes_the_flow() {
    let mut world = World::after_pings(1);
    let syn = Segment { flags: flags::SYN, ..world.server_ack() };
    assert_eq!(world.egress(syn).verdict, Verdict::Pass);
}

#[test]
fn rule_10_reset_of_a_refused_connection_is_not_translated() {
    let mut world = World::after_pings(1);
    let refusal = Segment { seq: 0, flags: flags::RST | flags::ACK, ..world.server_ack() };
    assert_eq!(world.egress(refusal).verdict, Verdict::Pass);
}

#[test]
fn rule_11_unexpected_is_dropped_after_an_answer() {
    let mut world = World::after_pings(1);
    let decision = on_unexpected(&mut world.flow);
    assert_eq!(decision.verdict, Verdict::Drop);
    assert_eq!(decision.counter, Some(Counter::Unexpected));
}

#[test]
fn rule_11_unexpected_passes_before_an_answer_and_bars_the_flow() {
    let mut world = World::new();
    assert_eq!(on_unexpected(&mut world.flow).verdict, Verdict::Pass);
    let ping = world.ping();
    world.declines(ping, Counter::Barred);
}

#[test]
fn rule_11_unknown_options_are_dropped_after_an_answer() {
    let unknown = |segment: Segment| Segment {
        options_known: false,
        plain: false,
        plain_or_sack: false,
        ..segment
    };
    let mut world = World::after_pings(1);
    assert_eq!(world.ingress(unknown(world.client_data(100))).verdict, Verdict::Drop);
    assert_eq!(world.egress(unknown(world.server_ack())).verdict, Verdict::Drop);
    let mut world = World::new();
    assert_eq!(world.ingress(unknown(world.client_data(100))).verdict, Verdict::Pass);
    assert_eq!(world.egress(unknown(world.server_ack())).verdict, Verdict::Pass);
}
