//! Unit tests inside the file that they test. A file's tests stand in a file of their own beside
//! it, so that the file shows what it does, and its tests have room to grow.

use super::crates::Sources;

/// The inline modules called `tests`, a line each.
pub(crate) fn violations(sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    for (file, source) in sources {
        for module in source.modules.iter().filter(|module| module.is_inline) {
            if module.path.last().is_some_and(|name| name == "tests") {
                let beside = file.trim_end_matches(".rs").trim_end_matches("/mod");
                found.push(format!(
                    "{file}:{}: unit tests stand in a file of their own: {beside}/tests.rs",
                    module.line
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
