//! Tests of `machine`.

use super::*;
use crate::shard::clients::Client;

#[test]
fn client_stays_small() {
    // A slab entry of an idle connection; with its session's it is most of the budget of 400.
    let bytes = size_of::<Client<Machine>>();
    assert!(bytes <= 264, "{bytes} bytes");
}
