//! Which filters a pattern covers and overlaps, and what names may stand in it.

use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text, None).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn names<'a>(user: impl Into<Option<&'a str>>, client_id: &'a str) -> Names<'a> {
    Names { user: user.into(), client_id }
}

fn covers(text: &str, filter: &str) -> bool {
    pattern(text).covers(filter, names("ada", "c1"))
}

#[test]
fn pattern_covers_a_filter_if_it_matches_all_its_topics() {
    for (text, filter) in [
        ("a", "a"),
        ("a/b", "a/b"),
        ("+", "+"),
        ("+", "a"),
        ("a/+", "a/b"),
        ("a/+", "a/+"),
        ("a/#", "a"),
        ("a/#", "a/#"),
        ("a/#", "a/b/+/#"),
        ("a/+/#", "a/+"),
        ("#", "#"),
        ("#", "+/a/#"),
        ("+/#", "#"),
        ("+/#", "+"),
        ("$SYS/#", "$SYS/#"),
        ("$SYS/#", "$SYS"),
        ("$SYS/+", "$SYS/a"),
        ("a/$x/#", "a/$x/b"),
        ("a//b", "a//b"),
        ("/+", "/a"),
    ] {
        assert!(covers(text, filter), "{text} covers {filter}");
    }
    for (text, filter) in [
        ("a", "b"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("a", "+"),
        ("a", "#"),
        ("+", "#"),
        ("+", "a/b"),
        ("a/+", "a"),
        ("a/+", "a/#"),
        ("a/+/#", "a/#"),
        ("+/+/#", "#"),
        ("a/#", "#"),
        ("a/#", "+/a"),
        ("#", "$SYS/#"),
        ("#", "$SYS"),
        ("+/#", "$SYS/#"),
        ("+", "$SYS"),
        ("+/a", "$SYS/a"),
    ] {
        assert!(!covers(text, filter), "{text} covers {filter}");
    }
}

#[test]
fn names_stand_for_one_level_or_part_of_one() {
    for (text, topic) in [
        ("%u", "ada"),
        ("users/%u/#", "users/ada/x"),
        ("%c/+", "c1/x"),
        ("x/%u-%c/y", "x/ada-c1/y"),
        ("x%uy", "xaday"),
        ("%u%u", "adaada"),
        ("100%", "100%"),
        ("%d/%", "%d/%"),
    ] {
        assert!(covers(text, topic), "{text} matches {topic}");
    }
    for (text, topic) in [
        ("%u", "bob"),
        ("%u", "%u"),
        ("%u", "ada/x"),
        ("%u", "adax"),
        ("x%uy", "xady"),
        ("users/%u/#", "users/+/x"),
        ("%u/#", "#"),
        ("%u", "+"),
    ] {
        assert!(!covers(text, topic), "{text} matches {topic}");
    }
}

/// CVE-2017-7650
#[test]
fn a_name_with_a_wildcard_or_a_slash_matches_nothing() {
    for bad in ["+", "#", "a/b", "/", "a+", "#a"] {
        for filter in ["x", bad, "a", "a/b", "#", "+"] {
            for text in ["%u", "%u/#", "x/%u"] {
                let asked = format!("{}{filter}", text.strip_suffix("%u").unwrap_or_default());
                assert!(!pattern(text).covers(&asked, names(bad, "c")), "{text} {bad} {asked}");
                assert!(!pattern(text).overlaps(&asked, names(bad, "c")), "{text} {bad} {asked}");
            }
            assert!(!pattern("%c/#").covers(filter, names("ada", bad)), "{bad} {filter}");
        }
        // What does not name it holds for it.
        assert!(pattern("x/%u").covers("x/ada", names("ada", bad)));
        assert!(pattern("x/#").covers("x/y", names(bad, bad)));
    }
    for nobody in [None, Some("")] {
        assert!(!pattern("%u/x").covers("/x", names(nobody, "c")));
    }
}

#[test]
fn a_name_does_not_reach_the_servers_own_topics() {
    for text in ["%c/#", "%u/#", "%c/+", "%u%c/#"] {
        let names = names("$SYS", "$SYS");
        for filter in ["$SYS/x", "$SYS/+", "$SYS$SYS/x"] {
            assert!(!pattern(text).covers(filter, names), "{text} {filter}");
            assert!(!pattern(text).overlaps(filter, names), "{text} {filter}");
        }
    }
    assert!(pattern("$SYS/%c").covers("$SYS/c", names(None, "c")));
    assert!(pattern("a/%c").covers("a/$SYS", names(None, "$SYS")));
}

#[test]
fn overlap_is_having_a_topic_in_common() {
    for (text, filter, expected) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a/+", "+/b", true),
        ("a/+", "+/b/c", false),
        ("a/#", "a", true),
        ("a", "a/#", true),
        ("#", "a/+", true),
        ("#", "$SYS/#", false),
        ("$SYS/#", "#", false),
        ("$SYS/a", "+/a", false),
        ("$SYS/+", "$SYS/#", true),
        ("users/%u", "users/+", true),
        ("users/%u", "users/bob", false),
        ("%u/x", "+/x", true),
    ] {
        let overlaps = pattern(text).overlaps(filter, names("ada", "c"));
        assert_eq!(overlaps, expected, "{text} {filter}");
    }
}

#[test]
fn what_is_no_filter_for_a_rule_is_refused() {
    use TopicError::{Empty, MisplacedHash, MisplacedPlus, TooManyLevels};
    for (text, error) in [
        ("", PatternError::Filter(Empty)),
        ("a/#/b", PatternError::Filter(MisplacedHash)),
        ("a+", PatternError::Filter(MisplacedPlus)),
        ("+%u", PatternError::Filter(MisplacedPlus)),
        ("$share/g/a", PatternError::Shared),
    ] {
        assert_eq!(Pattern::parse(text, None), Err(error), "{text}");
    }
    let deep = vec!["a"; usize::from(PATTERN_LEVELS_MAX) + 1].join("/");
    let levels_max = PATTERN_LEVELS_MAX;
    assert_eq!(Pattern::parse(&deep, None), Err(TooManyLevels { levels_max }.into()));
}
