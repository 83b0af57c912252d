use std::io::Write as _;

use super::*;

fn settings(url: &str) -> HookSettings {
    HookSettings { url: Some(url.parse().expect("an address")), ..HookSettings::default() }
}

#[test]
fn token_is_one_word_of_its_file_and_never_shown() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let mut with = |text: &[u8]| {
        file.as_file().set_len(0).expect("empty it");
        std::io::Seek::rewind(&mut file).expect("go to the begin");
        file.write_all(text).expect("write");
        bearer(file.path())
    };
    let header = with(b" s3cret.token==\n").expect("a token");
    assert_eq!(header.as_bytes(), b"Bearer s3cret.token==");
    assert!(!format!("{header:?}").contains("s3cret"));
    for text in [&b""[..], b"\n", b"two words", b"two\nlines", b"\xFF", &[b'a'; 9_000]] {
        let error = with(text).expect_err("no token").to_string();
        assert!(error.contains("--auth-http-bearer-file"), "{error}");
    }
    let error = bearer(Path::new("/nonexistent")).expect_err("missing").to_string();
    assert!(error.contains("/nonexistent") && error.contains("--auth-http-bearer-file"), "{error}");
}

#[test]
fn files_are_looked_at_before_anybody_is_asked() {
    assert!(HookClient::load(&HookSettings::default()).expect("none").is_none());
    HookClient::load(&settings("http://127.0.0.1:1/")).expect("valid").expect("a hook");
    let ca_file = Some("/nonexistent".into());
    let missing = HookSettings { ca_file, ..settings("https://127.0.0.1:1/") };
    let error = HookClient::load(&missing).expect_err("missing").to_string();
    assert!(error.contains("/nonexistent") && error.contains("--auth-http-ca"), "{error}");
}
