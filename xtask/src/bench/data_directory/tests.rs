use super::*;

#[test]
fn a_data_directory_begins_empty_and_is_removed() {
    let below = std::env::temp_dir().join(format!("xtask-data-{}", std::process::id()));
    fs::create_dir_all(below.join(format!("data-{}/left", std::process::id()))).unwrap();
    let directory = DataDirectory::below(&below).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    fs::write(directory.path().join("file"), vec![1; 100_000]).unwrap();
    assert!(directory.bytes() >= 100_000);
    let path = directory.path().to_owned();
    drop(directory);
    assert!(!path.exists());
    fs::remove_dir(&below).unwrap();
}
