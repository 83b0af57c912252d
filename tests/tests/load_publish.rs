//! `push-load publish` against the real server: both count the same.

use std::process::{Command, Stdio};

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::SILENCE;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::Version;
use serde_json::Value;

const MESSAGES: u64 = 5_000;
const SESSIONS: u64 = 50;

claims! {
    connected_sessions_get_every_message,
    absent_sessions_are_owed_every_message,
    a_rate_is_kept_to,
}

fn connected_sessions_get_every_message() -> TestResult {
    stand_in::not_for("has no metrics")?;
    let server = Server::with(PingPath::User).flag("--shards", 2).start()?;
    let summary = load(&server, &["--messages", "5000", "--threads", "2", "--publishers", "3"]);
    for key in ["sent", "acknowledged", "delivered"] {
        assert_eq!(number(&summary, key), MESSAGES, "{key}: {summary}");
    }
    assert_eq!(number(&summary, "repeated") + number(&summary, "missing"), 0, "{summary}");
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_publishes_received_total"), MESSAGES);
    assert_eq!(metrics.value("push_publishes_sent_total"), MESSAGES);
    server.finish();
    Ok(())
}

fn absent_sessions_are_owed_every_message() -> TestResult {
    stand_in::not_for("has no metrics")?;
    let server = Server::with(PingPath::User).flag("--shards", 2).start()?;
    let summary = load(&server, &["--messages", "5000", "--absent"]);
    assert_eq!(number(&summary, "acknowledged"), MESSAGES, "{summary}");
    assert_eq!(number(&summary, "delivered"), 0, "{summary}");
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_publishes_received_total"), MESSAGES);
    assert_eq!(metrics.value("push_publishes_sent_total"), 0);
    assert_eq!(metrics.value("push_sessions"), SESSIONS);
    let mut connect = Connect::new(Version::V311, "load-7");
    connect.clean = false;
    let mut session = Client::connect(server.target(), &connect);
    for _ in 0..MESSAGES / SESSIONS {
        let message = session.message();
        assert_eq!((message.topic.as_str(), message.payload.len()), ("load/00000007", 128));
    }
    session.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn a_rate_is_kept_to() -> TestResult {
    let server = Server::with(PingPath::User).start()?;
    let summary = load(&server, &["--seconds", "2", "--rate", "1000"]);
    let sent = number(&summary, "sent");
    // A machine that is busy may send fewer; none sends more.
    assert!((100..=2_100).contains(&sent), "{summary}");
    assert!(summary["ack_us"]["p50"].as_u64().is_some_and(|us| us > 0), "{summary}");
    server.finish();
    Ok(())
}

/// Runs the generator to its end; its last line.
fn load(server: &Server, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_push-load"))
        .args(["publish", "--target", &server.target().address.to_string()])
        .args(["--clients", &SESSIONS.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("run push-load");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let last = lines.lines().last().expect("a summary");
    serde_json::from_str(last).expect("JSON")
}

fn number(summary: &Value, key: &str) -> u64 {
    summary[key].as_u64().unwrap_or_else(|| panic!("no {key} in {summary}"))
}
