use super::*;

fn found(files: &[(&str, &str)], module: &str, path: &str) -> Option<String> {
    let sources = sources(files);
    let of = &Crate::all(&sources).0[0];
    let split = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    let place = of.find(&split(module), &split(path))?;
    let mut name = place.module;
    name.extend(place.item);
    Some(name.join("::"))
}

#[test]
fn names_are_followed_through_imports_aliases_and_globs() {
    let files = [
        ("a/src/lib.rs", "mod x; mod y; pub use y::*;"),
        ("a/src/x.rs", "use crate::y::{self, Y as Other}; use crate::y as why;"),
        ("a/src/y.rs", "pub struct Y; pub mod inner { pub fn run() {} }"),
    ];
    let found = |module, path| found(&files, module, path);
    assert_eq!(found("crate::x", "Other::new").as_deref(), Some("crate::y::Y"));
    assert_eq!(found("crate::x", "why::inner::run").as_deref(), Some("crate::y::inner::run"));
    assert_eq!(found("crate::x", "y").as_deref(), Some("crate::y"));
    assert_eq!(found("crate::x", "crate::Y").as_deref(), Some("crate::y::Y"));
    assert_eq!(
        found("crate::x", "crate::y::written_by_a_macro").as_deref(),
        Some("crate::y::written_by_a_macro")
    );
}

#[test]
fn names_of_other_crates_lead_nowhere() {
    let files = [("a/src/lib.rs", "use std::fmt; use clap; use std::io::{self as fmt2};")];
    for path in ["fmt::Debug", "clap::Parser", "Vec::new", "T::Item"] {
        assert_eq!(found(&files, "crate", path), None, "{path}");
    }
}

#[test]
fn a_module_without_a_file_is_told() {
    let sources = sources(&[("a/src/lib.rs", "\nmod x; #[cfg(test)] mod y; mod tests;")]);
    let (_, missing) = Crate::all(&sources);
    assert_eq!(missing, ["a/src/lib.rs:2: crate::x has no file that lints find"]);
}

#[test]
fn a_binary_is_a_crate_of_its_own() {
    let sources = sources(&[
        ("a/src/lib.rs", "mod x;"),
        ("a/src/x.rs", ""),
        ("a/src/main.rs", "mod cli;"),
        ("a/src/cli.rs", ""),
        ("a/src/bin/load.rs", ""),
    ]);
    let (crates, missing) = Crate::all(&sources);
    let files: Vec<Vec<&str>> =
        crates.iter().map(|of| of.files().map(|(file, _)| file).collect()).collect();
    assert!(missing.is_empty());
    assert_eq!(
        files,
        [
            vec!["a/src/bin/load.rs"],
            vec!["a/src/lib.rs", "a/src/x.rs"],
            vec!["a/src/cli.rs", "a/src/main.rs"]
        ]
    );
}
