//! While the server starts: signals wait until they can be obeyed, and what is read has to be
//! readable with the rights that stay.
//!
//! The start is held up by a file of users that is a FIFO: it lasts until the test has written it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use push_tests::claims;
use push_tests::expectations::wait_for;
use push_tests::server::{PingPath, Server, ServerBuilder};
use push_tests::skip::{TestResult, need_root};
use push_tests::stand_in;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::Signal;
use tempfile::TempDir;

claims! {
    a_stop_during_the_start_is_an_orderly_one,
    a_reload_during_the_start_comes_after_it_and_holds_nobody_up,
    users_that_could_not_be_read_again_are_not_read,
}

/// A file of users that is read when the test writes it, each time anew.
struct Fifo {
    dir: TempDir,
}

impl Fifo {
    fn new() -> Self {
        let fifo = Self { dir: TempDir::new().expect("a directory") };
        mknodat(CWD, fifo.path(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
        fifo
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("users")
    }

    fn server(&self) -> ServerBuilder {
        with_users(&self.path())
    }

    /// Waits until somebody reads. What is read ends when the file is dropped: no users.
    fn wait_reader(&self) -> File {
        let without_waiting = OFlags::NONBLOCK.bits().cast_signed();
        let open =
            || OpenOptions::new().write(true).custom_flags(without_waiting).open(self.path());
        wait_for("a reader of the users", || open().ok())
    }
}

fn a_stop_during_the_start_is_an_orderly_one() -> TestResult {
    stand_in::not_for("reads no users")?;
    for signal in [Signal::TERM, Signal::INT] {
        let fifo = Fifo::new();
        let mut server = fifo.server().launch()?;
        let users = fifo.wait_reader();
        server.signal(signal);
        drop(users);
        let (status, _) = server.wait_exit();
        assert!(status.success(), "{status}: {}", server.log());
        assert!(server.log().contains("stopped"), "{}", server.log());
    }
    Ok(())
}

fn a_reload_during_the_start_comes_after_it_and_holds_nobody_up() -> TestResult {
    stand_in::not_for("reads no users")?;
    let fifo = Fifo::new();
    let mut server = fifo.server().launch()?;
    let users = fifo.wait_reader();
    server.signal(Signal::HUP);
    drop(users);
    server.wait_ready().expect("it serves");
    let users = fifo.wait_reader();
    let health = server.http("/healthz").expect("an answer while the users are read");
    assert_eq!(health.status, 200);
    drop(users);
    wait_for("both readings", || (server.log().matches("0 users from").count() == 2).then_some(()));
    server.finish();
    Ok(())
}

/// Root could read anybody's file at its start, and no more once it serves.
fn users_that_could_not_be_read_again_are_not_read() -> TestResult {
    const NOBODY: u32 = 65_534;
    need_root()?;
    stand_in::not_for("reads no users")?;
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("users");
    write_private(&path).expect("a file of users");
    std::os::unix::fs::chown(&path, Some(NOBODY), None).expect("another owner");
    let mut server = with_users(&path).launch()?;
    assert_eq!(server.wait_exit().0.code(), Some(1), "{}", server.log());
    let log = server.log();
    assert!(log.contains("Permission denied") && log.contains("--scram-users"), "{log}");
    Ok(())
}

fn with_users(path: &Path) -> ServerBuilder {
    let path = path.to_str().expect("a path of ours");
    Server::with(PingPath::User).flag("--scram-users", path)
}

fn write_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    fs::write(path, "# nobody\n")
}
