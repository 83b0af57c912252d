//! Datagrams in fragments: rule 16.

use super::*;

#[test]
fn rule_16_fragment_counts_as_the_longest_datagram() {
    let mut world = World::after_pings(3);
    let fragment = world.client_fragment(8);
    let decision = world.ingress(fragment);
    assert_eq!((decision.verdict, decision.seq_delta), (Verdict::Translate, 6));
    assert_eq!(decision.counter, Some(Counter::Fragment));
    let place = RX_BASE.wrapping_add(RX);
    assert_eq!(world.flow.ingress_nxt, place.wrapping_add(FRAGMENTED_BYTES_MAX));
}

#[test]
fn rule_16_no_ping_is_answered_until_the_stream_is_beyond() {
    for n in [0, 3] {
        let mut world = World::after_pings(n);
        let fragment = world.client_fragment(8);
        world.ingress(fragment);
        // What the fragment showed is parsed, and then the rest, which came otherwise.
        for bytes in [8, FRAGMENTED_BYTES_MAX - 108] {
            world.slot.rx += bytes;
            let ping = world.ping();
            world.declines(ping, Counter::Fragments);
        }
        world.slot.rx += 100;
        world.answered_ping();
        world.slot.rx -= 1;
        let ping = world.ping();
        world.declines(ping, Counter::ClientBusy);
    }
}

#[test]
fn rule_16_fragment_before_the_anchor_is_followed() {
    let mut world = World::unanchored();
    let fragment = world.client_fragment(8);
    assert_eq!(world.ingress(fragment).verdict, Verdict::Pass);
    let connack = world.connack();
    assert_eq!(world.egress(connack).counter, Some(Counter::Anchored));
    let ack = world.bare_ack(TX_BASE.wrapping_add(TX));
    world.ingress(ack);
    let ping = world.ping();
    world.declines(ping, Counter::Fragments);
}

#[test]
fn rule_16_fragment_of_the_server_counts_as_the_longest_datagram() {
    let mut world = World::new();
    let fragment = Segment { fragment: true, ..world.server_data(world.server_nxt(), 8) };
    assert_eq!(world.egress(fragment).counter, Some(Counter::Fragment));
    // It showed a whole frame, but there was more.
    world.slot.tx += 8;
    let ack = world.bare_ack(world.server_nxt());
    world.ingress(ack);
    let ping = world.ping();
    world.declines(ping, Counter::Fragments);
}

#[test]
fn rule_16_pending_pingresp_is_resent_and_refilled_after_a_fragment() {
    let mut world = World::new();
    world.answered_ping();
    let fragment = world.client_fragment(8);
    assert_eq!(world.ingress(fragment).verdict, Verdict::Translate);
    let missing = world.bare_ack(world.flow.resp_pos);
    assert_eq!(world.ingress(missing).counter, Some(Counter::Refilled));
    let ack = world.server_ack();
    assert_eq!(world.egress(ack).verdict, Verdict::Resend);
    let ack = world.ack_of_pingresp();
    world.ingress(ack);
    assert!(!world.flow.has(bits::PENDING));
}

#[test]
fn rule_16_stale_fragment_of_the_server_is_dropped() {
    let mut world = World::new();
    world.answered_ping();
    let seq = TX_BASE.wrapping_add(TX).wrapping_sub(1);
    let stale = Segment { fragment: true, ..world.server_data(seq, 8) };
    let decision = world.egress(stale);
    assert_eq!((decision.verdict, decision.counter), (Verdict::Drop, Some(Counter::Unexpected)));
}

impl World {
    /// The first fragment of a datagram of the client.
    fn client_fragment(&self, payload_bytes: u32) -> Segment {
        let plain =
            Segment { plain: false, plain_or_sack: false, ..self.client_data(payload_bytes) };
        Segment { fragment: true, ..plain }
    }
}
