//! Files of a crate that import each other in a circle. A file imports the files that define the
//! names in its paths, even through re-exports. It imports nothing by `mod name;`, by a `use` of a
//! module (the paths through it count), by a `pub use` of a name that it does not use itself, or in
//! its tests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::crates::Crate;
use super::source::Path;

/// Why one file needs another: the first path that says so.
struct Import {
    line: usize,
    path: String,
}

/// The files that each file imports, out of one crate.
type Imports<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Import>>;

/// The circles in `crates`, each with the lines that close it.
pub(crate) fn violations(crates: &[Crate<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for imports in crates.iter().map(imports) {
        let mut seen = BTreeSet::new();
        for file in imports.keys() {
            let Some(circle) = shortest_circle(&imports, file) else { continue };
            let members: BTreeSet<&str> = circle.iter().copied().collect();
            if seen.insert(members) {
                found.push(told(&imports, &circle));
            }
        }
    }
    found
}

fn imports<'a>(of: &'a Crate<'_>) -> Imports<'a> {
    let mut imports = Imports::new();
    for (file, source) in of.files() {
        let mut others = BTreeMap::new();
        // A room's front file re-exports names for the outside.
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

/// The circle in words: which file names an item of the next, and in which line.
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
mod tests;
