use super::*;

#[test]
fn version_is_read_from_a_package_manifest() {
    let manifest = "{\n  \"name\": \"ws\",\n  \"version\": \"8.23.0\"\n}";
    assert!(is_version(manifest, "8.23.0"));
    assert!(!is_version(manifest, "8.23"));
    assert!(!is_version("", "8.23.0"));
}
