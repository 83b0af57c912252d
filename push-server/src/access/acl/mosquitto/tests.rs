//! Files of mosquitto's as rules of ours.

use super::*;
use crate::access::Acl;

#[test]
fn lines_about_the_same_clients_become_one_rule() {
    let imported = import(
        "# a comment\n\
         topic read news/#\n\
         user alice\n\
         topic a/b c\r\n\
         topic readwrite  both \n\
         topic write out\n\
         topic deny secret\n\
         \n\
         user bob b\n\
         topic read in/+\n\
         topic write\n\
         pattern read users/%u/%c\n\
         pattern write fixed\n\
         user alice\n\
         topic write more\n",
    );
    let expected = "\
[[allow]]
anonymous = true
subscribe = [
    \"news/#\",
]

[[allow]]
users = [\"alice\"]
publish = [
    \"both\",
    \"out\",
    \"more\",
]
subscribe = [
    \"both\",
]

[[deny]]
users = [\"alice\"]
publish = [
    \"secret\",
]
subscribe = [
    \"secret\",
]

[[allow]]
users = [\"bob b\"]
publish = [
    \"write\",
]
subscribe = [
    \"in/+\",
    \"write\",
]

[[allow]]
publish = [
    \"fixed\",
]
subscribe = [
    \"users/%u/%c\",
]
";
    assert_eq!(imported.text, expected);
    Acl::parse(&imported.text).expect("valid");
    let remarks: Vec<_> = imported.remarks.iter().map(|one| (one.line, one.is_left_out)).collect();
    // "a/b c" is an access that there is not.
    assert_eq!(remarks, [(Some(4), true), (Some(12), false), (None, false), (None, false)]);
}

#[test]
fn what_cannot_be_carried_over_is_said_with_its_line() {
    let imported = import(
        "topic read a/%c\n\
         topic b/#/c\n\
         pattern deny users/%u\n\
         listen 1883\n\
         user\n\
         topic\n",
    );
    let remarks: Vec<_> =
        imported.remarks.iter().map(|one| (one.line, one.is_left_out, one.text)).collect();
    assert_eq!(
        remarks,
        [
            (Some(1), true, differences::LITERAL),
            (Some(2), true, differences::FILTER),
            (Some(3), false, differences::SLASH),
            (Some(3), false, differences::PATTERN_DENY),
            (Some(4), true, differences::UNKNOWN),
            (Some(5), true, differences::UNKNOWN),
            (Some(6), true, differences::UNKNOWN),
            (None, false, differences::WIDE),
            (None, false, differences::NAMES),
        ]
    );
    assert!(imported.text.starts_with("[[deny]]\npublish = [\n    \"users/%u\",\n]\n"));
}

#[test]
fn names_are_quoted_as_toml_wants_them() {
    let imported = import("user a\"b\\c'\ntopic read x\"/'y\\\n");
    let acl = Acl::parse(&imported.text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(acl.rules_len(), 1);
}

#[test]
fn an_empty_file_is_no_rule() {
    assert_eq!(import("\n# nothing\n"), Imported::default());
}
