use std::os::unix::fs::symlink;

use super::*;

fn at(files: &[&Path], now: SystemTime) -> Stamps {
    Stamps::taken(files.iter().copied(), now)
}

/// After any file of this test has settled.
fn later() -> SystemTime {
    SystemTime::now() + 10 * SETTLED_AFTER
}

#[test]
fn what_is_written_replaced_or_removed_shows() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, other) = (directory.path().join("a"), directory.path().join("b"));
    fs::write(&file, "a").expect("written");
    fs::write(&other, "b").expect("written");
    let link = directory.path().join("link");
    symlink(&file, &link).expect("a link");
    let before = at(&[&file, &link], later());
    assert!(!before.may_differ(&at(&[&file, &link], later())));
    symlink(&other, directory.path().join("new")).expect("a link");
    fs::rename(directory.path().join("new"), &link).expect("renamed");
    assert!(before.may_differ(&at(&[&file, &link], later())), "the link names another file");
    let before = at(&[&file], later());
    fs::write(&file, "longer").expect("written");
    assert!(before.may_differ(&at(&[&file], later())));
    let before = at(&[&file], later());
    fs::remove_file(&file).expect("removed");
    let gone = at(&[&file], later());
    assert!(before.may_differ(&gone) && !gone.may_differ(&at(&[&file], later())));
}

#[test]
fn a_file_that_was_written_a_moment_ago_may_differ() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("a");
    fs::write(&file, "a").expect("written");
    let fresh = at(&[&file], SystemTime::now());
    assert!(fresh.may_differ(&at(&[&file], later())));
}
