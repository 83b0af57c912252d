use super::super::crates::sources;
use super::*;

/// The room of `x` and `y`.
const ROOM: [(&str, &str); 2] = [("a/src/lib.rs", "mod r;"), ("a/src/r/mod.rs", "mod x; mod y;")];

fn away(x: &str, y: &str) -> Vec<String> {
    let [root, room] = ROOM;
    let sources = sources(&[root, room, ("a/src/r/x.rs", x), ("a/src/r/y.rs", y)]);
    violations(&Crate::all(&sources).0)
}

#[test]
fn methods_of_another_files_type_are_refused() {
    let found = away("pub struct X<T>(T);", "\nuse super::x::X; impl<T: Fn() -> u8> X<T> {}");
    assert_eq!(found, ["a/src/r/y.rs:2: impl of X, which a/src/r/x.rs defines"]);
    let found = away("pub enum X {}", "impl Drop for super::x::X {}");
    assert_eq!(found, ["a/src/r/y.rs:1: impl of X, which a/src/r/x.rs defines"]);
}

#[test]
fn modules_below_the_types_own_are_its_home() {
    let files = [
        ("a/src/lib.rs", "mod x;"),
        ("a/src/x.rs", "mod part; pub struct X;"),
        ("a/src/x/part.rs", "use super::X; impl X {} mod deep { impl crate::x::X {} }"),
    ];
    let sources = sources(&files);
    assert!(violations(&Crate::all(&sources).0).is_empty());
}

#[test]
fn a_trait_may_be_implemented_beside_it_or_beside_what_it_is_given() {
    let of_trait = "use super::x::X; pub trait Y {} impl Y for X {} impl<T> Y for Vec<T> {}";
    assert!(away("pub struct X;", of_trait).is_empty());
    let given = "use super::x::X; pub struct Y; impl From<Y> for X {} impl From<&[Y]> for X {}";
    assert!(away("pub struct X;", given).is_empty());
    let neither = "use super::x::X; impl From<u8> for X {}";
    assert_eq!(away("pub struct X;", neither).len(), 1);
}

#[test]
fn an_adapter_between_two_rooms_may_stand_where_both_are_known() {
    let files = [
        ("a/src/lib.rs", "mod ring; mod shard;"),
        ("a/src/ring.rs", "pub struct Token;"),
        ("a/src/shard/mod.rs", "mod ports; mod thread; pub struct Shard;"),
        ("a/src/shard/ports.rs", "pub trait Wire {} pub struct Token;"),
        (
            "a/src/shard/thread.rs",
            "use super::ports; use crate::ring; \
          impl ports::Wire for ring::Token {} impl From<ring::Token> for ports::Token {} \
          impl ports::Wire for ports::Token {}",
        ),
    ];
    let sources = sources(&files);
    let found = violations(&Crate::all(&sources).0);
    let expected = "a/src/shard/thread.rs:1: impl of Token, which a/src/shard/ports.rs defines";
    assert_eq!(found, [expected]);
}

#[test]
fn tests_and_types_of_other_crates_are_no_concern() {
    let text = "use super::x::X; #[cfg(test)] impl X {} mod tests { impl super::X {} } \
                trait Own {} impl<T> Own for T {} impl Own for std::fs::File {} \
                fn f() -> impl Fn() { || () }";
    assert!(away("pub struct X;", text).is_empty());
}
