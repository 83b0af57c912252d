use super::*;
use crate::ledger::tests::{
    ID, assert_fault, assert_good, came, deliver, id, ledger, live, publish, subscribe, unsubscribe,
};

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
