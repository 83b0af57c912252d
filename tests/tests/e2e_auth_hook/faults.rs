//! A hook that lies, breaks off, says too much or nothing: clients are refused, and nobody else notices.

use std::fs;

use push_tests::claims;
use push_tests::clients::{Client, connack_code};
use push_tests::expectations::wait_for;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::wire::Version;

use crate::hook::{
    Hook, Reply, SERVER_UNAVAILABLE, as_user, by_password, refused, requests, sample, whole,
};

claims! {
    anything_but_a_whole_valid_answer_is_no,
    a_hook_that_is_not_there_is_no,
    a_hook_that_hangs_delays_nobody_who_does_not_need_it,
    a_hook_that_fails_rests_and_one_question_tries_it,
    a_server_does_not_start_without_what_its_hook_needs,
}

const UNAVAILABLE_V311: u8 = 3;

/// A whole answer that allows, with a header in the place of its own.
fn head(head: &str) -> Reply {
    let body = "{\"result\":\"allow\"}";
    let len = body.len();
    Reply::Bytes(format!("{head}\r\ncontent-length: {len}\r\n\r\n{body}").into_bytes())
}

fn body(body: &str) -> Reply {
    Reply::Bytes(whole(body))
}

fn anything_but_a_whole_valid_answer_is_no() -> TestResult {
    let allowing = "{\"result\":\"allow\"}";
    let half = whole(allowing);
    let half = half[..half.len() - 1].to_vec();
    let long = format!("{{\"result\":\"allow\"{}}}", " ".repeat(64 << 10));
    let endless = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20000\r\n{}",
        "x".repeat(0x20000)
    );
    let headers = format!("HTTP/1.1 200 OK\r\nx-a: {}", "a".repeat(64 << 10));
    let many = format!("HTTP/1.1 200 OK{}", "\r\nx-a: b".repeat(100));
    let faults = [
        ("status", head("HTTP/1.1 500 Internal Server Error")),
        ("status", head("HTTP/1.1 201 Created")),
        ("status", head("HTTP/1.1 403 Forbidden")),
        ("status", head("HTTP/1.1 307 Temporary Redirect\r\nlocation: /allow")),
        ("invalid", body("")),
        ("invalid", body("allow")),
        ("invalid", body("{\"result\":\"allow\"")),
        ("invalid", body("{\"result\":\"allow\"} {\"result\":\"deny\"}")),
        ("invalid", body("{\"result\":\"allowed\"}")),
        ("invalid", body("{\"result\":\"allow\",\"acls\":{}}")),
        ("invalid", body("{\"result\":\"allow\",\"acl\":{\"publish\":[\"a/#/b\"]}}")),
        ("invalid", body("{\"result\":\"allow\",\"user\":\"\"}")),
        ("invalid", body("{\"result\":\"allow\",\"expires_in\":0}")),
        ("invalid", body(&long)),
        ("invalid", Reply::Part(endless.into_bytes())),
        ("ended", Reply::Bytes(half.clone())),
        ("ended", Reply::Bytes(Vec::new())),
        ("ended", Reply::Bytes(b"\x16\x03\x01\x02\x00".to_vec())),
        ("ended", head(&headers)),
        ("ended", head(&many)),
        ("timeout", Reply::Part(half)),
        ("timeout", Reply::Drip(allowing)),
        ("timeout", Reply::Never),
    ];
    let replies = faults.clone();
    let hook = Hook::start(move |asked| {
        let fault = asked.body["client_id"].as_str().and_then(|id| id.strip_prefix("fault-"));
        match fault.and_then(|number| number.parse::<usize>().ok()) {
            Some(number) => replies[number / 2].1.clone(),
            None => by_password(asked),
        }
    });
    let server = hook.server(PingPath::User).start()?;
    for (number, (result, fault)) in faults.iter().enumerate() {
        let versions = [(Version::V5, SERVER_UNAVAILABLE), (Version::V311, UNAVAILABLE_V311)];
        for (half, (version, expected)) in versions.into_iter().enumerate() {
            // A hang takes its 2 s.
            if *result == "timeout" && half > 0 {
                continue;
            }
            let before = server.metrics().value(&requests(result));
            let client_id = format!("fault-{}", 2 * number + half);
            let connect = as_user(version, &client_id, "ada", "pencil");
            assert_eq!(connack_code(server.target(), &connect), expected, "{fault:?}");
            assert_eq!(server.metrics().value(&requests(result)), before + 1, "{fault:?}");
        }
        // What it says to others counts, and so the failures are not in a row.
        let good = as_user(Version::V5, &format!("good-{number}"), "ada", "pencil");
        assert_eq!(connack_code(server.target(), &good), 0, "after {fault:?}");
    }
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_auth_hook_rests_total"), 0);
    assert_eq!(metrics.value(&refused("hook_failed")), 2 * 20 + 3);
    assert!(server.log().contains("server unavailable: the hook has not said who it is"));
    assert!(!hook.asked().iter().any(|asked| asked.head.contains("/allow")), "no redirect");
    Ok(())
}

fn a_hook_that_is_not_there_is_no() -> TestResult {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let gone = listener.local_addr().expect("an address");
    drop(listener);
    for url in [format!("http://{gone}/"), "http://no-such-host.invalid/".to_owned()] {
        let server = Server::with(PingPath::User).flag("--auth-http", url.as_str()).start()?;
        let ada = as_user(Version::V5, "a", "ada", "pencil");
        assert_eq!(connack_code(server.target(), &ada), SERVER_UNAVAILABLE, "{url}");
        let metrics = server.metrics();
        let (unreachable, timeout) = (requests("unreachable"), requests("timeout"));
        assert_eq!(metrics.value(&unreachable) + metrics.value(&timeout), 1, "{url}");
        let log = server.wait_log("did not say who a client is, which is refused");
        assert!(!log.contains("pencil"), "{log}");
    }
    Ok(())
}

/// `password`, by a hash that costs little.
const BOB: &str =
    "bob:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4\n";

fn a_hook_that_hangs_delays_nobody_who_does_not_need_it() -> TestResult {
    const HANG: u64 = 4;
    const TRIES: usize = 10;
    let hook = Hook::start(|_| Reply::Never);
    let users = tempfile::NamedTempFile::new().expect("a file");
    fs::write(users.path(), BOB).expect("write the users");
    let users = users.path().to_str().expect("a path of ours");
    for _ in 0..TRIES {
        let server = hook.server(PingPath::User).flag("--users", users).flag("--shards", 1);
        let server = server.start()?;
        let bob = |client_id: &str| as_user(Version::V5, client_id, "bob", "password");
        let mut connected = Client::connect(server.target(), &bob("connected"));
        connected.subscribe(&[("t", 1)]);
        let hanging: Vec<_> = (0..HANG)
            .map(|number| as_user(Version::V5, &format!("hangs-{number}"), "ada", "pencil"))
            .map(|connect| Client::send_connect(server.target(), &connect))
            .collect();
        server.wait_metric("push_auth_hook_under_way", |under_way| under_way == HANG);
        for number in 0..10 {
            let mut other = Client::connect(server.target(), &bob(&format!("other-{number}")));
            other.publish("t", b"x", 1);
            assert_eq!(connected.message().payload, b"x");
        }
        // All of that came before the hook's time was over: on the one shard, it would have waited.
        let is_before = server.metrics().value("push_auth_hook_under_way") == HANG;
        for mut client in hanging {
            client.read_connack(push_tests::expectations::PATIENCE).expect("a CONNACK");
            assert_eq!(client.connack.code, SERVER_UNAVAILABLE);
        }
        assert_eq!(server.metrics().value(&requests("timeout")), HANG);
        if is_before {
            // Nor does a question under way hold up a stop.
            let ada = as_user(Version::V5, "late", "ada", "pencil");
            let _late = Client::send_connect(server.target(), &ada);
            server.terminate();
            let mut server = server;
            let (status, _) = server.wait_exit();
            assert!(status.success(), "{status}");
            return Ok(());
        }
    }
    panic!("{TRIES} times this machine took longer than the hook may");
}

fn a_hook_that_fails_rests_and_one_question_tries_it() -> TestResult {
    const FAILURES: usize = 5;
    let hook = Hook::start(|_| head("HTTP/1.1 503 Service Unavailable"));
    let server = hook.server(PingPath::User).flag("--anonymous", "always").start()?;
    let ask = |number: usize| {
        let ada = as_user(Version::V5, &format!("c-{number}"), "ada", "pencil");
        connack_code(server.target(), &ada)
    };
    for number in 0..FAILURES {
        assert_eq!(server.metrics().value("push_auth_hook_resting"), 0);
        assert_eq!(ask(number), SERVER_UNAVAILABLE);
    }
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_auth_hook_resting"), 1);
    assert_eq!(metrics.value("push_auth_hook_rests_total"), 1);
    let resting = sample("push_auth_hook_unasked_total", "by", "resting");
    assert_eq!(ask(FAILURES), SERVER_UNAVAILABLE);
    assert_eq!(server.metrics().value(&resting), 1, "it was not asked");
    assert_eq!(hook.asked().len(), FAILURES);
    server.wait_log("rests for 5 s");
    // The first question after the rest tries it, and finds it as it was.
    let mut number = FAILURES;
    wait_for("a question that tries it", || {
        number += 1;
        assert_eq!(ask(number), SERVER_UNAVAILABLE);
        (hook.asked().len() > FAILURES).then_some(())
    });
    assert_eq!(server.metrics().value("push_auth_hook_rests_total"), 2);
    assert_eq!(hook.asked().len(), FAILURES + 1, "one, and the next rest");
    hook.now(by_password);
    wait_for("the hook to be asked again", || {
        number += 1;
        (ask(number) == 0).then_some(())
    });
    assert_eq!(hook.asked().len(), FAILURES + 2);
    assert_eq!(server.metrics().value("push_auth_hook_resting"), 0);
    server.wait_log("answers again");
    assert_eq!(ask(number + 1), 0);
    // Clients that come in meanwhile find it awake.
    Client::connect(server.target(), &as_user(Version::V311, "more", "ada", "pencil")).ping();
    Ok(())
}

fn a_server_does_not_start_without_what_its_hook_needs() -> TestResult {
    let empty = tempfile::NamedTempFile::new().expect("a file");
    let empty = empty.path().to_str().expect("a path of ours");
    for (arguments, code, why) in [
        (&["--auth-http", "ftp://a/"][..], 2, "https://auth.example.org"),
        (&["--auth-http", "http://user:pw@127.0.0.1/"], 2, "without a user"),
        (&["--auth-http-bearer-file", empty], 2, "a hook with it, by auth-http"),
        (
            &["--auth-http", "http://127.0.0.1:1/", "--auth-http-bearer-file", empty],
            1,
            "has no token for the hook",
        ),
        (
            &["--auth-http", "https://127.0.0.1:1/", "--auth-http-ca", empty],
            1,
            "has no PEM section",
        ),
    ] {
        let output = std::process::Command::new(push_tests::server::server_binary()?)
            .args(["run", "--listen", "127.0.0.1:0", "--http", "off", "--kernel-path", "off"])
            .args(["--durability", "off"])
            .args(arguments)
            .output()
            .expect("run the server");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
    let settings = tempfile::NamedTempFile::new().expect("a file");
    let text = format!("auth-http = 'http://127.0.0.1:1/'\nauth-http-bearer-file = '{empty}'\n");
    fs::write(settings.path(), text).expect("write the settings");
    let shown = std::process::Command::new(push_tests::server::server_binary()?)
        .arg("check-config")
        .arg(settings.path())
        .output()
        .expect("run the server");
    let said = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert!(said.contains("auth-http-bearer-file") && said.contains("has no token"), "{said}");
    Ok(())
}
