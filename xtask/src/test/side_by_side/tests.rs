use super::*;

fn shell(name: &str, script: &str) -> Run {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Run::new(name, command)
}

/// A folder of this test's own, below the one for temporary files.
fn folder(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()))
}

#[test]
fn counts_of_all_binaries_are_added_up() {
    let folder = folder("counts");
    let count = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out'";
    let runs = (0..10).map(|number| shell(&format!("binary-{number}"), count)).collect();
    let mut printed = Vec::new();
    let tally = run(runs, &folder, &mut printed).unwrap();
    assert_eq!((tally.passed, tally.failed), (20, 0));
    assert_eq!(String::from_utf8(printed).unwrap().lines().count(), 10);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_binary_that_ends_without_its_counts_is_a_failure() {
    let folder = folder("broken");
    let missing = Run::new("missing", Command::new("/no/such/binary"));
    let tally =
        run(vec![shell("killed", "kill -9 $$"), missing], &folder, std::io::sink()).unwrap();
    assert_eq!((tally.passed, tally.failed), (0, 2));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_binary_that_gives_way_keeps_its_environment_and_folder() {
    let mut command = Command::new("sh");
    command.args(["-c", "nice; pwd; echo $PUSH_WORD"]).env("PUSH_WORD", "kept").current_dir("/");
    let printed = giving_way(&command).output().unwrap().stdout;
    assert_eq!(String::from_utf8(printed).unwrap(), "19\n/\nkept\n");
}

#[test]
fn the_longest_begin_first() {
    let mut names = ["crash", "e2e_tls", "door", "wire"];
    names.sort_by_key(|name| place(name));
    assert_eq!(names, ["wire", "e2e_tls", "crash", "door"]);
}
