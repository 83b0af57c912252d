use super::super::crates::sources;
use super::*;

#[test]
fn tests_between_what_they_test_are_refused_with_where_they_belong() {
    let inline = "fn a() {}\n#[cfg(test)]\nmod tests { #[test] fn b() {} }";
    let sources = sources(&[
        ("push-server/src/mqtt/a.rs", inline),
        ("push-server/src/ring/mod.rs", inline),
        ("push-server/src/broker/a.rs", "#[cfg(test)]\nmod tests;\nmod inner { }"),
    ]);
    let beside = "unit tests stand in a file of their own:";
    assert_eq!(
        violations(&sources),
        [
            format!("push-server/src/mqtt/a.rs:3: {beside} push-server/src/mqtt/a/tests.rs"),
            format!("push-server/src/ring/mod.rs:3: {beside} push-server/src/ring/tests.rs"),
        ]
    );
}
