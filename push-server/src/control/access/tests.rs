use super::*;
use crate::access::scram::verifier_line;
use crate::config::{AnonymousMode, ListenerTable};

fn loaded(text: &str) -> Result<Access, String> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("written");
    load(&config(file.path())).map_err(|error| error.to_string())
}

fn config(users_file: &Path) -> Config {
    let mut config = Config::default();
    config.authentication.users_file = Some(users_file.to_owned());
    config
}

#[test]
fn users_are_read_and_a_wrong_line_is_named() {
    let line = verifier_line("user", "pencil", &[0; 16], 4_096).expect("valid");
    let access = loaded(&format!("# one\n{line}\n")).expect("valid");
    assert_eq!(access.users.map(|users| users.len()), Some(1));
    let error = loaded(&format!("{line}\nother pencil\n")).expect_err("no verifier");
    assert!(error.contains(":2: expected NAME:HASH"), "{error}");
    assert!(error.contains("push-server user set") && !error.contains("pencil"), "{error}");
}

#[test]
fn missing_file_names_the_flag_and_none_is_no_users() {
    let error = load(&config(Path::new("/nonexistent"))).expect_err("missing").to_string();
    assert!(error.contains("/nonexistent") && error.contains("--users"), "{error}");
    assert!(load(&Config::default()).expect("none").users.is_none());
}

#[test]
fn with_users_nobody_is_anonymous_unless_that_is_allowed() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut config = config(file.path());
    for (mode, with, without) in [
        (AnonymousMode::Auto, false, true),
        (AnonymousMode::Always, true, true),
        (AnonymousMode::Never, false, false),
    ] {
        config.authentication.anonymous = mode;
        let at = Some("127.0.0.1:1883");
        assert_eq!(load(&config).expect("valid").anonymous.is_allowed_at(at), with, "{mode}");
        let mut config = Config::default();
        config.authentication.anonymous = mode;
        assert_eq!(load(&config).expect("valid").anonymous.is_allowed_at(at), without, "{mode}");
    }
}

#[test]
fn a_listener_may_say_otherwise_who_is_let_in_as_nobody() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let table = |name: &str, anonymous| ListenerTable {
        name: Some(name.parse().expect("a name")),
        address: Some(format!("/{name}").parse().expect("a path")),
        anonymous,
        ..ListenerTable::default()
    };
    let mut config = config(file.path());
    config.listen.clear();
    config.listener_tables = vec![
        table("as-all", None),
        table("open", Some(AnonymousMode::Always)),
        table("shut", Some(AnonymousMode::Never)),
        table("auto", Some(AnonymousMode::Auto)),
    ];
    for (mode, open) in [
        (AnonymousMode::Auto, &["open"][..]),
        (AnonymousMode::Always, &["as-all", "open"]),
        (AnonymousMode::Never, &["open"]),
    ] {
        config.authentication.anonymous = mode;
        let anonymous = load(&config).expect("valid").anonymous;
        for name in ["as-all", "open", "shut", "auto", "another"] {
            let is_open = open.contains(&name);
            assert_eq!(anonymous.is_allowed_at(Some(name)), is_open, "{mode}, {name}");
        }
        assert!(!anonymous.is_allowed_at(None), "a client whose listener nobody knows");
    }
}
