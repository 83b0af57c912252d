//! Tests of what a file of keys may be, besides what is in it.

use std::fs::{self, File};

use super::*;

const KEYS: &str = "{\"keys\": [{\"kty\": \"oct\", \"kid\": \"k\", \"k\": \
                    \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}";

fn settings(path: &Path) -> JwtSettings {
    JwtSettings { keys_file: Some(path.to_owned()), ..JwtSettings::default() }
}

#[test]
fn keys_come_with_what_else_is_asked_of_tokens() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("keys");
    fs::write(&path, KEYS).expect("write");
    let settings = JwtSettings { issuers: vec!["me".into()], ..settings(&path) };
    let tokens = load(&settings).expect("keys").expect("keys");
    assert_eq!((tokens.keys.len(), &tokens.issuers[..]), (1, &["me".to_owned()][..]));
    assert!(load(&JwtSettings::default()).expect("no keys").is_none());
}

#[test]
fn a_file_that_cannot_be_taken_is_named_with_the_setting() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("keys");
    let told = || load(&settings(&path)).expect_err("a mistake").to_string();
    let named = format!("cannot read {}: No such file", path.display());
    assert!(told().starts_with(&named) && told().contains("--jwt-keys"), "{}", told());
    fs::write(&path, KEYS.replace("AAAAAAAA", "")).expect("write");
    let named = format!("{}: key 1 (kid \"k\"): a secret of ", path.display());
    assert!(told().starts_with(&named), "{}", told());
    File::create(&path).expect("write").set_len(JWT_FILE_BYTES_MAX + 1).expect("make it long");
    assert!(told().contains("has 1048577 bytes: a file of keys has at most 1048576"), "{}", told());
}
