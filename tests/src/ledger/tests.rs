//! Every fault that the ledger is there to find, and histories that look like one and are none.

use std::collections::BTreeMap;

use super::*;
use crate::wire::{PUBCOMP, PUBREC, Version};

const ID: MessageId = MessageId { publisher: 0, number: 0 };

fn ledger() -> Ledger {
    let mut ledger = Ledger::new(&["one", "other"]);
    ledger.begin_round(1);
    ledger.begin_connection(0, 1);
    ledger.begin_connection(1, 1);
    ledger
}

fn id(number: u32) -> MessageId {
    MessageId { number, ..ID }
}

fn live(topic: &str, qos: u8) -> Publication {
    Publication { topic: topic.into(), qos, retain: false, empty: false, expiry_secs: None }
}

fn retained(qos: u8, empty: bool) -> Publication {
    Publication { topic: "r/0".into(), qos, retain: true, empty, expiry_secs: None }
}

fn subscribe(ledger: &mut Ledger, filter: &str, qos: u8) {
    ledger.subscribing(0, filter, qos);
    ledger.subscribed(0, filter, qos);
}

fn unsubscribe(ledger: &mut Ledger, filter: &str) {
    ledger.unsubscribing(0, filter);
    ledger.unsubscribed(0, filter);
}

/// Published and acknowledged to the end.
fn publish(ledger: &mut Ledger, id: MessageId, what: &Publication) {
    ledger.publishing(id, what);
    ledger.acknowledged(id);
    ledger.completed(id);
}

/// As it comes first.
fn came(id: MessageId, topic: &str, qos: u8) -> Delivery<'_> {
    let packet_id = if qos == 0 { 0 } else { 7 };
    Delivery { id: Some(id), topic, qos, retain: false, dup: false, packet_id }
}

fn deliver(ledger: &mut Ledger, id: MessageId, topic: &str, qos: u8) {
    ledger.delivered(0, &came(id, topic, qos));
    if qos == 2 {
        ledger.released(0, 7);
    }
}

#[track_caller]
fn assert_fault(ledger: &mut Ledger, words: &str) {
    ledger.settle();
    let found = ledger.faults().iter().filter(|fault| fault.contains(words)).count();
    assert_eq!(found, 1, "{words:?} in {:#?}", ledger.faults());
    assert_eq!(ledger.faults().len(), 1, "{:#?}", ledger.faults());
}

#[track_caller]
fn assert_good(ledger: &mut Ledger) {
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
fn exactly_once_is_not_twice() {
    let mut one = ledger();
    subscribe(&mut one, "t/+", 2);
    publish(&mut one, ID, &live("t/0", 2));
    deliver(&mut one, ID, "t/0", 2);
    one.begin_connection(0, 2);
    one.delivered(0, &Delivery { packet_id: 8, dup: true, ..came(ID, "t/0", 2) });
    one.released(0, 8);
    assert_fault(&mut one, "exactly once, and it came 2 times");
}

#[test]
fn a_flow_under_way_may_repeat_its_publish_and_no_other() {
    let mut one = ledger();
    subscribe(&mut one, "t/+", 2);
    publish(&mut one, ID, &live("t/0", 2));
    publish(&mut one, id(1), &live("t/0", 2));
    one.delivered(0, &came(ID, "t/0", 2));
    one.begin_connection(0, 2);
    one.repeated(0, &Delivery { dup: true, ..came(ID, "t/0", 2) });
    assert!(one.faults().is_empty());
    one.repeated(0, &came(id(1), "t/0", 2));
    one.released(0, 7);
    one.delivered(0, &came(id(1), "t/0", 2));
    one.released(0, 7);
    assert_fault(&mut one, "packet id 7 is given to message 1");
}

#[test]
fn at_least_once_may_be_repeated_on_the_next_connection_only() {
    let repeat = |connection: bool, dup: bool, life: u32| {
        let mut ledger = ledger();
        subscribe(&mut ledger, "t/+", 1);
        publish(&mut ledger, ID, &live("t/0", 1));
        deliver(&mut ledger, ID, "t/0", 1);
        if connection {
            ledger.begin_connection(0, life);
        }
        ledger.delivered(0, &Delivery { dup, ..came(ID, "t/0", 1) });
        ledger
    };
    let mut good = repeat(true, true, 1);
    assert_good(&mut good);
    assert_eq!(good.counts().repeated, 1);
    // A server that was killed does not know what it had sent.
    let mut after_crash = repeat(true, false, 2);
    assert_good(&mut after_crash);
    assert_eq!(after_crash.counts().repeated_without_dup, 1);
    assert_fault(&mut repeat(true, false, 1), "without DUP");
    assert_fault(&mut repeat(false, true, 1), "on the same connection");
}

#[test]
fn a_message_is_routed_once_for_each_time_it_was_sent() {
    let routed_twice = |qos: u8, sends: u32| {
        let mut ledger = ledger();
        subscribe(&mut ledger, "t/+", 1);
        for _ in 0..sends {
            ledger.publishing(ID, &live("t/0", qos));
        }
        ledger.acknowledged(ID);
        ledger.completed(ID);
        deliver(&mut ledger, ID, "t/0", 1);
        ledger.delivered(0, &Delivery { packet_id: 9, ..came(ID, "t/0", 1) });
        ledger
    };
    assert_good(&mut routed_twice(1, 2));
    assert_fault(&mut routed_twice(1, 1), "sent 1 times");
    assert_fault(&mut routed_twice(2, 2), "routed twice");
}

#[test]
fn at_most_once_is_not_twice() {
    let mut one = ledger();
    subscribe(&mut one, "t/+", 2);
    one.publishing(ID, &live("t/0", 0));
    deliver(&mut one, ID, "t/0", 0);
    deliver(&mut one, ID, "t/0", 0);
    assert_fault(&mut one, "at most once");
}

#[test]
fn order_is_that_of_publisher_topic_and_qos() {
    let two = |topics: [&str; 2], sends: u32, subscribed_first: bool| {
        let mut ledger = ledger();
        if subscribed_first {
            subscribe(&mut ledger, "t/+", 1);
        }
        for (number, topic) in (0..).zip(topics) {
            for _ in 0..sends {
                ledger.publishing(id(number), &live(topic, 1));
            }
        }
        if !subscribed_first {
            subscribe(&mut ledger, "t/+", 1);
        }
        deliver(&mut ledger, id(1), topics[1], 1);
        ledger.delivered(0, &Delivery { packet_id: 8, ..came(ID, topics[0], 1) });
        for number in [0, 1] {
            ledger.acknowledged(id(number));
            ledger.completed(id(number));
        }
        ledger
    };
    assert_good(&mut two(["t/0", "t/1"], 1, true));
    assert_fault(&mut two(["t/0", "t/0"], 1, true), "out of order: after message 1");
    assert_fault(&mut two(["t/0", "t/0"], 2, true), "out of order");
    // Sent again, it found a subscription that it had not found before.
    assert_good(&mut two(["t/0", "t/0"], 2, false));
}

#[test]
fn at_most_once_a_message_sent_again_may_come_late() {
    let late = |sends: u32| {
        let mut ledger = ledger();
        subscribe(&mut ledger, "t/+", 0);
        for _ in 0..sends {
            ledger.publishing(ID, &live("t/0", 1));
        }
        publish(&mut ledger, id(1), &live("t/0", 1));
        ledger.acknowledged(ID);
        ledger.completed(ID);
        deliver(&mut ledger, id(1), "t/0", 0);
        deliver(&mut ledger, ID, "t/0", 0);
        ledger
    };
    assert_good(&mut late(2));
    assert_fault(&mut late(1), "out of order");
}

/// The subscription has changed between two copies.
#[test]
fn one_copy_may_come_again_at_qos_1_and_the_next_once_at_qos_0() {
    for again in [1, 2] {
        let mut one = ledger();
        subscribe(&mut one, "t/+", 1);
        one.publishing(ID, &live("t/0", 1));
        one.delivered(0, &came(ID, "t/0", 1));
        one.begin_connection(0, 1);
        one.delivered(0, &Delivery { dup: true, ..came(ID, "t/0", 1) });
        subscribe(&mut one, "t/+", 0);
        publish(&mut one, ID, &live("t/0", 1));
        (0..again).for_each(|_| one.delivered(0, &came(ID, "t/0", 0)));
        match again {
            1 => assert_good(&mut one),
            _ => assert_fault(&mut one, "at most once"),
        }
    }
}

#[test]
fn a_message_that_a_failing_disk_has_refused_may_come_behind_later_ones() {
    for may_fail in [true, false] {
        let mut one = ledger();
        subscribe(&mut one, "t/+", 1);
        if may_fail {
            one.disk_may_fail();
        }
        one.publishing(ID, &live("t/0", 1));
        one.refused(ID, 0x83);
        publish(&mut one, id(1), &live("t/0", 1));
        deliver(&mut one, id(1), "t/0", 1);
        one.begin_round(2);
        one.begin_connection(0, 2);
        one.delivered(0, &Delivery { dup: true, packet_id: 8, ..came(ID, "t/0", 1) });
        match may_fail {
            true => assert_good(&mut one),
            false => assert_fault(&mut one, "out of order"),
        }
    }
}

#[test]
fn copies_of_a_message_are_repeated_each_for_itself() {
    let mut one = ledger();
    subscribe(&mut one, "t/+", 1);
    one.publishing(ID, &live("t/0", 1));
    one.publishing(ID, &live("t/0", 1));
    one.acknowledged(ID);
    one.completed(ID);
    deliver(&mut one, ID, "t/0", 1);
    one.begin_connection(0, 1);
    one.delivered(0, &Delivery { packet_id: 8, ..came(ID, "t/0", 1) });
    one.delivered(0, &Delivery { dup: true, ..came(ID, "t/0", 1) });
    assert!(one.faults().is_empty(), "{:#?}", one.faults());
    one.delivered(0, &Delivery { packet_id: 8, dup: true, ..came(ID, "t/0", 1) });
    assert_fault(&mut one, "on the same connection");
}

#[test]
fn what_is_sent_again_comes_in_the_order_sent_but_for_copies() {
    for (qos, sends) in [(1, 1), (2, 1), (1, 2)] {
        let mut one = ledger();
        subscribe(&mut one, "t/+", 2);
        for number in [0, 1] {
            (1..sends).for_each(|_| one.publishing(id(number), &live("t/0", qos)));
            publish(&mut one, id(number), &live("t/0", qos));
        }
        let come = |number: u32, dup| Delivery {
            dup,
            packet_id: number as u16 + 1,
            ..came(id(number), "t/0", qos)
        };
        (0..2).for_each(|number| one.delivered(0, &come(number, false)));
        one.begin_connection(0, 1);
        for number in [1, 0] {
            match qos {
                2 => one.repeated(0, &come(number, true)),
                _ => one.delivered(0, &come(number, true)),
            }
        }
        (1..=2).for_each(|packet_id| one.released(0, packet_id));
        match sends {
            1 => assert_fault(&mut one, "sent again out of order"),
            _ => assert_good(&mut one),
        }
    }
}

#[test]
fn what_nobody_sent_is_invented() {
    let mut one = ledger();
    subscribe(&mut one, "t/+", 1);
    deliver(&mut one, ID, "t/0", 1);
    assert_fault(&mut one, "invented");
    let mut one = ledger();
    subscribe(&mut one, "t/+", 1);
    one.delivered(0, &Delivery { id: None, ..came(ID, "t/0", 1) });
    assert_fault(&mut one, "invented");
    let mut one = ledger();
    subscribe(&mut one, "t/+", 1);
    one.publishing(ID, &live("t/0", 0));
    deliver(&mut one, ID, "t/1", 0);
    assert_fault(&mut one, "on another topic");
}

#[test]
fn what_nobody_asked_for_must_not_come() {
    let mut one = ledger();
    publish(&mut one, ID, &live("t/0", 1));
    deliver(&mut one, ID, "t/0", 1);
    assert_fault(&mut one, "nobody asked for it");
    let mut one = ledger();
    subscribe(&mut one, "t/+", 1);
    unsubscribe(&mut one, "t/+");
    publish(&mut one, ID, &live("t/0", 1));
    deliver(&mut one, ID, "t/0", 1);
    assert_fault(&mut one, "after UNSUBACK");
    // Queued before UNSUBSCRIBE, it may come after.
    let mut one = ledger();
    subscribe(&mut one, "t/+", 1);
    publish(&mut one, ID, &live("t/0", 1));
    unsubscribe(&mut one, "t/+");
    deliver(&mut one, ID, "t/0", 1);
    assert_good(&mut one);
}

/// The server may have done what it did not get to answer.
#[test]
fn a_subscription_asked_for_again_after_a_crash_is_one_and_ends_with_the_next() {
    let mut one = ledger();
    subscribe(&mut one, "t/+", 1);
    // Its SUBACK is lost.
    one.subscribing(0, "t/+", 2);
    subscribe(&mut one, "t/+", 2);
    one.subscribing(0, "t/+", 0);
    publish(&mut one, ID, &live("t/0", 2));
    deliver(&mut one, ID, "t/0", 0);
    assert_good(&mut one);
}

#[test]
fn qos_is_what_was_granted() {
    let mut one = ledger();
    subscribe(&mut one, "t/+", 1);
    publish(&mut one, ID, &live("t/0", 2));
    deliver(&mut one, ID, "t/0", 2);
    assert_fault(&mut one, "QoS 1 was asked for at most");
    let mut one = ledger();
    subscribe(&mut one, "t/+", 1);
    subscribe(&mut one, "t/#", 2);
    publish(&mut one, ID, &live("t/0", 2));
    deliver(&mut one, ID, "t/0", 1);
    assert_fault(&mut one, "QoS 2 was granted");
    let mut one = ledger();
    one.subscribing(0, "t/+", 2);
    one.subscribed(0, "t/+", 1);
    assert_fault(&mut one, "SUBACK grants QoS 1");
}

#[test]
fn a_new_subscription_replaces_that_of_the_same_filter() {
    let mut one = ledger();
    subscribe(&mut one, "t/+", 2);
    subscribe(&mut one, "t/+", 0);
    publish(&mut one, ID, &live("t/0", 2));
    assert_good(&mut one);
    deliver(&mut one, ID, "t/0", 0);
    let mut one = ledger();
    subscribe(&mut one, "t/+", 0);
    subscribe(&mut one, "t/+", 2);
    publish(&mut one, ID, &live("t/0", 2));
    assert_fault(&mut one, "lost");
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

fn found(number: Option<u32>) -> BTreeMap<String, MessageId> {
    number.map(|number| ("r/0".to_owned(), id(number))).into_iter().collect()
}

/// Whether each of these states is accepted: nothing, messages 0, 1, 2.
fn accepted(make: impl Fn(&mut Ledger)) -> [bool; 4] {
    [None, Some(0), Some(1), Some(2)].map(|number| {
        let mut ledger = ledger();
        make(&mut ledger);
        ledger.judge_retained(&found(number));
        ledger.faults().is_empty()
    })
}

#[test]
fn retained_is_the_last_acknowledged_or_a_later_one() {
    let none = accepted(|_| ());
    assert_eq!(none, [true, false, false, false]);
    let unacknowledged = accepted(|ledger| ledger.publishing(id(0), &retained(1, false)));
    assert_eq!(unacknowledged, [true, true, false, false]);
    let last = accepted(|ledger| {
        publish(ledger, id(0), &retained(1, false));
        publish(ledger, id(1), &retained(2, false));
    });
    assert_eq!(last, [false, false, true, false]);
    let later = accepted(|ledger| {
        publish(ledger, id(0), &retained(1, false));
        publish(ledger, id(1), &retained(2, false));
        ledger.publishing(id(2), &retained(1, false));
    });
    assert_eq!(later, [false, false, true, true]);
    // Sent again behind the later one, the earlier may have replaced it.
    let again = accepted(|ledger| {
        ledger.publishing(id(0), &retained(1, false));
        ledger.publishing(id(1), &retained(1, false));
        ledger.acknowledged(id(1));
        ledger.publishing(id(0), &retained(1, false));
    });
    assert_eq!(again, [false, true, true, false]);
}

#[test]
fn a_cleared_topic_has_nothing_retained() {
    let cleared = accepted(|ledger| {
        publish(ledger, id(0), &retained(1, false));
        publish(ledger, id(1), &retained(1, true));
    });
    assert_eq!(cleared, [true, false, false, false]);
    let perhaps = accepted(|ledger| {
        publish(ledger, id(0), &retained(1, false));
        ledger.publishing(id(1), &retained(1, true));
    });
    assert_eq!(perhaps, [true, true, false, false]);
    let settled = accepted(|ledger| {
        publish(ledger, id(0), &retained(1, false));
        publish(ledger, id(1), &retained(1, true));
        ledger.settle();
    });
    assert_eq!(settled, [true, false, false, false]);
}

#[test]
fn a_retained_message_comes_to_new_subscriptions_as_often_as_they_ask() {
    let mut one = ledger();
    publish(&mut one, ID, &retained(2, false));
    subscribe(&mut one, "r/#", 2);
    one.delivered(0, &Delivery { retain: true, ..came(ID, "r/0", 2) });
    one.released(0, 7);
    assert_good(&mut one);
    one.delivered(0, &Delivery { retain: true, packet_id: 8, ..came(ID, "r/0", 2) });
    one.released(0, 8);
    assert_fault(&mut one, "more often than it was asked for");
}

#[test]
fn a_subscription_made_anew_asks_for_retained_messages_again_though_all_was_settled() {
    let mut one = ledger();
    publish(&mut one, ID, &retained(2, false));
    for packet_id in [7, 8] {
        subscribe(&mut one, "r/#", 2);
        one.delivered(0, &Delivery { retain: true, packet_id, ..came(ID, "r/0", 2) });
        one.released(0, packet_id);
        unsubscribe(&mut one, "r/#");
        assert_good(&mut one);
    }
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
