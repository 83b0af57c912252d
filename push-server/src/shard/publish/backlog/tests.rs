//! Tests of `backlog`.

use super::*;
use crate::broker::{Held, QoS, TopicName};

const NOW: Monotonic = Monotonic(1_000);
const SUBSCRIBE: u64 = 3;

fn retained(topics: &[&str]) -> Retained {
    let retained = Retained::new(1_000, 1_000_000);
    for topic in topics {
        let message = Message {
            topic: TopicName::parse(topic, 128).expect("valid"),
            payload: "x".into(),
            qos: QoS::ExactlyOnce,
            retain: true,
            properties: None,
            expires_at: None,
            held: Held::default(),
        };
        retained.set(&Arc::new(message)).expect("room");
    }
    retained
}

/// The backlog of a session that has subscribed to every topic at QoS 1.
fn backlog(retained: &Retained) -> (Backlogs, Backlog) {
    let filter = TopicFilter::parse("#", 128).expect("valid");
    let walk = retained.begin_walk(&filter).expect("there are topics");
    let options = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        id: None,
    };
    let mut backlogs = Backlogs::default();
    let walk = SubscriptionWalk::new(filter, options, walk, SUBSCRIBE);
    backlogs.push(1, SessionNumber(1), walk);
    let backlog = backlogs.take(1).expect("pushed");
    (backlogs, backlog)
}

fn found(backlog: &mut Backlog, retained: &Retained, is_subscribed: bool) -> Vec<String> {
    let (mut nodes, mut scratch) = (1_000, Vec::new());
    backlog.find(retained, NOW, 64, &mut nodes, &mut scratch, |_| is_subscribed);
    let found = std::iter::from_fn(|| backlog.pop_found());
    found.map(|delivery| delivery.message.topic.as_str().to_owned()).collect()
}

#[test]
fn nothing_is_found_before_its_suback_has_left() {
    let retained = retained(&["a", "b"]);
    let (mut backlogs, mut backlog) = backlog(&retained);
    assert!(backlog.awaits_suback());
    assert!(found(&mut backlog, &retained, true).is_empty());
    backlogs.put_back(1, backlog);
    backlogs.release(1, SUBSCRIBE);
    let mut backlog = backlogs.take(1).expect("put back");
    assert!(!backlog.awaits_suback());
    let mut topics = found(&mut backlog, &retained, true);
    topics.sort();
    assert_eq!(topics, ["a", "b"]);
    assert!(backlog.is_empty());
}

#[test]
fn a_filter_that_was_unsubscribed_from_brings_nothing_and_its_search_ends() {
    let retained = retained(&["a"]);
    let (mut backlogs, backlog) = backlog(&retained);
    backlogs.put_back(1, backlog);
    backlogs.release(1, SUBSCRIBE);
    let mut backlog = backlogs.take(1).expect("put back");
    assert!(found(&mut backlog, &retained, false).is_empty());
    assert!(backlog.is_empty());
}

#[test]
fn a_message_that_finds_no_room_is_the_next_one_again() {
    let retained = retained(&["a", "b"]);
    let (mut backlogs, backlog) = backlog(&retained);
    backlogs.put_back(1, backlog);
    backlogs.leave(1);
    let mut backlog = backlogs.take(1).expect("put back");
    let (mut nodes, mut scratch) = (1_000, Vec::new());
    backlog.find(&retained, NOW, 64, &mut nodes, &mut scratch, |_| true);
    assert!(scratch.is_empty() && backlog.has_found());
    let first = backlog.pop_found().expect("found");
    assert_eq!((first.qos, first.retain), (QoS::AtLeastOnce, true));
    let topic = first.message.topic.clone();
    backlog.put_found_back(first);
    assert_eq!(backlog.pop_found().expect("put back").message.topic, topic);
    assert!(!backlog.is_empty(), "the other one waits");
}
