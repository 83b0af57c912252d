//! TCP's keepalive probes: a bare ACK that begins one before what comes next, or one byte there, to which
//! an ACK is owed. They pass both ways, shifted, whatever was answered before them, and change nothing
//! about who answers the next ping.

use super::*;

/// The probe of the server's stack (S-space); `bytes`: how many it bears, which is none on Linux.
fn server_probe(world: &World, bytes: u32) -> Segment {
    let ack = world.server_ack();
    Segment { seq: ack.seq.wrapping_sub(1), payload_bytes: bytes, ..ack }
}

/// The probe of the client's stack (C-space).
fn client_probe(world: &World, bytes: u32) -> Segment {
    let ack = world.bare_ack(world.server_nxt());
    Segment { seq: ack.seq.wrapping_sub(1), payload_bytes: bytes, ..ack }
}

#[test]
fn the_servers_probe_and_its_answer_pass_and_the_next_ping_is_answered() {
    for n in [0, 1, 3] {
        let mut world = World::after_pings(n);
        for bytes in [0, 1] {
            let decision = world.egress(server_probe(&world, bytes));
            let passes = if n == 0 { Verdict::Pass } else { Verdict::Translate };
            assert_eq!(
                (decision.verdict, decision.seq_delta),
                (passes, 2 * n),
                "{n} pings, {bytes}"
            );
            // The stack waits for this one, though it tells nothing new.
            let answer = world.bare_ack(world.server_nxt());
            let decision = world.ingress(answer);
            assert_eq!(
                (decision.verdict, decision.seq_delta),
                (passes, 2 * n),
                "{n} pings, {bytes}"
            );
        }
        world.answered_ping();
        let ack = world.ack_of_pingresp();
        assert_eq!(world.ingress(ack).counter, Some(Counter::Absorbed), "and all is as before");
    }
}

#[test]
fn the_servers_probe_before_the_pingresp_is_acknowledged_brings_it_again() {
    for n in [0, 3] {
        for bytes in [0, 1] {
            let mut world = World::after_pings(n);
            world.answered_ping();
            let decision = world.egress(server_probe(&world, bytes));
            assert_eq!(decision.verdict, Verdict::Resend, "{n} pings, {bytes} bytes");
            assert_eq!(decision.seq, world.flow.resp_pos);
            // Its acknowledgement answers the probe, too, so it is not absorbed.
            let ack = world.ack_of_pingresp();
            assert_eq!(world.ingress(ack).verdict, Verdict::Translate, "{n} pings, {bytes} bytes");
            assert!(!world.flow.has(bits::PENDING));
            world.answered_ping();
        }
    }
}

#[test]
fn the_clients_probe_and_its_answer_pass_and_the_next_ping_is_answered() {
    for n in [0, 1, 3] {
        let mut world = World::after_pings(n);
        for bytes in [0, 1] {
            let decision = world.ingress(client_probe(&world, bytes));
            let passes = if n == 0 { Verdict::Pass } else { Verdict::Translate };
            assert_eq!(
                (decision.verdict, decision.seq_delta),
                (passes, 2 * n),
                "{n} pings, {bytes}"
            );
            let answer = world.server_ack();
            let decision = world.egress(answer);
            assert_eq!(
                (decision.verdict, decision.seq_delta),
                (passes, 2 * n),
                "{n} pings, {bytes}"
            );
        }
        world.answered_ping();
    }
}

/// Its answer is the PINGRESP, whether or not it has got it: that acknowledges the same place.
#[test]
fn the_clients_probe_before_it_has_acknowledged_the_pingresp_is_answered_by_it() {
    let mut world = World::after_pings(3);
    world.answered_ping();
    let unheard = Segment { ack: world.flow.resp_pos, ..client_probe(&world, 0) };
    let decision = world.ingress(unheard);
    assert_eq!((decision.verdict, decision.seq), (Verdict::TurnAround, world.flow.resp_pos));
    let with_byte = Segment { payload_bytes: 1, ..unheard };
    assert_eq!(world.ingress(with_byte).verdict, Verdict::Translate);
    assert_eq!(world.egress(world.server_ack()).verdict, Verdict::Resend);
    // One that has heard it says so by the probe, which passes on, since the stack answers it.
    let heard = client_probe(&world, 0);
    assert_eq!(world.ingress(heard).verdict, Verdict::Translate);
    assert!(!world.flow.has(bits::PENDING));
    assert_eq!(world.egress(world.server_ack()).verdict, Verdict::Translate);
    world.answered_ping();
}
