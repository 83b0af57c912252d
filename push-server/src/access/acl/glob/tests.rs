//! Globs of client ids.

use super::*;

#[test]
fn stars_and_question_marks_stand_for_text() {
    for (glob, text, expected) in [
        ("", "", true),
        ("", "a", false),
        ("a", "a", true),
        ("a", "ab", false),
        ("*", "", true),
        ("*", "a/b+#", true),
        ("dev-*", "dev-", true),
        ("dev-*", "dev-17", true),
        ("dev-*", "xdev-17", false),
        ("*-17", "dev-17", true),
        ("*-17", "dev-171", false),
        ("a*b*c", "aXbYc", true),
        ("a*b*c", "abc", true),
        ("a*b*c", "acb", false),
        ("a*bc", "abbbc", true),
        ("?", "", false),
        ("?", "\u{fc}", true),
        ("a?c", "abc", true),
        ("*?", "", false),
        ("**", "x", true),
    ] {
        assert_eq!(Glob::new(glob).matches(text), expected, "{glob} {text}");
    }
}

#[test]
fn a_long_glob_and_a_long_id_take_no_time_that_grows_faster_than_both() {
    let glob = Glob::new(&"*a".repeat(500));
    assert!(!glob.matches(&format!("{}b", "a".repeat(65_000))));
}
