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
