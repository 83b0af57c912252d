//! Tests of `owners`.

use super::*;

#[test]
fn a_session_that_has_moved_has_an_owner_until_it_is_taken_out() {
    let owners = Owners::default();
    assert_eq!(owners.owner("ada"), None);
    assert!(owners.set("ada", 3));
    assert!(owners.set("bob", 1));
    assert_eq!((owners.owner("ada"), owners.owner("bob")), (Some(3), Some(1)));
    assert_eq!(owners.owner("carl"), None);
    owners.remove("ada");
    assert_eq!((owners.owner("ada"), owners.owner("bob")), (None, Some(1)));
    owners.remove("bob");
    owners.remove("bob");
    assert!(owners.is_empty());
}

#[test]
fn a_full_table_takes_no_further_session_and_still_moves_those_that_it_has() {
    let owners = Owners::default();
    assert!((0..OWNERS_MAX).all(|number| owners.set(&number.to_string(), 1)));
    assert!(!owners.set("one more", 1));
    assert_eq!(owners.owner("one more"), None);
    assert!(owners.set("7", 2));
    assert_eq!(owners.owner("7"), Some(2));
    owners.remove("8");
    assert!(owners.set("one more", 1));
}
