//! Pings whose answers have another length than they have, and an anchor behind a handshake.

use super::*;

const HANDSHAKE: u32 = 129;

/// WebSocket: 8 bytes in, 4 out; the handshake's answer has left before there was a flow.
fn websocket() -> World {
    let mut world = World::unanchored();
    world.flow = Flow::new(1, 3, Heartbeat::WEBSOCKET, HANDSHAKE);
    world.slot.tx = HANDSHAKE + TX;
    let connack = world.server_data(TX_BASE.wrapping_add(HANDSHAKE), TX);
    assert_eq!(world.egress(connack).counter, Some(Counter::Anchored));
    let ack = world.bare_ack(world.server_nxt());
    assert_eq!(world.ingress(ack).verdict, Verdict::Pass);
    world
}

fn ping(world: &World) -> Segment {
    Segment { payload_bytes: 8, ..world.ping() }
}

#[test]
fn each_stream_is_ahead_by_its_own_length() {
    let mut world = websocket();
    for n in 1..=3 {
        let ping = ping(&world);
        let decision = world.ingress(ping);
        assert_eq!(decision.counter, Some(Counter::Answered));
        assert_eq!((decision.seq, decision.ack), (ping.ack, ping.seq.wrapping_add(8)));
        assert_eq!((world.flow.delta_in(), world.flow.delta_out()), (8 * n, 4 * n));
        let ack = world.bare_ack(world.flow.resp_pos.wrapping_add(4));
        assert_eq!(world.ingress(ack).counter, Some(Counter::Absorbed));
    }
    let data = Segment { payload_bytes: 50, verified: false, ..world.bare_ack(world.server_nxt()) };
    let decision = world.ingress(data);
    assert_eq!(
        (decision.verdict, decision.seq_delta, decision.ack_delta),
        (Verdict::Translate, 24, 12)
    );
    let data = world.server_data(TX_BASE.wrapping_add(HANDSHAKE + TX), 50);
    let decision = world.egress(data);
    assert_eq!(
        (decision.verdict, decision.seq_delta, decision.ack_delta),
        (Verdict::Translate, 12, 24)
    );
}

#[test]
fn errors_are_shifted_as_the_stream_that_they_quote() {
    let mut world = websocket();
    assert_eq!(on_icmp_error(&world.flow, true).verdict, Verdict::Pass);
    let ping = ping(&world);
    world.ingress(ping);
    let to_stack = on_icmp_error(&world.flow, true);
    assert_eq!((to_stack.seq_delta, to_stack.ack_delta), (4, 8));
    let away = on_icmp_error(&world.flow, false);
    assert_eq!((away.seq_delta, away.ack_delta), (8, 4));
}

#[test]
fn an_answer_in_part_is_missed() {
    let mut world = websocket();
    let ping = ping(&world);
    world.ingress(ping);
    let resp_pos = world.flow.resp_pos;
    for part in 1..4 {
        let ack = world.bare_ack(resp_pos.wrapping_add(part));
        world.ingress(ack);
        assert!(world.flow.has(bits::PENDING), "{part} of 4 bytes acknowledged");
    }
    let misses = world.bare_ack(resp_pos);
    assert_eq!(world.ingress(misses).counter, Some(Counter::Refilled));
    let narrow = Segment { window: 3, ..misses };
    assert_ne!(world.ingress(narrow).counter, Some(Counter::Refilled), "no room for it");
}

#[test]
fn rule_8_new_bytes_begin_behind_the_whole_answer() {
    let mut world = websocket();
    let ping = ping(&world);
    world.ingress(ping);
    let next = TX_BASE.wrapping_add(HANDSHAKE + TX);
    let stale = world.server_data(next.wrapping_sub(1), 20);
    assert_eq!(world.egress(stale).counter, Some(Counter::StaleBytes));
    let new = world.server_data(next, 20);
    assert_eq!(world.egress(new).verdict, Verdict::Translate);
}

#[test]
fn a_handshake_that_is_sent_again_neither_anchors_nor_bars() {
    let mut world = World::unanchored();
    world.flow = Flow::new(1, 3, Heartbeat::WEBSOCKET, HANDSHAKE);
    for (at, bytes) in [(0, HANDSHAKE), (0, 10), (10, HANDSHAKE - 10)] {
        let again = world.server_data(TX_BASE.wrapping_add(at), bytes);
        assert_eq!(world.egress(again), Decision::pass());
        assert_eq!(world.flow.bits & (bits::ANCHORED | bits::BARRED), 0);
    }
    // TCP may put what it had not sent yet, or sends again, and CONNACK into one segment.
    let together = world.server_data(TX_BASE.wrapping_add(10), HANDSHAKE - 10 + TX);
    assert_eq!(world.egress(together).counter, Some(Counter::Anchored));
    assert_eq!(world.flow.egress_nxt, TX_BASE.wrapping_add(HANDSHAKE + TX));
}

#[test]
fn bytes_that_were_missed_behind_a_handshake_bar_the_flow() {
    let mut world = World::unanchored();
    world.flow = Flow::new(1, 3, Heartbeat::WEBSOCKET, HANDSHAKE);
    let beyond = world.server_data(TX_BASE.wrapping_add(HANDSHAKE + 1), TX);
    assert_eq!(world.egress(beyond), Decision::pass());
    assert!(world.flow.has(bits::BARRED));
}
