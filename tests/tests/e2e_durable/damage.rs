//! Files of the data directory that are torn, missing, cut off. How the store lays them out is its
//! own: each of them is damaged in turn, and what was acknowledged must be there or its loss told.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use push_tests::clients::{Client, Connect};
use push_tests::durable;
use push_tests::server::Server;
use push_tests::skip::{Skip, TestResult};
use push_tests::stand_in;
use push_tests::wire::Version;
use tempfile::TempDir;

use crate::life::{self, Ending};

/// Messages owed to a session.
const OWED: u32 = 50;

/// Bytes at the end of the last write that are damaged.
const TORN_BYTES: u64 = 16;

/// Files that are damaged at most; a store of this size has fewer.
const FILES_MAX: usize = 40;

/// What a server makes of a damaged directory.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    /// It ended with 1 and named the directory.
    Refused,
    /// It serves, this many of the messages from the first on are there, and it warned or not.
    Served { owed: u32, warned: bool },
}

pub(crate) fn a_torn_last_write_is_told_and_costs_nothing_else() -> TestResult {
    need()?;
    let data = owing(Ending::Crash)?;
    tear(data.path());
    match start(data.path())? {
        Start::Served { owed, warned } => {
            assert!(owed >= OWED - 1, "{owed} of {OWED} messages are there");
            assert!(warned || owed == OWED, "a message is lost, and the log says nothing");
        }
        Start::Refused => panic!("a torn last write must not keep the server from starting"),
    }
    Ok(())
}

pub(crate) fn a_missing_file_is_missed_or_refused() -> TestResult {
    each_file(|file| fs::remove_file(file).expect("remove a file"))
}

pub(crate) fn a_cut_off_file_is_told_or_refused() -> TestResult {
    each_file(|file| {
        let bytes = fs::metadata(file).expect("look at a file").len();
        let file = fs::OpenOptions::new().write(true).open(file).expect("open a file");
        file.set_len(bytes / 2).expect("cut a file off");
    })
}

fn need() -> TestResult {
    durable::need()?;
    stand_in::not_for("says nothing of a damaged file")
}

/// Damages one file at a time of a directory that was left in order.
fn each_file(damage: impl Fn(&Path)) -> TestResult {
    need()?;
    for ending in [Ending::Stop, Ending::Crash] {
        let data = owing(ending)?;
        let files = files(data.path());
        assert!(!files.is_empty() && files.len() <= FILES_MAX, "{} files", files.len());
        for file in files {
            let copy = TempDir::new().expect("make a directory");
            copy_directory(data.path(), copy.path());
            let name = file.strip_prefix(data.path()).expect("a file of the directory");
            damage(&copy.path().join(name));
            let found = start(copy.path())?;
            println!("{} after {ending:?}: {found:?}", name.display());
            let good = match found {
                Start::Refused => true,
                Start::Served { owed, warned } => owed == OWED || warned,
            };
            assert!(good, "{} after {ending:?}: lost without a word: {found:?}", name.display());
        }
    }
    Ok(())
}

/// A directory with a session that is owed messages.
fn owing(ending: Ending) -> Result<TempDir, Skip> {
    let data = TempDir::new().expect("make a data directory");
    let mut server = life::builder(data.path()).start()?;
    let connect = Connect::new(Version::V5, "absent").persistent();
    let mut absent = Client::connect(server.target(), &connect);
    absent.subscribe(&[("t", 1)]);
    absent.disconnect();
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V5, "publisher"));
    for number in 0..OWED {
        publisher.publish("t", &number.to_be_bytes(), 1);
    }
    life::end(&mut server, ending);
    Ok(data)
}

/// Starts a server on a damaged directory, and takes from it what the session is owed.
fn start(data: &Path) -> Result<Start, Skip> {
    let mut server = life::builder(data).launch()?;
    if let Err(log) = server.wait_ready() {
        let (status, _) = server.wait_exit();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains("--data-dir"), "{log}");
        assert!(log.contains(&*data.to_string_lossy()), "{log}");
        assert!(!log.contains("panicked at"), "{log}");
        return Ok(Start::Refused);
    }
    let owed = owed(&server);
    server.assert_running();
    let log = server.log();
    assert!(!log.contains("panicked at"), "{log}");
    Ok(Start::Served { owed, warned: log.contains("WARN") || log.contains("ERROR") })
}

/// Messages that come in order from the first on; and the server takes and delivers new ones.
fn owed(server: &Server) -> u32 {
    let connect = Connect::new(Version::V5, "absent").persistent();
    let mut absent = Client::connect(server.target(), &connect);
    absent.subscribe(&[("t", 1)]);
    absent.publish("t", b"last", 1);
    let mut next = 0;
    loop {
        let payload = absent.message().payload;
        if payload == b"last" {
            return next;
        }
        if payload == next.to_be_bytes() {
            next += 1;
        }
    }
}

/// Damages the end of what was written last: of the file changed last that is not empty.
fn tear(data: &Path) {
    let changed = |path: &PathBuf| -> (SystemTime, u64) {
        let found = fs::metadata(path).expect("look at a file");
        (found.modified().expect("a time"), found.len())
    };
    let file = files(data)
        .into_iter()
        .filter(|file| changed(file).1 > TORN_BYTES)
        .max_by_key(changed)
        .expect("a file with something in it");
    let mut file = fs::OpenOptions::new().read(true).write(true).open(&file).expect("open a file");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("read a file");
    // Files may be allocated beyond what is written.
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1);
    let from = written.saturating_sub(TORN_BYTES);
    file.seek(SeekFrom::Start(from)).expect("seek");
    let torn: Vec<u8> = bytes[from as usize..written as usize].iter().map(|byte| !byte).collect();
    file.write_all(&torn).expect("damage a file");
}

/// All files below a directory that have something in them.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("list a directory") {
        let path = entry.expect("list a directory").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.metadata().is_ok_and(|file| file.len() > 0) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy_directory(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp")
        .args(["-a", "--sparse=always"])
        .arg(from.join("."))
        .arg(to)
        .status();
    assert!(status.expect("run cp").success());
}
