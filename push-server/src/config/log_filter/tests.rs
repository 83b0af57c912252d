use std::collections::BTreeSet;
use std::path::Path;

use super::*;

#[test]
fn levels_and_targets_that_exist_are_filters() {
    for good in [
        "info",
        "WARN",
        "off",
        "3",
        "debug,push_server=trace",
        "info,push_server::shard=debug",
        "push_server",
        "push_server::store::embedded::thread=debug",
        "warn,fjall=info,lsm_tree=info,push_ebpf=trace",
        "info,push_server[turn]=debug",
    ] {
        assert_eq!(good.parse(), Ok(LogFilter(good.into())), "{good}");
    }
}

#[test]
fn a_word_that_would_silence_the_server_is_refused_with_the_list() {
    for bad in [
        "",
        "inof",
        "verbose",
        "info,",
        "info,pushserver=debug",
        "push_server=verbose",
        "push_server=",
        "=debug",
        "push_server::shards=debug",
        "push-server=debug",
        "a=b=c",
    ] {
        let message = bad.parse::<LogFilter>().expect_err(bad).to_string();
        for part in LEVELS.iter().chain(&ROOMS).chain(&LIBRARIES) {
            assert!(message.contains(part), "{bad}: {message}");
        }
    }
}

/// They log nothing: the flags, and what the fuzz targets call.
const SILENT: [&str; 2] = ["cli", "fuzzing"];

#[test]
fn the_rooms_are_those_of_the_crate() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let entries = std::fs::read_dir(source).expect("the crate's source");
    let folders: BTreeSet<String> = entries
        .map(|entry| entry.expect("an entry"))
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !holds_tests_alone(path))
        .map(|path| path.file_name().expect("its name").to_string_lossy().into_owned())
        .filter(|folder| !SILENT.contains(&folder.as_str()))
        .collect();
    assert_eq!(folders, ROOMS.iter().map(|room| (*room).to_owned()).collect());
}

fn holds_tests_alone(folder: &Path) -> bool {
    let mut entries = std::fs::read_dir(folder).expect("a folder");
    entries.all(|entry| entry.expect("an entry").file_name() == "tests.rs")
}
