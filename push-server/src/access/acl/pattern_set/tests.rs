//! A set answers as its patterns do one by one, and both as the topics say that there are.

use proptest::prelude::*;

use super::*;
use crate::broker::{TopicFilter, TopicName};

const NAMES: Names<'static> = Names { user: Some("a"), client_id: "$x" };

/// Levels of topics. No pattern has `z` and `$z`: they stand for all levels that patterns do not
/// name.
const LEVELS: [&str; 7] = ["a", "b", "ab", "$x", "", "z", "$z"];

/// Levels of patterns, wildcards and names among them.
const PATTERN_LEVELS: [&str; 8] = ["a", "b", "$x", "", "+", "%u", "%c", "%ub"];

/// Deeper than any pattern or filter here, so that `#` shows.
const TOPIC_LEVELS_MAX: u32 = 4;

fn topics() -> Vec<TopicName> {
    let mut topics = Vec::new();
    for depth in 1..=TOPIC_LEVELS_MAX {
        for number in 0..LEVELS.len().pow(depth) {
            let mut number = number;
            let levels: Vec<_> = (0..depth)
                .map(|_| {
                    let level = LEVELS[number % LEVELS.len()];
                    number /= LEVELS.len();
                    level
                })
                .collect();
            topics.extend(TopicName::parse(&levels.join("/"), 8));
        }
    }
    topics
}

/// Text of a filter from these levels, `#` at the end or not.
fn filters(levels: &'static [&'static str]) -> impl Strategy<Value = String> {
    let levels = prop::collection::vec(prop::sample::select(levels), 0..=3);
    let text = (levels, any::<bool>()).prop_map(|(mut levels, ends_with_hash)| {
        if ends_with_hash {
            levels.push("#");
        }
        levels.join("/")
    });
    text.prop_filter("valid", |text| TopicFilter::parse(text, 8).is_ok())
}

/// The ordinary filter that a pattern is for `NAMES`: by the text alone.
fn filled(pattern: &str) -> Option<TopicFilter> {
    let filled = pattern.replace("%u", "a").replace("%c", "$x");
    let is_hidden_by_name = filled.starts_with('$') && !pattern.starts_with('$');
    let filter = TopicFilter::parse(&filled, 8).expect("a filter");
    (!is_hidden_by_name).then_some(filter)
}

fn patterns(texts: &[String]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::parse(text, None).expect("a pattern")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_set_matches_the_topics_that_its_patterns_match(
        texts in prop::collection::vec(filters(&PATTERN_LEVELS), 0..9),
    ) {
        let set = PatternSet::new(patterns(&texts));
        let filled: Vec<_> = texts.iter().filter_map(|text| filled(text)).collect();
        for topic in topics() {
            let expected = filled.iter().any(|filter| filter.matches(&topic));
            let found = set.covering(topic.as_str(), NAMES).is_some();
            prop_assert_eq!(found, expected, "{:?} {:?}", texts, topic);
        }
    }

    #[test]
    fn a_pattern_covers_a_filter_if_it_matches_every_topic_that_the_filter_matches(
        text in filters(&PATTERN_LEVELS),
        asked in filters(&["a", "b", "ab", "$x", "", "+"]),
    ) {
        let (pattern, asked) = (patterns(std::slice::from_ref(&text)), TopicFilter::parse(&asked, 8));
        let asked = asked.expect("a filter");
        let filter = filled(&text);
        let mut topics = topics();
        topics.retain(|topic| asked.matches(topic));
        let expected = filter.as_ref().is_some_and(|filter| {
            topics.iter().all(|topic| filter.matches(topic))
        });
        prop_assert_eq!(pattern[0].covers(asked.as_str(), NAMES), expected, "{} {:?}", text, asked);
        let overlaps =
            filter.is_some_and(|filter| topics.iter().any(|topic| filter.matches(topic)));
        prop_assert_eq!(pattern[0].overlaps(asked.as_str(), NAMES), overlaps, "{} {:?}", text, asked);
    }

    #[test]
    fn a_set_covers_the_filters_that_one_of_its_patterns_covers(
        texts in prop::collection::vec(filters(&PATTERN_LEVELS), 5..12),
        asked in filters(&["a", "b", "ab", "$x", "", "+"]),
    ) {
        let patterns = patterns(&texts);
        let expected = patterns.iter().any(|pattern| pattern.covers(&asked, NAMES));
        let set = PatternSet::new(patterns);
        prop_assert_eq!(set.covering(&asked, NAMES).is_some(), expected, "{:?} {}", texts, asked);
    }
}

#[test]
fn the_line_of_the_pattern_that_covers_is_told() {
    let line = |number| Line::new(number);
    for others in [0, 10] {
        let others = (0..others).map(|other| (format!("other/{other}"), 100));
        let named = [("a/+", 1), ("b/#", 2), ("%u/x/y", 3), ("c", 4)];
        let named = named.map(|(text, number)| (text.to_owned(), number));
        let patterns = named
            .into_iter()
            .chain(others)
            .map(|(text, number)| Pattern::parse(&text, line(number)).expect("a pattern"));
        let set = PatternSet::new(patterns.collect());
        for (topic, number) in [("a/z", 1), ("b", 2), ("b/z/z", 2), ("a/x/y", 3), ("c", 4)] {
            assert_eq!(set.covering(topic, NAMES), Some(line(number)), "{topic}");
        }
        assert_eq!(set.covering("d", NAMES), None);
    }
}
