//! The documents, held against what they tell of: each flag, file key, limit, metric, link, file and
//! function that they name exists, and each that there is, is named. What a sentence means is nobody's
//! here to check.

mod markdown;
mod measured;
mod names;
mod settings;
mod sources;

use std::collections::BTreeSet;
use std::fmt::Debug;

/// Fails with what only one side has.
#[track_caller]
fn assert_same<T: Ord + Debug>(documented: &BTreeSet<T>, there: &BTreeSet<T>, what: &str) {
    let missing: Vec<_> = there.difference(documented).collect();
    let wrong: Vec<_> = documented.difference(there).collect();
    assert!(
        missing.is_empty() && wrong.is_empty(),
        "{what}: not documented: {missing:?}; documented, and not there: {wrong:?}"
    );
}
