use super::*;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text, 128).unwrap()
}

#[test]
fn hash_at_the_start_is_the_root_and_hash_below_is_its_parent() {
    let levels = |text: &str| {
        let filter = filter(text);
        let path = FilterPath::of(&filter);
        (path.levels().map(str::to_owned).collect::<Vec<_>>(), path.below)
    };
    assert_eq!(levels("#"), (vec![], true));
    assert_eq!(levels("/#"), (vec![String::new()], true));
    assert_eq!(levels("a/#"), (vec!["a".into()], true));
    assert_eq!(levels("a/"), (vec!["a".into(), String::new()], false));
}

#[test]
fn exact_segments_forget_and_shrink() {
    let hasher = TextHasher::default();
    let mut segment = ExactFilters::<Option<u32>>::default();
    for number in 0..1_000u32 {
        let filter = filter(&number.to_string());
        *segment.make(hasher.hash(filter.as_str()), &filter, &hasher) = Some(number);
    }
    let full = segment.0.capacity();
    for number in 10..1_000u32 {
        let filter = filter(&number.to_string());
        let hash = hasher.hash(filter.as_str());
        assert_eq!(segment.change(hash, &filter, &hasher, Option::take), Some(Some(number)));
        assert_eq!(segment.change(hash, &filter, &hasher, Option::take), None);
    }
    assert!(segment.0.capacity() < full / 4, "{} of {full}", segment.0.capacity());
    for number in 0..10u32 {
        let text = number.to_string();
        assert_eq!(segment.find(hasher.hash(&text), &text), Some(&Some(number)));
    }
}

#[test]
fn changing_what_is_not_there_makes_nothing() {
    let mut tree = WildcardFilters::<Option<u32>>::default();
    *tree.make(&filter("a/b/#")) = Some(1);
    for text in ["a/#", "a/+", "a/b/+", "#", "+/b/#"] {
        assert_eq!(tree.change(&filter(text), Option::take), None, "{text}");
    }
    assert_eq!(tree.nodes_len(), 2);
    assert_eq!(tree.change(&filter("a/b/#"), Option::take), Some(Some(1)));
    assert!(tree.is_empty());
}

#[test]
fn the_filter_of_everything_counts_though_it_needs_no_node() {
    let mut tree = WildcardFilters::<Option<u32>>::default();
    *tree.make(&filter("#")) = Some(1);
    assert!(!tree.is_empty());
    assert_eq!(tree.nodes_len(), 0);
}
