//! `impl` blocks away from home: methods of a type outside the module that defines it and the modules
//! below, so that no file reaches into a struct that another owns. A trait's `impl` may stand with the
//! trait as well, or with a type that the trait is given (`From<Given>`), and anywhere where it joins a
//! type of one room with a trait or type of another, as adapters do. Tests may extend what they test.

use super::crates::{Crate, Place};

/// Types whose methods still stand elsewhere, and the file. What has moved home has no place here.
const LEFT: &[(&str, &str)] = &[];

/// The `impl` blocks away from home in `crates`, a line each, but for those of `LEFT`.
pub(crate) fn violations(crates: &[Crate<'_>]) -> Vec<String> {
    check(crates, LEFT)
}

fn check(crates: &[Crate<'_>], left: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut away = Vec::new();
    for of in crates {
        for (file, source) in of.files() {
            for block in source.impls.iter().filter(|block| !block.in_tests) {
                let home = |path: &[String]| {
                    of.find(&block.module, path).filter(|place| of.defines(place))
                };
                let is_at = |place: &Place| block.module.starts_with(&place.module);
                let Some(of_type) = home(&block.type_path) else { continue };
                let mut others = block.trait_paths.iter().filter_map(|path| home(path));
                let is_free = |place: Place| is_at(&place) || room(&place) != room(&of_type);
                if is_at(&of_type) || others.any(is_free) {
                    continue;
                }
                let name = of_type.item.as_deref().unwrap_or_default().to_owned();
                if !left.contains(&(&name, file)) {
                    let home = of.file_of(&of_type.module).unwrap_or_default();
                    let line = block.line;
                    found.push(format!("{file}:{line}: impl of {name}, which {home} defines"));
                }
                away.push((name, file));
            }
        }
    }
    for (name, file) in left {
        if !away.iter().any(|(other, there)| other == name && there == file) {
            found.push(format!(
                "{file} holds no impl of {name} any more: take it off the list LEFT in {}",
                file!()
            ));
        }
    }
    found
}

/// The module below the crate's root; `None`: the root itself.
fn room(place: &Place) -> Option<&String> {
    place.module.get(1)
}

#[cfg(test)]
mod tests {
    use super::super::crates::sources;
    use super::*;

    /// The room of `x` and `y`.
    const ROOM: [(&str, &str); 2] =
        [("a/src/lib.rs", "mod r;"), ("a/src/r/mod.rs", "mod x; mod y;")];

    fn away(x: &str, y: &str, left: &[(&str, &str)]) -> Vec<String> {
        let [root, room] = ROOM;
        let sources = sources(&[root, room, ("a/src/r/x.rs", x), ("a/src/r/y.rs", y)]);
        check(&Crate::all(&sources).0, left)
    }

    #[test]
    fn methods_of_another_files_type_are_refused() {
        let found =
            away("pub struct X<T>(T);", "\nuse super::x::X; impl<T: Fn() -> u8> X<T> {}", &[]);
        assert_eq!(found, ["a/src/r/y.rs:2: impl of X, which a/src/r/x.rs defines"]);
        let found = away("pub enum X {}", "impl Drop for super::x::X {}", &[]);
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
        assert!(check(&Crate::all(&sources).0, &[]).is_empty());
    }

    #[test]
    fn a_trait_may_be_implemented_beside_it_or_beside_what_it_is_given() {
        let of_trait = "use super::x::X; pub trait Y {} impl Y for X {} impl<T> Y for Vec<T> {}";
        assert!(away("pub struct X;", of_trait, &[]).is_empty());
        let given = "use super::x::X; pub struct Y; impl From<Y> for X {} impl From<&[Y]> for X {}";
        assert!(away("pub struct X;", given, &[]).is_empty());
        let neither = "use super::x::X; impl From<u8> for X {}";
        assert_eq!(away("pub struct X;", neither, &[]).len(), 1);
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
        let found = check(&Crate::all(&sources).0, &[]);
        let expected = "a/src/shard/thread.rs:1: impl of Token, which a/src/shard/ports.rs defines";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn tests_and_types_of_other_crates_are_no_concern() {
        let text = "use super::x::X; #[cfg(test)] impl X {} mod tests { impl super::X {} } \
                    trait Own {} impl<T> Own for T {} impl Own for std::fs::File {} \
                    fn f() -> impl Fn() { || () }";
        assert!(away("pub struct X;", text, &[]).is_empty());
    }

    #[test]
    fn a_list_of_what_is_left_names_no_block_too_many() {
        let (x, y) = ("pub struct X;", "impl super::x::X {}");
        assert!(away(x, y, &[("X", "a/src/r/y.rs")]).is_empty());
        let found = away(x, "", &[("X", "a/src/r/y.rs")]);
        assert!(found[0].starts_with("a/src/r/y.rs holds no impl of X any more"), "{}", found[0]);
    }
}
