use super::*;
use crate::ledger::Publication;

const ID: MessageId = MessageId { publisher: 0, number: 0 };

fn ledger() -> Ledger {
    let mut ledger = Ledger::new(&[]);
    assert_eq!(ledger.add_group("s/#"), 0);
    ledger.group_is_served(0);
    ledger
}

fn publish(ledger: &mut Ledger, topic: &str, qos: u8) {
    let topic = topic.into();
    let what = Publication { topic, qos, retain: false, empty: false, expiry_secs: Some(60) };
    ledger.publishing(ID, &what);
    ledger.acknowledged(ID);
    ledger.completed(ID);
}

fn came(ledger: &mut Ledger, member: &str, qos: u8) {
    let (id, topic) = (Some(ID), "s/0");
    let delivery = Delivery { id, topic, qos, retain: false, dup: false, packet_id: 1 };
    ledger.member_delivered(0, member, &delivery);
}

#[track_caller]
fn assert_fault(ledger: &mut Ledger, words: &str) {
    ledger.settle();
    assert!(matches!(ledger.faults(), [one] if one.contains(words)), "{:?}", ledger.faults());
}

#[track_caller]
fn assert_good(ledger: &mut Ledger) {
    assert_eq!(ledger.missing(), 0);
    ledger.settle();
    assert!(ledger.faults().is_empty(), "{:?}", ledger.faults());
}

#[test]
fn a_message_comes_to_any_member_and_one_that_comes_to_none_is_lost() {
    for qos in [1, 2] {
        let mut one = ledger();
        publish(&mut one, "s/0", qos);
        assert_eq!(one.missing(), 1);
        came(&mut one, "member", qos);
        assert_good(&mut one);
        let mut one = ledger();
        publish(&mut one, "s/0", qos);
        assert_fault(&mut one, "came to no member");
    }
    let mut one = ledger();
    publish(&mut one, "t/0", 1);
    assert_good(&mut one);
}

#[test]
fn a_group_gets_a_qos_2_message_once_and_one_of_qos_1_again() {
    for (qos, words) in [(1, None), (2, Some("exactly once"))] {
        let mut one = ledger();
        publish(&mut one, "s/0", qos);
        came(&mut one, "member", qos);
        came(&mut one, "other", qos);
        match words {
            Some(words) => assert_fault(&mut one, words),
            None => assert_good(&mut one),
        }
    }
}

#[test]
fn what_a_session_that_ended_was_sent_is_lost_at_qos_2_alone() {
    for (qos, words) in [(1, Some("came to no member")), (2, None)] {
        let mut one = ledger();
        publish(&mut one, "s/0", qos);
        one.member_ended(0);
        match words {
            Some(words) => assert_fault(&mut one, words),
            None => assert_good(&mut one),
        }
    }
}

#[test]
fn what_was_owed_to_a_session_in_no_store_is_lost_with_the_server_and_later_messages_are_not() {
    for is_before in [true, false] {
        let mut one = ledger();
        if is_before {
            publish(&mut one, "s/0", 1);
            one.group_lost_sessions(0);
            assert_good(&mut one);
        } else {
            one.group_lost_sessions(0);
            publish(&mut one, "s/0", 1);
            assert_fault(&mut one, "came to no member");
        }
    }
}

#[test]
fn a_message_that_has_expired_is_not_owed() {
    let mut one = ledger();
    publish(&mut one, "s/0", 1);
    one.may_have_expired(ID);
    assert_good(&mut one);
}
