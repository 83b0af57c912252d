use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}

#[test]
fn a_new_directory_is_its_users_alone_and_an_old_one_stays_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let new = dir.path().join("a/b");
    make_dir(&new).expect("made");
    assert_eq!((mode(&new), mode(&dir.path().join("a"))), (0o700, 0o700));
    fs::set_permissions(&new, Permissions::from_mode(0o755)).expect("opened");
    make_dir(&new).expect("there");
    assert_eq!(mode(&new), 0o755);
}

#[test]
fn what_an_earlier_server_left_open_is_closed() {
    let dir = tempfile::tempdir().expect("a directory");
    let (inner, file) = (dir.path().join("inner"), dir.path().join("inner/file"));
    fs::create_dir(&inner).expect("made");
    fs::write(&file, "x").expect("written");
    fs::set_permissions(&inner, Permissions::from_mode(0o755)).expect("opened");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("opened");
    assert_eq!(close_tree(&inner).expect("closed"), 2);
    assert_eq!((mode(&inner), mode(&file)), (0o700, 0o600));
    assert_eq!(close_tree(&inner).expect("closed"), 0);
}
