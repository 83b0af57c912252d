//! Disks that are full or read-only: small file systems of our own.

use std::fs;
use std::path::Path;

use push_server::broker::SubscriptionOptions;
use push_server::store::embedded::{Durability, StoreError, StoreOptions};
use push_server::store::{SessionNumber, Store as _, StoreFailure, WillNumber, Write};
use push_tests::claims;
use push_tests::skip::{TestResult, need_root};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount,
};

use super::rig::{Rig, message, options, put, put_session, runs, subscribe};

claims! {
    a_full_disk_fails_at_once_and_serves_again_when_there_is_room,
    a_full_disk_under_full_load_loses_nothing_committed,
    retained_messages_that_changed_while_the_disk_failed_are_made_good,
    nothing_is_promised_in_a_session_whose_record_failed,
    a_disk_that_turned_read_only_is_tried_until_it_is_writable,
    a_read_only_directory_is_refused_by_name,
    a_full_disk_at_the_start_is_refused_by_name,
}

/// A memory file system with a size, until it is dropped.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(mebibytes: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let size = std::ffi::CString::new(format!("size={mebibytes}m")).unwrap();
        mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), size.as_c_str()).unwrap();
        let _ = mount_change(dir.path(), MountPropagationFlags::PRIVATE);
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn set_read_only(&self, is_read_only: bool) {
        let flags = if is_read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        mount_remount(self.path(), flags, c"").unwrap();
    }

    /// Takes so much of the room.
    fn occupy(&self, mebibytes: usize) {
        fs::write(self.path().join("filler"), vec![1; mebibytes << 20]).unwrap();
    }

    fn give_back(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

fn data_dir(disk: &SmallDisk) -> std::path::PathBuf {
    disk.path().join("data")
}

/// A disk of so many MiB, what the store on it was opened with, and that store.
fn small(mib: u32) -> (SmallDisk, StoreOptions, Rig) {
    let disk = SmallDisk::mount(mib);
    let options = options(&data_dir(&disk));
    let rig = Rig::try_open(options.clone()).unwrap();
    (disk, options, rig)
}

/// Puts messages one after the other until that fails; how many were committed.
fn put_until_full(rig: &mut Rig) -> u64 {
    let body = message("a", vec![1; 3_000]);
    for position in 0.. {
        match rig.try_commit(vec![put(1, position, &body)]) {
            Ok(()) => {}
            Err(StoreFailure::Disk) => return position,
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!()
}

fn a_full_disk_fails_at_once_and_serves_again_when_there_is_room() -> TestResult {
    need_root()?;
    for durability in [Durability::Os, Durability::Fsync] {
        let disk = SmallDisk::mount(24);
        let options = StoreOptions { durability, ..options(&data_dir(&disk)) };
        let mut rig = Rig::try_open(options.clone()).unwrap();
        rig.commit(vec![put_session(1, "one")]);
        disk.occupy(16);
        let committed = put_until_full(&mut rig);
        assert!(committed > 100, "{committed}");
        assert!(!rig.store.is_serving());
        assert_eq!(rig.counter(|c| &c.failures), 1);
        for position in 0..100 {
            let failed = rig.try_commit(vec![put(1, committed + position, &message("a", "x"))]);
            assert_eq!(failed, Err(StoreFailure::Disk));
        }
        assert_eq!(rig.store.backlog_bytes(), 0);
        disk.give_back();
        rig.await_serving(true);
        assert_eq!(rig.counter(|c| &c.reopened), 1);
        // All that was committed is there, and nothing of what failed.
        assert_eq!(rig.places(1), [(0, committed)]);
        rig.commit(vec![put(1, committed, &message("a", "again"))]);
        drop(rig);
        let mut rig = Rig::try_open(options).unwrap();
        assert_eq!(rig.places(1), [(0, committed + 1)]);
    }
    Ok(())
}

fn a_full_disk_under_full_load_loses_nothing_committed() -> TestResult {
    need_root()?;
    let (disk, options, mut rig) = small(160);
    rig.commit(vec![put_session(1, "one")]);
    // Enough for tables to be written, by the database's own threads, when the room runs out.
    disk.occupy(60);
    let body = message("a", vec![1; 3_000]);
    let mut committed = Vec::new();
    let mut position = 0;
    while rig.store.is_serving() {
        let tokens: Vec<_> = (position..position + 64)
            .map(|position| (position, rig.queue(vec![put(1, position, &body)])))
            .collect();
        for (position, token) in tokens {
            match rig.wait(token) {
                push_server::store::Outcome::Committed => committed.push(position),
                push_server::store::Outcome::Failed(StoreFailure::Disk) => {}
                other => panic!("{other:?}"),
            }
        }
        position += 64;
    }
    assert!(committed.len() > 10_000, "{}", committed.len());
    disk.give_back();
    rig.await_serving(true);
    assert_eq!(rig.places(1), runs(committed.iter().copied()));
    rig.commit(vec![put(1, position, &body)]);
    committed.push(position);
    drop(rig);
    assert_eq!(Rig::try_open(options).unwrap().places(1), runs(committed));
    Ok(())
}

fn retained_messages_that_changed_while_the_disk_failed_are_made_good() -> TestResult {
    need_root()?;
    let (disk, options, mut rig) = small(24);
    for topic in ["kept", "replaced", "removed", "hidden/removed"] {
        let write = rig.retain(&message(topic, "before"));
        rig.commit(vec![put_session(1, "one"), write]);
    }
    disk.occupy(16);
    put_until_full(&mut rig);
    // More bytes than a group, too.
    let large = vec![1; 1 << 20];
    for (topic, payload) in [
        ("replaced", &b"meanwhile"[..]),
        ("removed", b""),
        ("hidden/removed", b""),
        ("hidden/made", b"meanwhile"),
        ("made/and/removed", b"meanwhile"),
        ("made/and/removed", b""),
        ("large/1", &large),
        ("large/2", &large),
        ("large/3", &large),
        ("large/4", &large),
        ("large/5", &large),
        ("large/6", &large),
    ] {
        let write = rig.retain(&message(topic, payload));
        assert_eq!(rig.try_commit(vec![write]), Err(StoreFailure::Disk));
    }
    disk.give_back();
    rig.await_serving(true);
    // Others may follow at once.
    let write = rig.retain(&message("large/6", "after"));
    rig.commit(vec![write]);
    let expected = rig.retained();
    let topics: Vec<_> = expected.iter().map(|message| message.topic.as_str()).collect();
    let large = ["large/1", "large/2", "large/3", "large/4", "large/5", "large/6"];
    assert_eq!(topics, [&["hidden/made", "kept"][..], &large, &["replaced"]].concat());
    drop(rig);
    assert_eq!(Rig::try_open(options).unwrap().retained(), expected);
    Ok(())
}

/// Whoever asks need not have heard of the failure before the disk was back.
fn nothing_is_promised_in_a_session_whose_record_failed() -> TestResult {
    need_root()?;
    let (disk, options, mut rig) = small(24);
    rig.commit(vec![put_session(1, "one")]);
    disk.occupy(16);
    // Of these the second is part of the group that the disk fails at, the third comes behind it.
    let body = message("a", vec![1; 3_000]);
    let mut at = 0;
    while rig.try_commit(vec![put_session(2, "two"), put(1, at, &body)]).is_ok() {
        at += 1;
    }
    assert_eq!(rig.try_commit(vec![put_session(3, "three")]), Err(StoreFailure::Disk));
    disk.give_back();
    rig.await_serving(true);
    let small = message("a", "x");
    for number in [2, 3] {
        for write in [
            put(number, 0, &small),
            subscribe(number, "a", SubscriptionOptions::default()),
            Write::PutExactlyOnce { number: SessionNumber(number), packet_id: 1 },
            // The record may still have it.
            Write::RemoveWill { session: SessionNumber(number), number: WillNumber(9) },
        ] {
            // Together with what might be promised, and a record that now fails for it.
            let together = vec![put(1, at, &small), put_session(4, "four"), write];
            assert_eq!(rig.try_commit(together), Err(StoreFailure::Unsaved));
        }
    }
    let retained = rig.retain(&message("r", "kept"));
    let refused = vec![put(4, 0, &small), retained];
    assert_eq!(rig.try_commit(refused), Err(StoreFailure::Unsaved));
    rig.commit(vec![put(1, at, &small)]);
    // With its record, behind it, and when nothing is owed to it any more.
    rig.commit(vec![put(2, 0, &small), put_session(2, "two")]);
    rig.commit(vec![put(2, 1, &small)]);
    rig.commit(vec![Write::RemoveSession { number: SessionNumber(3) }]);
    rig.commit(vec![put(3, 0, &small)]);
    drop(rig);
    let mut rig = Rig::try_open(options).unwrap();
    assert_eq!([rig.places(1), rig.places(2)], [[(0, at + 1)], [(0, 2)]]);
    assert_eq!(rig.retained(), [message("r", "kept")]);
    assert_eq!(rig.recovered.sessions.len(), 2);
    Ok(())
}

fn a_disk_that_turned_read_only_is_tried_until_it_is_writable() -> TestResult {
    need_root()?;
    let disk = SmallDisk::mount(24);
    let mut rig = Rig::open(&data_dir(&disk));
    rig.commit(vec![put_session(1, "one")]);
    // A file system that is written to cannot be turned read-only from outside; once the store has
    // let go of a full one, it can.
    disk.occupy(16);
    let committed = put_until_full(&mut rig);
    disk.give_back();
    disk.set_read_only(true);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(!rig.store.is_serving());
    assert_eq!(rig.try_commit(vec![put_session(2, "two")]), Err(StoreFailure::Disk));
    disk.set_read_only(false);
    rig.await_serving(true);
    rig.commit(vec![put_session(2, "two")]);
    assert_eq!(rig.places(1), [(0, committed)]);
    Ok(())
}

fn a_read_only_directory_is_refused_by_name() -> TestResult {
    need_root()?;
    let disk = SmallDisk::mount(24);
    drop(Rig::open(&data_dir(&disk)));
    disk.set_read_only(true);
    for dir in [data_dir(&disk), disk.path().join("another")] {
        let error = Rig::try_open(options(&dir)).err().unwrap();
        let text = error.to_string();
        assert!(matches!(error, StoreError::Io { .. }), "{text}");
        assert!(text.contains("Read-only file system") && text.contains(dir.to_str().unwrap()));
    }
    Ok(())
}

fn a_full_disk_at_the_start_is_refused_by_name() -> TestResult {
    need_root()?;
    let disk = SmallDisk::mount(8);
    drop(Rig::open(&data_dir(&disk)));
    while fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(disk.path().join("filler"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, &[1; 64 << 10]))
        .is_ok()
    {}
    let error = Rig::try_open(options(&data_dir(&disk))).err().unwrap();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    disk.give_back();
    Rig::open(&data_dir(&disk));
    Ok(())
}
