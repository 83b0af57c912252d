use proptest::prelude::*;

use super::*;
use crate::mqtt::connection::tests::{NOW, accepted, accepted_with};
use crate::mqtt::{Connection, Session};

/// One and a half times the keep alive that `accepted` asks for.
const PATIENCE_MILLIS: u64 = 15_000;

/// The kernel has not heard the client.
const NEVER: Monotonic = Monotonic(0);

const PUBLISH: &[u8] = &[0x30, 4, 0, 1, b't', b'x'];

/// The fixed header of a PUBLISH that never comes whole here, and its topic.
const LARGE_PUBLISH: &[u8] = &[0x30, 0x80, 0x80, 0x40, 0, 1, b't'];

fn later(millis: u64) -> Monotonic {
    NOW.after_millis(millis)
}

/// Bytes arrive, and what is whole among them is handled.
fn arrive(connection: &mut Connection, session: &mut Session, bytes: &[u8], now: Monotonic) {
    connection.handle_bytes(bytes, now);
    while connection.poll_event(session, &Limits::default(), now).is_some() {}
}

#[test]
fn a_silent_client_expires_at_its_deadline_and_not_before() {
    let (mut connection, _session) = accepted();
    let deadline = later(PATIENCE_MILLIS);
    assert_eq!(connection.poll_timeout(), Some(deadline));
    let just_before = Monotonic(deadline.0 - 1);
    assert_eq!(connection.handle_timeout(just_before, NEVER), Timeout::Alive);
    assert_eq!(connection.poll_timeout(), Some(deadline), "an early call changes nothing");
    assert_eq!(connection.handle_timeout(deadline, NEVER), Timeout::Expired);
    assert_eq!(connection.handle_timeout(deadline, NEVER), Timeout::Expired, "until it is heard");
}

#[test]
fn a_client_that_is_heard_between_deadline_and_call_does_not_expire() {
    let (mut connection, mut session) = accepted();
    let deadline = later(PATIENCE_MILLIS);
    assert_eq!(connection.handle_timeout(deadline, NEVER), Timeout::Expired);
    arrive(&mut connection, &mut session, PUBLISH, deadline);
    assert_eq!(connection.handle_timeout(deadline, NEVER), Timeout::Alive);
    assert_eq!(connection.poll_timeout(), Some(deadline.after_millis(PATIENCE_MILLIS)));
}

#[test]
fn a_client_without_keep_alive_never_expires() {
    let (mut connection, _session) = accepted_with(b"\x10\x0E\0\x04MQTT\x04\0\0\0\0\x02id");
    assert_eq!(connection.poll_timeout(), None);
    assert_eq!(connection.handle_timeout(Monotonic(u64::MAX), NEVER), Timeout::Alive);
}

#[test]
fn a_connection_that_is_over_has_no_deadline() {
    let (mut connection, _session) = accepted();
    connection.close(Reason::KeepAliveTimeout);
    assert_eq!(connection.poll_timeout(), None);
}

#[test]
fn a_client_that_the_kernel_has_heard_does_not_expire() {
    let (mut connection, _session) = accepted();
    let (seen, deadline) = (later(9_000), later(PATIENCE_MILLIS));
    assert_eq!(connection.handle_timeout(deadline, seen), Timeout::Alive);
    assert_eq!(connection.poll_timeout(), Some(seen.after_millis(PATIENCE_MILLIS)));
    // Of an earlier instant than we know already.
    assert_eq!(connection.handle_timeout(deadline, later(1)), Timeout::Alive);
}

#[test]
fn a_few_bytes_of_a_packet_keep_nobody_alive_and_a_good_part_of_it_does() {
    let (mut connection, mut session) = accepted();
    let fed = |connection: &mut Connection, session: &mut Session, bytes: &[u8], millis| {
        arrive(connection, session, bytes, later(millis));
        connection.poll_timeout()
    };
    let rest = vec![0; HEARD_BYTES_MIN - 1 - LARGE_PUBLISH.len()];
    let few = [LARGE_PUBLISH, &rest].concat();
    let (at_first, at_3) = (Some(later(PATIENCE_MILLIS)), Some(later(PATIENCE_MILLIS + 3)));
    assert_eq!(fed(&mut connection, &mut session, &few, 2), at_first);
    assert_eq!(fed(&mut connection, &mut session, &[0], 3), at_3, "together they are a good part");
    let few = [0; HEARD_BYTES_MIN - 1];
    assert_eq!(fed(&mut connection, &mut session, &few, 4), at_3, "what was heard counts once");
}

#[test]
fn what_came_before_a_whole_packet_counts_no_more() {
    let (mut connection, mut session) = accepted();
    let (first, rest) = PUBLISH.split_at(3);
    arrive(&mut connection, &mut session, first, later(1));
    arrive(&mut connection, &mut session, rest, later(2));
    assert_eq!(connection.unheard_bytes, 0);
    assert_eq!(connection.poll_timeout(), Some(later(PATIENCE_MILLIS + 2)));
}

#[test]
fn the_keep_alive_of_a_client_that_waited_for_connack_begins_then() {
    let (mut connection, _session) = accepted();
    connection.begin_keep_alive(later(60_000));
    assert_eq!(connection.handle_timeout(later(60_000), NEVER), Timeout::Alive);
    assert_eq!(connection.poll_timeout(), Some(later(60_000 + PATIENCE_MILLIS)));
}

/// What a client does next.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    /// A packet comes whole; once a large one has begun, a few bytes of that one.
    Packet,
    /// So many bytes of a large packet come.
    Part(usize),
    /// The kernel answers a ping.
    AnsweredByKernel,
}

fn arrivals() -> impl Strategy<Value = Vec<(u64, Arrival)>> {
    let arrival = prop_oneof![
        3 => Just(Arrival::Packet),
        3 => (1..2 * HEARD_BYTES_MIN).prop_map(Arrival::Part),
        2 => Just(Arrival::AnsweredByKernel),
    ];
    proptest::collection::vec((0..PATIENCE_MILLIS + 2_000, arrival), 0..40)
}

proptest! {
    /// The timers are called at each deadline, and at random instants besides.
    #[test]
    fn a_client_expires_at_one_and_a_half_keep_alives_of_silence_and_never_before(
        arrivals in arrivals(),
        early_calls in any::<bool>(),
    ) {
        let (mut connection, mut session) = accepted();
        let (mut now, mut heard, mut kernel) = (NOW, NOW, NEVER);
        // As the model has it: bytes of the large packet, once it has begun.
        let mut unheard = None;
        let silence = (u64::MAX / 2_000_000, Arrival::Packet);
        for (gap_millis, arrival) in arrivals.into_iter().chain([silence]) {
            let next = now.after_millis(gap_millis);
            if early_calls && next < heard.max(kernel).after_millis(PATIENCE_MILLIS) {
                prop_assert_eq!(connection.handle_timeout(next, kernel), Timeout::Alive);
            }
            while let Some(deadline) = connection.poll_timeout().filter(|at| *at <= next) {
                let silent_at = heard.max(kernel).after_millis(PATIENCE_MILLIS);
                if connection.handle_timeout(deadline, kernel) == Timeout::Expired {
                    prop_assert_eq!(deadline, silent_at);
                    return Ok(());
                }
                prop_assert!(deadline < silent_at);
                prop_assert!(connection.poll_timeout() > Some(deadline), "time goes on");
            }
            prop_assert!(next < heard.max(kernel).after_millis(PATIENCE_MILLIS));
            now = next;
            match (arrival, &mut unheard) {
                (Arrival::AnsweredByKernel, _) => kernel = now,
                (Arrival::Packet, None) => {
                    arrive(&mut connection, &mut session, PUBLISH, now);
                    heard = now;
                }
                (Arrival::Packet | Arrival::Part(_), unheard) => {
                    let begins = unheard.is_none();
                    let rest = if let Arrival::Part(len) = arrival { len } else { PUBLISH.len() };
                    let bytes = [if begins { LARGE_PUBLISH } else { &[] }, &vec![0; rest]].concat();
                    arrive(&mut connection, &mut session, &bytes, now);
                    let sum = unheard.unwrap_or(0) + bytes.len();
                    let is_good_part = sum >= HEARD_BYTES_MIN;
                    if is_good_part {
                        heard = now;
                    }
                    *unheard = Some(if is_good_part { 0 } else { sum });
                }
            }
        }
        prop_assert!(false, "a client that says nothing for ever expires");
    }
}
