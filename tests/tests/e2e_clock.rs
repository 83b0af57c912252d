//! The wall clock is set while a server runs: sessions, messages and what is retained keep their time.
//!
//! The clock of this machine is nobody's to set but its owner's. So one test sets the clock only in a
//! machine of its own (`cargo xtask test vm`), where the kernel tells the server; the other gives the
//! server alone another clock by libfaketime.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use push_tests::clients::{Client, Connect};
use push_tests::expectations::wait_for;
use push_tests::faketime::faketime;
use push_tests::server::{PingPath, Server, ServerBuilder};
use push_tests::skip::{Skip, TestResult};
use push_tests::wire::{Properties, Publish, Value, Version, property};
use push_tests::{claims, durable, stand_in};
use rustix::process::Signal;
use rustix::time::{ClockId, Timespec, clock_settime};
use tempfile::TempDir;

claims! {
    a_clock_that_is_set_is_noted_at_once_and_a_crash_loses_nothing,
    a_clock_set_from_1970_leaves_sessions_and_messages_their_time,
}

/// How long everything here is kept.
const HOUR_SECS: u32 = 3_600;

/// What xtask tells the kernels of its virtual machines on their command line.
const VM_WORD: &str = "push_test_vm";

fn a_clock_that_is_set_is_noted_at_once_and_a_crash_loses_nothing() -> TestResult {
    const DAYS_SECS: i64 = 8 * 24 * 3_600;
    durable::need()?;
    stand_in::not_for("has a clock of its own")?;
    let clock = PrivateClock::need()?;
    for days_secs in [DAYS_SECS, -DAYS_SECS] {
        let data = TempDir::new().expect("a directory");
        let mut server = builder(data.path()).start()?;
        leave_something(&server);
        clock.set_by(days_secs);
        // The server looks by itself every ten minutes only: it has been told.
        wait_for("the server to notice", || {
            server.log().contains("the wall clock was set").then_some(())
        });
        // That is logged before it is on disk; a message that is acknowledged comes behind it.
        connect(&server, "barrier").publish("nowhere", b"", 1);
        server.signal(Signal::KILL);
        server.wait_exit();
        let server = builder(data.path()).start()?;
        expect_all(&server);
        server.finish();
    }
    Ok(())
}

fn a_clock_set_from_1970_leaves_sessions_and_messages_their_time() -> TestResult {
    durable::need()?;
    stand_in::not_for("has a clock of its own")?;
    let library = faketime()?;
    let data = TempDir::new().expect("a directory");
    let clock = data.path().join("clock");
    let set_clock = |line: &str| fs::write(&clock, line).expect("set the server's clock");
    // A day and an hour since 1970, when the server starts.
    let behind = since_1970() - 25 * 3_600;
    set_clock(&format!("-{behind}\n"));
    let mut server = builder(&data.path().join("data"))
        .environment("LD_PRELOAD", library.display())
        .environment("FAKETIME_TIMESTAMP_FILE", clock.display())
        .environment("FAKETIME_NO_CACHE", 1)
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", 1)
        .start()?;
    assert!(server.wait_log("T").starts_with("1970-01-02T"), "{}", server.log());
    leave_something(&server);
    set_clock("+0\n");
    server.terminate();
    let (status, _) = server.wait_exit();
    assert!(status.success(), "{status}");
    // At the end, which looks at the clock in any case.
    assert!(server.log().contains("the wall clock was set"), "{}", server.log());
    let server = builder(&data.path().join("data")).start()?;
    expect_all(&server);
    server.finish();
    Ok(())
}

fn builder(data: &Path) -> ServerBuilder {
    Server::with(PingPath::User).data_dir(data).flag("--durability", "fsync")
}

/// A session that is away, a message for it, and a retained one, all for an hour.
fn leave_something(server: &Server) {
    let mut absent = Client::connect(server.target(), &absent());
    absent.subscribe(&[("to/absent", 1)]);
    absent.disconnect();
    server.wait_metric("push_connections", |open| open == 0);
    let mut publisher = connect(server, "publisher");
    for (topic, retain) in [("to/absent", false), ("kept", true)] {
        let expiry = Value::Number(HOUR_SECS);
        publisher.publish_packet(Publish {
            topic: topic.to_owned(),
            // An empty one would not be retained.
            payload: b"all is well".to_vec(),
            qos: 1,
            retain,
            properties: Properties(vec![(property::MESSAGE_EXPIRY_INTERVAL, expiry)]),
            ..Publish::default()
        });
    }
    publisher.disconnect();
}

/// All of it is there, with nearly an hour left.
fn expect_all(server: &Server) {
    let mut absent = Client::connect(server.target(), &absent());
    assert!(absent.connack.session_present, "the session is there");
    expect_an_hour(&absent.message());
    absent.disconnect();
    let mut reader = connect(server, "reader");
    reader.subscribe(&[("kept", 1)]);
    expect_an_hour(&reader.message());
    reader.disconnect();
}

#[track_caller]
fn expect_an_hour(publish: &Publish) {
    let left = publish.properties.number(property::MESSAGE_EXPIRY_INTERVAL);
    assert!(left.is_some_and(|left| left <= HOUR_SECS && left > HOUR_SECS / 2), "{left:?} s left");
}

fn absent() -> Connect {
    let mut connect = Connect::new(Version::V5, "absent");
    connect.clean = false;
    connect.property(property::SESSION_EXPIRY_INTERVAL, Value::Number(HOUR_SECS))
}

fn connect(server: &Server, client_id: &str) -> Client {
    Client::connect(server.target(), &Connect::new(Version::V5, client_id))
}

fn since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set").as_secs()
}

/// The clock of a machine that nobody else uses. Put right when dropped.
struct PrivateClock {
    wall_secs: u64,
    at: Instant,
}

impl PrivateClock {
    /// The kernel of this machine was started by xtask, for tests alone.
    fn need() -> Result<Self, Skip> {
        let words = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        if !words.split_whitespace().any(|word| word == VM_WORD) {
            return Err(Skip::missing(
                "would set this machine's clock: `cargo xtask test vm` has machines for it",
            ));
        }
        Ok(Self { wall_secs: since_1970(), at: Instant::now() })
    }

    fn set_by(&self, secs: i64) {
        let now = Duration::from_secs(self.wall_secs) + self.at.elapsed();
        let to = now.as_secs().checked_add_signed(secs).expect("a time after 1970");
        let to = Timespec { tv_sec: to.cast_signed(), tv_nsec: now.subsec_nanos().into() };
        clock_settime(ClockId::Realtime, to).expect("set the machine's own clock");
    }
}

impl Drop for PrivateClock {
    fn drop(&mut self) {
        self.set_by(0);
    }
}
