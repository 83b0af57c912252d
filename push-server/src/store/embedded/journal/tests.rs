use super::*;

/// A batch of one item, as the database writes it.
fn batch(seqno: u64, value: &[u8]) -> Vec<u8> {
    let mut item = vec![TAG_ITEM, 0, 0];
    item.extend_from_slice(&4_u64.to_le_bytes());
    item.extend_from_slice(&3_u16.to_le_bytes());
    item.extend_from_slice(&(value.len() as u32).to_le_bytes());
    item.extend_from_slice(&(value.len() as u32).to_le_bytes());
    item.extend_from_slice(b"key");
    item.extend_from_slice(value);
    let mut bytes = vec![TAG_START];
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(&seqno.to_le_bytes());
    bytes.extend_from_slice(&item);
    bytes.push(TAG_END);
    bytes.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(&item).to_le_bytes());
    bytes.extend_from_slice(&TRAILER);
    bytes
}

fn write(dir: &Path, number: u64, bytes: &[u8]) -> PathBuf {
    let path = dir.join(format!("{number}.jnl"));
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn the_database_writes_what_this_module_reads() {
    let dir = tempfile::tempdir().unwrap();
    let database = fjall::Database::builder(dir.path().join("db")).open().unwrap();
    let tree = database.keyspace("tree", fjall::KeyspaceCreateOptions::default).unwrap();
    for round in 0..100_u32 {
        let mut batch = database.batch();
        for item in 0..round % 7 {
            batch.insert(&tree, item.to_be_bytes(), vec![1; (round * 300) as usize]);
            batch.remove(&tree, (item + 100).to_be_bytes());
        }
        batch.commit().unwrap();
    }
    tree.clear().unwrap();
    database.persist(fjall::PersistMode::Buffer).unwrap();
    let path = dir.path().join("db/0.jnl");
    let (whole_to, rest) = examine(&path).unwrap();
    assert_eq!(rest, Rest::Nothing);
    assert!(whole_to > 1_000_000, "{whole_to}");
    // One byte anywhere in it is noticed.
    let mut bytes = fs::read(&path).unwrap();
    for at in [0, 1, 20, 3_000, 500_000, whole_to as usize - 1] {
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (to, rest) = examine(&path).unwrap();
        assert!(to <= at as u64 && rest != Rest::Nothing, "byte {at}: {to}, {rest:?}");
        bytes[at] ^= 1;
    }
}

#[test]
fn a_torn_end_is_cut_off_wherever_it_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let whole = [batch(1, b"one"), batch(2, &[7; 5_000])].concat();
    let last = batch(3, &[9; 200]);
    for kept in 0..last.len() {
        let bytes = [&whole[..], &last[..kept], &[0; 100]].concat();
        let path = write(dir.path(), 0, &bytes);
        let cut = check(dir.path(), None, false).unwrap();
        let left = fs::read(&path).unwrap();
        assert_eq!(cut, (bytes.len() - left.len()) as u64);
        assert_eq!(left[..whole.len()], whole);
        assert!(left[whole.len()..].iter().all(|&byte| byte == 0), "torn at {kept}");
    }
}

#[test]
fn a_hole_in_the_last_batch_is_a_torn_end() {
    // Pages of a batch that was not synced reach the disk in any order.
    let dir = tempfile::tempdir().unwrap();
    let whole = batch(1, b"one");
    let mut last = batch(2, &[9; 20_000]);
    last[4_000..8_000].fill(0);
    write(dir.path(), 0, &[&whole[..], &last].concat());
    assert_eq!(check(dir.path(), None, false).unwrap(), last.len() as u64);
    assert_eq!(check(dir.path(), None, false).unwrap(), 0);
}

#[test]
fn damage_before_the_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let whole = batch(1, b"one");
    let mut broken = batch(2, b"two");
    broken[15] ^= 1;
    let path = write(dir.path(), 0, &[&whole[..], &broken, &batch(3, b"three")].concat());
    let error = check(dir.path(), None, false).unwrap_err();
    assert!(
        matches!(&error, JournalError::Damaged { at, .. } if *at == whole.len() as u64),
        "{error}"
    );
    // Written without syncs, it may be what a loss of power leaves.
    check(dir.path(), None, true).unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[test]
fn a_journal_before_the_last_has_no_torn_end() {
    let dir = tempfile::tempdir().unwrap();
    let whole = batch(1, b"one");
    write(dir.path(), 4, &[&whole[..], &[0; 50]].concat());
    write(dir.path(), 5, &whole);
    assert_eq!(check(dir.path(), None, false).unwrap(), 0);
    write(dir.path(), 4, &[&whole[..], &whole[..20]].concat());
    assert!(matches!(check(dir.path(), None, true), Err(JournalError::Damaged { .. })));
}

#[test]
fn a_missing_journal_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(check(dir.path(), None, true), Err(JournalError::None)));
    for number in [8, 9, 10, 12] {
        write(dir.path(), number, &batch(1, b"one"));
    }
    assert!(matches!(check(dir.path(), None, true), Err(JournalError::Missing(11))));
    fs::remove_file(dir.path().join("12.jnl")).unwrap();
    assert_eq!(newest(dir.path()).unwrap(), Some(10));
    assert!(check(dir.path(), Some(10), true).is_ok());
    assert!(matches!(check(dir.path(), Some(12), true), Err(JournalError::Missing(12))));
}

#[test]
fn a_sequence_that_goes_back_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let whole = batch(1, b"one");
    write(dir.path(), 0, &[&whole[..], &batch(17, b"two"), &batch(3, b"three")].concat());
    assert!(matches!(check(dir.path(), None, false), Err(JournalError::Damaged { .. })));
}

#[test]
fn lengths_are_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = batch(1, b"one");
    // The length of the value: 4 GiB.
    bytes[13 + 17..13 + 21].fill(0xff);
    write(dir.path(), 0, &bytes);
    assert_eq!(check(dir.path(), None, false).unwrap(), bytes.len() as u64);
}
