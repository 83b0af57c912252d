//! Timestamps: the one that an answer bears, and what is older than what was taken before (PAWS).

use super::*;

/// The client's time at first; half of the number circle before it all is old.
const CLIENT_TS: u32 = u32::MAX - 50;

#[test]
fn answer_bears_the_newest_timestamp_of_the_stack() {
    let mut world = World::new();
    let stamped =
        |segment: Segment, ts_val, ts_ecr| Segment { timestamped: true, ts_val, ts_ecr, ..segment };
    // Near the wrap, as all numbers here; an older one that comes later changes nothing.
    for ts_val in [u32::MAX - 1, 3, u32::MAX] {
        let ack = stamped(world.server_ack(), ts_val, 0);
        world.egress(ack);
    }
    // The client has not got the newest yet when it pings.
    let ping = stamped(world.ping(), 70, u32::MAX - 1);
    assert_eq!(world.ingress(ping).ts_val, 3);
}

#[test]
fn answer_echoes_where_the_stack_has_sent_no_timestamp() {
    let mut world = World::new();
    let ping = Segment { timestamped: true, ts_val: 70, ts_ecr: 9, ..world.ping() };
    assert_eq!(world.ingress(ping).ts_val, 9);
}

#[test]
fn what_the_stack_has_taken_makes_everything_before_it_old() {
    let mut world = World::new();
    // CONNECT; then something of many bytes, which the programs do not verify.
    for taken in [CLIENT_TS, CLIENT_TS.wrapping_add(80), CLIENT_TS] {
        echo(&mut world, taken);
    }
    let old = [CLIENT_TS, CLIENT_TS.wrapping_add(79), CLIENT_TS.wrapping_sub(0x7000_0000)];
    for ts_val in old {
        let ping = stamped(world.ping(), ts_val);
        world.declines(ping, Counter::Timestamp);
        world.slot.rx += 2;
    }
}

#[test]
fn what_was_answered_or_absorbed_makes_everything_before_it_old() {
    let mut world = World::new();
    let ping = stamped(world.ping(), CLIENT_TS);
    assert_eq!(world.ingress(ping).counter, Some(Counter::Answered));
    let ack = stamped(world.ack_of_pingresp(), CLIENT_TS.wrapping_add(70));
    assert_eq!(world.ingress(ack).counter, Some(Counter::Absorbed));
    // The stack has seen nothing of these.
    echo(&mut world, CLIENT_TS.wrapping_sub(5));
    assert_old(&mut world, |world| world.ping(), CLIENT_TS.wrapping_add(69));
    let ping = stamped(world.ping(), CLIENT_TS.wrapping_add(70));
    assert_eq!(world.ingress(ping).counter, Some(Counter::Answered), "as old as the newest");
}

#[test]
fn rule_23_the_stack_echoes_the_newest_timestamp_that_was_taken() {
    let mut world = World::new();
    echo(&mut world, CLIENT_TS);
    let ping = stamped(world.ping(), CLIENT_TS.wrapping_add(60_000));
    assert_eq!(world.ingress(ping).counter, Some(Counter::Answered));
    let echoes = |world: &mut World, ts_ecr| {
        let ack = Segment { timestamped: true, ts_val: 1, ts_ecr, ..world.server_ack() };
        let decision = world.egress(ack);
        (decision.verdict, decision.ts_ecr)
    };
    let newest = CLIENT_TS.wrapping_add(60_000);
    assert_eq!(echoes(&mut world, CLIENT_TS), (Verdict::Resend, newest), "of a minute ago");
    let ack = stamped(world.ack_of_pingresp(), newest.wrapping_add(40));
    assert_eq!(world.ingress(ack).counter, Some(Counter::Absorbed));
    let newest = newest.wrapping_add(40);
    assert_eq!(echoes(&mut world, CLIENT_TS), (Verdict::Translate, newest));
    assert_eq!(echoes(&mut world, newest), (Verdict::Translate, newest));
    let later = newest.wrapping_add(1);
    assert_eq!(echoes(&mut world, later), (Verdict::Translate, later), "the stack knows better");
    assert_eq!(echoes(&mut world, 0), (Verdict::Translate, 0), "it has none");
}

#[test]
fn rule_23_a_newest_timestamp_of_long_ago_is_not_comparable() {
    let mut world = World::new();
    let ping = stamped(world.ping(), CLIENT_TS);
    assert_eq!(world.ingress(ping).counter, Some(Counter::Answered));
    world.now.0 += 2_148 * 1_000_000_000;
    let ack = Segment { timestamped: true, ts_val: 1, ts_ecr: 9, ..world.server_ack() };
    assert_eq!(world.egress(ack).ts_ecr, 9);
}

#[test]
fn rule_11_what_is_old_is_dropped_after_an_answer() {
    let mut world = World::new();
    echo(&mut world, CLIENT_TS);
    let ping = stamped(world.ping(), CLIENT_TS);
    assert_eq!(world.ingress(ping).counter, Some(Counter::Answered));
    let old = CLIENT_TS - 1;
    assert_old(&mut world, |world| world.bare_ack(world.flow.resp_pos), old);
    assert_old(&mut world, World::ack_of_pingresp, old);
    assert_old(&mut world, |world| world.client_data(300), old);
    let fin = |world: &World| Segment {
        flags: flags::FIN | flags::ACK,
        ..world.bare_ack(world.server_nxt())
    };
    assert_old(&mut world, fin, old);
    assert!(world.flow.has(bits::PENDING), "none of them ended it");
    // TCP takes a RST of any age.
    let reset = Segment { flags: flags::RST, ..world.bare_ack(0) };
    assert_eq!(world.ingress(stamped(reset, old)).verdict, Verdict::Translate);
}

#[test]
fn what_is_old_is_passed_before_an_answer_and_tells_nothing() {
    let mut world = World::new();
    echo(&mut world, CLIENT_TS);
    let data = world.server_data(TX_BASE.wrapping_add(TX), 10);
    world.egress(data);
    world.slot.tx += 10;
    let shown = world.flow.acked_nxt;
    let ack = world.bare_ack(world.server_nxt());
    assert_eq!(world.ingress(stamped(ack, CLIENT_TS - 1)).verdict, Verdict::Pass);
    assert_eq!(world.flow.acked_nxt, shown, "rule 4");
    assert!(!world.flow.has(bits::PEER_WINDOW_KNOWN), "rule 9");
    world.ingress(stamped(ack, CLIENT_TS));
    assert_eq!(world.flow.acked_nxt, world.flow.egress_nxt);
}

#[test]
fn what_is_only_passed_on_makes_nothing_old() {
    let mut world = World::new();
    echo(&mut world, CLIENT_TS);
    let far = CLIENT_TS.wrapping_add(0x4000_0000);
    let forged = [
        world.client_data(300),
        Segment { seq: world.client_nxt().wrapping_add(9), ..world.bare_ack(world.server_nxt()) },
        Segment { flags: flags::RST | flags::ACK, ..world.bare_ack(world.server_nxt()) },
        Segment { verified: false, ..world.ping() },
    ];
    for segment in forged {
        world.ingress(stamped(segment, far));
        assert_eq!(world.flow.client_ts, CLIENT_TS, "{segment:?}");
    }
    let ping = stamped(world.ping(), CLIENT_TS);
    world.declines(ping, Counter::ClientBusy);
}

#[test]
fn ping_without_timestamp_is_declined_where_others_have_one() {
    let mut world = World::new();
    let ping = world.ping();
    echo(&mut world, CLIENT_TS);
    world.declines(ping, Counter::Timestamp);
    // Linux takes such segments, so what they acknowledge counts.
    world.slot.rx += 2;
    let ping = stamped(world.ping(), CLIENT_TS);
    assert_eq!(world.ingress(ping).counter, Some(Counter::Answered));
    let ack = world.ack_of_pingresp();
    assert_eq!(world.ingress(ack).counter, Some(Counter::Absorbed));
    assert_eq!(world.flow.client_ts, CLIENT_TS);
}

#[test]
fn timestamps_wrap_while_the_client_is_silent_or_only_pings() {
    let mut world = World::new();
    echo(&mut world, CLIENT_TS);
    let behind = |ts_val: u32| ts_val.wrapping_sub(100);
    // Silent for so long that the circle has gone round: nothing can be called old.
    world.now = world.now.after_millis(2_200_000);
    world.slot.heartbeat_ns = world.now.0;
    let ping = stamped(world.ping(), behind(CLIENT_TS));
    assert_eq!(world.ingress(ping).counter, Some(Counter::Answered));
    let ack = stamped(world.ack_of_pingresp(), behind(CLIENT_TS));
    world.ingress(ack);
    // Only pings since: the stack's echo is as old as before, and is no news.
    echo(&mut world, CLIENT_TS);
    assert_eq!(world.flow.client_ts, behind(CLIENT_TS));
    assert_old(&mut world, |world| world.ping(), behind(CLIENT_TS).wrapping_sub(1));
}

/// A client that takes the answer's timestamp for the newest would throw away, as old, what the stack
/// sends once its own has gone half around from there.
#[test]
fn after_a_long_silence_any_timestamp_of_the_stack_is_the_newest() {
    let mut world = World::new();
    let stamped = |world: &mut World, ts_val| {
        let ack = Segment { timestamped: true, ts_val, ..world.server_ack() };
        world.egress(ack);
        world.flow.stack_ts
    };
    assert_eq!(stamped(&mut world, 5), 5);
    // In microseconds half of the circle is 2,147 s.
    let later = 5_u32.wrapping_add(2_200_000_000);
    world.now = world.now.after_millis(2_200_000);
    assert_eq!(stamped(&mut world, later), later);
    // Not so after a short one: what another CPU sent before is no news.
    world.now = world.now.after_millis(2_000);
    assert_eq!(stamped(&mut world, later - 1), later);
}

#[test]
fn clock_read_before_the_stamp_of_another_cpu_is_no_long_silence() {
    let mut world = World::new();
    echo(&mut world, CLIENT_TS);
    world.now = Monotonic(NOW.0 - 2_000_000_000);
    let ping = stamped(world.ping(), CLIENT_TS - 1);
    world.declines(ping, Counter::Timestamp);
}

#[test]
fn echo_of_zero_is_none() {
    let mut world = World::new();
    echo(&mut world, 0);
    let ping = stamped(world.ping(), 0x9000_0000);
    assert_eq!(world.ingress(ping).counter, Some(Counter::Answered));
}

/// Once a ping was answered.
#[track_caller]
fn assert_old(world: &mut World, segment: impl Fn(&World) -> Segment, ts_val: u32) {
    let before = world.flow;
    let decision = world.ingress(stamped(segment(world), ts_val));
    let dropped = (Verdict::Drop, Some(Counter::OldTimestamp));
    assert_eq!((decision.verdict, decision.counter), dropped);
    assert_eq!(world.flow, before);
}

fn stamped(segment: Segment, ts_val: u32) -> Segment {
    Segment { timestamped: true, ts_val, ..segment }
}

/// The stack says that it has taken a segment of the client with this timestamp.
fn echo(world: &mut World, ts_ecr: u32) {
    let ack = Segment { timestamped: true, ts_val: 1, ts_ecr, ..world.server_ack() };
    world.egress(ack);
}
