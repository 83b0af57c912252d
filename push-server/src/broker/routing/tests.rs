use super::*;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text, 128).unwrap()
}

fn shards(routing: &Routing, topic: &str) -> Vec<u16> {
    let topic = TopicName::parse(topic, 128).unwrap();
    let mut search = ShardSearch::default();
    while !routing.search(&topic, ShardSet::first(64), &mut search, &mut Budget::new(1)) {}
    search.found().iter().collect()
}

#[test]
fn sets_name_their_shards_in_order() {
    assert_eq!(ShardSet(1 << 63 | 0b101).iter().collect::<Vec<_>>(), [0, 2, 63]);
    assert_eq!(ShardSet(u64::MAX).iter().count(), 64);
    assert_eq!(ShardSet::default().iter().next(), None);
    assert!(ShardSet::of(63).contains(63) && !ShardSet::of(63).contains(0));
}

#[test]
fn a_search_ends_when_it_has_found_all_shards() {
    let routing = Routing::default();
    for (text, shard) in [("+/+/+", 0), ("a/+/+", 1), ("a/b/+", 0)] {
        routing.add(&filter(text), shard);
    }
    let topic = TopicName::parse("a/b/c", 128).unwrap();
    let units = |shards| {
        let mut budget = Budget::new(100);
        let mut search = ShardSearch::default();
        assert!(routing.search(&topic, ShardSet::first(shards), &mut search, &mut budget));
        assert_eq!(search.found(), ShardSet::first(2));
        100 - budget.left()
    };
    assert!(units(2) < units(3), "two shards: no more than these two can be found");
}

#[test]
fn a_topic_goes_to_every_shard_with_a_filter_that_matches() {
    let routing = Routing::default();
    for (text, shard) in [("a/b", 1), ("a/b", 5), ("a/+", 63), ("#", 0), ("a/c", 7)] {
        routing.add(&filter(text), shard);
    }
    assert_eq!(shards(&routing, "a/b"), [0, 1, 5, 63]);
    assert_eq!(shards(&routing, "a/c"), [0, 7, 63]);
    assert_eq!(shards(&routing, "x"), [0]);
    assert!(shards(&routing, "$SYS/a").is_empty());
}

#[test]
fn the_last_removal_leaves_nothing_behind() {
    let routing = Routing::default();
    let all = ["a/b", "a/+", "#", "+/#", "/", "$share/g/a", "$share/g/+"];
    for text in all {
        routing.add(&filter(text), 3);
        routing.add(&filter(text), 4);
        routing.add(&filter(text), 4);
    }
    assert!(routing.0.kept().2);
    for text in all {
        routing.remove(&filter(text), 4);
    }
    assert_eq!(shards(&routing, "a/b"), [3]);
    for text in all {
        routing.remove(&filter(text), 3);
        routing.remove(&filter(text), 3);
    }
    assert!(shards(&routing, "a/b").is_empty());
    assert_eq!(routing.0.kept(), (0, 0, false));
}

#[test]
fn shared_filters_are_kept_and_match_nothing() {
    let routing = Routing::default();
    routing.add(&filter("$share/g/a"), 1);
    routing.add(&filter("$share/g/+"), 1);
    assert_eq!(routing.0.kept().0, 1);
    for topic in ["a", "$share/g/a", "$share/g/b"] {
        assert!(shards(&routing, topic).is_empty(), "{topic}");
    }
}

#[test]
fn a_poisoned_lock_is_recovered() {
    let routing = Routing::default();
    routing.add(&filter("+"), 2);
    routing.0.poison();
    assert_eq!(shards(&routing, "a"), [2]);
    routing.remove(&filter("+"), 2);
    assert!(shards(&routing, "a").is_empty());
}

#[test]
fn shards_change_it_at_the_same_time() {
    let routing = Routing::default();
    std::thread::scope(|scope| {
        for shard in 0..8 {
            let routing = &routing;
            scope.spawn(move || {
                for number in 0..500 {
                    routing.add(&filter(&format!("device/{number}")), shard);
                    routing.add(&filter(&format!("device/{number}/+")), shard);
                }
                for number in 100..500 {
                    routing.remove(&filter(&format!("device/{number}")), shard);
                    routing.remove(&filter(&format!("device/{number}/+")), shard);
                }
            });
        }
    });
    assert_eq!(routing.0.kept().0, 100);
    assert_eq!(shards(&routing, "device/99"), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(shards(&routing, "device/99/x"), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(shards(&routing, "device/100").is_empty());
}
