use super::super::crates::sources;
use super::*;

fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let sources = sources(files);
    violations(&Crate::all(&sources).0)
}

#[test]
fn a_circle_is_told_once_with_the_lines_that_close_it() {
    let files = [
        ("a/src/lib.rs", "mod x; mod y; mod z;"),
        ("a/src/x.rs", "\nuse super::y::Y;\npub struct X(Y);"),
        ("a/src/y.rs", "pub struct Y; fn f() {\n crate::z::run() }"),
        ("a/src/z.rs", "use crate::x;\npub fn run() { let _: x::X; }"),
    ];
    let expected = "a/src/x.rs: a circle of imports between 3 files:\n    \
         a/src/x.rs:2: crate::y::Y of a/src/y.rs\n    \
         a/src/y.rs:2: crate::z::run of a/src/z.rs\n    \
         a/src/z.rs:2: x::X of a/src/x.rs";
    assert_eq!(circles(&files), [expected]);
}

#[test]
fn a_child_that_uses_its_parent_imports_it_and_a_mod_does_not() {
    let child = ("a/src/x/y.rs", "use super::X; pub fn f(_: X) {}");
    let root = ("a/src/lib.rs", "mod x;");
    let circle = [root, ("a/src/x.rs", "mod y; struct X; fn g() { y::f(X) }"), child];
    assert_eq!(circles(&circle).len(), 1);
    let none = [root, ("a/src/x.rs", "mod y; struct X;"), child];
    assert!(circles(&none).is_empty());
}

#[test]
fn a_re_export_is_no_import_until_its_file_says_the_name() {
    let root = ("a/src/lib.rs", "mod x;");
    let child = ("a/src/x/y.rs", "use super::{Y, Z}; pub struct Y(Z);");
    let signpost = [root, ("a/src/x/mod.rs", "mod y; pub use y::Y; struct Z;"), child];
    assert!(circles(&signpost).is_empty());
    let said = [root, ("a/src/x/mod.rs", "mod y; pub use y::Y; struct Z(Box<Y>);"), child];
    assert_eq!(circles(&said).len(), 1);
}

#[test]
fn imports_lead_to_the_file_behind_a_re_export() {
    let files = [
        ("a/src/lib.rs", "pub mod x;"),
        ("a/src/x/mod.rs", "mod y; mod z; pub use y::Y; pub use z::*;"),
        ("a/src/x/y.rs", "use crate::x::Z; pub struct Y;"),
        ("a/src/x/z.rs", "use super::Y; pub struct Z;"),
    ];
    let found = circles(&files);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("a/src/x/z.rs:1: crate::x::Y of a/src/x/y.rs"), "{}", found[0]);
}

#[test]
fn tests_and_visibilities_import_nothing() {
    let files = [
        ("a/src/lib.rs", "mod x; mod y;"),
        ("a/src/x.rs", "pub(in crate::y) struct X; #[cfg(test)] fn f() { crate::y::g() }"),
        ("a/src/y.rs", "use crate::x::X; fn g() {} mod tests { use super::*; }"),
    ];
    assert!(circles(&files).is_empty());
    let files = [
        ("a/src/lib.rs", "mod x; #[cfg(test)] mod check;"),
        ("a/src/x.rs", "#[cfg(test)] use crate::check::run;"),
        ("a/src/check.rs", "use crate::x::X;"),
    ];
    assert!(circles(&files).is_empty());
}
