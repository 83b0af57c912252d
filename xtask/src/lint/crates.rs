//! The module tree of each crate of the workspace: the file of each module, and the place where a
//! path's name is defined.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Path, Source};

/// Scanned files by their path from the workspace's root.
pub(crate) type Sources = BTreeMap<String, Source>;

/// Most imports to follow from a name to its definition; more would be a circle.
const STEPS_MAX: usize = 16;

/// A crate, from its root on, without the modules of its tests.
pub(crate) struct Crate<'a> {
    files: BTreeMap<String, &'a Source>,
    /// The file of every module, inline ones included.
    modules: BTreeMap<Vec<String>, String>,
    /// The items that modules define, by path and name.
    items: BTreeSet<Vec<String>>,
    /// The imports of a module, by the module and the name there.
    imports: BTreeMap<(Vec<String>, String), Vec<&'a Path>>,
}

/// The place that a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) module: Vec<String>,
    /// The item in the module, unless the path names the module itself.
    pub(crate) item: Option<String>,
}

impl<'a> Crate<'a> {
    /// Every crate in `sources`. The second list names modules without a file.
    pub(crate) fn all(sources: &'a Sources) -> (Vec<Self>, Vec<String>) {
        let mut missing = Vec::new();
        let roots = sources.keys().filter(|file| is_root(file));
        let crates = roots.map(|root| Crate::new(sources, root, &mut missing)).collect();
        (crates, missing)
    }

    fn new(sources: &'a Sources, root: &str, missing: &mut Vec<String>) -> Self {
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut made = Crate {
            files: BTreeMap::new(),
            modules: BTreeMap::from([(vec!["crate".to_owned()], root.to_owned())]),
            items: BTreeSet::new(),
            imports: BTreeMap::new(),
        };
        let mut files = vec![root.to_owned()];
        while let Some(file) = files.pop() {
            let Some(source) = sources.get(&file) else { continue };
            for module in source.modules.iter().filter(|module| !module.in_tests) {
                if module.is_inline {
                    made.modules.insert(module.path.clone(), file.clone());
                    continue;
                }
                let path = module.path[1..].join("/");
                let names = [format!("{folder}/{path}.rs"), format!("{folder}/{path}/mod.rs")];
                match names.into_iter().find(|name| sources.contains_key(name)) {
                    Some(name) => {
                        made.modules.insert(module.path.clone(), name.clone());
                        files.push(name);
                    }
                    None => {
                        let (line, name) = (module.line, module.path.join("::"));
                        missing.push(format!("{file}:{line}: {name} has no file that lints find"));
                    }
                }
            }
            made.add(file, source);
        }
        made
    }

    fn add(&mut self, file: String, source: &'a Source) {
        for item in &source.items {
            self.items.insert(joined(&item.module, &item.name));
        }
        for path in source.paths.iter().filter(|path| !path.in_tests) {
            if let Some(name) = &path.binds {
                self.imports.entry((path.module.clone(), name.clone())).or_default().push(path);
            }
        }
        self.files.insert(file, source);
    }

    /// Its files outside of tests, sorted by name.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &'a Source)> {
        self.files.iter().map(|(file, source)| (file.as_str(), *source))
    }

    /// The file that `module` stands in.
    pub(crate) fn file_of(&self, module: &[String]) -> Option<&str> {
        self.modules.get(module).map(String::as_str)
    }

    /// Whether `place` is an item that its module defines.
    pub(crate) fn defines(&self, place: &Place) -> bool {
        place.item.as_ref().is_some_and(|item| self.items.contains(&joined(&place.module, item)))
    }

    /// The place that `segments` lead to in `module`, through re-exports. `None`: another crate's,
    /// a generic parameter's or a variable's.
    pub(crate) fn find(&self, module: &[String], segments: &[String]) -> Option<Place> {
        self.follow(module, segments, STEPS_MAX)
    }

    fn follow(&self, module: &[String], segments: &[String], steps: usize) -> Option<Place> {
        let (first, mut rest) = segments.split_first()?;
        let mut place = if first == "crate" {
            Place { module: vec!["crate".to_owned()], item: None }
        } else {
            self.name(module, first, steps)?
        };
        while let (None, Some((name, behind))) = (&place.item, rest.split_first()) {
            rest = behind;
            if name != "self" {
                let here = place.module;
                place = self
                    .name(&here, name, steps)
                    .unwrap_or_else(|| Place { module: here, item: Some(name.clone()) });
            }
        }
        Some(place)
    }

    /// The meaning of `name` in `module`.
    fn name(&self, module: &[String], name: &str, steps: usize) -> Option<Place> {
        let path = joined(module, name);
        if self.modules.contains_key(&path) {
            return Some(Place { module: path, item: None });
        }
        if self.items.contains(&path) {
            return Some(Place { module: module.to_vec(), item: Some(name.to_owned()) });
        }
        let steps = steps.checked_sub(1)?;
        let imports = |name: &str| {
            let key = (module.to_vec(), name.to_owned());
            self.imports.get(&key).map_or(&[][..], Vec::as_slice)
        };
        let named =
            imports(name).iter().find_map(|path| self.follow(module, &path.segments, steps));
        named.or_else(|| {
            imports("*").iter().find_map(|path| {
                let place = self.follow(module, &path.segments, steps)?;
                if place.item.is_some() || place.module == module {
                    return None;
                }
                self.name(&place.module, name, steps)
            })
        })
    }
}

fn is_root(file: &str) -> bool {
    let Some((_, inside)) = file.split_once("/src/") else { return false };
    matches!(inside, "lib.rs" | "main.rs")
        || inside.strip_prefix("bin/").is_some_and(|name| !name.contains('/'))
}

fn joined(module: &[String], name: &str) -> Vec<String> {
    let mut path = module.to_vec();
    path.push(name.to_owned());
    path
}

/// Small sources as if they were files of a workspace.
#[cfg(test)]
pub(super) fn sources(files: &[(&str, &str)]) -> Sources {
    let scanned = files.iter().map(|(file, text)| {
        let source = super::source::scan(text, &super::rules::module_of(file));
        (file.to_string(), source)
    });
    scanned.collect()
}

#[cfg(test)]
mod tests;
