//! Structs of `shard` with more fields than one thing has. A shard is made of parts, and each part is small
//! enough to be the only owner of its state.

use super::crates::Sources;

/// Where that is asked.
const ROOM: &str = "push-server/src/shard/";

/// Fields of a struct.
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
mod tests {
    use super::super::crates::sources;
    use super::*;

    fn fields(number: usize) -> String {
        (0..number).map(|n| format!("f{n}: Vec<(u8, u8)>,")).collect()
    }

    #[test]
    fn a_struct_of_a_shard_with_too_many_fields_is_refused() {
        let (large, small) = (fields(FIELDS_MAX + 1), fields(FIELDS_MAX));
        let text = format!("struct Large<T: Ports> {{ {large} }}\nstruct Small {{ {small} }}");
        let sources =
            sources(&[("push-server/src/shard/a.rs", &text), ("push-server/src/mqtt/a.rs", &text)]);
        let found = violations(&sources);
        assert_eq!(found, ["push-server/src/shard/a.rs:1: Large has 13 fields (over 12)"]);
    }
}
