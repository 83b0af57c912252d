//! The will: published when its delay has passed or the session ends, taken back when the session
//! is resumed in time.

use std::time::{Duration, Instant};

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::SILENCE;
use push_tests::server::{PingPath, Server, Target};
use push_tests::skip::TestResult;
use push_tests::wire::{Properties, Publish, Value, Version, property};

/// A delay that a test waits for.
const SHORT_SECS: u32 = 1;

/// A delay that no test waits for.
const LONG_SECS: u32 = 600;

/// "Disconnect with will message" of a client's DISCONNECT.
const WITH_WILL: u8 = 0x04;

claims! {
    a_will_is_published_when_its_delay_has_passed_and_not_before,
    a_session_resumed_in_time_takes_its_will_back,
    a_session_that_ends_does_not_wait_for_the_delay,
    a_take_over_publishes_the_will_that_has_no_delay_or_no_session_left,
    a_goodbye_deletes_the_will_and_one_with_will_delays_it,
    a_silent_client_is_expired_and_its_will_still_waits,
    who_breaks_the_protocol_leaves_his_will,
    a_will_for_its_own_session_respects_no_local,
    a_will_is_a_message_like_any_other,
    an_orderly_stop_publishes_no_will,
}

/// A client that outlives its connections by an hour, with a will.
fn mortal(name: &str, delay_secs: u32) -> Connect {
    let connect = Connect::new(Version::V5, name).persistent();
    connect.will(&format!("wills/{name}"), name.as_bytes()).will_delay(delay_secs)
}

fn watcher(target: &Target) -> Client {
    let mut watcher = Client::connect(target, &Connect::new(Version::V5, "watcher"));
    watcher.subscribe(&[("wills/#", 2)]);
    watcher
}

/// The next will is that of `name`; returns it.
#[track_caller]
fn expect_will(watcher: &mut Client, name: &str) -> Publish {
    let will = watcher.message();
    assert_eq!(String::from_utf8_lossy(&will.payload), name);
    will
}

/// [MQTT-3.1.2-8] [MQTT-3.1.3-9] [MQTT-3.1.2-10]
fn a_will_is_published_when_its_delay_has_passed_and_not_before() -> TestResult {
    let server = Server::with(PingPath::User).start()?;
    let mut watcher = watcher(server.target());
    drop(Client::connect(server.target(), &mortal("at-once", 0)));
    expect_will(&mut watcher, "at-once");
    let client = Client::connect(server.target(), &mortal("delayed", SHORT_SECS));
    let begun = Instant::now();
    drop(client);
    expect_will(&mut watcher, "delayed");
    assert!(begun.elapsed() >= Duration::from_secs(SHORT_SECS.into()), "{:?}", begun.elapsed());
    // The session is there still, and its will is published once.
    let again = Client::connect(server.target(), &Connect { will: None, ..mortal("delayed", 0) });
    assert!(again.connack.session_present);
    again.disconnect();
    watcher.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

/// [MQTT-3.1.3-9]
fn a_session_resumed_in_time_takes_its_will_back() -> TestResult {
    let server = Server::with(PingPath::User).start()?;
    let mut watcher = watcher(server.target());
    drop(Client::connect(server.target(), &mortal("resumed", SHORT_SECS)));
    server.wait_metric("push_connections", |connections| connections == 1);
    let without_will = Connect { will: None, ..mortal("resumed", 0) };
    let client = Client::connect(server.target(), &without_will);
    assert!(client.connack.session_present);
    // A take-over resumes as well, whether a will waits or its connection is there.
    let first = Client::connect(server.target(), &mortal("taken-over", SHORT_SECS));
    let second = Client::connect(server.target(), &mortal("taken-over", LONG_SECS));
    assert!(second.connack.session_present);
    watcher.expect_no_message(Duration::from_secs(u64::from(SHORT_SECS)) + SILENCE);
    drop((first, client));
    second.disconnect();
    watcher.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

/// [MQTT5 3.1.3.2.2]: "or the Session ends, whichever happens first".
fn a_session_that_ends_does_not_wait_for_the_delay() -> TestResult {
    let server = Server::with(PingPath::User).start()?;
    let target = server.target();
    let mut watcher = watcher(target);
    // With its connection, since no expiry was asked for.
    let no_session = Connect { properties: Properties::default(), ..mortal("fleeting", LONG_SECS) };
    drop(Client::connect(target, &no_session));
    expect_will(&mut watcher, "fleeting");
    // By its expiry.
    let expiry = vec![(property::SESSION_EXPIRY_INTERVAL, Value::Number(SHORT_SECS))];
    let expiring = Connect { properties: Properties(expiry), ..mortal("expiring", LONG_SECS) };
    let begun = Instant::now();
    drop(Client::connect(target, &expiring));
    expect_will(&mut watcher, "expiring");
    assert!(begun.elapsed() >= Duration::from_secs(SHORT_SECS.into()), "{:?}", begun.elapsed());
    // By a clean start, while it is absent.
    drop(Client::connect(target, &mortal("cleaned", LONG_SECS)));
    server.wait_metric("push_connections", |connections| connections == 1);
    let clean = Connect { clean: true, will: None, ..mortal("cleaned", 0) };
    assert!(!Client::connect(target, &clean).connack.session_present);
    expect_will(&mut watcher, "cleaned");
    watcher.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

/// [MQTT-3.1.4-3] and the note below it.
fn a_take_over_publishes_the_will_that_has_no_delay_or_no_session_left() -> TestResult {
    let server = Server::with(PingPath::User).start()?;
    let target = server.target();
    let mut watcher = watcher(target);
    let no_delay = Client::connect(target, &mortal("no-delay", 0));
    let second = Client::connect(target, &Connect { will: None, ..mortal("no-delay", 0) });
    assert!(second.connack.session_present);
    expect_will(&mut watcher, "no-delay");
    let cleaned = Client::connect(target, &mortal("clean-start", LONG_SECS));
    let third = Connect { clean: true, will: None, ..mortal("clean-start", 0) };
    let third = Client::connect(target, &third);
    expect_will(&mut watcher, "clean-start");
    let no_session = Connect { properties: Properties::default(), ..mortal("short", LONG_SECS) };
    let short = Client::connect(target, &no_session);
    let fourth = Client::connect(target, &Connect { will: None, ..mortal("short", 0) });
    assert!(!fourth.connack.session_present);
    expect_will(&mut watcher, "short");
    // 3.1.1 knows no delay: the will of a connection taken over is published.
    let old = Connect::new(Version::V311, "old").persistent().will("wills/old", b"old");
    let first = Client::connect(target, &old);
    let fifth = Client::connect(target, &Connect { will: None, ..old });
    expect_will(&mut watcher, "old");
    drop((no_delay, second, cleaned, third, short, fourth, first, fifth));
    watcher.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

/// [MQTT-3.14.4-3] [MQTT-3.1.2-10]
fn a_goodbye_deletes_the_will_and_one_with_will_delays_it() -> TestResult {
    let server = Server::with(PingPath::User).start()?;
    let target = server.target();
    let mut watcher = watcher(target);
    for delay_secs in [0, SHORT_SECS] {
        Client::connect(target, &mortal("polite", delay_secs)).disconnect();
    }
    let begun = Instant::now();
    let client = Client::connect(target, &mortal("late", SHORT_SECS));
    client.disconnect_with(WITH_WILL, &Properties::default());
    expect_will(&mut watcher, "late");
    assert!(begun.elapsed() >= Duration::from_secs(SHORT_SECS.into()), "{:?}", begun.elapsed());
    // A goodbye may end the session, and with it the delay.
    let client = Client::connect(target, &mortal("ended", LONG_SECS));
    let now = Properties(vec![(property::SESSION_EXPIRY_INTERVAL, Value::Number(0))]);
    client.disconnect_with(WITH_WILL, &now);
    expect_will(&mut watcher, "ended");
    watcher.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

/// [MQTT-3.1.2-24] [MQTT-3.1.2-8]
fn a_silent_client_is_expired_and_its_will_still_waits() -> TestResult {
    let server = Server::with(PingPath::User).start()?;
    let mut watcher = watcher(server.target());
    let begun = Instant::now();
    let silent = mortal("silent", SHORT_SECS).keep_alive(1);
    let mut client = Client::connect(server.target(), &silent);
    client.wait_ending();
    expect_will(&mut watcher, "silent");
    let due = Duration::from_millis(1_500) + Duration::from_secs(SHORT_SECS.into());
    assert!(begun.elapsed() >= due, "{:?}", begun.elapsed());
    assert_eq!(server.metrics().value("push_sessions_expired_total"), 1);
    server.finish();
    Ok(())
}

/// [MQTT-3.1.2-8]: "the Server closes the Network Connection because of a protocol error".
fn who_breaks_the_protocol_leaves_his_will() -> TestResult {
    let server = Server::with(PingPath::User).start()?;
    let mut watcher = watcher(server.target());
    let mut faulty = Client::connect(server.target(), &mortal("faulty", SHORT_SECS));
    let begun = Instant::now();
    // A second CONNECT.
    faulty.send(&push_tests::wire::frame(0x10, b"\0\x04MQTT\x05\0\0\0\0\0\0"));
    assert_eq!(faulty.wait_ending().reason, Some(0x82));
    expect_will(&mut watcher, "faulty");
    assert!(begun.elapsed() >= Duration::from_secs(SHORT_SECS.into()), "{:?}", begun.elapsed());
    server.finish();
    Ok(())
}

/// [MQTT-3.8.3-3]
fn a_will_for_its_own_session_respects_no_local() -> TestResult {
    let server = Server::with(PingPath::User).start()?;
    let mut watcher = watcher(server.target());
    let mut own = Client::connect(server.target(), &mortal("own", 0));
    own.subscribe(&[("wills/own", 1 | 0x04), ("wills/other", 1)]);
    drop(own);
    expect_will(&mut watcher, "own");
    drop(Client::connect(server.target(), &mortal("other", 0)));
    expect_will(&mut watcher, "other");
    let mut own = Client::connect(server.target(), &mortal("own", 0));
    expect_will(&mut own, "other");
    own.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

/// [MQTT-3.1.2-12] [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT5 3.1.3.2.4]
fn a_will_is_a_message_like_any_other() -> TestResult {
    let server = Server::with(PingPath::User).start()?;
    let target = server.target();
    let mut watcher = watcher(target);
    let mut connect = mortal("whole", SHORT_SECS);
    let will = connect.will.as_mut().expect("a will");
    (will.qos, will.retain) = (2, true);
    will.properties.0.extend([
        (property::MESSAGE_EXPIRY_INTERVAL, Value::Number(30)),
        (property::CONTENT_TYPE, Value::Text("text/plain".into())),
        (property::USER_PROPERTY, Value::Pair("k".into(), "v".into())),
    ]);
    drop(Client::connect(target, &connect));
    let will = expect_will(&mut watcher, "whole");
    assert_eq!((will.qos, will.retain), (2, false));
    // The delay is not taken from its expiry.
    assert_eq!(will.properties.number(property::MESSAGE_EXPIRY_INTERVAL), Some(30));
    let text = Value::Text("text/plain".into());
    assert_eq!(will.properties.find(property::CONTENT_TYPE), Some(&text));
    let pair = Value::Pair("k".into(), "v".into());
    assert_eq!(will.properties.find(property::USER_PROPERTY), Some(&pair));
    assert_eq!(will.properties.find(property::WILL_DELAY_INTERVAL), None);
    let mut late = Client::connect(target, &Connect::new(Version::V5, "late"));
    late.subscribe(&[("wills/whole", 1)]);
    let kept = expect_will(&mut late, "whole");
    assert_eq!((kept.qos, kept.retain), (1, true));
    server.finish();
    Ok(())
}

/// [MQTT5 3.1.2.5]: a server that stops may defer wills. Clients of an orderly stop are alive.
fn an_orderly_stop_publishes_no_will() -> TestResult {
    let mut server = Server::with(PingPath::User).start()?;
    let mut watcher = watcher(server.target());
    let clients = [0, LONG_SECS].map(|delay_secs| {
        Client::connect(server.target(), &mortal(&format!("stopped-{delay_secs}"), delay_secs))
    });
    server.terminate();
    let (status, _) = server.wait_exit();
    assert!(status.success());
    while let Ok(packet) = watcher.receive(SILENCE) {
        let is_will = matches!(packet, push_tests::wire::Packet::Publish(_));
        assert!(!is_will, "a will of a client that is alive: {packet:?}");
    }
    drop(clients);
    Ok(())
}
