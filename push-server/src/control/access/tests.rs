use super::*;
use crate::access::scram::verifier_line;

fn loaded(text: &str) -> Result<Access, String> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("written");
    let scram_users = Some(file.path().to_owned());
    load(&Config { scram_users, ..Config::default() }).map_err(|error| error.to_string())
}

#[test]
fn users_are_read_and_a_wrong_line_is_named() {
    let line = verifier_line("user", "pencil", &[0; 16], 4_096).expect("valid");
    let access = loaded(&format!("# one\n{line}\n")).expect("valid");
    assert_eq!(access.users.map(|users| users.len()), Some(1));
    let error = loaded(&format!("{line}\nother pencil\n")).expect_err("no verifier");
    assert!(error.contains(":2: expected NAME SCRAM-SHA-256$"), "{error}");
    assert!(error.contains("push-server scram-user") && !error.contains("pencil"), "{error}");
}

#[test]
fn missing_file_names_the_flag_and_none_is_no_users() {
    let config = Config { scram_users: Some("/nonexistent".into()), ..Config::default() };
    let error = load(&config).expect_err("missing").to_string();
    assert!(error.contains("/nonexistent") && error.contains("--scram-users"), "{error}");
    assert!(load(&Config::default()).expect("none").users.is_none());
}
