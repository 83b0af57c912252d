//! The outbox and its limits. Flows are tested through `Connection`, in the conformance tests.

use std::mem::size_of;
use std::sync::Arc;

use super::super::delivery::Delivery;
use super::super::outbox::Left;
use super::super::owed::{Filing, SessionChange};
use super::super::{Connection, Limits, OutboxFull};
use super::*;
use crate::broker::{
    Held, Member, MemoryBudget, Message, Shares, SubscriptionId, SubscriptionOptions, TopicFilter,
    TopicName, Via,
};

fn delivery(qos: QoS, payload_len: usize) -> Delivery {
    let message = Message {
        topic: TopicName::parse("t", 8).expect("valid"),
        payload: vec![0; payload_len].into(),
        qos,
        retain: false,
        properties: None,
        expires_at: None,
        held: Held::default(),
    };
    Delivery { message: Arc::new(message), qos, retain: false, via: Via::default() }
}

fn unlimited() -> Arc<MemoryBudget> {
    MemoryBudget::new(u64::MAX)
}

/// What each message weighs beside topic and payload.
const OWN: u64 = Message::OWN_BYTES as u64;

fn limits(outbox_messages_max: u32, outbox_bytes_max: u64) -> Limits {
    Limits { outbox_messages_max, outbox_bytes_max, ..Limits::default() }
}

fn outbox_qos(session: &Session) -> Vec<QoS> {
    let outbox = session.outbox.as_ref().expect("something is owed");
    outbox.queued().map(|owed| owed.delivery.qos).collect()
}

/// The counters agree with what they count, nothing being inflight.
fn check(session: &Session) {
    let Some(outbox) = &session.outbox else { return };
    let bytes = |qos0: bool| {
        let counts = |delivery: &&Delivery| !qos0 || delivery.qos == QoS::AtMostOnce;
        let all = outbox.queued().map(|owed| &owed.delivery);
        all.filter(counts).map(Delivery::size).sum::<u64>()
    };
    assert_eq!(outbox.counted_bytes(), (bytes(false), bytes(true)));
}

#[test]
fn idle_session_and_connection_cost_at_most_250_bytes() {
    let client_id_heap = 12usize.next_multiple_of(16) + 8;
    let total = size_of::<Connection>() + size_of::<Session>() + client_id_heap;
    assert!(total <= 250, "{total} bytes");
    assert!(size_of::<Connection>() <= 120, "{} bytes", size_of::<Connection>());
    assert!(size_of::<Session>() <= 72, "{} bytes", size_of::<Session>());
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
        session.deliver(delivery(QoS::AtMostOnce, 1), false, Filing::Never, &limits, &unlimited()),
        Delivered::Dropped
    );
    assert!(session.outbox.is_none(), "nor does it cost memory");
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 1), false, Filing::Never, &limits, &unlimited()),
        Delivered::Queued
    );
    assert_eq!(session.owed(), 1);
}

#[test]
fn full_outbox_drops_at_most_once_and_overflows_for_the_rest() {
    let mut session = Session::new("c", 60);
    let limits = limits(2, 1 << 20);
    for _ in 0..2 {
        let delivered = session.deliver(
            delivery(QoS::ExactlyOnce, 1),
            true,
            Filing::Never,
            &limits,
            &unlimited(),
        );
        assert_eq!(delivered, Delivered::Queued);
    }
    assert_eq!(
        session.deliver(delivery(QoS::AtMostOnce, 1), true, Filing::Never, &limits, &unlimited()),
        Delivered::Dropped
    );
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 1), true, Filing::Never, &limits, &unlimited()),
        Delivered::Overflow
    );
    for (outbox_full, expected) in
        [(OutboxFull::DropNewest, Delivered::Dropped), (OutboxFull::Refuse, Delivered::Refused)]
    {
        let limits = Limits { outbox_full, ..limits.clone() };
        let delivered = session.deliver(
            delivery(QoS::AtLeastOnce, 1),
            false,
            Filing::Never,
            &limits,
            &unlimited(),
        );
        assert_eq!(delivered, expected);
    }
    assert_eq!(session.owed(), 2);
}

#[test]
fn a_full_outbox_of_an_absent_client_drops_its_oldest_and_no_more_than_needed() {
    let mut session = Session::new("c", 60);
    let limits = limits(3, 3 * OWN + 303);
    let mut deliver = |len| {
        session.deliver(
            delivery(QoS::AtLeastOnce, len),
            false,
            Filing::Never,
            &limits,
            &unlimited(),
        )
    };
    for len in [1, 2, 3] {
        assert_eq!(deliver(len), Delivered::Queued);
    }
    assert_eq!(deliver(4), Delivered::QueuedDropping(1), "by number");
    assert_eq!(deliver(299), Delivered::QueuedDropping(2), "by bytes");
    // One that is larger than all of them may be is taken alone.
    assert_eq!(deliver(5_000), Delivered::QueuedDropping(2));
    let outbox = session.outbox.as_ref().expect("something is owed");
    let lens: Vec<usize> =
        outbox.queued().map(|owed| owed.delivery.message.payload.len()).collect();
    assert_eq!(lens, [5_000]);
    check(&session);
}

#[test]
fn queued_at_most_once_makes_room_oldest_first_and_no_more_than_needed() {
    let mut session = Session::new("c", 60);
    let limits = limits(100, 3 * OWN + 303);
    for (qos, len) in [(QoS::AtMostOnce, 99), (QoS::AtLeastOnce, 99), (QoS::AtMostOnce, 99)] {
        assert_eq!(
            session.deliver(delivery(qos, len), true, Filing::Never, &limits, &unlimited()),
            Delivered::Queued
        );
    }
    let delivered =
        session.deliver(delivery(QoS::ExactlyOnce, 99), true, Filing::Never, &limits, &unlimited());
    assert_eq!(delivered, Delivered::QueuedDropping(1));
    assert_eq!(outbox_qos(&session), [QoS::AtLeastOnce, QoS::AtMostOnce, QoS::ExactlyOnce]);
    check(&session);
    // All QoS 0 messages together would not make room: none goes.
    let delivered = session.deliver(
        delivery(QoS::ExactlyOnce, 250),
        true,
        Filing::Never,
        &limits,
        &unlimited(),
    );
    assert_eq!(delivered, Delivered::Overflow);
    assert_eq!(session.owed(), 3);
    check(&session);
}

#[test]
fn session_owed_nothing_takes_even_a_message_over_its_limit() {
    let mut session = Session::new("c", 60);
    let limits = limits(10, OWN + 50);
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 99), true, Filing::Never, &limits, &unlimited()),
        Delivered::Queued
    );
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 1), true, Filing::Never, &limits, &unlimited()),
        Delivered::Overflow
    );
}

#[test]
fn what_is_unacknowledged_counts_against_the_outbox_until_acknowledged() {
    let mut session = Session::new("c", 60);
    let limits = limits(1, 1 << 20);
    session.deliver(delivery(QoS::AtLeastOnce, 1), true, Filing::Never, &limits, &unlimited());
    let Some(Next::Publish { packet_id, .. }) = session.next(10, |_, _, _| SendOutcome::Sent)
    else {
        panic!("nothing to send")
    };
    assert!(!session.has_outbox());
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 1), true, Filing::Never, &limits, &unlimited()),
        Delivered::Overflow
    );
    session.acknowledge(packet_id, false).expect("known");
    assert!(session.outbox.is_none(), "settled sessions own nothing");
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 1), true, Filing::Never, &limits, &unlimited()),
        Delivered::Queued
    );
}

#[test]
fn end_of_connection_forgets_at_most_once_and_what_expired_unsent() {
    let mut session = Session::new("c", 60);
    let limits = Limits::default();
    let mut expiring = delivery(QoS::AtLeastOnce, 1);
    Arc::get_mut(&mut expiring.message).expect("alone").expires_at = Some(Monotonic(10));
    session.deliver(delivery(QoS::AtMostOnce, 1), true, Filing::Never, &limits, &unlimited());
    session.deliver(expiring, true, Filing::Never, &limits, &unlimited());
    session.deliver(delivery(QoS::ExactlyOnce, 1), true, Filing::Never, &limits, &unlimited());
    assert_eq!(session.connection_ended(Monotonic(10)), Forgotten { at_most_once: 1, expired: 1 });
    assert_eq!(outbox_qos(&session), [QoS::ExactlyOnce]);
    check(&session);
}

/// [MQTT-4.4.0-1]
#[test]
fn a_release_is_owed_on_the_next_connection_though_nothing_is_on_disk() {
    let mut session = Session::new("c", 60);
    session.deliver(
        delivery(QoS::ExactlyOnce, 1),
        true,
        Filing::Never,
        &Limits::default(),
        &unlimited(),
    );
    assert!(session.next(10, |_, _, _| SendOutcome::Sent).is_some());
    session.receive(1, false).expect("PUBREC for what was sent");
    session.connection_ended(Monotonic(1));
    session.restart();
    assert_eq!(session.begin_page(&unlimited()), None);
    let next = session.next(10, |_, _, _| SendOutcome::Sent);
    assert!(matches!(next, Some(Next::Release(1))), "{next:?}");
}

#[test]
fn packet_ids_go_round_without_zero_and_wait_for_one_in_use() {
    let mut session = Session::new("c", 60);
    let limits = Limits::default();
    let send = |session: &mut Session| {
        session.deliver(delivery(QoS::AtLeastOnce, 1), true, Filing::Never, &limits, &unlimited());
        match session.next(10, |_, _, _| SendOutcome::Sent) {
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
    session.acknowledge(u16::MAX, false).expect("inflight");
    assert!(session.has_next(10));
    let next = session.next(10, |_, _, _| SendOutcome::Sent);
    assert!(matches!(next, Some(Next::Publish { packet_id: u16::MAX, .. })), "{next:?}");
}

#[test]
fn rejected_messages_are_owed_no_longer() {
    let mut session = Session::new("c", 60);
    let limits = limits(10, 2 * OWN + 120);
    for qos in [QoS::AtLeastOnce, QoS::AtMostOnce] {
        session.deliver(delivery(qos, 50), true, Filing::Never, &limits, &unlimited());
    }
    assert!(session.next(10, |_, _, _| SendOutcome::Dropped).is_none());
    session.tidy();
    assert!(session.outbox.is_none());
    session.deliver(delivery(QoS::AtLeastOnce, 50), true, Filing::Never, &limits, &unlimited());
    session.deliver(delivery(QoS::AtLeastOnce, 50), true, Filing::Never, &limits, &unlimited());
    session.next(10, |delivery, _, _| match delivery.message.payload.is_empty() {
        true => SendOutcome::Sent,
        false => SendOutcome::Dropped,
    });
    session.deliver(delivery(QoS::AtLeastOnce, 50), true, Filing::Never, &limits, &unlimited());
    assert_eq!(
        session.deliver(delivery(QoS::AtLeastOnce, 50), true, Filing::Never, &limits, &unlimited()),
        Delivered::Queued
    );
    check(&session);
}

/// A message that came by the shared subscription of that name.
fn shared(name: &str, qos: QoS, payload_len: usize) -> Delivery {
    let shares = Shares::default();
    let filter = TopicFilter::parse(&format!("$share/{name}/t"), 8).expect("valid");
    let member = Member { shard: 0, session: 0 };
    shares.join(&filter, member, SubscriptionOptions::default(), true);
    let via = Via::Share(shares.find(&filter).expect("joined"), None);
    Delivery { via, ..delivery(qos, payload_len) }
}

/// Payload lengths, by which these tests know messages, of what is left to others.
fn take_left(session: &mut Session) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Some(message) = session.left_mut().and_then(Left::take) {
        lengths.push(message.delivery.message.payload.len());
    }
    session.tidy_left();
    lengths
}

/// [MQTT5 4.8.2] [MQTT-4.8.2-5]
#[test]
fn a_session_that_ends_gives_others_what_no_one_else_may_have_got() {
    let (zero, one, two) = (QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce);
    let mut session = Session::new("c", 60);
    let limits = Limits::default();
    // Sent: of a share at QoS 1 and 2, the latter up to PUBREC too, and of the session's own.
    let sent = [shared("g", one, 1), shared("g", two, 2), shared("g", two, 3), delivery(one, 4)];
    // Never sent, since the window is full.
    let waiting = [
        shared("g", one, 5),
        delivery(one, 6),
        shared("h", two, 7),
        shared("h", zero, 8),
        shared("g", one, 9),
    ];
    for delivery in sent.into_iter().chain(waiting) {
        assert_eq!(
            session.deliver(delivery, true, Filing::Never, &limits, &unlimited()),
            Delivered::Queued
        );
    }
    for _ in 0..4 {
        assert!(session.next(4, |_, _, _| SendOutcome::Sent).is_some());
    }
    session.receive(3, false).expect("PUBREC for what was sent");
    let left = TopicFilter::parse("$share/h/t", 8).expect("valid");
    session.leave_shared(false, |filter| *filter == left);
    assert_eq!(take_left(&mut session), [7]);
    session.leave_shared(true, |_| true);
    assert_eq!(take_left(&mut session), [1, 5, 9], "in their order");
    session.leave_shared(true, |_| true);
    assert!(!session.has_left());
    // What is left: 2 and 3 under way, 4, 6 and 8.
    assert_eq!(session.owed(), 5);
    let outbox = session.outbox.as_deref().expect("owed");
    assert_eq!(outbox.counted_bytes().0, [2, 4, 6, 8].iter().map(|len| OWN + len + 1).sum::<u64>());
}

#[test]
fn what_is_taken_away_from_a_session_costs_it_nothing_any_more() {
    let mut session = Session::new("c", 60);
    let limits = Limits { outbox_messages_max: 2, ..Limits::default() };
    for _ in 0..2 {
        session.deliver(
            shared("g", QoS::AtLeastOnce, 1),
            true,
            Filing::Never,
            &limits,
            &unlimited(),
        );
    }
    assert!(session.next(1, |_, _, _| SendOutcome::Sent).is_some());
    assert!(!session.has_room(&delivery(QoS::AtLeastOnce, 1), true, &limits, &unlimited()));
    session.leave_shared(true, |_| true);
    assert!(session.has_room(&delivery(QoS::AtLeastOnce, 1), true, &limits, &unlimited()));
    assert_eq!(take_left(&mut session).len(), 2);
    assert!(session.outbox.is_none());
    assert!(session.has_room(&delivery(QoS::AtLeastOnce, 1), true, &limits, &unlimited()));
}

#[test]
fn room_is_what_deliver_would_find() {
    let outbox_full = OutboxFull::DropNewest;
    let limits = Limits { outbox_messages_max: 2, outbox_full, ..Limits::default() };
    for connected in [false, true] {
        for first in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for queued in 0..3 {
                    let mut session = Session::new("c", 60);
                    for _ in 0..queued {
                        session.deliver(
                            delivery(first, 1),
                            connected,
                            Filing::Never,
                            &limits,
                            &unlimited(),
                        );
                    }
                    let room =
                        session.has_room(&delivery(qos, 1), connected, &limits, &unlimited());
                    let delivered = session.deliver(
                        delivery(qos, 1),
                        connected,
                        Filing::Never,
                        &limits,
                        &unlimited(),
                    );
                    let taken =
                        matches!(delivered, Delivered::Queued | Delivered::QueuedDropping(_));
                    assert_eq!(room, taken, "{connected} {first:?} {qos:?} {queued}");
                }
            }
        }
    }
}

/// On disk it may be known all the same: an earlier removal may have failed.
#[test]
fn a_release_is_written_down_whether_or_not_its_id_is_known() {
    let mut session = Session::durable("c", 60);
    assert!(!session.release(7));
    assert_eq!(session.take_changes(), [SessionChange::EndExactlyOnce(7)]);
    session.begin_exactly_once(7);
    assert!(session.release(7));
    assert_eq!(session.take_changes(), [SessionChange::EndExactlyOnce(7)]);
    assert!(session.outbox.is_none());
    let mut session = Session::new("c", 60);
    assert!(!session.release(7));
    assert!(session.take_changes().is_empty() && session.outbox.is_none());
}

/// The note of it may come behind the removal that the release asked for.
#[test]
fn an_id_released_before_its_publish_is_routed_is_not_left_on_disk() {
    let mut session = Session::durable("c", 60);
    session.begin_exactly_once(7);
    assert!(session.release(7));
    session.take_changes();
    assert!(!session.routed_exactly_once(7, false));
    assert_eq!(session.take_changes(), [SessionChange::EndExactlyOnce(7)]);
    session.begin_exactly_once(8);
    assert!(session.routed_exactly_once(8, false));
    assert!(session.take_changes().is_empty());
}

#[test]
fn a_session_without_a_user_pays_nothing_for_those_that_have_one() {
    assert_eq!(size_of::<SessionName>(), size_of::<Box<str>>());
    let session = Session::new("c", 60).of_user(Some("u"));
    assert_eq!((session.client_id(), session.user()), ("c", Some("u")));
    assert_eq!(Session::new("c", 60).of_user(None).user(), None);
}

#[test]
fn identifiers_of_overlapping_subscriptions_count_against_the_outbox() {
    let many = |count: u32| -> Delivery {
        let ids = (1..=count).filter_map(SubscriptionId::new);
        Delivery { via: ids.collect(), ..delivery(QoS::AtLeastOnce, 1) }
    };
    let own = OWN + 2;
    assert_eq!(many(1).size(), own, "one lies in the delivery");
    assert!(many(1_000).size() >= own + 4_000);
    let limits = limits(100, 2 * many(1_000).size());
    let mut session = Session::new("c", 60);
    for expected in [Delivered::Queued, Delivered::Queued, Delivered::Overflow] {
        assert_eq!(
            session.deliver(many(1_000), true, Filing::Never, &limits, &unlimited()),
            expected
        );
    }
    check(&session);
}
