use super::*;

fn name(text: &str) -> TopicName {
    TopicName::parse(text, 128).unwrap()
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text, 128).unwrap()
}

/// Filter, topic, whether they match: every example of MQTT 3.1.1 and 5, sections 4.7.1 to
/// 4.7.3, and the corners that they imply.
const SPECIFICATION: &[(&str, &str, bool)] = &[
    // 4.7.1.2, multi-level wildcard.
    ("sport/tennis/player1/#", "sport/tennis/player1", true),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
    ("sport/tennis/player1/#", "sport/tennis/player10", false),
    ("sport/#", "sport", true),
    ("#", "sport/tennis", true),
    ("#", "/", true),
    ("sport/tennis/#", "sport/tennis/player1", true),
    ("sport/tennis/#", "sport", false),
    // 4.7.1.3, single-level wildcard.
    ("sport/tennis/+", "sport/tennis/player1", true),
    ("sport/tennis/+", "sport/tennis/player2", true),
    ("sport/tennis/+", "sport/tennis/player1/ranking", false),
    ("sport/+", "sport", false),
    ("sport/+", "sport/", true),
    ("+", "sport", true),
    ("+", "sport/tennis", false),
    ("+/tennis/#", "sport/tennis", true),
    ("+/tennis/#", "sport/tennis/player1", true),
    ("+/tennis/#", "sport/chess/player1", false),
    ("sport/+/player1", "sport/tennis/player1", true),
    ("sport/+/player1", "sport/player1", false),
    ("+/+", "/finance", true),
    ("/+", "/finance", true),
    ("+", "/finance", false),
    // 4.7.2, topics beginning with $.
    ("#", "$SYS/monitor/Clients", false),
    ("+/monitor/Clients", "$SYS/monitor/Clients", false),
    ("+/#", "$SYS/monitor/Clients", false),
    ("+", "$SYS", false),
    ("$SYS/#", "$SYS/monitor/Clients", true),
    ("$SYS/#", "$SYS", true),
    ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
    ("$SYS/+/Clients", "$SYS/monitor/Clients", true),
    ("sport/#", "sport/$SYS", true),
    ("sport/+", "sport/$SYS", true),
    // 4.7.3, semantics: case, spaces, leading and trailing separators, no normalisation.
    ("ACCOUNTS", "Accounts", false),
    ("Accounts payable", "Accounts payable", true),
    ("/finance", "finance", false),
    ("finance/", "finance", false),
    ("finance", "finance/", false),
    ("a//b", "a//b", true),
    ("a/+/b", "a//b", true),
    ("a//b", "a/b", false),
    ("/", "/", true),
    ("+/+", "/", true),
    ("/#", "/", true),
    ("/#", "/finance", true),
    ("\u{c5}", "A\u{30a}", false),
    // 4.8.2, shared subscriptions: the filter behind the group.
    ("$share/consumer1/sport/tennis/+", "sport/tennis/player1", true),
    ("$share/consumer2//finance", "/finance", true),
    ("$share/consumer1/sport/tennis/+", "sport/tennis", false),
    ("$share/g/#", "$SYS/monitor/Clients", false),
    ("$share/g/$SYS/#", "$SYS/monitor/Clients", true),
    ("$share/g/a", "$share/g/a", false),
];

#[test]
fn filters_match_as_the_specification_says() {
    for &(pattern, topic, expected) in SPECIFICATION {
        assert_eq!(filter(pattern).matches(&name(topic)), expected, "{pattern} on {topic}");
    }
}

#[test]
fn filters_parse_as_the_specification_says() {
    use TopicError::{Empty, MalformedShare, MisplacedHash, MisplacedPlus, Nul};
    let valid = ["#", "+", "/", "//", "+/+/#", "sport/#", "+/tennis/#", "sport/+/player1"];
    let valid = valid.iter().chain(&["$share", "$shared/+", "$share/g/#", "$share/g//", "$"]);
    for text in valid {
        assert_eq!(filter(text).as_str(), *text);
    }
    for (text, error) in [
        ("", Empty),
        ("a\0", Nul),
        ("sport/tennis#", MisplacedHash),
        ("sport/tennis/#/ranking", MisplacedHash),
        ("##", MisplacedHash),
        ("#/", MisplacedHash),
        ("sport+", MisplacedPlus),
        ("++/a", MisplacedPlus),
        ("+a/b", MisplacedPlus),
        ("$share/", MalformedShare),
        ("$share/g", MalformedShare),
        ("$share/g/", MalformedShare),
        ("$share//a", MalformedShare),
        ("$share/+/a", MalformedShare),
        ("$share/g#/a", MalformedShare),
        ("$share/g/a#", MisplacedHash),
    ] {
        assert_eq!(TopicFilter::parse(text, 128), Err(error), "{text:?}");
    }
}

#[test]
fn names_refuse_wildcards_and_nul() {
    for text in ["a", "/", "$SYS/a", "a b", "\u{10ffff}", "$share/g/a"] {
        assert_eq!(name(text).as_str(), text);
    }
    assert_eq!(TopicName::parse("", 128), Err(TopicError::Empty));
    assert_eq!(TopicName::parse("a/+", 128), Err(TopicError::WildcardInName));
    assert_eq!(TopicName::parse("a#", 128), Err(TopicError::WildcardInName));
    assert_eq!(TopicName::parse("a\0b", 128), Err(TopicError::Nul));
}

#[test]
fn length_is_limited_to_65535_bytes() {
    let longest = "\u{e4}".repeat(32_767) + "x";
    assert_eq!(longest.len(), TOPIC_BYTES_MAX);
    assert!(TopicName::parse(&longest, 128).is_ok());
    assert!(TopicFilter::parse(&longest, 128).is_ok());
    let too_long = longest + "x";
    assert_eq!(TopicName::parse(&too_long, 128), Err(TopicError::TooLong));
    assert_eq!(TopicFilter::parse(&too_long, 128), Err(TopicError::TooLong));
}

#[test]
fn levels_are_limited_and_the_share_prefix_is_not_counted() {
    let refused = TopicError::TooManyLevels { levels_max: 3 };
    assert!(TopicName::parse("a/b/c", 3).is_ok());
    assert_eq!(TopicName::parse("a/b/c/", 3), Err(refused));
    assert!(TopicFilter::parse("a/+/#", 3).is_ok());
    assert_eq!(TopicFilter::parse("a/b/+/#", 3), Err(refused));
    assert!(TopicFilter::parse("$share/g/a/+/#", 3).is_ok());
    assert_eq!(TopicFilter::parse("$share/g/a/b/+/#", 3), Err(refused));
}

#[test]
fn shared_filters_say_group_and_filter() {
    let shared = filter("$share/g//finance/+");
    assert_eq!(shared.share(), Some(Share { group: "g", filter: "/finance/+" }));
    assert!(shared.is_shared() && shared.has_wildcards());
    for text in ["$share", "$shared/g/a", "share/g/a"] {
        assert!(!filter(text).is_shared(), "{text}");
    }
    assert!(!filter("$share/g/a").has_wildcards());
}
