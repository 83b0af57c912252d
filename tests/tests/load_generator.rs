//! `push-load` against a server that is simple enough to be trusted: a thread a connection, blocking
//! reads, answers by a script. It counts what arrives, so that both sides' counts can be compared.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What the fake does.
#[derive(Clone, Copy, Debug)]
enum Script {
    /// Answers as it should.
    Honest,
    /// Answers CONNECT with this code.
    Refuse(u8),
    /// Answers a connection's third PINGREQ with these bytes.
    ThirdAnswer(&'static [u8]),
    /// Closes the connection at its third PINGREQ.
    CloseAtThird,
    /// Answers no PINGREQ.
    NoPong,
}

#[derive(Debug, Default)]
struct Seen {
    connects: AtomicU64,
    connects_v5: AtomicU64,
    pings: AtomicU64,
    subscribes: AtomicU64,
    publishes: AtomicU64,
    disconnects: AtomicU64,
    open: AtomicU64,
}

/// Starts a fake; it lives as long as the test process.
fn fake(script: Script) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let shared = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Arc::clone(&shared);
            thread::spawn(move || {
                seen.open.fetch_add(1, SeqCst);
                serve(&stream, script, &seen);
                seen.open.fetch_sub(1, SeqCst);
            });
        }
    });
    (address, seen)
}

/// Serves until the client goes, or the script says so.
fn serve(stream: &TcpStream, script: Script, seen: &Seen) {
    let mut input = BufReader::new(stream);
    let (mut out, mut pings, mut v5) = (stream, 0, false);
    while let Some((first, body)) = read_packet(&mut input) {
        let answer: &[u8] = match first {
            0x10 => {
                v5 = body[6] == 5;
                seen.connects.fetch_add(1, SeqCst);
                seen.connects_v5.fetch_add(u64::from(v5), SeqCst);
                match script {
                    Script::Refuse(code) => &[0x20, 2, 0, code],
                    _ if v5 => &[0x20, 3, 0, 0, 0],
                    _ => &[0x20, 2, 0, 0],
                }
            }
            0xC0 => {
                pings += 1;
                seen.pings.fetch_add(1, SeqCst);
                match script {
                    Script::ThirdAnswer(bytes) if pings == 3 => bytes,
                    Script::CloseAtThird if pings == 3 => return,
                    Script::NoPong => &[],
                    _ => &[0xD0, 0],
                }
            }
            // SUBACK, and at once a message.
            0x82 => {
                seen.subscribes.fetch_add(1, SeqCst);
                if v5 {
                    &[0x90, 4, 0, 1, 0, 0, 0x30, 4, 0, 1, b'a', 0]
                } else {
                    &[0x90, 3, 0, 1, 0, 0x30, 4, 0, 1, b'a', b'x']
                }
            }
            0x30 => {
                seen.publishes.fetch_add(1, SeqCst);
                &[]
            }
            0xE0 => {
                seen.disconnects.fetch_add(1, SeqCst);
                return;
            }
            _ => panic!("a client sent {first:#04x}"),
        };
        if out.write_all(answer).is_err() {
            return;
        }
    }
}

fn read_packet(input: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    input.read_exact(&mut byte).ok()?;
    let first = byte[0];
    let (mut remaining, mut shift) = (0, 0);
    loop {
        input.read_exact(&mut byte).ok()?;
        remaining |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; remaining];
    input.read_exact(&mut body).ok()?;
    Some((first, body))
}

fn load(arguments: &str, target: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_push-load"));
    command.args(arguments.split(' ')).args(["--target", &target.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end. The summary is the last line of stdout.
fn run(arguments: &str, target: SocketAddr) -> (Output, Value, String) {
    let output = load(arguments, target).output().unwrap();
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    let last = stdout.lines().last().unwrap_or("null");
    let summary = serde_json::from_str(last).unwrap();
    (output, summary, stderr)
}

fn count(summary: &Value, key: &str) -> u64 {
    summary[key].as_u64().unwrap_or_else(|| panic!("no {key} in {summary}"))
}

fn counts<const N: usize>(summary: &Value, keys: [&str; N]) -> [u64; N] {
    keys.map(|key| count(summary, key))
}

#[test]
fn every_ping_is_sent_answered_and_counted_once() {
    let (target, seen) = fake(Script::Honest);
    let (output, summary, stderr) = run("ping --clients 20 --interval-ms 100 --seconds 1", target);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let [sent, answered] = counts(&summary, ["sent", "answered"]);
    assert!(sent >= 20, "every client had a turn: {summary}");
    assert_eq!((sent, answered), (seen.pings.load(SeqCst), sent));
    assert_eq!(counts(&summary, ["connected", "missing", "closed", "bad"]), [20, 0, 0, 0]);
    let [p50, p999, max] = ["p50", "p999", "max"].map(|key| count(&summary["rtt_us"], key));
    assert!(0 < p50 && p50 <= p999 && p999 <= max, "{summary}");
    assert!(count(&summary, "cpu_us") > 0 && summary["seconds"].as_f64().unwrap() >= 0.99);
    let goodbyes = (seen.connects.load(SeqCst), seen.disconnects.load(SeqCst));
    assert_eq!(goodbyes, (20, 20), "every client said DISCONNECT");
}

#[test]
fn warm_up_pings_are_sent_and_not_counted() {
    let (target, seen) = fake(Script::Honest);
    let (_, summary, _) = run("ping --clients 4 --rate 100 --seconds 1 --warmup-s 1", target);
    let [sent, answered] = counts(&summary, ["sent", "answered"]);
    assert_eq!(sent, answered);
    assert!(0 < sent && sent < seen.pings.load(SeqCst), "{summary}");
}

#[test]
fn the_closed_loop_works_on_threads_and_in_mqtt_5() {
    let (target, seen) = fake(Script::Honest);
    let (output, summary, stderr) =
        run("ping --clients 9 --inflight 4 --threads 2 --v5 --seconds 1", target);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(seen.connects_v5.load(SeqCst), 9);
    let [sent, answered, bad] = counts(&summary, ["sent", "answered", "bad"]);
    assert_eq!((sent, answered, bad), (seen.pings.load(SeqCst), sent, 0));
    assert!(sent > 9, "the loop went round: {summary}");
}

#[test]
fn wrong_bytes_are_reported_and_end_the_connection() {
    const WRONG: &[&[u8]] = &[
        &[0xD0, 1, 7],
        &[0xD1, 0],
        &[0x20, 2, 0, 0],
        &[0x00, 0xFF, 0xFF, 0xFF, 0xFF],
        &[0xD0, 0, 0xD0, 0],
        &[0xE0, 0],
    ];
    let check = |bytes: &'static [u8]| {
        let (target, seen) = fake(Script::ThirdAnswer(bytes));
        let (output, summary, stderr) =
            run("ping --clients 5 --interval-ms 50 --seconds 1", target);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert_eq!(counts(&summary, ["bad", "closed", "connected"]), [5, 5, 0], "{bytes:02x?}");
        let [sent, answered, missing] = counts(&summary, ["sent", "answered", "missing"]);
        assert_eq!((sent, seen.pings.load(SeqCst)), (15, 15), "{bytes:02x?}");
        assert_eq!(answered + missing, sent);
        assert!(stderr.contains("bad packet"), "{bytes:02x?}: {stderr}");
    };
    thread::scope(|scope| {
        for bytes in WRONG {
            scope.spawn(|| check(bytes));
        }
    });
}

#[test]
fn connections_that_the_server_closes_are_counted_and_their_pings_missing() {
    let (target, _) = fake(Script::CloseAtThird);
    let (output, summary, stderr) = run("ping --clients 5 --interval-ms 50 --seconds 1", target);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let keys = ["sent", "answered", "missing", "closed", "bad"];
    assert_eq!(counts(&summary, keys), [15, 10, 5, 5, 0]);
}

#[test]
fn unanswered_pings_are_missing_and_nobody_pings_twice() {
    let (target, seen) = fake(Script::NoPong);
    let (_, summary, _) = run("ping --clients 5 --interval-ms 50 --seconds 1", target);
    assert_eq!(counts(&summary, ["sent", "answered", "missing", "closed"]), [5, 0, 5, 0]);
    assert!(count(&summary, "skipped") > 0, "turns passed meanwhile: {summary}");
    assert_eq!(seen.pings.load(SeqCst), 5);
}

#[test]
fn who_cannot_connect_exits_1_and_says_why() {
    let (target, _) = fake(Script::Refuse(5));
    let (output, summary, stderr) = run("ping --clients 5 --rate 10 --seconds 1", target);
    assert_eq!((output.status.code(), summary), (Some(1), Value::Null));
    assert!(stderr.contains("code 0x05"), "{stderr}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for mode in ["ping --rate 10 --seconds 1", "idle", "demo"] {
        let (output, _, stderr) = run(mode, closed);
        assert_eq!(output.status.code(), Some(1), "{mode}");
        assert!(stderr.contains("refused"), "{mode}: {stderr}");
    }
}

#[test]
fn wrong_usage_exits_2() {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    for arguments in ["ping --seconds 1", "nonsense", "idle --clients 0", "idle --source x"] {
        assert_eq!(run(arguments, nowhere).0.status.code(), Some(2), "{arguments}");
    }
}

/// A run that a test talks to.
struct Talk {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Talk {
    fn start(arguments: &str, target: SocketAddr) -> Self {
        let mut child = load(arguments, target).stderr(Stdio::inherit()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, stdin, stdout: BufReader::new(stdout) }
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Closes stdin; the summary and the exit code.
    fn end(mut self) -> (Value, Option<i32>) {
        drop(self.stdin);
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        let summary = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        (summary, self.child.wait().unwrap().code())
    }
}

#[test]
fn idle_holds_grows_at_a_line_and_ends_with_stdin() {
    let (target, seen) = fake(Script::Honest);
    let mut talk = Talk::start("idle --clients 3 --hold --keep-alive-secs 0", target);
    let ready = talk.line();
    assert_eq!((&ready["event"], count(&ready, "connected")), (&"ready".into(), 3));
    assert_eq!(seen.open.load(SeqCst), 3);
    talk.stdin.write_all(b"what\nto 2\nto 40\n").unwrap();
    let ready = talk.line();
    assert_eq!((&ready["event"], count(&ready, "connected")), (&"ready".into(), 40));
    assert_eq!(seen.open.load(SeqCst), 40);
    let (summary, code) = talk.end();
    assert_eq!((&summary["event"], &summary["mode"]), (&"done".into(), &"idle".into()));
    assert_eq!(counts(&summary, ["clients", "connected", "closed"]), [40, 40, 0]);
    assert_eq!(code, Some(0));
    assert_eq!((seen.pings.load(SeqCst), seen.disconnects.load(SeqCst)), (0, 40));
}

#[test]
fn demo_devices_subscribe_publish_and_ping() {
    for version in ["", " --v5"] {
        let (target, seen) = fake(Script::Honest);
        let demo = format!("demo --clients 12 --interval-ms 100{version}");
        let talk = Talk::start(&demo, target);
        let deadline = Instant::now() + Duration::from_secs(20);
        while seen.publishes.load(SeqCst) == 0 || seen.pings.load(SeqCst) < 12 {
            assert!(Instant::now() < deadline, "{seen:?}");
            thread::sleep(Duration::from_millis(10));
        }
        let (summary, code) = talk.end();
        assert_eq!((count(&summary, "bad"), code), (0, Some(0)));
        assert_eq!(seen.subscribes.load(SeqCst), 2, "devices 1 and 11 subscribe");
        assert_eq!(count(&summary, "publishes_received"), 2);
        assert_eq!(count(&summary, "publishes_sent"), seen.publishes.load(SeqCst));
    }
}

#[test]
fn demo_devices_come_back_when_they_lose_their_connection() {
    let (target, seen) = fake(Script::CloseAtThird);
    let talk = Talk::start("demo --clients 3 --interval-ms 50", target);
    let deadline = Instant::now() + Duration::from_secs(20);
    while seen.connects.load(SeqCst) < 6 {
        assert!(Instant::now() < deadline, "{seen:?}");
        thread::sleep(Duration::from_millis(10));
    }
    let (summary, code) = talk.end();
    assert!(count(&summary, "closed") >= 3);
    assert_eq!(code, Some(0));
}
