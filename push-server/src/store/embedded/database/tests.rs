use super::*;

#[test]
fn another_layout_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(dir.path(), Durability::Fsync);
    for (value, found) in
        [(Some(&[0, 0, 0, 9][..]), "9"), (Some(b"x"), "no number"), (None, "none")]
    {
        let _ = fs::remove_dir_all(dir.path().join(DATABASE));
        let database = Database::open(&options).unwrap();
        let mut batch = database.batch(1);
        database.change(&mut batch, Tree::Meta, LAYOUT_KEY, value.map(Slice::from));
        database.commit(batch).unwrap();
        drop(database);
        match Database::open(&options).err() {
            Some(error @ StoreError::UnknownLayout { .. }) => {
                assert!(error.to_string().contains(&format!("has layout {found}, ")), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_layout_before_becomes_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(dir.path(), Durability::Fsync);
    let database = Database::open(&options).unwrap();
    let mut batch = database.batch(1);
    let before = Slice::from(LAYOUT_BEFORE.to_be_bytes());
    database.change(&mut batch, Tree::Meta, LAYOUT_KEY, Some(before));
    database.commit(batch).unwrap();
    drop(database);
    for _ in 0..2 {
        let database = Database::open(&options).unwrap();
        let noted = database.read(Tree::Meta, LAYOUT_KEY).unwrap().unwrap();
        assert_eq!(*noted, LAYOUT.to_be_bytes());
    }
}

#[test]
fn another_format_of_the_database_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions::new(dir.path(), Durability::Fsync);
    drop(Database::open(&options).unwrap());
    fs::write(dir.path().join(DATABASE).join("version"), b"FJL\x02").unwrap();
    let error = Database::open(&options).err().unwrap();
    assert!(matches!(error, StoreError::UnknownLayout { .. }), "{error}");
    assert!(error.to_string().contains("of database format 2"), "{error}");
}
