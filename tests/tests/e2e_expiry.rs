//! A client that falls silent is closed 1.5 times its keep alive after its last packet or
//! kernel-answered ping: never early, at most 0.1 s late. The one timing that is promised, so the
//! one that is asserted.

use std::time::{Duration, Instant};

use push_tests::both_paths;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::{PATIENCE, SILENCE, SchedulingWatch, wait_for};
use push_tests::server::{PingPath, Place, Server, Target};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{self, Packet, Publish, VERSIONS, Version};

/// The promise: how late an expiry may be.
const LATE_MAX: Duration = Duration::from_millis(100);

/// Not the server's: the way of the last byte to it and of the FIN back, and the waking of this
/// test's thread. What the machine adds while the test runs is measured beside it
/// (`SchedulingWatch`) and comes on top.
const SCHEDULING_SLACK: Duration = Duration::from_millis(30);

/// "Keep Alive timeout" of an MQTT 5 DISCONNECT.
const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;

/// Longer than TCP holds an ACK back: after such a pause an idle connection is quiescent.
const QUIESCENT_AFTER: Duration = Duration::from_millis(300);

/// The last thing a client does.
#[derive(Clone, Copy, Debug)]
enum LastWord {
    Connect,
    Publish,
    Ping,
}

both_paths! {
    a_silent_client_is_closed_on_time_and_its_will_delivered,
    expiry_is_on_time_over_veth,
    an_answered_ping_postpones_expiry,
    keep_alive_zero_never_expires,
    receiving_messages_does_not_postpone_expiry,
    a_stopped_pinger_is_counted_and_its_connection_freed,
    bytes_that_never_make_a_packet_do_not_postpone_expiry,
    a_large_packet_may_take_longer_than_the_keep_alive,
}

fn a_silent_client_is_closed_on_time_and_its_will_delivered(path: PingPath) -> TestResult {
    stand_in::not_for("is exact to seconds")?;
    let server = Server::with(path).start()?;
    let watch = SchedulingWatch::start();
    let mut watcher = Client::connect(server.target(), &Connect::new(Version::V311, "watcher"));
    watcher.subscribe(&[("wills/+", 1)]);
    let mut wills = Vec::new();
    std::thread::scope(|scope| {
        for version in VERSIONS {
            for keep_alive_secs in [1, 2] {
                for last_word in [LastWord::Connect, LastWord::Publish, LastWord::Ping] {
                    let id = format!("{version:?}-{keep_alive_secs}-{last_word:?}");
                    wills.push(format!("wills/{id}"));
                    let (target, watch) = (server.target(), &watch);
                    scope.spawn(move || {
                        expires_on_time(target, version, &id, keep_alive_secs, last_word, watch);
                    });
                }
            }
        }
    });
    let mut seen: Vec<String> = wills.iter().map(|_| watcher.message().topic).collect();
    wills.sort();
    seen.sort();
    assert_eq!(seen, wills);
    watcher.expect_no_message(SILENCE);
    server.wait_metric("push_sessions_expired_total", |expired| expired == 12);
    server.finish();
    Ok(())
}

fn expiry_is_on_time_over_veth(path: PingPath) -> TestResult {
    stand_in::not_for("is exact to seconds")?;
    let server = Server::with(path).place(Place::VethV4).start()?;
    let watch = SchedulingWatch::start();
    let mut watcher = Client::connect(server.target(), &Connect::new(Version::V311, "watcher"));
    watcher.subscribe(&[("wills/+", 1)]);
    expires_on_time(server.target(), Version::V5, "veth", 1, LastWord::Ping, &watch);
    assert_eq!(watcher.message().topic, "wills/veth");
    server.finish();
    Ok(())
}

fn an_answered_ping_postpones_expiry(path: PingPath) -> TestResult {
    stand_in::not_for("is exact to seconds")?;
    let server = Server::with(path).start()?;
    let watch = SchedulingWatch::start();
    let connect = Connect::new(Version::V5, "pinger").keep_alive(1);
    let mut client = Client::connect(server.target(), &connect);
    let before = server.metrics();
    // Three seconds and more of nothing but pings, twice the time it would live without.
    let mut spoke = (Instant::now(), Instant::now());
    for _ in 0..10 {
        std::thread::sleep(QUIESCENT_AFTER);
        spoke = timed(|| client.ping());
    }
    let after = server.metrics();
    let kernel = after.kernel_pings() - before.kernel_pings();
    match path {
        // The first ones may find the connection not yet quiescent; the later ones are what the
        // deadline was moved by.
        PingPath::Kernel => assert!(kernel >= 7, "the kernel answered {kernel} of 10"),
        PingPath::User => assert_eq!(kernel, 0),
    }
    assert_on_time(&mut client, 1, spoke, &watch, Version::V5);
    server.wait_metric("push_sessions_expired_total", |expired| expired == 1);
    server.finish();
    Ok(())
}

fn keep_alive_zero_never_expires(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let connect = Connect::new(Version::V311, "patient").keep_alive(0);
    let mut client = Client::connect(server.target(), &connect);
    client.ping();
    // No span proves "never"; this one is longer than any deadline that 0 could be taken for by
    // mistake, a keep alive of one or two seconds.
    std::thread::sleep(Duration::from_secs(4));
    client.assert_alive();
    assert_eq!(server.metrics().value("push_sessions_expired_total"), 0);
    client.disconnect();
    server.finish();
    Ok(())
}

fn receiving_messages_does_not_postpone_expiry(path: PingPath) -> TestResult {
    stand_in::not_for("is exact to seconds")?;
    let server = Server::with(path).start()?;
    let watch = SchedulingWatch::start();
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V311, "talker"));
    let connect = Connect::new(Version::V5, "listener").keep_alive(1);
    let mut listener = Client::connect(server.target(), &connect);
    let spoke = timed(|| listener.subscribe(&[("talk", 0)]));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while begun.elapsed() < Duration::from_millis(1_300) {
                publisher.publish("talk", b"are you there?", 1);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        assert_on_time(&mut listener, 1, spoke, &watch, Version::V5);
    });
    server.finish();
    Ok(())
}

fn a_stopped_pinger_is_counted_and_its_connection_freed(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let connect = Connect::new(Version::V311, "leaver").keep_alive(1);
    let mut client = Client::connect(server.target(), &connect);
    server.wait_metric("push_connections", |connections| connections == 1);
    client.ping();
    client.wait_ending();
    server.wait_metric("push_connections", |connections| connections == 0);
    wait_for("the clean session to go", || {
        (server.metrics().value("push_sessions") == 0).then_some(())
    });
    server.finish();
    Ok(())
}

/// A client has to send whole packets in time, not just bytes.
fn bytes_that_never_make_a_packet_do_not_postpone_expiry(path: PingPath) -> TestResult {
    const KEEP_ALIVE_SECS: u16 = 2;
    /// A PUBLISH of 2 MiB.
    const BEGUN: [u8; 4] = [0x30, 0xFF, 0xFF, 0x7F];
    stand_in::not_for("waits for ever")?;
    let server = Server::with(path).start()?;
    std::thread::scope(|scope| {
        for version in VERSIONS {
            let server = &server;
            scope.spawn(move || {
                let connect =
                    Connect::new(version, &format!("{version:?}")).keep_alive(KEEP_ALIVE_SECS);
                let connected = Instant::now();
                let mut client = Client::connect(server.target(), &connect);
                client.send(&BEGUN);
                let mut reason = None;
                loop {
                    match client.receive(Duration::from_millis(250)) {
                        Err(Gone::Silent) => {}
                        Err(_) => break,
                        Ok(Packet::Disconnect { reason: code, .. }) => reason = Some(code),
                        Ok(other) => panic!("not expected: {other:?}"),
                    }
                    assert!(connected.elapsed() < PATIENCE, "{version:?} lives by single bytes");
                    // The server may have closed already.
                    let _ = client.try_send(&[0]);
                }
                assert!(connected.elapsed() >= Duration::from_secs(KEEP_ALIVE_SECS.into()) * 3 / 2);
                assert_eq!(reason, (version == Version::V5).then_some(KEEP_ALIVE_TIMEOUT));
            });
        }
    });
    server.wait_metric("push_sessions_expired_total", |expired| expired == 2);
    server.finish();
    Ok(())
}

/// Over a slow line: some of it comes all the time.
fn a_large_packet_may_take_longer_than_the_keep_alive(path: PingPath) -> TestResult {
    const PAUSE: Duration = Duration::from_millis(300);
    const PIECES: usize = 15;
    const PIECE_BYTES: usize = 2 << 10;
    let server = Server::with(path).start()?;
    let mut subscriber = Client::connect(server.target(), &Connect::new(Version::V5, "patient"));
    subscriber.subscribe(&[("large", 1)]);
    let mut uploader =
        Client::connect(server.target(), &Connect::new(Version::V5, "slow").keep_alive(1));
    let payload = vec![7; PIECES * PIECE_BYTES];
    let (topic, packet_id) = ("large".to_owned(), 1);
    let publish =
        Publish { topic, payload: payload.clone(), qos: 1, packet_id, ..Publish::default() };
    for piece in wire::publish(Version::V5, &publish).chunks(PIECE_BYTES) {
        uploader.send(piece);
        std::thread::sleep(PAUSE);
    }
    assert_eq!(subscriber.message().payload, payload);
    uploader.assert_alive();
    assert_eq!(server.metrics().value("push_sessions_expired_total"), 0);
    server.finish();
    Ok(())
}

/// Connects, says its last word, and asserts when it is closed.
fn expires_on_time(
    target: &Target,
    version: Version,
    id: &str,
    keep_alive_secs: u16,
    last_word: LastWord,
    watch: &SchedulingWatch,
) {
    let connect = Connect::new(version, id)
        .keep_alive(keep_alive_secs)
        .will(&format!("wills/{id}"), b"expired");
    let mut client = None;
    let mut spoke = timed(|| client = Some(Client::connect(target, &connect)));
    let mut client = client.expect("just connected");
    match last_word {
        LastWord::Connect => {}
        LastWord::Publish => {
            std::thread::sleep(QUIESCENT_AFTER);
            spoke = timed(|| client.publish("any", b"last word", 1));
        }
        LastWord::Ping => {
            // The second one finds the connection quiescent: the kernel answers it on its path.
            for _ in 0..2 {
                std::thread::sleep(QUIESCENT_AFTER);
                spoke = timed(|| client.ping());
            }
        }
    }
    assert_on_time(&mut client, keep_alive_secs, spoke, watch, version);
}

/// Asserts when the server closes `client`, whose last byte was sent between the two instants of
/// `spoke`.
fn assert_on_time(
    client: &mut Client,
    keep_alive_secs: u16,
    spoke: (Instant, Instant),
    watch: &SchedulingWatch,
    version: Version,
) {
    let due = Duration::from_secs(keep_alive_secs.into()) * 3 / 2;
    let ending = client.wait_ending();
    assert_eq!(ending.how, Gone::Closed);
    if version == Version::V5 {
        assert_eq!(ending.reason, Some(KEEP_ALIVE_TIMEOUT));
    }
    let since_before = ending.at - spoke.0;
    assert!(since_before >= due, "closed early: {since_before:?} of {due:?} after the last byte");
    let late = (ending.at - spoke.1).saturating_sub(due);
    let slack = SCHEDULING_SLACK + watch.late_max();
    assert!(late <= LATE_MAX + slack, "closed {late:?} late (slack of the machine: {slack:?})");
}

/// Does something, and says from when to when.
fn timed<T>(act: impl FnOnce() -> T) -> (Instant, Instant) {
    let before = Instant::now();
    act();
    (before, Instant::now())
}
