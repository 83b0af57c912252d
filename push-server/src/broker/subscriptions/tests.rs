use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text, 128).unwrap()
}

fn name(text: &str) -> TopicName {
    TopicName::parse(text, 128).unwrap()
}

fn at(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

fn id(number: u32) -> Option<SubscriptionId> {
    SubscriptionId::new(number)
}

/// What a subscription by itself brings.
fn by(subscriber: u32, options: SubscriptionOptions) -> Match {
    let SubscriptionOptions { qos, retain_as_published, id, .. } = options;
    Match { subscriber, qos, retain_as_published, via: Via::Own(id) }
}

/// What a message of `from` on `topic` goes to, in order.
fn matched_from(table: &Subscriptions, topic: &str, from: Option<u32>) -> Vec<Match> {
    let found = matched_in_steps(table, topic, from, 1_000_000);
    // However it is cut into steps.
    assert_eq!(matched_in_steps(table, topic, from, 1), found);
    found
}

fn matched_in_steps(
    table: &Subscriptions,
    topic: &str,
    from: Option<u32>,
    units: u32,
) -> Vec<Match> {
    let mut matching = Matching::default();
    while !table.search(&name(topic), from, &mut matching, &mut Budget::new(units)) {}
    sorted(matching)
}

fn sorted(mut matching: Matching) -> Vec<Match> {
    let mut found = std::mem::take(matching.found());
    found.sort_by_key(|found| found.subscriber);
    for found in &mut found {
        if let Via::Several(ids) = &mut found.via {
            Arc::make_mut(ids).list.sort();
        }
    }
    found
}

fn matched(table: &Subscriptions, topic: &str) -> Vec<Match> {
    matched_from(table, topic, None)
}

/// Filters without wildcards and nodes of those with: what must be nothing in the end.
fn kept(table: &Subscriptions) -> (usize, usize) {
    (table.exact.iter().map(ExactFilters::len).sum(), table.wildcard.nodes_len())
}

#[test]
fn first_and_last_subscribers_are_told_apart() {
    for text in ["a/b", "a/+", "a/#", "#", "+", "$share/g/a", "$share/g/#"] {
        let mut table = Subscriptions::default();
        let filter = filter(text);
        let (low, high) = (at(QoS::AtMostOnce), at(QoS::ExactlyOnce));
        assert_eq!(table.insert(&filter, 1, low), (false, true), "{text}");
        assert_eq!(table.insert(&filter, 1, high), (true, false), "{text}");
        assert_eq!(table.insert(&filter, 2, low), (false, false), "{text}");
        assert_eq!(table.insert(&filter, 3, low), (false, false), "{text}");
        assert_eq!(table.len(), 3);
        assert_eq!(table.remove(&filter, 9), (false, false), "{text}");
        assert_eq!(table.remove(&filter, 2), (true, false), "{text}");
        assert_eq!(table.remove(&filter, 1), (true, false), "{text}");
        assert_eq!(table.remove(&filter, 1), (false, false), "{text}");
        assert_eq!(table.remove(&filter, 3), (true, true), "{text}");
        assert_eq!(table.remove(&filter, 3), (false, false), "{text}");
        assert_eq!((table.len(), kept(&table)), (0, (0, 0)), "{text}");
    }
}

#[test]
fn overlapping_filters_are_one_match_with_the_highest_qos() {
    let mut table = Subscriptions::default();
    table.insert(&filter("a/b"), 1, at(QoS::AtMostOnce));
    table.insert(&filter("a/+"), 1, at(QoS::ExactlyOnce));
    table.insert(&filter("#"), 1, at(QoS::AtLeastOnce));
    table.insert(&filter("#"), 2, at(QoS::AtLeastOnce));
    let expected = [by(1, at(QoS::ExactlyOnce)), by(2, at(QoS::AtLeastOnce))];
    assert_eq!(matched(&table, "a/b"), expected);
    assert_eq!(matched(&table, "x"), [by(1, at(QoS::AtLeastOnce)), by(2, at(QoS::AtLeastOnce))]);
}

#[test]
fn retain_as_published_for_one_of_several_is_kept_for_all() {
    let mut table = Subscriptions::default();
    let kept = SubscriptionOptions { retain_as_published: true, ..at(QoS::AtMostOnce) };
    table.insert(&filter("a"), 1, at(QoS::AtLeastOnce));
    table.insert(&filter("#"), 1, kept);
    let both = SubscriptionOptions { retain_as_published: true, ..at(QoS::AtLeastOnce) };
    assert_eq!(matched(&table, "a"), [by(1, both)]);
}

/// [MQTT-3.3.4-3] [MQTT-3.3.4-4]
#[test]
fn overlapping_filters_bring_all_their_identifiers_and_a_new_one_replaces() {
    let mut table = Subscriptions::default();
    let with = |number| SubscriptionOptions { id: id(number), ..at(QoS::AtMostOnce) };
    table.insert(&filter("a/b"), 1, with(3));
    assert_eq!(matched(&table, "a/b"), [by(1, with(3))]);
    table.insert(&filter("a/+"), 1, with(268_435_455));
    table.insert(&filter("+/b"), 1, at(QoS::AtLeastOnce));
    table.insert(&filter("#"), 1, with(3));
    table.insert(&filter("#"), 2, with(4));
    let several =
        |numbers: &[u32]| numbers.iter().filter_map(|&number| id(number)).collect::<Via>();
    let all = Match { via: several(&[3, 3, 268_435_455]), ..by(1, at(QoS::AtLeastOnce)) };
    assert_eq!(matched(&table, "a/b"), [all, by(2, with(4))]);
    table.insert(&filter("a/+"), 1, at(QoS::AtMostOnce));
    table.insert(&filter("a/b"), 1, with(9));
    let all = Match { via: several(&[3, 9]), ..by(1, at(QoS::AtLeastOnce)) };
    assert_eq!(matched(&table, "a/b"), [all, by(2, with(4))]);
}

/// [MQTT-3.8.3-3]
#[test]
fn no_local_subscriptions_do_not_match_what_their_session_published() {
    let mut table = Subscriptions::default();
    let own = SubscriptionOptions { no_local: true, id: id(1), ..at(QoS::ExactlyOnce) };
    let any = SubscriptionOptions { id: id(2), ..at(QoS::AtMostOnce) };
    table.insert(&filter("a"), 1, own);
    table.insert(&filter("a"), 2, own);
    table.insert(&filter("+"), 1, own);
    assert_eq!(matched_from(&table, "a", Some(1)), [by(2, own)]);
    assert_eq!(matched_from(&table, "b", Some(1)), []);
    table.insert(&filter("#"), 1, any);
    assert_eq!(matched_from(&table, "a", Some(1)), [by(1, any), by(2, own)]);
    assert_eq!(matched_from(&table, "a", Some(2))[0].via.ids().len(), 3);
}

#[test]
fn a_cleared_matching_finds_anew() {
    let mut table = Subscriptions::default();
    table.insert(&filter("a"), 1, at(QoS::AtMostOnce));
    table.insert(&filter("+"), 1, at(QoS::AtMostOnce));
    let mut matching = Matching::default();
    for _ in 0..2 {
        assert!(table.search(&name("a"), None, &mut matching, &mut Budget::new(100)));
        assert_eq!(*matching.found(), [by(1, at(QoS::AtMostOnce))]);
        matching.clear();
    }
    assert!(table.search(&name("b/c"), None, &mut matching, &mut Budget::new(100)));
    assert!(matching.found().is_empty());
}

#[test]
fn shared_filters_match_nothing_not_even_their_own_text() {
    let mut table = Subscriptions::default();
    table.insert(&filter("$share/g/a"), 1, at(QoS::AtMostOnce));
    table.insert(&filter("$share/g/#"), 1, at(QoS::AtMostOnce));
    for topic in ["a", "$share/g/a", "$share/g", "$share/g/b"] {
        assert_eq!(matched(&table, topic), [], "{topic}");
    }
}

#[test]
fn a_filter_with_many_subscribers_is_matched_in_steps_that_cost_what_they_may() {
    let mut table = Subscriptions::default();
    for subscriber in 0..10_000 {
        table.insert(&filter("news/+"), subscriber, at(QoS::AtMostOnce));
        table.insert(&filter("news/#"), subscriber, at(QoS::AtLeastOnce));
    }
    let (mut matching, mut steps) = (Matching::default(), 0);
    loop {
        let mut budget = Budget::new(100);
        let is_over = table.search(&name("news/1"), None, &mut matching, &mut budget);
        assert!(budget.left() >= -1, "{}", budget.left());
        steps += 1;
        if is_over {
            break;
        }
    }
    assert!((300..310).contains(&steps), "20,000 entries and 10,000 places: {steps}");
    assert!(matching.found().iter().all(|found| found.qos == QoS::AtLeastOnce));
    assert_eq!(matching.found().len(), 10_000);
    for subscriber in 0..9_999 {
        table.remove(&filter("news/+"), subscriber);
        table.remove(&filter("news/#"), subscriber);
    }
    assert_eq!(matched(&table, "news/1"), [by(9_999, at(QoS::AtLeastOnce))]);
}

#[test]
fn options_survive_their_word() {
    for bits in 0..16 {
        for number in [0, 1, 0x0800_0001, 0x0FFF_FFFF] {
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][bits % 3];
            let (no_local, retain_as_published) = (bits & 4 != 0, bits & 8 != 0);
            let id = id(number);
            let options =
                SubscriptionOptions { qos, no_local, retain_as_published, id, retain_handling: 2 };
            let packed = Packed::from(options);
            assert_eq!(packed.is_no_local(), no_local);
            assert_eq!(packed.matched(7), by(7, options));
        }
    }
}

#[test]
fn an_entry_without_wildcards_takes_32_bytes() {
    assert_eq!(size_of::<(TopicFilter, Subscribers)>(), 32);
    // Nor does an identifier cost the session anything.
    assert_eq!(size_of::<(TopicFilter, SubscriptionOptions)>(), 24);
}

/// A line of what a test does: a filter, a subscriber, options; `None` removes.
type Change = (String, u32, Option<SubscriptionOptions>);

/// What a session is to get: QoS, RETAIN as published, identifiers.
type Expected = (QoS, bool, Vec<SubscriptionId>);

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "", "$a"])
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..5).prop_map(|levels| levels.join("/"))
}

fn pattern() -> impl Strategy<Value = String> {
    let levels = prop::collection::vec(prop_oneof![3 => level(), 1 => Just("+")], 0..5);
    (levels, any::<bool>()).prop_map(|(mut levels, hash)| {
        if hash {
            levels.push("#");
        }
        levels.join("/")
    })
}

fn options() -> impl Strategy<Value = SubscriptionOptions> {
    let qos = prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
    (qos, any::<bool>(), any::<bool>(), 0..3u8, 0..3u32).prop_map(
        |(qos, no_local, retain_as_published, retain_handling, number)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
            id: id(number),
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    (pattern(), 0..4u32, prop::option::weighted(0.7, options()))
}

proptest! {
    #[test]
    fn subscriptions_that_change_between_steps_are_found_once_or_not_at_all(
        before in prop::collection::vec((pattern(), 0..6u32), 0..60),
        meanwhile in prop::collection::vec((pattern(), 0..6u32, any::<bool>()), 0..60),
        topic in topic(),
        units in 1..6u32,
    ) {
        let parse = |text: &str| TopicFilter::parse(text, 128).ok();
        prop_assume!(!topic.is_empty());
        let (mut table, mut now) = (Subscriptions::default(), BTreeSet::new());
        for (text, subscriber) in before {
            let Some(filter) = parse(&text) else { continue };
            table.insert(&filter, subscriber, at(QoS::AtMostOnce));
            now.insert((filter, subscriber));
        }
        let (mut throughout, mut ever) = (now.clone(), now);
        let mut matching = Matching::default();
        let mut changes = meanwhile.into_iter();
        while !table.search(&name(&topic), None, &mut matching, &mut Budget::new(units)) {
            for (text, subscriber, adds) in changes.by_ref().take(3) {
                let Some(filter) = parse(&text) else { continue };
                if adds {
                    table.insert(&filter, subscriber, at(QoS::AtMostOnce));
                    ever.insert((filter, subscriber));
                } else {
                    table.remove(&filter, subscriber);
                    throughout.remove(&(filter, subscriber));
                }
            }
        }
        let who = |set: &BTreeSet<(TopicFilter, u32)>| -> BTreeSet<u32> {
            let hit = set.iter().filter(|(filter, _)| filter.matches(&name(&topic)));
            hit.map(|(_, subscriber)| *subscriber).collect()
        };
        let found: Vec<u32> = sorted(matching).iter().map(|found| found.subscriber).collect();
        let once: BTreeSet<u32> = found.iter().copied().collect();
        prop_assert_eq!(once.len(), found.len(), "nobody twice");
        prop_assert!(once.is_superset(&who(&throughout)), "{once:?}");
        prop_assert!(once.is_subset(&who(&ever)), "{once:?}");
    }

    #[test]
    fn matches_what_the_filters_themselves_say(
        changes in prop::collection::vec(change(), 0..60),
        topics in prop::collection::vec(topic(), 1..10),
        from in prop::option::of(0..4u32),
    ) {
        let mut table = Subscriptions::default();
        let mut naive: BTreeMap<(TopicFilter, u32), SubscriptionOptions> = BTreeMap::new();
        for (text, subscriber, options) in changes {
            let Ok(filter) = TopicFilter::parse(&text, 128) else { continue };
            let others = |naive: &BTreeMap<(TopicFilter, u32), _>| {
                naive.keys().filter(|(known, other)| *known == filter && *other != subscriber).count()
            };
            let key = (filter.clone(), subscriber);
            if let Some(options) = options {
                let replaced = naive.insert(key, options).is_some();
                let first = !replaced && others(&naive) == 0;
                prop_assert_eq!(table.insert(&filter, subscriber, options), (replaced, first));
            } else {
                let removed = naive.remove(&key).is_some();
                let last = removed && others(&naive) == 0;
                prop_assert_eq!(table.remove(&filter, subscriber), (removed, last));
            }
            prop_assert_eq!(table.len(), naive.len());
        }
        for topic in topics.iter().filter(|topic| !topic.is_empty()) {
            let mut expected: BTreeMap<u32, Expected> = BTreeMap::new();
            for ((filter, subscriber), options) in &naive {
                let hidden = options.no_local && from == Some(*subscriber);
                if filter.matches(&name(topic)) && !hidden {
                    let known = expected.entry(*subscriber).or_default();
                    known.0 = known.0.max(options.qos);
                    known.1 |= options.retain_as_published;
                    known.2.extend(options.id);
                    known.2.sort();
                }
            }
            let found: BTreeMap<u32, Expected> = matched_from(&table, topic, from)
                .into_iter()
                .map(|m| (m.subscriber, (m.qos, m.retain_as_published, m.via.ids().to_vec())))
                .collect();
            prop_assert_eq!(found, expected);
        }
        for (filter, subscriber) in naive.keys() {
            table.remove(filter, *subscriber);
        }
        prop_assert_eq!((table.len(), kept(&table)), (0, (0, 0)));
        prop_assert!(table.wildcard.is_empty());
    }
}
