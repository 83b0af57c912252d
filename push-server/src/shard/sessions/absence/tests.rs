//! Tests of `absence`.

use super::*;
use crate::broker::{Held, Message, QoS, TopicName};
use crate::shard::sessions::{Entry, Presence};

const NOW: Monotonic = Monotonic(5_000_000_000);

fn pending(delay_secs: u32) -> Option<Box<PendingWill>> {
    let message = Message {
        topic: TopicName::parse("will", 8).expect("valid"),
        payload: "gone".into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        expires_at: None,
        held: Held::default(),
    };
    let will = Will { message, delay_secs, message_expiry_secs: Some(9), charge: None };
    Some(Box::new(will.pending(NOW)))
}

fn secs_later(secs: u64) -> Monotonic {
    NOW.after_millis(secs * 1_000)
}

/// [MQTT-3.1.3-9]
#[test]
fn will_is_due_after_its_delay_and_once() {
    let mut absence = Absence::new(60, pending(10), NOW);
    assert_eq!(absence.next_deadline(), Some(secs_later(10)));
    assert!(absence.take_due_will(Monotonic(secs_later(10).0 - 1)).is_none());
    let message = absence.take_due_will(secs_later(11)).expect("due").into_message(secs_later(11));
    assert_eq!(message.expires_at, Some(secs_later(20)), "expiry begins with publication");
    assert!(absence.take_due_will(secs_later(12)).is_none());
    assert_eq!(absence.next_deadline(), Some(secs_later(60)), "the session's end is left");
}

/// [MQTT5 3.1.3.2.2]: the session ends, whatever is left of the delay.
#[test]
fn the_sessions_end_comes_first_where_the_delay_is_longer() {
    let mut absence = Absence::new(60, pending(u32::MAX), NOW);
    assert_eq!(absence.next_deadline(), Some(secs_later(60)));
    assert!(!absence.is_over(secs_later(59)) && absence.is_over(secs_later(60)));
    assert!(absence.take_due_will(secs_later(60)).is_none());
    assert!(absence.will.is_some());
}

#[test]
fn a_restart_does_not_prolong_an_absence() {
    let clocks = Clocks { monotonic: NOW, wall: WallMillis(1_000_000) };
    let absence = Absence::resumed(60, 45_000, pending(10), NOW);
    assert!(!absence.is_over(secs_later(14)) && absence.is_over(secs_later(15)));
    assert_eq!(absence.begun(60, clocks), WallMillis(1_000_000 - 45_000));
    assert!(Absence::resumed(60, u64::MAX, None, NOW).is_over(NOW));
    assert!(!Absence::resumed(u32::MAX, u64::MAX, None, NOW).is_over(NOW));
}

#[test]
fn an_endless_session_waits_for_its_will_only() {
    let mut absence = Absence::new(u32::MAX, pending(10), NOW);
    assert_eq!(absence.next_deadline(), Some(secs_later(10)));
    assert!(absence.take_due_will(secs_later(10)).is_some());
    assert_eq!(absence.next_deadline(), None);
    assert!(!absence.is_over(Monotonic(u64::MAX)));
}

#[test]
fn a_session_costs_no_more_for_being_absent() {
    assert!(size_of::<Presence>() <= 24, "{} bytes", size_of::<Presence>());
    assert!(size_of::<Entry>() <= 104, "{} bytes", size_of::<Entry>());
}
