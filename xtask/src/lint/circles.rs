//! Files of a crate that import each other in a circle. A file imports those that define what its
//! paths name, wherever that is re-exported. It imports nothing by `mod name;`, by a `use` of a module
//! (the paths through it count), by a `pub use` of a name that it does not say itself, and in its tests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::crates::Crate;
use super::source::Path;

/// Files whose circles are still to be cut. A file that is in none has no place here.
const LEFT: &[&str] = &[
    "push-server/src/shard/turn.rs",
    "push-server/src/shard/turn/fanout.rs",
    "push-server/src/shard/turn/input.rs",
    "push-server/src/shard/turn/remains.rs",
    "push-server/src/shard/turn/share.rs",
    "push-server/src/shard/turn/subscribe.rs",
    "push-server/src/shard/turn/errands.rs",
];

/// Why one file needs another: the first path that says so.
struct Import {
    line: usize,
    path: String,
}

/// The files that each file imports, out of one crate.
type Imports<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Import>>;

/// The circles in `crates`, a line each with the lines that close it, but for those of `LEFT`.
pub(crate) fn violations(crates: &[Crate<'_>]) -> Vec<String> {
    check(crates, LEFT)
}

fn check(crates: &[Crate<'_>], left: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_circles = BTreeSet::new();
    for imports in crates.iter().map(imports) {
        let mut seen = BTreeSet::new();
        for file in imports.keys() {
            let Some(circle) = shortest_circle(&imports, file) else { continue };
            in_circles.insert(file.to_string());
            let members: BTreeSet<&str> = circle.iter().copied().collect();
            if !left.contains(file) && seen.insert(members) {
                found.push(told(&imports, &circle));
            }
        }
    }
    for file in left.iter().filter(|file| !in_circles.contains(**file)) {
        found.push(format!(
            "{file} is in no circle of imports any more: take it off the list LEFT in {}",
            file!()
        ));
    }
    found
}

fn imports<'a>(of: &'a Crate<'_>) -> Imports<'a> {
    let mut imports = Imports::new();
    for (file, source) in of.files() {
        let mut others = BTreeMap::new();
        // A room's front says what of its files is seen outside.
        let is_signpost = |path: &Path| {
            path.is_public && path.binds.as_ref().is_some_and(|name| !source.words.contains(name))
        };
        for path in source.paths.iter().filter(|path| !path.in_tests && !is_signpost(path)) {
            let Some(place) = of.find(&path.module, &path.segments) else { continue };
            if place.item.is_none() && path.binds.as_deref() != Some("*") {
                continue;
            }
            let other = of.file_of(&place.module).filter(|other| *other != file);
            if let Some(other) = other {
                let (line, path) = (path.line, path.segments.join("::"));
                others.entry(other).or_insert(Import { line, path });
            }
        }
        imports.insert(file, others);
    }
    imports
}

/// The shortest way along imports from `file` back to it.
fn shortest_circle<'a>(imports: &Imports<'a>, file: &'a str) -> Option<Vec<&'a str>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = VecDeque::from([file]);
    while let Some(importer) = open.pop_front() {
        for &other in imports.get(importer).into_iter().flat_map(BTreeMap::keys) {
            if other == file {
                let mut circle = vec![importer];
                while let Some(&before) = circle.last().and_then(|file| came_from.get(file)) {
                    circle.push(before);
                }
                circle.reverse();
                return Some(circle);
            }
            if !came_from.contains_key(other) {
                came_from.insert(other, importer);
                open.push_back(other);
            }
        }
    }
    None
}

/// The circle in words: which file names what of the next, and where.
fn told(imports: &Imports<'_>, circle: &[&str]) -> String {
    let next = circle.iter().cycle().skip(1);
    let links = circle.iter().zip(next).map(|(file, other)| {
        let Import { line, path } = &imports[file][other];
        format!("\n    {file}:{line}: {path} of {other}")
    });
    let name = circle.first().copied().unwrap_or_default();
    format!(
        "{name}: a circle of imports between {} files:{}",
        circle.len(),
        links.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::super::crates::sources;
    use super::*;

    fn circles(files: &[(&str, &str)], left: &[&str]) -> Vec<String> {
        let sources = sources(files);
        check(&Crate::all(&sources).0, left)
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
        assert_eq!(circles(&files, &[]), [expected]);
    }

    #[test]
    fn a_child_that_uses_its_parent_imports_it_and_a_mod_does_not() {
        let child = ("a/src/x/y.rs", "use super::X; pub fn f(_: X) {}");
        let root = ("a/src/lib.rs", "mod x;");
        let circle = [root, ("a/src/x.rs", "mod y; struct X; fn g() { y::f(X) }"), child];
        assert_eq!(circles(&circle, &[]).len(), 1);
        let none = [root, ("a/src/x.rs", "mod y; struct X;"), child];
        assert!(circles(&none, &[]).is_empty());
    }

    #[test]
    fn a_re_export_is_no_import_until_its_file_says_the_name() {
        let root = ("a/src/lib.rs", "mod x;");
        let child = ("a/src/x/y.rs", "use super::{Y, Z}; pub struct Y(Z);");
        let signpost = [root, ("a/src/x/mod.rs", "mod y; pub use y::Y; struct Z;"), child];
        assert!(circles(&signpost, &[]).is_empty());
        let said = [root, ("a/src/x/mod.rs", "mod y; pub use y::Y; struct Z(Box<Y>);"), child];
        assert_eq!(circles(&said, &[]).len(), 1);
    }

    #[test]
    fn imports_lead_to_the_file_behind_a_re_export() {
        let files = [
            ("a/src/lib.rs", "pub mod x;"),
            ("a/src/x/mod.rs", "mod y; mod z; pub use y::Y; pub use z::*;"),
            ("a/src/x/y.rs", "use crate::x::Z; pub struct Y;"),
            ("a/src/x/z.rs", "use super::Y; pub struct Z;"),
        ];
        let found = circles(&files, &[]);
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
        assert!(circles(&files, &[]).is_empty());
        let files = [
            ("a/src/lib.rs", "mod x; #[cfg(test)] mod check;"),
            ("a/src/x.rs", "#[cfg(test)] use crate::check::run;"),
            ("a/src/check.rs", "use crate::x::X;"),
        ];
        assert!(circles(&files, &[]).is_empty());
    }

    #[test]
    fn a_list_of_what_is_left_names_no_file_too_few_or_too_many() {
        let files = [
            ("a/src/lib.rs", "mod x; mod y; mod z;"),
            ("a/src/x.rs", "use crate::y::Y; pub struct X;"),
            ("a/src/y.rs", "use crate::x::X; pub struct Y;"),
            ("a/src/z.rs", "use crate::x::X;"),
        ];
        assert_eq!(circles(&files, &["a/src/x.rs"]).len(), 1);
        assert!(circles(&files, &["a/src/x.rs", "a/src/y.rs"]).is_empty());
        let found = circles(&files, &["a/src/x.rs", "a/src/y.rs", "a/src/z.rs"]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a/src/z.rs is in no circle"), "{}", found[0]);
    }
}
