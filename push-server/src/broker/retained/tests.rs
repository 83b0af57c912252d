use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::broker::{Held, QoS, TopicFilter, TopicName};

const NOW: Monotonic = Monotonic(1_000);
/// What a message with a topic of one letter weighs beside topic and payload.
const OWN: usize = Message::OWN_BYTES + Arena::<Content>::VALUE_BYTES + NODE_BYTES + 1;

fn message(topic: &str, payload: &str, expires_at: Option<u64>) -> Arc<Message> {
    Arc::new(Message {
        topic: TopicName::parse(topic, 128).unwrap(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: QoS::AtMostOnce,
        retain: true,
        properties: None,
        expires_at: expires_at.map(Monotonic),
        held: Held::default(),
    })
}

fn store_of(topics: &[&str]) -> Retained {
    let retained = Retained::new(1_000, 1_000_000);
    for topic in topics {
        retained.set(&message(topic, "x", None)).unwrap();
    }
    retained
}

impl Retained {
    /// Appends what `filter` matches, by a walk whose parts are of `nodes` topics.
    fn matches_in_parts(&self, filter: &TopicFilter, now: Monotonic, nodes: usize) -> Found {
        let mut out = Vec::new();
        let Some(mut walk) = self.begin_walk(filter) else { return out };
        while !self.walk_on(filter, &mut walk, now, &mut nodes.clone(), usize::MAX / 2, &mut out) {}
        out
    }

    fn matches(&self, filter: &TopicFilter, now: Monotonic, out: &mut Found) {
        out.extend(self.matches_in_parts(filter, now, usize::MAX));
    }
}

type Found = Vec<Arc<Message>>;

fn matched(retained: &Retained, filter: &str, now: Monotonic) -> Vec<String> {
    let mut out = Vec::new();
    retained.matches(&TopicFilter::parse(filter, 128).unwrap(), now, &mut out);
    let mut topics: Vec<_> = out.iter().map(|found| found.topic.as_str().to_owned()).collect();
    topics.sort();
    topics
}

#[test]
fn wildcards_find_retained_messages() {
    let store = store_of(&["a", "a/b", "a/b/c", "a/x/c", "/", "$SYS/a", "b/$x", "$SYS"]);
    for (filter, topics) in [
        ("a", vec!["a"]),
        ("a/b", vec!["a/b"]),
        ("a/#", vec!["a", "a/b", "a/b/c", "a/x/c"]),
        ("a/+", vec!["a/b"]),
        ("a/+/c", vec!["a/b/c", "a/x/c"]),
        ("a/+/#", vec!["a/b", "a/b/c", "a/x/c"]),
        ("+", vec!["a"]),
        ("+/+", vec!["/", "a/b", "b/$x"]),
        ("#", vec!["/", "a", "a/b", "a/b/c", "a/x/c", "b/$x"]),
        ("+/#", vec!["/", "a", "a/b", "a/b/c", "a/x/c", "b/$x"]),
        ("$SYS/#", vec!["$SYS", "$SYS/a"]),
        ("$SYS/+", vec!["$SYS/a"]),
        ("c/#", vec![]),
        ("$share/g/a", vec![]),
        ("$share/g/#", vec![]),
    ] {
        assert_eq!(matched(&store, filter, NOW), topics, "{filter}");
    }
}

#[test]
fn a_newer_message_replaces_and_an_empty_one_removes() {
    let store = Retained::new(10, 100_000);
    store.set(&message("a", "old", None)).unwrap();
    store.set(&message("a", "newer", None)).unwrap();
    assert_eq!((store.len(), store.bytes()), (1, OWN + 6));
    let mut out = Vec::new();
    store.matches(&TopicFilter::parse("a", 8).unwrap(), NOW, &mut out);
    assert_eq!(out[0].payload, "newer");
    store.set(&message("a", "", None)).unwrap();
    store.set(&message("a", "", None)).unwrap();
    store.set(&message("never/was", "", None)).unwrap();
    assert_eq!((store.len(), store.bytes(), store.is_empty()), (0, 0, true));
    assert!(store.read().tree.is_empty());
}

#[test]
fn limits_refuse_new_messages_and_keep_the_old_ones() {
    let store = Retained::new(2, 2 * OWN + 10);
    store.set(&message("a", "1234", None)).unwrap();
    store.set(&message("b", "1", None)).unwrap();
    assert_eq!(store.set(&message("c", "1", None)), Err(RetainedFull::Messages));
    assert_eq!(store.set(&message("b", "123456", None)), Err(RetainedFull::Bytes));
    assert_eq!((store.len(), store.bytes()), (2, 2 * OWN + 7));
    store.set(&message("b", "1234", None)).unwrap();
    store.set(&message("a", "4321", None)).unwrap();
    assert_eq!((store.len(), store.bytes()), (2, 2 * OWN + 10));
    store.set(&message("a", "", None)).unwrap();
    store.set(&message("c", "1234", None)).unwrap();
    assert_eq!(matched(&store, "#", NOW), ["b", "c"]);
    assert_eq!(store.read().tree.nodes_len(), 2, "refused messages left no nodes");
}

#[test]
fn levels_count_against_the_bytes_once_for_all_topics_that_share_them() {
    let store = Retained::new(10, 1_000_000);
    store.set(&message("a/b/c", "x", None)).unwrap();
    let first = store.bytes();
    let own = Message::OWN_BYTES + Arena::<Content>::VALUE_BYTES;
    assert_eq!(first, own + 5 + 1 + 5 + 3 * NODE_BYTES);
    store.set(&message("a/b/d/e", "x", None)).unwrap();
    assert_eq!(store.bytes() - first, own + 7 + 1 + 7 + 2 * NODE_BYTES);
    store.set(&message("a/b/d/e", "", None)).unwrap();
    assert_eq!(store.bytes(), first);
    let full = Retained::new(10, first - 1);
    assert_eq!(full.set(&message("a/b/c", "x", None)), Err(RetainedFull::Bytes));
    assert_eq!((full.bytes(), full.read().tree.nodes_len()), (0, 0));
}

#[test]
fn expired_messages_are_not_shown_and_give_their_place_back() {
    let store = Retained::new(3, 100_000);
    store.set(&message("a", "x", Some(1_000))).unwrap();
    store.set(&message("b", "x", Some(1_001))).unwrap();
    store.set(&message("c", "x", None)).unwrap();
    assert_eq!(matched(&store, "#", Monotonic(999)), ["a", "b", "c"]);
    assert_eq!(matched(&store, "#", NOW), ["b", "c"]);
    assert_eq!(matched(&store, "a", NOW), [""; 0]);
    assert_eq!(store.set(&message("d", "x", None)), Err(RetainedFull::Messages));
    let removed = store.remove_expired(NOW);
    assert_eq!(removed.iter().map(|change| change.topic().as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(removed[0].kept().is_none());
    assert!(store.remove_expired(NOW).is_empty());
    store.set(&message("d", "x", None)).unwrap();
    assert_eq!(store.remove_expired(Monotonic(u64::MAX)).len(), 1);
    assert_eq!(matched(&store, "#", NOW), ["c", "d"]);
    assert_eq!(store.bytes(), 2 * (OWN + 2));
}

#[test]
fn a_replaced_message_no_longer_expires() {
    let store = Retained::new(3, 100_000);
    store.set(&message("a", "x", Some(1_000))).unwrap();
    store.set(&message("a", "x", None)).unwrap();
    store.set(&message("b", "x", Some(1_000))).unwrap();
    store.set(&message("b", "", None)).unwrap();
    assert!(store.remove_expired(Monotonic(u64::MAX)).is_empty());
    assert!(store.read().expiries.is_empty());
    assert_eq!(matched(&store, "#", Monotonic(u64::MAX)), ["a"]);
}

#[test]
fn one_call_removes_no_more_than_its_limit() {
    let store = Retained::new(10_000, 1_000_000);
    for number in 0..EXPIRED_PER_CALL_MAX + 1 {
        store.set(&message(&number.to_string(), "x", Some(1))).unwrap();
    }
    assert_eq!(store.remove_expired(NOW).len(), EXPIRED_PER_CALL_MAX);
    assert_eq!(store.remove_expired(NOW).len(), 1);
    assert!(store.is_empty());
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text, 128).unwrap()
}

/// Takes one part of a walk; the topics found.
fn part(store: &Retained, walk: &mut Walk, text: &str, mut nodes: usize) -> (Vec<String>, bool) {
    let mut out = Vec::new();
    let over = store.walk_on(&filter(text), walk, NOW, &mut nodes, 1_000, &mut out);
    (out.iter().map(|found| found.topic.as_str().to_owned()).collect(), over)
}

#[test]
fn a_walk_visits_no_more_than_it_may_and_says_what_is_left() {
    let store = store_of(&["a", "b", "c", "d/x", "$e"]);
    let mut walk = store.begin_walk(&filter("+")).unwrap();
    let (mut nodes, mut out) = (3, Vec::new());
    assert!(!store.walk_on(&filter("+"), &mut walk, NOW, &mut nodes, 1_000, &mut out));
    assert_eq!(nodes, 0);
    nodes = 100;
    while !store.walk_on(&filter("+"), &mut walk, NOW, &mut nodes, 1, &mut out) {}
    // The root, `d`, which holds nothing, and `$e`, which is hidden, are visited, too.
    assert_eq!((out.len(), nodes), (3, 100 + 3 - 6));
}

#[test]
fn a_walk_survives_what_is_removed_and_set_while_it_rests() {
    let topics = ["a/1", "a/2", "a/3", "a/4", "b/1"];
    let store = store_of(&topics);
    let mut walk = store.begin_walk(&filter("a/#")).unwrap();
    // The root and `a`.
    assert_eq!(part(&store, &mut walk, "a/#", 2), (vec![], false));
    let (first, over) = part(&store, &mut walk, "a/#", 1);
    assert!(!over);
    // The one that it rests at goes, others do, and new ones come, also to the place just left.
    for topic in [first[0].as_str(), "b/1", "a/2"] {
        store.set(&message(topic, "", None)).unwrap();
    }
    for topic in ["a/0", "a/1", "a/2", "b/2", &first[0]] {
        store.set(&message(topic, "new", None)).unwrap();
    }
    let (mut rest, over) = part(&store, &mut walk, "a/#", 100);
    assert!(over);
    rest.push(first[0].clone());
    rest.sort();
    rest.dedup();
    // What was set anew the subscription has brought.
    let mut expected = vec!["a/1", "a/2", "a/3", "a/4"];
    expected.retain(|topic| !["a/1", "a/2"].contains(topic) || first[0] == *topic);
    assert_eq!(rest, expected, "what was there when it began");
    for topic in ["a/0", "a/1", "a/2", "a/3", "a/4", "b/2"] {
        store.set(&message(topic, "", None)).unwrap();
    }
    assert!(store.read().tree.is_empty(), "no walk rests anywhere");
}

#[test]
fn a_walk_that_is_given_up_leaves_no_nodes() {
    let store = store_of(&["a/1", "a/2"]);
    let mut walk = store.begin_walk(&filter("+/+")).unwrap();
    let (_, over) = part(&store, &mut walk, "+/+", 3);
    assert!(!over);
    for topic in ["a/1", "a/2"] {
        store.set(&message(topic, "", None)).unwrap();
    }
    assert_eq!(store.read().tree.nodes_len(), 2, "`a` and the node it rests at");
    store.end_walk(&mut walk);
    assert!(store.read().tree.is_empty());
}

#[test]
fn no_walk_begins_where_nothing_can_be_found() {
    let store = store_of(&["a/b"]);
    for text in ["a", "a/b/c", "c", "c/#", "$share/g/a/b", "$share/g/#"] {
        assert!(store.begin_walk(&filter(text)).is_none(), "{text}");
    }
    for text in ["a/b", "a/+", "#"] {
        assert!(store.begin_walk(&filter(text)).is_some(), "{text}");
    }
}

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "", "$a"])
}

proptest! {
    #[test]
    fn matches_what_the_filters_themselves_say(
        topics in prop::collection::vec(prop::collection::vec(level(), 1..5), 0..30),
        gone in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        filters in prop::collection::vec(
            (prop::collection::vec(prop_oneof![level(), Just("+")], 0..4), any::<bool>()), 1..10),
    ) {
        let mut topics: Vec<String> = topics.iter().map(|levels| levels.join("/")).collect();
        topics.retain(|topic| !topic.is_empty());
        topics.sort();
        topics.dedup();
        let store = store_of(&topics.iter().map(String::as_str).collect::<Vec<_>>());
        for index in gone {
            if !topics.is_empty() {
                let topic = topics.remove(index.index(topics.len()));
                store.set(&message(&topic, "", None)).unwrap();
            }
        }
        prop_assert_eq!(store.len(), topics.len());
        for (mut levels, hash) in filters {
            if hash {
                levels.push("#");
            }
            let Ok(filter) = TopicFilter::parse(&levels.join("/"), 128) else { continue };
            let expected: Vec<_> = topics
                .iter()
                .filter(|topic| filter.matches(&TopicName::parse(topic, 128).unwrap()))
                .cloned()
                .collect();
            let in_parts = store.matches_in_parts(&filter, NOW, 1).len();
            prop_assert_eq!(in_parts, expected.len(), "{:?} one by one", filter);
            prop_assert_eq!(matched(&store, filter.as_str(), NOW), expected, "{:?}", filter);
        }
    }
}
