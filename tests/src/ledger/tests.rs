//! Every fault that the ledger is there to find, and histories that look like one and are none: here what concerns whole
//! histories, and what the tests of its parts make them of.

use super::*;
use crate::wire::{PUBCOMP, PUBREC, Version};

pub(super) const ID: MessageId = MessageId { publisher: 0, number: 0 };

pub(super) fn ledger() -> Ledger {
    let mut ledger = Ledger::new(&["one", "other"]);
    ledger.begin_round(1);
    ledger.begin_connection(0, 1);
    ledger.begin_connection(1, 1);
    ledger
}

pub(super) fn id(number: u32) -> MessageId {
    MessageId { number, ..ID }
}

pub(super) fn live(topic: &str, qos: u8) -> Publication {
    Publication { topic: topic.into(), qos, retain: false, empty: false, expiry_secs: None }
}

pub(super) fn retained(qos: u8, empty: bool) -> Publication {
    Publication { topic: "r/0".into(), qos, retain: true, empty, expiry_secs: None }
}

pub(super) fn subscribe(ledger: &mut Ledger, filter: &str, qos: u8) {
    ledger.subscribing(0, filter, qos);
    ledger.subscribed(0, filter, qos);
}

pub(super) fn unsubscribe(ledger: &mut Ledger, filter: &str) {
    ledger.unsubscribing(0, filter);
    ledger.unsubscribed(0, filter);
}

/// Published and acknowledged to the end.
pub(super) fn publish(ledger: &mut Ledger, id: MessageId, what: &Publication) {
    ledger.publishing(id, what);
    ledger.acknowledged(id);
    ledger.completed(id);
}

/// As it comes first.
pub(super) fn came(id: MessageId, topic: &str, qos: u8) -> Delivery<'_> {
    let packet_id = if qos == 0 { 0 } else { 7 };
    Delivery { id: Some(id), topic, qos, retain: false, dup: false, packet_id }
}

pub(super) fn deliver(ledger: &mut Ledger, id: MessageId, topic: &str, qos: u8) {
    ledger.delivered(0, &came(id, topic, qos));
    if qos == 2 {
        ledger.released(0, 7);
    }
}

#[track_caller]
pub(super) fn assert_fault(ledger: &mut Ledger, words: &str) {
    ledger.settle();
    let found = ledger.faults().iter().filter(|fault| fault.contains(words)).count();
    assert_eq!(found, 1, "{words:?} in {:#?}", ledger.faults());
    assert_eq!(ledger.faults().len(), 1, "{:#?}", ledger.faults());
}

#[track_caller]
pub(super) fn assert_good(ledger: &mut Ledger) {
    assert_eq!(ledger.missing(), 0);
    ledger.settle();
    assert!(ledger.faults().is_empty(), "{:#?}", ledger.faults());
}

#[test]
fn filters_match_as_the_specification_says() {
    for (filter, topic, expected) in [
        ("t/#", "t/0/a", true),
        ("t/#", "t", true),
        ("t/+", "t/0/a", false),
        ("t/+/a", "t/0/a", true),
        ("t/+/a", "t/0/b", false),
        ("t/0/a", "t/0/a", true),
        ("t/0", "t/0/a", false),
        ("t/0/a/+", "t/0/a", false),
        ("+/+/+", "t/0/a", true),
        ("#", "t/0/a", true),
    ] {
        assert_eq!(filter_matches(filter, topic), expected, "{filter} {topic}");
    }
}

#[test]
fn a_message_that_came_as_promised_is_good() {
    for (published, asked) in [(0, 2), (1, 1), (2, 2), (2, 1), (1, 2), (2, 0)] {
        let mut ledger = ledger();
        subscribe(&mut ledger, "t/#", asked);
        publish(&mut ledger, ID, &live("t/0", published));
        deliver(&mut ledger, ID, "t/0", published.min(asked));
        assert_good(&mut ledger);
        assert_eq!(ledger.counts().delivered, 1);
    }
}

#[test]
fn an_acknowledged_message_that_never_came_is_lost() {
    for qos in [1, 2] {
        let mut ledger = ledger();
        subscribe(&mut ledger, "t/+", 2);
        publish(&mut ledger, ID, &live("t/0", qos));
        assert_eq!(ledger.missing(), 1);
        assert_fault(&mut ledger, "one: lost: message 0 of publisher 0");
    }
}

#[test]
fn nothing_is_promised_without_both_acknowledgements() {
    // SUBACK after the PUBLISH.
    let mut one = ledger();
    one.subscribing(0, "t/+", 1);
    one.publishing(ID, &live("t/0", 1));
    one.subscribed(0, "t/+", 1);
    one.acknowledged(ID);
    one.completed(ID);
    assert_good(&mut one);
    // UNSUBSCRIBE before PUBACK.
    let mut one = ledger();
    subscribe(&mut one, "t/+", 1);
    one.publishing(ID, &live("t/0", 1));
    one.unsubscribing(0, "t/+");
    one.acknowledged(ID);
    one.completed(ID);
    one.unsubscribed(0, "t/+");
    assert_good(&mut one);
    // Refused.
    let mut one = ledger();
    subscribe(&mut one, "t/+", 1);
    one.publishing(ID, &live("t/0", 1));
    one.refused(ID, 0x97);
    assert_good(&mut one);
}

#[test]
fn unsubscribing_after_puback_takes_nothing_away() {
    let mut ledger = ledger();
    subscribe(&mut ledger, "t/+", 1);
    publish(&mut ledger, ID, &live("t/0", 1));
    unsubscribe(&mut ledger, "t/+");
    assert_fault(&mut ledger, "lost");
}

#[test]
fn a_flow_without_its_last_acknowledgement_is_incomplete() {
    let mut one = ledger();
    one.publishing(ID, &live("t/0", 1));
    assert_fault(&mut one, "no PUBACK or PUBREC");
    let mut one = ledger();
    one.publishing(ID, &live("t/0", 2));
    one.acknowledged(ID);
    assert_fault(&mut one, "no PUBCOMP");
    let mut one = ledger();
    subscribe(&mut one, "t/+", 2);
    publish(&mut one, ID, &live("t/0", 2));
    one.delivered(0, &came(ID, "t/0", 2));
    assert_fault(&mut one, "one: no PUBREL for packet id 7");
}

#[test]
fn a_promised_session_must_be_there() {
    let mut one = ledger();
    one.connected("one", true, false);
    one.connected("one", false, false);
    assert!(one.faults().is_empty(), "nothing was promised yet");
    subscribe(&mut one, "t/+", 1);
    one.connected("one", false, true);
    one.connected("one", false, false);
    one.session_lost(0);
    assert_fault(&mut one, "its session is gone");
    let mut one = ledger();
    one.connected("one", true, true);
    assert_fault(&mut one, "after a clean start");
}

#[test]
fn settled_messages_are_forgotten_but_not_their_uniqueness() {
    let settled = || {
        let mut ledger = ledger();
        subscribe(&mut ledger, "t/+", 2);
        for (number, qos) in [(0, 1), (1, 2)] {
            publish(&mut ledger, id(number), &live("t/0", qos));
            deliver(&mut ledger, id(number), "t/0", qos);
        }
        assert_good(&mut ledger);
        assert!(ledger.messages.is_empty());
        ledger.begin_connection(0, 2);
        ledger
    };
    let mut one = settled();
    one.delivered(0, &Delivery { dup: true, ..came(ID, "t/0", 1) });
    assert_good(&mut one);
    let mut one = settled();
    one.delivered(0, &Delivery { dup: true, ..came(id(1), "t/0", 2) });
    one.released(0, 7);
    assert_fault(&mut one, "again after all was settled");
}

/// The disk may have had the packet id all the same.
#[test]
fn a_message_may_be_lost_that_is_repeated_under_an_id_refused_before_a_crash() {
    for crashes in [true, false] {
        let mut one = ledger();
        subscribe(&mut one, "t", 2);
        let mut flows = Flows::new(Version::V5, 1);
        let (refused, repeated) = (ID, id(1));
        flows.publish(&mut one, refused, live("t", 2), Vec::new());
        flows.acknowledged(&mut one, "publisher", (PUBREC, 1, 0x83));
        if crashes {
            one.begin_round(2);
            one.begin_connection(0, 2);
        }
        flows.publish(&mut one, repeated, live("t", 2), Vec::new());
        flows.resume(&mut one, true, |_| {});
        flows.acknowledged(&mut one, "publisher", (PUBREC, 1, 0));
        flows.acknowledged(&mut one, "publisher", (PUBCOMP, 1, 0));
        match crashes {
            true => assert_good(&mut one),
            false => assert_fault(&mut one, "lost"),
        }
    }
}

#[test]
fn few_faults_are_told_and_the_rest_counted() {
    let mut one = ledger();
    (0..30).for_each(|number| one.fault(number));
    assert_eq!((one.faults().len(), one.faults_untold()), (FAULTS_TOLD_MAX, 10));
    assert!(one.faults()[3].contains("round 1: 3"));
}
