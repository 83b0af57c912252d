//! The outbox and its limits. Flows are tested through `Connection`, in the conformance tests.

use std::mem::size_of;

use super::super::Connection;
use super::*;
use crate::broker::{TopicName, Via};

fn delivery(qos: QoS, payload_len: usize) -> Delivery {
    let message = Message {
        topic: TopicName::parse("t", 8).expect("valid"),
        payload: vec![0; payload_len].into(),
        qos,
        retain: false,
        properties: None,
        expires_at: None,
    };
    Delivery { message: Arc::new(message), qos, retain: false, via: Via::default() }
}

fn limits(outbox_messages_max: u32, outbox_bytes_max: u64) -> Limits {
    Limits { outbox_messages_max, outbox_bytes_max, ..Limits::default() }
}

fn outbox_qos(session: &Session) -> Vec<QoS> {
    let pending = session.pending.as_ref().expect("something is pending");
    pending.in_memory().map(|owed| owed.delivery.qos).collect()
}

/// The counters agree with what they count, nothing being inflight.
fn check(session: &Session) {
    let Some(pending) = &session.pending else { return };
    let bytes = |qos0: bool| {
        let counts = |delivery: &&Delivery| !qos0 || delivery.qos == QoS::AtMostOnce;
        let all = pending.in_memory().map(|owed| &owed.delivery);
        all.filter(counts).map(Delivery::size).sum::<u64>()
    };
    assert_eq!(pending.counted_bytes(), (bytes(false), bytes(true)));
}

#[test]
fn idle_session_and_connection_cost_at_most_250_bytes() {
    let client_id_heap = 12usize.next_multiple_of(16) + 8;
    let total = size_of::<Connection>() + size_of::<Session>() + client_id_heap;
    assert!(total <= 250, "{total} bytes");
    assert!(size_of::<Connection>() <= 112, "{} bytes", size_of::<Connection>());
    assert!(size_of::<Session>() <= 64, "{} bytes", size_of::<Session>());
}

#[test]
fn a_message_owed_costs_at_most_32_bytes_beside_the_message() {
    assert!(size_of::<Delivery>() <= 32, "{} bytes", size_of::<Delivery>());
}

#[test]
fn at_most_once_is_not_queued_for_the_absent() {
    let mut session = Session::new("c", 60);
    let limits = Limits::default();
    assert_eq!(
        session.deliver(delivery(QoS::AtMostOnce, 1), false, Filing::Never, &limits),
        Delivered::Dropped
    );
    assert!(session.pending.is_none(), "nor does it cost memory");
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 1), false, Filing::Never, &limits),
        Delivered::Queued
    );
    assert_eq!(session.owed(), 1);
}

#[test]
fn full_outbox_drops_at_most_once_and_overflows_for_the_rest() {
    let mut session = Session::new("c", 60);
    let limits = limits(2, 1 << 20);
    for _ in 0..2 {
        let delivered =
            session.deliver(delivery(QoS::ExactlyOnce, 1), true, Filing::Never, &limits);
        assert_eq!(delivered, Delivered::Queued);
    }
    assert_eq!(
        session.deliver(delivery(QoS::AtMostOnce, 1), true, Filing::Never, &limits),
        Delivered::Dropped
    );
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 1), true, Filing::Never, &limits),
        Delivered::Overflow
    );
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 1), false, Filing::Never, &limits),
        Delivered::Dropped
    );
    assert_eq!(session.owed(), 2);
}

#[test]
fn queued_at_most_once_makes_room_oldest_first_and_no_more_than_needed() {
    let mut session = Session::new("c", 60);
    let limits = limits(100, 303);
    for (qos, len) in [(QoS::AtMostOnce, 99), (QoS::AtLeastOnce, 99), (QoS::AtMostOnce, 99)] {
        assert_eq!(
            session.deliver(delivery(qos, len), true, Filing::Never, &limits),
            Delivered::Queued
        );
    }
    let delivered = session.deliver(delivery(QoS::ExactlyOnce, 99), true, Filing::Never, &limits);
    assert_eq!(delivered, Delivered::QueuedDropping(1));
    assert_eq!(outbox_qos(&session), [QoS::AtLeastOnce, QoS::AtMostOnce, QoS::ExactlyOnce]);
    check(&session);
    // All QoS 0 messages together would not make room: none goes.
    let delivered = session.deliver(delivery(QoS::ExactlyOnce, 250), true, Filing::Never, &limits);
    assert_eq!(delivered, Delivered::Overflow);
    assert_eq!(session.owed(), 3);
    check(&session);
}

#[test]
fn session_owed_nothing_takes_even_a_message_over_its_limit() {
    let mut session = Session::new("c", 60);
    let limits = limits(10, 50);
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 99), true, Filing::Never, &limits),
        Delivered::Queued
    );
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 1), true, Filing::Never, &limits),
        Delivered::Overflow
    );
}

#[test]
fn what_is_unacknowledged_counts_against_the_outbox_until_acknowledged() {
    let mut session = Session::new("c", 60);
    let limits = limits(1, 1 << 20);
    session.deliver(delivery(QoS::AtLeastOnce, 1), true, Filing::Never, &limits);
    let Some(Next::Publish { packet_id, .. }) = session.next(10, |_, _| true) else {
        panic!("nothing to send")
    };
    assert!(!session.has_outbox());
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 1), true, Filing::Never, &limits),
        Delivered::Overflow
    );
    session.acknowledge(packet_id).expect("known");
    assert!(session.pending.is_none(), "settled sessions own nothing");
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 1), true, Filing::Never, &limits),
        Delivered::Queued
    );
}

#[test]
fn end_of_connection_forgets_at_most_once_and_what_expired_unsent() {
    let mut session = Session::new("c", 60);
    let limits = Limits::default();
    let mut expiring = delivery(QoS::AtLeastOnce, 1);
    Arc::get_mut(&mut expiring.message).expect("alone").expires_at = Some(Monotonic(10));
    session.deliver(delivery(QoS::AtMostOnce, 1), true, Filing::Never, &limits);
    session.deliver(expiring, true, Filing::Never, &limits);
    session.deliver(delivery(QoS::ExactlyOnce, 1), true, Filing::Never, &limits);
    assert_eq!(session.connection_ended(Monotonic(10)), 2);
    assert_eq!(outbox_qos(&session), [QoS::ExactlyOnce]);
    check(&session);
}

#[test]
fn packet_ids_go_round_without_zero_and_wait_for_one_in_use() {
    let mut session = Session::new("c", 60);
    let limits = Limits::default();
    let send = |session: &mut Session| {
        session.deliver(delivery(QoS::AtLeastOnce, 1), true, Filing::Never, &limits);
        match session.next(10, |_, _| true) {
            Some(Next::Publish { packet_id, .. }) => Some(packet_id),
            _ => None,
        }
    };
    session.next_position = u64::from(u16::MAX) - 1;
    let ids: Vec<_> = (0..3).map(|_| send(&mut session)).collect();
    assert_eq!(ids, [Some(u16::MAX), Some(1), Some(2)]);
    // All others of a round are acknowledged, these are not.
    session.next_position = 2 * u64::from(u16::MAX) - 1;
    assert_eq!(send(&mut session), None, "that id is in use");
    assert!(!session.has_next(10));
    session.acknowledge(u16::MAX).expect("inflight");
    assert!(session.has_next(10));
    let next = session.next(10, |_, _| true);
    assert!(matches!(next, Some(Next::Publish { packet_id: u16::MAX, .. })), "{next:?}");
}

#[test]
fn rejected_messages_are_owed_no_longer() {
    let mut session = Session::new("c", 60);
    let limits = limits(10, 120);
    for qos in [QoS::AtLeastOnce, QoS::AtMostOnce] {
        session.deliver(delivery(qos, 50), true, Filing::Never, &limits);
    }
    assert!(session.next(10, |_, _| false).is_none());
    session.tidy();
    assert!(session.pending.is_none());
    session.deliver(delivery(QoS::AtLeastOnce, 50), true, Filing::Never, &limits);
    session.deliver(delivery(QoS::AtLeastOnce, 50), true, Filing::Never, &limits);
    session.next(10, |delivery, _| delivery.message.payload.is_empty());
    session.deliver(delivery(QoS::AtLeastOnce, 50), true, Filing::Never, &limits);
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 50), true, Filing::Never, &limits),
        Delivered::Queued
    );
    check(&session);
}
