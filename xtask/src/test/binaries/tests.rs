use super::*;

#[test]
fn test_binaries_are_read_from_cargo() {
    let message = |kind: &str, test: bool, executable: &str| {
        format!(
            r#"{{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{{
                "kind":["{kind}"],"name":"packet"}},"profile":{{"test":{test}}},
                "executable":{executable}}}"#
        )
    };
    let found = parse_artifact(&message("test", true, "\"/w/target/packet-1\"")).expect("one");
    assert_eq!((found.name.as_str(), found.folder.as_path()), ("packet", Path::new("/w/tests")));
    assert!(!found.is_program);
    assert!(parse_artifact(&message("bin", true, "\"/w/target/x\"")).expect("one").is_program);
    assert_eq!(parse_artifact(&message("bin", false, "\"/w/target/x\"")), None);
    assert_eq!(parse_artifact(&message("lib", true, "null")), None);
    assert_eq!(parse_artifact(r#"{"reason":"build-finished","success":true}"#), None);
}
