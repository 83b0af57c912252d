use std::io;

use super::*;

#[derive(Debug, thiserror::Error)]
#[error("cannot load")]
struct Outer(#[source] Middle);

#[derive(Debug, thiserror::Error)]
#[error("no http: {0}; choose another")]
struct Middle(#[source] io::Error);

#[test]
fn a_reason_names_its_causes_once_and_in_one_line() {
    let error = Outer(Middle(io::Error::other("first\nsecond")));
    assert_eq!(with_sources(&error), "cannot load: no http: first second; choose another");
}
