//! Structs of `shard` with more fields than one thing has. A shard is made of parts, and each part is small
//! enough to be the only owner of its state.

use super::crates::Sources;

/// Where that is asked.
const ROOM: &str = "push-server/src/shard/";

/// Fields of a struct.
const FIELDS_MAX: usize = 12;

/// Structs that still have more, and the file. What has become smaller has no place here.
const LEFT: &[(&str, &str)] = &[
    ("Client", "push-server/src/shard/clients/client.rs"),
    ("Fanout", "push-server/src/shard/turn/fanout.rs"),
    ("Shared", "push-server/src/shard/mod.rs"),
];

/// The structs with too many fields, a line each, but for those of `LEFT`.
pub(crate) fn violations(sources: &Sources) -> Vec<String> {
    check(sources, LEFT)
}

fn check(sources: &Sources, left: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut large = Vec::new();
    for (file, source) in sources.iter().filter(|(file, _)| file.starts_with(ROOM)) {
        for item in source.structs.iter().filter(|item| !item.in_tests && item.fields > FIELDS_MAX)
        {
            if !left.contains(&(&item.name, file)) {
                let (name, line, fields) = (&item.name, item.line, item.fields);
                found
                    .push(format!("{file}:{line}: {name} has {fields} fields (over {FIELDS_MAX})"));
            }
            large.push((&item.name, file));
        }
    }
    for (name, file) in left {
        if !large.iter().any(|(other, there)| other == name && there == file) {
            found.push(format!(
                "{name} of {file} has no more than {FIELDS_MAX} fields any more: take it off the list LEFT in {}",
                file!()
            ));
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
        let found = check(&sources, &[]);
        assert_eq!(found, ["push-server/src/shard/a.rs:1: Large has 13 fields (over 12)"]);
        assert!(check(&sources, &[("Large", "push-server/src/shard/a.rs")]).is_empty());
        let found = check(
            &sources,
            &[("Large", "push-server/src/shard/a.rs"), ("Small", "push-server/src/shard/a.rs")],
        );
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
