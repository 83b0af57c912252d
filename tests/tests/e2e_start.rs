//! While the server starts: signals wait until they can be obeyed, and what is read has to be
//! readable with the rights that stay; directories that are still held are waited for.
//!
//! A file of users that is a FIFO holds the start up until the test has written it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use push_tests::claims;
use push_tests::expectations::wait_for;
use push_tests::netns::Veth;
use push_tests::pins::PinDir;
use push_tests::server::{PingPath, Place, Server, ServerBuilder};
use push_tests::skip::{TestResult, need_root};
use push_tests::stand_in;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::Signal;
use tempfile::TempDir;

claims! {
    a_stop_during_the_start_is_an_orderly_one,
    a_reload_during_the_start_comes_after_it_and_holds_nobody_up,
    users_that_could_not_be_read_again_are_not_read,
    a_directory_that_is_let_go_while_the_start_waits_is_taken,
    who_does_not_let_go_of_a_directory_is_named,
    the_data_directory_is_the_starts_own_from_its_first_look_on,
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
    assert!(log.contains("Permission denied") && log.contains("--users"), "{log}");
    Ok(())
}

/// As by a server that is being stopped.
fn a_directory_that_is_let_go_while_the_start_waits_is_taken() -> TestResult {
    need_root()?;
    stand_in::not_for("waits for nothing")?;
    let (data, pins) = (TempDir::new().expect("a directory"), PinDir::new());
    fs::create_dir(pins.path()).expect("a directory for pins");
    let veth = Arc::new(Veth::create()?);
    for (label, dir) in [("data_dir", data.path()), ("bpf_dir", pins.path())] {
        let held = lock(dir);
        let builder = Server::with(PingPath::User).kernel_path("auto");
        let builder = builder.within(Arc::clone(&veth), Place::VethV4);
        let mut server = builder.data_dir(data.path()).bpf_dir(pins.path()).launch()?;
        let said = format!("{} is in use: waiting up to 10 s", dir.display());
        wait_for("the start to wait", || server.log().contains(&said).then_some(()));
        drop(held);
        server.wait_ready().expect("it serves");
        let waited = server.metrics().value(&format!("push_start_waited_ms{{for=\"{label}\"}}"));
        assert!(waited > 0, "{label}");
        server.terminate();
        assert!(server.wait_exit().0.success(), "{}", server.log());
    }
    Ok(())
}

fn who_does_not_let_go_of_a_directory_is_named() -> TestResult {
    need_root()?;
    stand_in::not_for("waits for nothing")?;
    let data = TempDir::new().expect("a directory");
    let _held = lock(data.path());
    let builder = Server::with(PingPath::User).data_dir(data.path()).flag("--start-wait-secs", 1);
    let mut server = builder.launch()?;
    assert_eq!(server.wait_exit().0.code(), Some(1));
    let log = server.log();
    let who =
        format!("(process {}) has held it for the 1 s that the start waited", std::process::id());
    assert!(log.contains("name another --data-dir; ") && log.contains(&who), "{log}");
    Ok(())
}

/// No other process may come between the wait for it and its use.
fn the_data_directory_is_the_starts_own_from_its_first_look_on() -> TestResult {
    stand_in::not_for("reads no users")?;
    let (fifo, data) = (Fifo::new(), TempDir::new().expect("a directory"));
    let dir = data.path().join("data");
    let mut server = fifo.server().data_dir(&dir).launch()?;
    let users = fifo.wait_reader();
    let other = File::open(&dir).expect("the start has made it");
    assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)), "it is nobody's");
    drop(users);
    server.wait_ready().expect("it serves");
    server.finish();
    Ok(())
}

fn lock(dir: &Path) -> File {
    let held = File::open(dir).expect("open a directory");
    held.lock().expect("lock it");
    held
}

fn with_users(path: &Path) -> ServerBuilder {
    let path = path.to_str().expect("a path of ours");
    Server::with(PingPath::User).flag("--users", path).flag("--anonymous", "always")
}

fn write_private(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    fs::write(path, "# nobody\n")
}
