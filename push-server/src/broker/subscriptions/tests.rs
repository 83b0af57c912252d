use std::collections::BTreeMap;

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

fn matched(table: &Subscriptions, topic: &str) -> Vec<(u32, SubscriptionOptions)> {
    let mut out = Vec::new();
    table.matches(&name(topic), &mut out);
    let mut found: Vec<_> = out.iter().map(|found| (found.subscriber, found.options)).collect();
    found.sort_by_key(|found| found.0);
    found
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
        assert_eq!(table.insert(&filter, 1, low), (None, true), "{text}");
        assert_eq!(table.insert(&filter, 1, high), (Some(low), false), "{text}");
        assert_eq!(table.insert(&filter, 2, low), (None, false), "{text}");
        assert_eq!(table.insert(&filter, 3, low), (None, false), "{text}");
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
    let expected = [(1, at(QoS::ExactlyOnce)), (2, at(QoS::AtLeastOnce))];
    assert_eq!(matched(&table, "a/b"), expected);
    assert_eq!(matched(&table, "x"), [(1, at(QoS::AtLeastOnce)), (2, at(QoS::AtLeastOnce))]);
}

#[test]
fn merged_options_favour_what_a_subscription_asked_to_be_given() {
    let mut table = Subscriptions::default();
    let own = SubscriptionOptions { no_local: true, retain_handling: 2, ..at(QoS::AtLeastOnce) };
    let kept = SubscriptionOptions { retain_as_published: true, ..at(QoS::AtMostOnce) };
    table.insert(&filter("a"), 1, own);
    assert!(matched(&table, "a")[0].1.no_local);
    table.insert(&filter("+"), 1, own);
    assert_eq!(matched(&table, "a"), [(1, own)]);
    table.insert(&filter("#"), 1, kept);
    let both = SubscriptionOptions { retain_as_published: true, ..at(QoS::AtLeastOnce) };
    assert_eq!(matched(&table, "a"), [(1, both)]);
}

#[test]
fn matches_are_appended_behind_what_was_there() {
    let mut table = Subscriptions::default();
    table.insert(&filter("a"), 1, at(QoS::AtMostOnce));
    table.insert(&filter("+"), 1, at(QoS::AtMostOnce));
    let before = Match { subscriber: 1, options: at(QoS::ExactlyOnce) };
    let mut out = vec![before, before];
    table.matches(&name("a"), &mut out);
    assert_eq!(out, [before, before, Match { subscriber: 1, options: at(QoS::AtMostOnce) }]);
    table.matches(&name("b/c"), &mut out);
    assert_eq!(out.len(), 3);
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
fn a_filter_with_many_subscribers_shrinks_as_they_go() {
    let mut table = Subscriptions::default();
    for subscriber in 0..10_000 {
        table.insert(&filter("news"), subscriber, at(QoS::AtMostOnce));
    }
    assert_eq!(matched(&table, "news").len(), 10_000);
    let capacity = |table: &Subscriptions| {
        let hash = table.hasher.hash("news");
        match table.exact[TextHasher::segment(hash)].find(hash, "news") {
            Some(Subscribers::Many(set)) => set.capacity(),
            Some(Subscribers::One(..)) => 1,
            _ => 0,
        }
    };
    let full = capacity(&table);
    for subscriber in 5..10_000 {
        table.remove(&filter("news"), subscriber);
    }
    assert!(capacity(&table) < full / 10);
    for subscriber in 0..4 {
        table.remove(&filter("news"), subscriber);
    }
    assert_eq!(capacity(&table), 1);
    assert_eq!(matched(&table, "news"), [(4, at(QoS::AtMostOnce))]);
}

#[test]
fn options_survive_their_byte() {
    for bits in 0..48u8 {
        let packed = Packed(bits);
        if bits & TWO_BITS != 3 {
            assert_eq!(Packed::from(packed.options()), packed);
        }
    }
}

#[test]
fn an_entry_without_wildcards_takes_32_bytes() {
    assert_eq!(size_of::<(TopicFilter, Subscribers)>(), 32);
}

/// A line of what a test does: a filter, a subscriber, options; `None` removes.
type Change = (String, u32, Option<SubscriptionOptions>);

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
    (qos, any::<bool>(), any::<bool>(), 0..3u8).prop_map(
        |(qos, no_local, retain_as_published, retain_handling)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    (pattern(), 0..4u32, prop::option::weighted(0.7, options()))
}

proptest! {
    #[test]
    fn matches_what_the_filters_themselves_say(
        changes in prop::collection::vec(change(), 0..60),
        topics in prop::collection::vec(topic(), 1..10),
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
                let replaced = naive.insert(key, options);
                let first = replaced.is_none() && others(&naive) == 0;
                prop_assert_eq!(table.insert(&filter, subscriber, options), (replaced, first));
            } else {
                let removed = naive.remove(&key).is_some();
                let last = removed && others(&naive) == 0;
                prop_assert_eq!(table.remove(&filter, subscriber), (removed, last));
            }
            prop_assert_eq!(table.len(), naive.len());
        }
        for topic in topics.iter().filter(|topic| !topic.is_empty()) {
            let mut expected: BTreeMap<u32, SubscriptionOptions> = BTreeMap::new();
            for ((filter, subscriber), options) in &naive {
                if filter.matches(&name(topic)) {
                    let known = expected.entry(*subscriber).or_insert(*options);
                    *known = merged(*known, *options);
                }
            }
            prop_assert_eq!(matched(&table, topic), expected.into_iter().collect::<Vec<_>>());
        }
        for (filter, subscriber) in naive.keys() {
            table.remove(filter, *subscriber);
        }
        prop_assert_eq!((table.len(), kept(&table)), (0, (0, 0)));
        prop_assert!(table.wildcard.is_empty());
    }
}
