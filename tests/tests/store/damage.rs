//! Files that were cut, changed or removed: all is there, or the store says that it is not.

use std::fs;
use std::path::{Path, PathBuf};

use push_server::broker::SubscriptionOptions;
use push_server::store::embedded::{Durability, StoreError, StoreOptions};
use push_server::store::{SessionNumber, Store as _, Write};

use super::rig::{Rig, copy_tree, message, options, put, put_session, subscribe};

/// Messages in the outbox of each session of the database to be damaged.
const MESSAGES: u64 = 40;

fn durable(dir: &Path) -> StoreOptions {
    StoreOptions { durability: Durability::Fsync, ..options(dir) }
}

/// Two sessions with full outboxes, in the journal.
fn fill(dir: &Path) {
    let mut rig = Rig::try_open(durable(dir)).unwrap();
    rig.commit(vec![put_session(0, "zero"), put_session(1, "one")]);
    rig.commit(vec![subscribe(0, "a", SubscriptionOptions::default())]);
    for position in 0..MESSAGES {
        let body = vec![position as u8; 20 + 400 * position as usize];
        rig.commit(vec![
            put(0, position, &message("a", body)),
            put(1, position, &message("b", "x")),
        ]);
    }
}

/// Whether everything that was filled in is there, and readable.
fn is_whole(rig: &mut Rig) -> bool {
    rig.recovered.sessions.len() == 2
        && rig.session(0).subscriptions.len() == 1
        && rig.places(0) == [(0, MESSAGES)]
        && rig.places(1) == [(0, MESSAGES)]
        && rig.counter(|c| &c.unreadable) == 0
}

fn journal(dir: &Path) -> PathBuf {
    dir.join("db/0.jnl")
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for found in fs::read_dir(dir).unwrap() {
        let path = found.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Replaces a file of a copy.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_torn_journal_is_recovered_as_far_as_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let bytes = fs::read(journal(dir.path())).unwrap();
    let len = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    for cut in [1, 30, 1_000, len / 2] {
        // What was not written yet is missing, or zero.
        for fills in [false, true] {
            let torn = tempfile::tempdir().unwrap();
            copy_tree(dir.path(), torn.path());
            let mut rest = bytes[..len - cut].to_vec();
            rest.resize(if fills { bytes.len() } else { rest.len() }, 0);
            fs::write(journal(torn.path()), &rest).unwrap();
            let mut rig = Rig::try_open(durable(torn.path())).unwrap();
            let (zero, one) = (rig.places(0), rig.places(1));
            assert_eq!(zero, one, "each write is there as a whole or not at all");
            let [(0, kept)] = zero[..] else { panic!("{zero:?}") };
            assert!(kept < MESSAGES && (cut > 30 || kept == MESSAGES - 1), "cut {cut}: {kept}");
            // And it goes on from there.
            rig.commit(vec![put(0, kept, &message("a", "again"))]);
            drop(rig);
            let mut rig = Rig::try_open(durable(torn.path())).unwrap();
            assert_eq!(rig.places(0), [(0, kept + 1)]);
        }
    }
}

#[test]
fn a_changed_byte_in_the_journal_is_no_silent_loss() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let bytes = fs::read(journal(dir.path())).unwrap();
    let len = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let last_batch = len - 400 * (MESSAGES as usize - 1) - 200;
    for part in 0..20 {
        let mut changed = bytes.clone();
        changed[part * last_batch / 20] ^= 0x10;
        fs::write(journal(dir.path()), &changed).unwrap();
        let error = Rig::try_open(durable(dir.path())).err().unwrap();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("0.jnl is damaged at byte"), "{error}");
    }
    fs::write(journal(dir.path()), &bytes).unwrap();
    assert!(is_whole(&mut Rig::try_open(durable(dir.path())).unwrap()));
}

/// Every file of a database that has tables and a journal, removed, emptied, cut in half, and changed
/// in the middle.
#[test]
fn a_damaged_file_is_no_silent_loss() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    flush_to_tables(dir.path());
    let files = files_below(&dir.path().join("db"));
    assert!(files.iter().any(|file| is_table(file)), "{files:?}");
    let is_journal = |file: &&PathBuf| file.extension().is_some_and(|e| e == "jnl");
    let newest =
        files.iter().rfind(is_journal).unwrap().strip_prefix(dir.path()).unwrap().to_owned();
    let (mut refused, mut harmless) = (0, Vec::new());
    for file in files {
        let name = file.strip_prefix(dir.path()).unwrap();
        // Trees are alike: a full, an empty and the database's own one are enough.
        let is_like_others = ["2", "3", "5", "6"]
            .iter()
            .any(|tree| name.starts_with(Path::new("db/keyspaces").join(tree)));
        let damages = ["removed", "emptied", "cut", "changed"];
        for damage in &damages[..if is_like_others { 1 } else { damages.len() }] {
            let damaged = tempfile::tempdir().unwrap();
            copy_tree(dir.path(), damaged.path());
            let victim = damaged.path().join(name);
            let mut bytes = fs::read(&victim).unwrap();
            let half = bytes.len() / 2;
            match *damage {
                "removed" => fs::remove_file(&victim).unwrap(),
                "emptied" => replace(&victim, &[]),
                "cut" => replace(&victim, &bytes[..half]),
                _ if bytes.is_empty() => continue,
                _ => {
                    bytes[half] ^= 0x10;
                    replace(&victim, &bytes);
                }
            }
            // A journal that ends early cannot be told from one that was written no further.
            let may_end_early = name == newest && matches!(*damage, "emptied" | "cut");
            match Rig::try_open(durable(damaged.path())) {
                Ok(_) if may_end_early => {}
                Err(StoreError::Damaged { .. } | StoreError::UnknownLayout { .. }) => refused += 1,
                Err(error) => panic!("{} {damage}: {error}", name.display()),
                Ok(mut rig) => {
                    assert!(is_whole(&mut rig), "{} {damage}: lost without a word", name.display());
                    harmless.push(format!("{} {damage}", name.display()));
                }
            }
        }
    }
    println!("{refused} refused, harmless: {harmless:#?}");
    assert!(refused > 10, "{refused}");
}

/// Fills the store's memory until it writes tables, as it does beyond 32 MB.
fn flush_to_tables(dir: &Path) {
    let mut rig = Rig::try_open(durable(dir)).unwrap();
    rig.commit(vec![put_session(2, "filler")]);
    let filler = vec![7; 1 << 20];
    let tables = || files_below(&dir.join("db")).into_iter().filter(|file| is_table(file)).count();
    let before = tables();
    for position in 0.. {
        rig.commit(vec![put(2, position, &message("a", &filler[..]))]);
        if tables() > before {
            break;
        }
    }
    rig.commit(vec![Write::RemoveSession { number: SessionNumber(2) }]);
}

fn is_table(file: &Path) -> bool {
    file.parent().unwrap().ends_with("tables")
}

#[test]
fn a_second_store_in_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::open(dir.path());
    let error = Rig::try_open(options(dir.path())).err().unwrap();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert!(rig.store.is_serving());
    drop(rig);
    Rig::open(dir.path());
}

#[test]
fn what_is_no_directory_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = Rig::try_open(options(&path)).err().unwrap();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_first_start_that_broke_off_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    // As a kill leaves it: some of the files, under the name for what is not finished.
    fs::create_dir_all(dir.path().join("db.new/keyspaces/0")).unwrap();
    fs::write(dir.path().join("db.new/0.jnl"), "").unwrap();
    let mut rig = Rig::open(dir.path());
    rig.commit(vec![put_session(0, "zero")]);
    assert!(!dir.path().join("db.new").exists());
}
