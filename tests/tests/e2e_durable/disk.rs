//! The data directory: full, read-only, taken, not a directory, not wanted.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use push_tests::clients::{Client, Connect, Gone};
use push_tests::durable::{self, SmallDisk};
use push_tests::expectations::wait_for;
use push_tests::server::{PingPath, Server, server_binary};
use push_tests::skip::{Skip, TestResult};
use push_tests::stand_in;
use push_tests::wire::{self, PUBACK, Packet, Publish, VERSIONS, Version};
use tempfile::TempDir;

use crate::life::{self, Ending};

/// The size of the disk that is filled.
const DISK_MIB: u32 = 256;

/// Payload bytes of a message to a full disk, and the most of them that a store may have kept room
/// for: more than the whole disk.
const PAYLOAD_BYTES: usize = 256 << 10;
const MESSAGES_MAX: usize = (DISK_MIB as usize) * (1 << 20) / PAYLOAD_BYTES + 100;

/// An acknowledgement that has not come by then is withheld.
const WITHHELD_AFTER: Duration = Duration::from_secs(3);

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Acknowledged,
    Refused(u8),
    Closed,
    Withheld,
}

pub(crate) fn a_full_disk_refuses_and_serves_again() -> TestResult {
    durable::need()?;
    stand_in::not_for("goes on in memory when its disk is full")?;
    for version in VERSIONS {
        for ending in [Ending::Stop, Ending::Crash] {
            full_disk(version, ending)?;
        }
    }
    Ok(())
}

fn full_disk(version: Version, ending: Ending) -> TestResult {
    let disk = SmallDisk::mount(DISK_MIB)?;
    let data = disk.path().join("data");
    let mut server = life::builder(&data).start()?;
    let target = server.target().clone();
    let persistent = |client_id: &str| Connect::new(version, client_id).persistent();
    let mut absent = Client::connect(&target, &persistent("absent"));
    absent.subscribe(&[("t", 1)]);
    absent.disconnect();
    let mut idle = Client::connect(&target, &Connect::new(version, "idle"));
    let connect = Connect::new(version, "publisher");
    let mut publisher = Client::connect(&target, &connect);
    // The heads of the messages that were acknowledged.
    let mut acknowledged = Vec::new();
    let mut number = 0_u32;
    let mut publish = |publisher: &mut Client, acknowledged: &mut Vec<u32>| {
        number += 1;
        let answer = publish(publisher, version, number);
        if answer == Answer::Acknowledged {
            acknowledged.push(number);
        }
        answer
    };
    assert_eq!(publish(&mut publisher, &mut acknowledged), Answer::Acknowledged);
    disk.fill();
    let answers = (0..MESSAGES_MAX).map(|_| publish(&mut publisher, &mut acknowledged));
    let refused = answers.into_iter().find(|answer| *answer != Answer::Acknowledged);
    let refused = refused.expect("a full disk takes no more than it has room for");
    println!("full disk, {version:?}: {refused:?} after {} acknowledged", acknowledged.len());
    match version {
        Version::V5 => assert!(
            matches!(refused, Answer::Refused(0x80 | 0x83 | 0x97) | Answer::Withheld),
            "{refused:?}"
        ),
        Version::V31 | Version::V311 => {
            assert!(matches!(refused, Answer::Closed | Answer::Withheld), "{refused:?}");
        }
    }
    // Who is there is kept alive.
    idle.assert_alive();
    assert_eq!(server.http("/healthz").expect("ask for health").status, 200);
    server.assert_running();
    assert!(server.metrics().value("push_store_failures_total") > 0);

    disk.empty();
    wait_for("the server to serve again", || {
        if refused == Answer::Closed || refused == Answer::Withheld {
            publisher = Client::connect(&target, &connect);
        }
        (publish(&mut publisher, &mut acknowledged) == Answer::Acknowledged).then_some(())
    });
    idle.assert_alive();
    life::end(&mut server, ending);

    let server = life::builder(&data).start()?;
    let mut absent = Client::connect(server.target(), &persistent("absent"));
    assert!(absent.connack.session_present);
    for number in acknowledged {
        // What was not acknowledged may come, too.
        wait_for("an acknowledged message", || (head(&absent.message()) == number).then_some(()));
    }
    server.finish();
    Ok(())
}

/// A message that was sent and could not be written is under way all the same: it is written when the
/// disk works again, and is not lost by a crash then.
pub(crate) fn what_had_left_is_written_later() -> TestResult {
    const RECORDS: &str = "push_store_records_total";
    /// The retained message; the message with its body and the session's own record.
    const RECORDS_MADE: u64 = 1 + 3;
    durable::need()?;
    stand_in::not_for("goes on in memory when its disk is full")?;
    let version = Version::V5;
    let disk = SmallDisk::mount(DISK_MIB)?;
    let data = disk.path().join("data");
    let mut server = life::builder(&data).start()?;
    let persistent = Connect::new(version, "subscriber").persistent();
    let mut subscriber = Client::connect(server.target(), &persistent);
    subscriber.subscribe(&[("t", 1)]);
    let mut publisher = Client::connect(server.target(), &Connect::new(version, "publisher"));
    disk.fill();
    let refused = (0..MESSAGES_MAX as u32).find_map(|number| {
        let answer = publish(&mut publisher, version, number);
        let sent = life::take(&mut subscriber);
        assert_eq!(head(&sent), number);
        if answer == Answer::Acknowledged {
            subscriber.acknowledge(&sent);
            return None;
        }
        assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
        Some(sent)
    });
    let refused = refused.expect("a full disk takes no more than it has room for");
    let records = server.metrics().value(RECORDS);
    disk.empty();
    wait_for("the server to serve again", || {
        let retained = Publish { topic: "r".to_owned(), qos: 1, retain: true, ..refused.clone() };
        (publisher.publish_packet(retained) < 0x80).then_some(())
    });
    server.wait_metric(RECORDS, |now| now >= records + RECORDS_MADE);
    life::end(&mut server, Ending::Crash);

    let server = life::builder(&data).start()?;
    let mut subscriber = Client::connect(server.target(), &persistent);
    let again = life::take(&mut subscriber);
    assert_eq!(again, Publish { dup: true, ..refused });
    server.finish();
    Ok(())
}

/// Publishes a large message at QoS 1 and waits for what comes of it.
fn publish(publisher: &mut Client, version: Version, number: u32) -> Answer {
    let mut payload = vec![0x5A; PAYLOAD_BYTES];
    payload[..4].copy_from_slice(&number.to_be_bytes());
    let id = (number % 60_000) as u16 + 1;
    let topic = "t".to_owned();
    let publish = Publish { topic, payload, qos: 1, packet_id: id, ..Publish::default() };
    if publisher.try_send(&wire::publish(version, &publish)).is_err() {
        return Answer::Closed;
    }
    let begun = Instant::now();
    loop {
        match publisher.receive(WITHHELD_AFTER.saturating_sub(begun.elapsed())) {
            Ok(Packet::Ack { kind: PUBACK, packet_id, reason }) if packet_id == id => {
                return if reason < 0x80 { Answer::Acknowledged } else { Answer::Refused(reason) };
            }
            Ok(_) => {}
            Err(Gone::Silent) => return Answer::Withheld,
            Err(_) => return Answer::Closed,
        }
    }
}

fn head(publish: &Publish) -> u32 {
    u32::from_be_bytes(publish.payload[..4].try_into().expect("four bytes"))
}

pub(crate) fn a_read_only_directory_is_refused() -> TestResult {
    durable::need()?;
    stand_in::not_for("starts with a read-only directory")?;
    // Nothing in it yet.
    let disk = SmallDisk::mount(16)?;
    disk.make_read_only();
    assert_refused(&start(&disk.path().join("data"))?, &disk.path().join("data"));
    // And with what a life before has left.
    let disk = SmallDisk::mount(DISK_MIB)?;
    let mut server = life::builder(disk.path()).start()?;
    life::end(&mut server, Ending::Stop);
    disk.make_read_only();
    assert_refused(&start(disk.path())?, disk.path());
    Ok(())
}

pub(crate) fn a_directory_that_cannot_be_is_refused() -> TestResult {
    durable::need()?;
    stand_in::not_for("has other flags")?;
    let data = TempDir::new().expect("make a directory");
    let file = data.path().join("file");
    fs::write(&file, "no directory").expect("write a file");
    for path in [file.clone(), file.join("below")] {
        assert_refused(&start(&path)?, &path);
    }
    assert_eq!(fs::read(&file).expect("read it"), b"no directory");
    Ok(())
}

pub(crate) fn a_second_server_on_the_directory_is_refused() -> TestResult {
    durable::need()?;
    stand_in::not_for("has other flags")?;
    let data = TempDir::new().expect("make a directory");
    let first = life::builder(data.path()).start()?;
    let mut client =
        Client::connect(first.target(), &Connect::new(Version::V5, "client").persistent());
    let said = start(data.path())?;
    assert_refused(&said, data.path());
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("another push-server"), "{said}");
    // The first does not mind.
    client.subscribe(&[("t", 1)]);
    client.publish("t", b"", 1);
    client.message();
    first.finish();
    Ok(())
}

pub(crate) fn durability_off_keeps_nothing() -> TestResult {
    durable::need()?;
    stand_in::not_for("has other flags")?;
    let data = TempDir::new().expect("make a directory");
    let directory = data.path().join("data");
    let off = Server::with(PingPath::User).data_dir(&directory).flag("--durability", "off");
    for life in 0..2 {
        let server = off.start()?;
        let connect = Connect::new(Version::V5, "client").persistent();
        let mut client = Client::connect(server.target(), &connect);
        assert!(!client.connack.session_present, "life {life}");
        client.subscribe(&[("t", 1)]);
        client.publish("t", b"x", 2);
        client.message();
        server.finish();
        let left = fs::read_dir(&directory).map_or(0, Iterator::count);
        assert_eq!(left, 0, "life {life} left something in the directory");
    }
    Ok(())
}

pub(crate) fn durable_writes_are_counted() -> TestResult {
    durable::need()?;
    stand_in::not_for("has no metrics")?;
    for (mode, syncs) in [("fsync", true), ("os", false)] {
        let data = TempDir::new().expect("make a directory");
        let server = Server::with(PingPath::User)
            .data_dir(data.path())
            .flag("--durability", mode)
            .start()?;
        let connect = Connect::new(Version::V5, "client").persistent();
        let mut client = Client::connect(server.target(), &connect);
        client.subscribe(&[("t", 1)]);
        let before = server.metrics();
        for _ in 0..10 {
            client.publish("t", b"x", 1);
        }
        let grown = |name: &str| server.metrics().value(name) - before.value(name);
        let (commits, fsyncs) =
            (grown("push_store_commits_total"), grown("push_store_fsyncs_total"));
        // One publish at a time: each has a commit of its own.
        assert!(commits >= 10, "{mode}: {commits} commits");
        assert_eq!(fsyncs >= 10, syncs, "{mode}: {fsyncs} fsyncs");
        server.finish();
    }
    Ok(())
}

/// Runs a server that is to end at once.
fn start(data: &Path) -> Result<Output, Skip> {
    let output = Command::new("timeout")
        .arg("20")
        .arg(server_binary()?)
        .args(["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .args(["--kernel-path", "off", "--durability", "fsync", "--data-dir"])
        .arg(data)
        .output();
    Ok(output.expect("run a server"))
}

/// That it could not start, and says which directory, and which flag, is why.
#[track_caller]
pub(crate) fn assert_refused(output: &Output, data: &Path) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--data-dir"), "{said}");
    assert!(said.contains(&*data.to_string_lossy()), "{said}");
    assert!(!said.contains("panicked at"), "{said}");
}
