//! How much may wait for the hook, and that it and hashed passwords do not wait for each other.

use std::fs;
use std::thread;
use std::time::Duration;

use push_tests::claims;
use push_tests::clients::{Client, connack_code};
use push_tests::expectations::PATIENCE;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::wire::Version;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::hook::{Hook, Reply, SERVER_BUSY, as_user, by_password, refused, requests};

claims! {
    questions_beyond_the_queue_are_refused_as_busy_and_passwords_are_not,
    passwords_beyond_their_queue_do_not_keep_the_hook_from_being_asked,
}

/// `password`, by a hash that costs little, and a hash that takes seconds to check.
const USERS: &str = "\
bob:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4
slow:$argon2id$v=19$m=262144,t=16,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4
";

/// As docs/limits.md says.
const QUESTIONS_MAX: usize = 64 + 1_024;
const UNDER_WAY_MAX: usize = 64;
const PASSWORDS_MAX: usize = 1_024;

fn start(hook: &Hook) -> Result<(NamedTempFile, Server), push_tests::skip::Skip> {
    let users = NamedTempFile::new().expect("a file");
    fs::write(users.path(), USERS).expect("write the users");
    let file = users.path().to_str().expect("a path of ours");
    let server = hook.server(PingPath::User).flag("--users", file);
    Ok((users, server.flag("--connect-timeout-secs", 60).start()?))
}

fn questions_beyond_the_queue_are_refused_as_busy_and_passwords_are_not() -> TestResult {
    const CLIENTS: usize = 2 * QUESTIONS_MAX;
    const TAKES: Duration = Duration::from_secs(1);
    // In the order that they are asked, 64 a second: slower than clients come.
    let hook = Hook::start(|_| {
        thread::sleep(TAKES);
        Reply::Json(json!({"result": "allow"}))
    });
    let (_users, server) = start(&hook)?;
    let connect = |number: usize| {
        let version = if number.is_multiple_of(2) { Version::V5 } else { Version::V311 };
        as_user(version, &format!("c-{number}"), "ada", "pencil")
    };
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| Client::send_connect(server.target(), &connect(number)))
        .collect();
    server.wait_metric("push_limits_hit_total{limit=\"auth_hook\"}", |hits| hits > 0);
    // While it has more than enough to do, passwords are hashed.
    assert_eq!(connack_code(server.target(), &as_user(Version::V5, "b", "bob", "password")), 0);
    assert!(server.metrics().value("push_auth_hook_waiting") > 0);
    let (mut let_in, mut busy) = (0, 0);
    for (number, mut client) in clients.into_iter().enumerate() {
        client.read_connack(PATIENCE).expect("a CONNACK");
        let busy_code = if number.is_multiple_of(2) { SERVER_BUSY } else { 3 };
        match client.connack.code {
            0 => let_in += 1,
            code if code == busy_code => busy += 1,
            code => panic!("{code:#04x} to client {number}"),
        }
    }
    let metrics = server.metrics();
    assert!(let_in >= QUESTIONS_MAX && busy > 0, "{let_in} let in, {busy} refused");
    for name in ["push_limits_hit_total{limit=\"auth_hook\"}", &refused("hook_busy")] {
        assert_eq!(metrics.value(name), busy, "{name}");
    }
    assert_eq!(metrics.value("push_limits_hit_total{limit=\"auth_queue\"}"), 0);
    assert_eq!(metrics.value(&requests("allow")), let_in as u64);
    assert_eq!(hook.most_under_way(), UNDER_WAY_MAX);
    assert!(hook.connections() <= 2 * UNDER_WAY_MAX, "{} connections", hook.connections());
    assert_eq!(metrics.value("push_auth_hook_waiting"), 0);
    assert_eq!(metrics.value("push_auth_hook_under_way"), 0);
    Ok(())
}

fn passwords_beyond_their_queue_do_not_keep_the_hook_from_being_asked() -> TestResult {
    let hook = Hook::start(by_password);
    let (_users, server) = start(&hook)?;
    let waiting: Vec<_> = (0..PASSWORDS_MAX)
        .map(|number| as_user(Version::V311, &format!("c-{number}"), "slow", "wrong"))
        .map(|connect| Client::send_connect(server.target(), &connect))
        .collect();
    server.wait_metric("push_passwords_waiting", |count| count == PASSWORDS_MAX as u64 - 1);
    let beyond = as_user(Version::V5, "beyond", "slow", "wrong");
    assert_eq!(connack_code(server.target(), &beyond), SERVER_BUSY);
    assert_eq!(connack_code(server.target(), &as_user(Version::V5, "a", "ada", "pencil")), 0);
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_limits_hit_total{limit=\"auth_queue\"}"), 1);
    assert_eq!(metrics.value("push_limits_hit_total{limit=\"auth_hook\"}"), 0);
    assert_eq!(metrics.value(&requests("allow")), 1);
    drop(waiting);
    Ok(())
}
