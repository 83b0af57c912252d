//! `push-load throughput` and `push-load connects`: against the real server both count the same;
//! against a relay that stalls, loses and repeats, the generator says so.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use push_tests::claims;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use serde_json::Value;

claims! {
    a_message_of_a_fan_out_comes_to_every_subscriber,
    the_messages_of_a_fan_in_come_to_its_one_subscriber,
    pairs_of_all_threads_have_their_own_messages,
    a_rate_is_kept_to,
    every_connect_is_one_of_the_servers,
}

fn a_message_of_a_fan_out_comes_to_every_subscriber() -> TestResult {
    for qos in ["0", "1"] {
        carries(&["--shape", "fan-out", "--clients", "10", "--qos", qos], 10)?;
    }
    Ok(())
}

fn the_messages_of_a_fan_in_come_to_its_one_subscriber() -> TestResult {
    for qos in ["0", "1"] {
        let shape = ["--shape", "fan-in", "--clients", "1", "--publishers", "10", "--qos", qos];
        carries(&shape, 1)?;
    }
    Ok(())
}

fn pairs_of_all_threads_have_their_own_messages() -> TestResult {
    for qos in ["0", "1"] {
        let shape = ["--shape", "pairs", "--clients", "5", "--publishers", "5", "--qos", qos];
        carries(&[&shape[..], &["--threads", "2"]].concat(), 1)?;
    }
    Ok(())
}

/// Publishes for a second: every message has so many deliveries, by both sides' counts.
fn carries(arguments: &[&str], deliveries: u64) -> TestResult {
    stand_in::not_for("has no metrics")?;
    let server = Server::with(PingPath::User).flag("--shards", 2).start()?;
    let arguments = [&["--seconds", "1"][..], arguments].concat();
    let summary = load("throughput", server.target().address, &arguments);
    let sent = number(&summary, "sent");
    assert!(sent > 0 && number(&summary, "sent_measured") > 0, "{summary}");
    assert_eq!(number(&summary, "missing"), 0, "{summary}");
    assert_eq!(number(&summary, "delivered"), sent * deliveries, "{summary}");
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_publishes_received_total"), sent);
    assert_eq!(metrics.value("push_publishes_sent_total"), sent * deliveries);
    server.finish();
    Ok(())
}

fn a_rate_is_kept_to() -> TestResult {
    let server = Server::with(PingPath::User).start()?;
    let arguments = ["--shape", "pairs", "--clients", "4", "--publishers", "4", "--rate", "500"];
    let arguments = [&arguments[..], &["--seconds", "2", "--qos", "1"]].concat();
    let summary = load("throughput", server.target().address, &arguments);
    // A machine that is busy may send fewer; none sends more.
    let sent = number(&summary, "sent");
    assert!((100..=1_001).contains(&sent), "{summary}");
    assert_eq!((number(&summary, "delivered"), number(&summary, "missing")), (sent, 0));
    for times in ["late_us", "ack_us", "delivery_us"] {
        assert!(summary[times]["max"].as_u64().is_some_and(|us| us > 0), "{times}: {summary}");
    }
    server.finish();
    Ok(())
}

fn every_connect_is_one_of_the_servers() -> TestResult {
    stand_in::not_for("has no metrics")?;
    let server = Server::with(PingPath::User).flag("--shards", 2).start()?;
    let arguments = ["--clients", "10", "--threads", "2", "--seconds", "1"];
    let summary = load("connects", server.target().address, &arguments);
    let connects = number(&summary, "connects");
    assert!(connects >= 10, "{summary}");
    assert_eq!(number(&summary, "goodbyes"), connects, "{summary}");
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_connects_total{result=\"accepted\"}"), connects);
    server.finish();
    Ok(())
}

#[test]
fn a_stall_is_in_the_time_of_every_message_that_was_due_in_it() {
    let stall = Duration::from_secs(1);
    let target = relay(move |number| {
        if number == 500 {
            thread::sleep(stall);
        }
        1
    });
    let summary = load("throughput", target, &[&ONE_PAIR[..], &["--rate", "1000"]].concat());
    // Timed from when they were written, or sent one after the other's answer, a message in a
    // thousand would have waited.
    let p99 = summary["delivery_us"]["p99"].as_u64().expect("a number");
    assert!(p99 > 500_000, "{summary}");
    assert_eq!(number(&summary, "missing"), 0, "{summary}");
}

#[test]
fn a_lost_message_is_missing() {
    let target = relay(|number| usize::from(number != 100));
    let summary = load("throughput", target, &ONE_PAIR);
    assert_eq!(number(&summary, "missing"), 1, "{summary}");
    assert_eq!(number(&summary, "delivered"), number(&summary, "sent") - 1, "{summary}");
}

#[test]
fn a_message_that_comes_twice_ends_the_run() {
    let target = relay(|number| 1 + usize::from(number == 100));
    let output = run("throughput", target, &ONE_PAIR);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("a message that is not on its way"), "{said}");
}

#[test]
fn a_server_that_refuses_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let target = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = read_packet(&mut stream);
            let _ = stream.write_all(&[0x20, 2, 0, 5]);
        }
    });
    for (mode, arguments) in [("throughput", &ONE_PAIR[..]), ("connects", &["--seconds=1"][..])] {
        let output = run(mode, target, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{mode}: {said}");
        assert!(said.contains("refused") || said.contains("bad packet"), "{mode}: {said}");
    }
}

const ONE_PAIR: [&str; 4] = ["--shape=pairs", "--clients=1", "--publishers=1", "--seconds=2"];

/// Passes each message of the first client on to the second so many times as `copies` says of its
/// number. At QoS 0 a message is the same in both directions.
fn relay(copies: impl Fn(u64) -> usize + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let target = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let greeted = || {
            let (mut stream, _) = listener.accept().expect("a client");
            read_packet(&mut stream).expect("CONNECT");
            stream.write_all(&[0x20, 2, 0, 0]).expect("CONNACK");
            stream
        };
        let mut publisher = greeted();
        let mut subscriber = greeted();
        read_packet(&mut subscriber).expect("SUBSCRIBE");
        subscriber.write_all(&[0x90, 3, 0, 1, 0]).expect("SUBACK");
        let mut number = 0;
        while let Some(packet) = read_packet(&mut publisher) {
            if packet[0] == 0x30 {
                for _ in 0..copies(number) {
                    // The generator may have gone.
                    let _ = subscriber.write_all(&packet);
                }
                number += 1;
            }
        }
    });
    target
}

/// A whole packet, or `None` at the end.
fn read_packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut packet = vec![0; 1];
    stream.read_exact(&mut packet).ok()?;
    let mut remaining = 0;
    for shift in [0, 7, 14, 21] {
        let mut digit = [0];
        stream.read_exact(&mut digit).ok()?;
        packet.extend(digit);
        remaining |= usize::from(digit[0] & 0x7F) << shift;
        if digit[0] & 0x80 == 0 {
            break;
        }
    }
    let header = packet.len();
    packet.resize(header + remaining, 0);
    stream.read_exact(&mut packet[header..]).ok()?;
    Some(packet)
}

/// Runs the generator to its end; its last line.
fn load(mode: &str, target: SocketAddr, arguments: &[&str]) -> Value {
    let output = run(mode, target, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let last = lines.lines().last().expect("a summary");
    serde_json::from_str(last).expect("JSON")
}

fn run(mode: &str, target: SocketAddr, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_push-load"))
        .args([mode, "--target", &target.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("run push-load")
}

fn number(summary: &Value, key: &str) -> u64 {
    summary[key].as_u64().unwrap_or_else(|| panic!("no {key} in {summary}"))
}
