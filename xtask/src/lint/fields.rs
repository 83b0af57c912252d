//! Structs of `shard` with too many fields. A shard is made of parts, each small enough to be the
//! only owner of its state.

use super::crates::Sources;

/// The folder that this lint checks.
const ROOM: &str = "push-server/src/shard/";

/// Most fields of a struct.
const FIELDS_MAX: usize = 12;

/// The structs with too many fields, a line each.
pub(crate) fn violations(sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    for (file, source) in sources.iter().filter(|(file, _)| file.starts_with(ROOM)) {
        for item in source.structs.iter().filter(|item| !item.in_tests && item.fields > FIELDS_MAX)
        {
            let (name, line, fields) = (&item.name, item.line, item.fields);
            found.push(format!("{file}:{line}: {name} has {fields} fields (over {FIELDS_MAX})"));
        }
    }
    found
}

#[cfg(test)]
mod tests;
