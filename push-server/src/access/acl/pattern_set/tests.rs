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

/// Every third one denies.
fn set(patterns: &[Pattern]) -> PatternSet {
    let effects = [Effect::Allow, Effect::Allow, Effect::Deny].into_iter().cycle();
    PatternSet::new(effects.zip(patterns.iter().cloned()).collect())
}

/// Whether a set denies, and whether it allows; if it denies, that does not matter.
fn found(set: &PatternSet, filter: &str) -> (bool, bool) {
    let mut found = Found::default();
    let denies = set.look(filter, NAMES, &mut found);
    assert_eq!(denies, found.deny.is_some());
    (denies, !denies && found.allow.is_some())
}

/// The same, where these are those of the patterns that cover the filter.
fn expected(are_covering: impl Iterator<Item = bool>) -> (bool, bool) {
    let covering: Vec<_> = (0..).zip(are_covering).filter(|(_, covers)| *covers).collect();
    let denies = covering.iter().any(|(index, _)| index % 3 == 2);
    (denies, !denies && !covering.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_set_matches_the_topics_that_its_patterns_match(
        texts in prop::collection::vec(filters(&PATTERN_LEVELS), 0..9),
    ) {
        let set = set(&patterns(&texts));
        let filled: Vec<_> = texts.iter().map(|text| filled(text)).collect();
        for topic in topics() {
            let matches = |filter: &TopicFilter| filter.matches(&topic);
            let covering = filled.iter().map(|filter| filter.as_ref().is_some_and(matches));
            let found = found(&set, topic.as_str());
            prop_assert_eq!(found, expected(covering), "{:?} {:?}", texts, topic);
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
        // `/#` takes the empty level alone as well, which no topic is.
        prop_assume!(!(asked.as_str() == "/#" && matches!(text.as_str(), "/+/#" | "+/+/#")));
        prop_assert_eq!(pattern[0].covers(asked.as_str(), NAMES), expected, "{} {:?}", text, asked);
        // Both take the empty level alone, which no topic is.
        prop_assume!(!matches!((text.as_str(), asked.as_str()), ("/#", "+") | ("+", "/#")));
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
        let expected = expected(patterns.iter().map(|pattern| pattern.covers(&asked, NAMES)));
        prop_assert_eq!(found(&set(&patterns), &asked), expected, "{:?} {}", texts, asked);
    }
}

#[test]
fn the_line_of_the_pattern_that_covers_is_told() {
    let line = |number| Line::new(number);
    for others in [0, 10] {
        let others = (0..others).map(|other| (format!("other/{other}"), 100));
        let named = [("a/+", 1), ("b/#", 2), ("%u/x/y", 3), ("c", 4)];
        let named = named.map(|(text, number)| (text.to_owned(), number));
        let patterns = named.into_iter().chain(others).map(|(text, number)| {
            let effect = if number == 2 { Effect::Deny } else { Effect::Allow };
            (effect, Pattern::parse(&text, line(number)).expect("a pattern"))
        });
        let set = PatternSet::new(patterns.collect());
        for (topic, number) in [("a/z", 1), ("b", 2), ("b/z/z", 2), ("a/x/y", 3), ("c", 4)] {
            let mut found = Found::default();
            assert_eq!(set.look(topic, NAMES, &mut found), number == 2, "{topic}");
            assert_eq!(found.deny.or(found.allow), Some(line(number)), "{topic}");
        }
        let mut found = Found::default();
        assert!(!set.look("d", NAMES, &mut found) && found.allow.is_none());
    }
}
