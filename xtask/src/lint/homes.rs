//! `impl` blocks away from home: methods of a type outside the module that defines it and the
//! modules below, so that no file reaches into another's struct. A trait's `impl` may also stand
//! with the trait, or with a type that the trait is given (`From<Given>`), and anywhere if it joins
//! a type of one room with a trait or type of another, as adapters do. Tests may extend what they
//! test.

use super::crates::{Crate, Place};

/// The `impl` blocks away from home in `crates`, a line each.
pub(crate) fn violations(crates: &[Crate<'_>]) -> Vec<String> {
    let mut found = Vec::new();
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
                let name = of_type.item.as_deref().unwrap_or_default();
                let home = of.file_of(&of_type.module).unwrap_or_default();
                let line = block.line;
                found.push(format!("{file}:{line}: impl of {name}, which {home} defines"));
            }
        }
    }
    found
}

/// The module below the crate's root; `None`: the root itself.
fn room(place: &Place) -> Option<&String> {
    place.module.get(1)
}

#[cfg(test)]
mod tests;
