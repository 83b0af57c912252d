use super::*;

#[test]
fn the_target_folder_is_where_cargo_would_build() {
    let (root, here) = (Path::new("/work"), Path::new("/work/tests"));
    let folder = |said: [Option<&str>; 2]| {
        target_folder(root, here, &said.map(|said| said.map(OsString::from)))
    };
    assert_eq!(folder([None, None]), Path::new("/work/target"));
    assert_eq!(folder([Some(""), None]), Path::new("/work/target"));
    assert_eq!(folder([Some("/tmp/built"), Some("other")]), Path::new("/tmp/built"));
    assert_eq!(folder([Some("built"), None]), Path::new("/work/tests/built"));
    assert_eq!(folder([None, Some("other")]), Path::new("/work/tests/other"));
}
