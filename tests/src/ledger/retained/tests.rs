use super::*;
use crate::ledger::Delivery;
use crate::ledger::tests::{
    ID, assert_fault, assert_good, came, id, ledger, publish, retained, subscribe, unsubscribe,
};

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
