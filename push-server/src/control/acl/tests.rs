//! Reading a file of rules.

use super::*;

fn loaded(text: &str) -> Result<Option<Arc<Acl>>, String> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("written");
    let acl = Some(file.path().to_owned());
    load(&Config { acl, ..Config::default() }).map_err(|error| error.to_string())
}

#[test]
fn rules_are_read_and_a_mistake_is_named_with_its_place() {
    let acl = loaded("[[allow]]\npublish = [\"a\"]\n").expect("valid");
    assert_eq!(acl.map(|acl| acl.rules_len()), Some(1));
    let error = loaded("[[allow]]\npublish = [\"a+\"]\n").expect_err("no filter");
    assert!(error.contains(":2:12: \"a+\" is no filter: "), "{error}");
}

#[test]
fn missing_file_names_the_flag_and_none_is_no_rules() {
    let config = Config { acl: Some("/nonexistent".into()), ..Config::default() };
    let error = load(&config).expect_err("missing").to_string();
    assert!(error.contains("/nonexistent") && error.contains("--acl"), "{error}");
    assert!(load(&Config::default()).expect("none").is_none());
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(ACL_FILE_BYTES_MAX + 1).expect("made long");
    assert!(matches!(read(file.path()), Err(AclFileError::TooLarge { .. })));
}
