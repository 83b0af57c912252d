use std::io::Write as _;

use super::*;
use crate::config::Settings;

fn problems_of(file: &str) -> Vec<String> {
    let mut on_disk = tempfile::NamedTempFile::new().expect("file");
    on_disk.write_all(file.as_bytes()).expect("write");
    let path = on_disk.path().display().to_string();
    let read = Loaded::without_mistakes(&Settings::default(), Some(on_disk.path()));
    let (loaded, mistakes) = read.expect("a file of settings");
    let found = problems(&loaded, mistakes).into_iter();
    found.map(|problem| problem.replace(&path, "push.toml")).collect()
}

#[test]
fn what_the_machine_lacks_is_found_by_line_all_at_once() {
    let found = problems_of(
        "listen = ['192.0.2.1:1883']\niface = ['lo', 'nosuch0']\n\
             scram-users = '/nonexistent/users'\ndata-dir = '/proc/push/data'\n",
    );
    let begins = [
        "push.toml:1: listen = 192.0.2.1:1883: this machine does not have it (",
        "push.toml:2: iface = nosuch0: there is no such interface",
        "push.toml:3: users = /nonexistent/users: cannot read /nonexistent/users: No such",
        "push.toml:4: data-dir = /proc/push/data: cannot write in /proc: ",
    ];
    assert_eq!(found.len(), begins.len(), "{found:?}");
    for (found, begin) in found.iter().zip(begins) {
        assert!(found.starts_with(begin), "{found}");
    }
}

#[test]
fn mistakes_and_what_the_machine_lacks_are_found_together_by_line() {
    let found = problems_of(
        "iface = 'nosuch0'\nshards = 0\nscram-users = '/nonexistent/users'\nretain = true\n\
             data-dir = ''\n",
    );
    let begins = [
        "push.toml:1: iface = nosuch0: there is no such interface",
        "push.toml:2: shards = 0: expected a whole number",
        "push.toml:3: users = /nonexistent/users: cannot read",
        "push.toml:4: retain = true: expected \"on\" or \"off\"",
        "push.toml:5: data-dir = '': expected the path",
    ];
    assert_eq!(found.len(), begins.len(), "{found:?}");
    for (found, begin) in found.iter().zip(begins) {
        assert!(found.starts_with(begin), "{found}");
    }
}

#[test]
fn a_directory_that_can_be_made_is_no_problem_and_is_not_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let deep = dir.path().join("a/b");
    assert_eq!(try_directory(&deep), Ok(()));
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 0);
    assert_eq!(try_directory(dir.path()), Ok(()));
}

#[test]
fn a_file_in_the_way_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let below = file.path().join("data");
    let problem = try_directory(&below).expect_err("a file is no directory");
    assert_eq!(problem, format!("{} is not a directory", file.path().display()));
}

#[test]
fn a_server_that_keeps_nothing_asks_for_no_directory() {
    assert_eq!(problems_of("durability = 'off'\ndata-dir = '/proc/push'\n"), Vec::<String>::new());
}
