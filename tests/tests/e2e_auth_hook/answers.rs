//! What the hook is asked, and what its answers mean.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use push_tests::both_paths;
use push_tests::certificates::{Folder, LOCAL_NAMES};
use push_tests::claims;
use push_tests::clients::{Client, Connect, Gone, connack_code};
use push_tests::expectations::wait_for;
use push_tests::foreign::{self, By};
use push_tests::netns;
use push_tests::server::PingPath;
use push_tests::skip::{TestResult, need_root};
use push_tests::wire::{Login, Version};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::hook::{
    Hook, NOT_AUTHORIZED, Reply, SERVER_UNAVAILABLE, as_user, by_password, refused, requests,
    sample,
};

both_paths! {
    a_server_without_capabilities_asks_its_hook,
}

claims! {
    clients_of_others_are_let_in_as_the_hook_says,
    the_hook_is_told_who_asks_and_from_where,
    the_hook_says_who_a_client_is_and_what_it_may_do,
    a_client_leaves_when_the_time_that_the_hook_gave_it_is_over,
    answers_are_remembered_and_each_question_is_one_of_its_own,
    whom_the_users_know_the_hook_is_not_asked_about,
    whom_the_hook_ignores_is_anonymous_where_that_is_allowed,
    https_is_checked_against_the_file_of_authorities,
    the_token_for_the_hook_is_read_again_and_is_in_no_log,
    a_session_is_its_users_whether_the_hook_or_a_password_proved_it,
}

fn clients_of_others_are_let_in_as_the_hook_says() -> TestResult {
    foreign::need_mosquitto_clients()?;
    let hook = Hook::start(by_password);
    let server = hook.server(PingPath::User).start()?;
    let target = server.target();
    for version in [Version::V31, Version::V311, Version::V5] {
        let message = ["-t", "a/b", "-q", "1", "-m", "hello"];
        let arguments = |login: &[&'static str]| [login, &message[..]].concat();
        foreign::mosquitto_pub(target, version, &arguments(&["-u", "ada", "-P", "pencil"]));
        for login in [["-u", "ada", "-P", "crayon"], ["-u", "eve", "-P", "pencil"]] {
            assert!(!foreign::mosquitto_pub_is_let_in(target, version, &arguments(&login)));
        }
        let paho = |case, login: &[&str]| foreign::paho_with(By::Tcp, target, version, case, login);
        paho("qos", &["--user", "ada", "--password", "pencil"])?;
        paho("refused", &["--user", "ada", "--password", "crayon"])?;
        let denied = if version == Version::V5 { NOT_AUTHORIZED } else { 5 };
        assert_eq!(connack_code(target, &as_user(version, "c", "eve", "pencil")), denied);
    }
    let metrics = server.metrics();
    assert!(metrics.value(&requests("allow")) > 0 && metrics.value(&requests("deny")) > 0);
    assert!(metrics.value(&refused("hook_denied")) >= 9);
    let accepted = sample("push_authentications_accepted_total", "source", "hook");
    assert!(metrics.value(&accepted) > 0);
    assert!(server.log().contains("not authorized: the hook denies it"), "{}", server.log());
    Ok(())
}

fn the_hook_is_told_who_asks_and_from_where() -> TestResult {
    let hook = Hook::start(by_password);
    let directory = tempfile::tempdir().expect("make a directory");
    let folder = Folder::make(directory.path(), &LOCAL_NAMES).expect("make certificates");
    let server = hook.server(PingPath::User).tls(&folder).websocket().start()?;
    let ada = as_user(Version::V5, "tablet", "ada", "pencil");
    Client::connect(server.target(), &ada).disconnect();
    let mut binary = Connect::new(Version::V311, "sensor");
    binary.login = Login { user_name: Some("ada".into()), password: Some(vec![0xFF, 0x00]) };
    assert_eq!(connack_code(server.target(), &binary), 5);
    let tls = push_tests::tls::Offer::new(&folder).config();
    push_tests::tls::connect(&server.tls(), &tls, &ada).disconnect();
    let asked = hook.asked();
    let head = &asked[0].head;
    assert!(head.starts_with("POST /mqtt?site=7 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    assert!(head.contains("user-agent: push-server/"), "{head}");
    let listener = server.target().address.to_string();
    assert_eq!(
        asked[0].body,
        json!({
            "user": "ada", "password": "pencil", "client_id": "tablet", "address": "127.0.0.1",
            "listener": listener, "protocol": "mqtt",
        })
    );
    assert_eq!(asked[1].body["password"], Value::Null);
    assert_eq!(asked[1].body["password_base64"], "/wA=");
    assert_eq!(asked[2].body["protocol"], "mqtts");
    assert_eq!(asked.len(), 3);
    assert_eq!(hook.connections(), 1, "its connection is kept");
    Ok(())
}

fn the_hook_says_who_a_client_is_and_what_it_may_do() -> TestResult {
    let hook = Hook::start(|asked| {
        Reply::Json(match asked.body["user"].as_str() {
            Some("badge-17") => json!({
                "result": "allow", "user": "ada", "groups": ["operators"],
            }),
            Some("sensor") => json!({
                "result": "allow", "acl": {"publish": ["up/%c"], "subscribe": ["down/%u"]},
            }),
            _ => json!({"result": "deny"}),
        })
    });
    let rules = tempfile::NamedTempFile::new().expect("a file");
    let text = "[groups]\noperators = []\n[[allow]]\ngroups = ['operators']\nusers = ['ada']\npublish = ['#']\nsubscribe = ['#']\n";
    fs::write(rules.path(), text).expect("write the rules");
    let rules = rules.path().to_str().expect("a path of ours");
    let server = hook.server(PingPath::User).flag("--acl", rules).start()?;
    let mut ada = Client::connect(server.target(), &as_user(Version::V5, "d", "badge-17", "x"));
    ada.subscribe(&[("up/#", 1)]);
    let mut sensor = Client::connect(server.target(), &as_user(Version::V5, "s-1", "sensor", "x"));
    assert_eq!(sensor.subscribe(&[("down/sensor", 1), ("down/other", 1)]), [1, NOT_AUTHORIZED]);
    sensor.publish("up/s-2", b"denied", 1);
    sensor.publish("up/s-1", b"allowed", 1);
    assert_eq!(ada.message().payload, b"allowed");
    ada.publish("down/sensor", b"to it", 1);
    assert_eq!(sensor.message().payload, b"to it");
    let denied = "push_authorizations_total{action=\"publish\",result=\"denied\"}";
    assert_eq!(server.metrics().value(denied), 1);
    Ok(())
}

fn a_client_leaves_when_the_time_that_the_hook_gave_it_is_over() -> TestResult {
    let hook = Hook::start(|asked| {
        Reply::Json(match asked.body["user"].as_str() {
            Some("short") => json!({"result": "allow", "expires_in": 1}),
            _ => json!({"result": "allow"}),
        })
    });
    let server = hook.server(PingPath::User).start()?;
    let mut stays = Client::connect(server.target(), &as_user(Version::V5, "stays", "long", "x"));
    for (version, client_id, reason) in
        [(Version::V5, "leaves", Some(NOT_AUTHORIZED)), (Version::V311, "leaves-too", None)]
    {
        let connect = as_user(version, client_id, "short", "x").persistent();
        let mut client = Client::connect(server.target(), &connect);
        let ending = client.wait_ending();
        assert_eq!((ending.how, ending.reason), (Gone::Closed, reason));
        // The session stays, and the hook is asked again: its answer was remembered no longer.
        assert!(Client::connect(server.target(), &connect).connack.session_present);
    }
    stays.ping();
    assert_eq!(hook.asked().len(), 5);
    assert_eq!(server.metrics().value("push_authentications_expired_total"), 2);
    Ok(())
}

fn answers_are_remembered_and_each_question_is_one_of_its_own() -> TestResult {
    let hook = Hook::start(by_password);
    let server = hook.server(PingPath::User).start()?;
    for _ in 0..10 {
        assert_eq!(connack_code(server.target(), &as_user(Version::V5, "a", "ada", "pencil")), 0);
        assert_eq!(connack_code(server.target(), &as_user(Version::V311, "a", "ada", "crayon")), 5);
    }
    let metrics = server.metrics();
    let from_memory = sample("push_auth_hook_unasked_total", "by", "memory");
    assert_eq!(metrics.value(&requests("allow")), 1);
    // A denial is remembered for 5 s: no less than the time that this takes, or it is asked again.
    assert_eq!(metrics.value(&from_memory) + hook.asked().len() as u64, 20);
    assert_eq!(metrics.value("push_auth_hook_remembered"), 2);
    let before = hook.asked().len();
    assert_eq!(connack_code(server.target(), &as_user(Version::V5, "b", "ada", "pencil")), 0);
    assert_eq!(hook.asked().len(), before + 1, "another client id is another question");
    // What it says now counts once the denial is forgotten.
    hook.now(|_| Reply::Json(json!({"result": "allow"})));
    let late = as_user(Version::V5, "a", "ada", "crayon");
    wait_for("the denial to be forgotten", || {
        (connack_code(server.target(), &late) == 0).then_some(())
    });
    Ok(())
}

fn whom_the_users_know_the_hook_is_not_asked_about() -> TestResult {
    let hook = Hook::start(by_password);
    let users = tempfile::NamedTempFile::new().expect("a file");
    fs::write(users.path(), BOB).expect("write the users");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(users.path(), mode).expect("keep the file to ourselves");
    let users = users.path().to_str().expect("a path of ours");
    let server = hook.server(PingPath::User).flag("--users", users).start()?;
    assert_eq!(connack_code(server.target(), &as_user(Version::V5, "b", "bob", "password")), 0);
    assert_eq!(
        connack_code(server.target(), &as_user(Version::V5, "b", "bob", "pencil")),
        NOT_AUTHORIZED
    );
    let no_password = Login { user_name: Some("bob".into()), password: None };
    let connect = Connect { login: no_password, ..Connect::new(Version::V5, "b") };
    assert_eq!(connack_code(server.target(), &connect), NOT_AUTHORIZED);
    assert!(hook.asked().is_empty(), "the users know him");
    assert_eq!(connack_code(server.target(), &as_user(Version::V5, "a", "ada", "pencil")), 0);
    assert_eq!(hook.asked().len(), 1);
    Ok(())
}

/// The password of RFC 9106's authors' tests: `password`, by a hash that costs little.
const BOB: &str =
    "bob:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4\n";

fn whom_the_hook_ignores_is_anonymous_where_that_is_allowed() -> TestResult {
    let hook = Hook::start(|asked| {
        let result = if asked.body["client_id"] == "known" { "allow" } else { "ignore" };
        Reply::Json(json!({ "result": result }))
    });
    for (anonymous, expected) in [("always", 0), ("auto", NOT_AUTHORIZED)] {
        let server = hook.server(PingPath::User).flag("--anonymous", anonymous).start()?;
        assert_eq!(connack_code(server.target(), &Connect::new(Version::V5, "stranger")), expected);
        // It means to be somebody.
        let named = as_user(Version::V5, "named", "nobody-knows", "x");
        assert_eq!(connack_code(server.target(), &named), NOT_AUTHORIZED);
        // The hook may know clients that give no name.
        assert_eq!(connack_code(server.target(), &Connect::new(Version::V5, "known")), 0);
        let metrics = server.metrics();
        assert_eq!(metrics.value(&requests("ignore")), 2);
        let nobody = sample("push_authentications_accepted_total", "source", "anonymous");
        assert_eq!(metrics.value(&nobody), u64::from(expected == 0));
        assert_eq!(metrics.value(&requests("allow")), 1);
    }
    Ok(())
}

fn https_is_checked_against_the_file_of_authorities() -> TestResult {
    let directory = tempfile::tempdir().expect("make a directory");
    let folder = Folder::make(directory.path(), &LOCAL_NAMES).expect("make certificates");
    let hook = Hook::start_tls(&folder, by_password);
    let ca = folder.ca().display().to_string();
    let server = hook.server(PingPath::User).flag("--auth-http-ca", ca.as_str()).start()?;
    assert_eq!(connack_code(server.target(), &as_user(Version::V5, "a", "ada", "pencil")), 0);
    // Of another authority, with the same name.
    let other = tempfile::tempdir().expect("make a directory");
    let other = Folder::make(other.path(), &LOCAL_NAMES).expect("make certificates");
    let ca = other.ca().display().to_string();
    let server = hook.server(PingPath::User).flag("--auth-http-ca", ca.as_str()).start()?;
    let ada = as_user(Version::V5, "a", "ada", "pencil");
    assert_eq!(connack_code(server.target(), &ada), SERVER_UNAVAILABLE);
    assert_eq!(server.metrics().value(&requests("unreachable")), 1);
    assert_eq!(hook.asked().len(), 1, "no password goes to whom nobody knows");
    server.wait_log("it cannot be reached");
    Ok(())
}

fn the_token_for_the_hook_is_read_again_and_is_in_no_log() -> TestResult {
    let hook = Hook::start(by_password);
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "first-s3cret\n").expect("write the token");
    let path = file.path().to_str().expect("a path of ours");
    let server = hook.server(PingPath::User).flag("--auth-http-bearer-file", path);
    let server = server.flag("--log", "trace").start()?;
    assert_eq!(connack_code(server.target(), &as_user(Version::V5, "a", "ada", "pencil")), 0);
    assert!(hook.asked()[0].head.contains("authorization: Bearer first-s3cret\r\n"));
    // A file without a token changes nothing.
    fs::write(file.path(), "\n").expect("write no token");
    server.signal(Signal::HUP);
    server.wait_log("SIGHUP: nothing was changed:");
    assert_eq!(connack_code(server.target(), &as_user(Version::V5, "b", "ada", "pencil")), 0);
    assert!(hook.asked()[1].head.contains("authorization: Bearer first-s3cret\r\n"));
    fs::write(file.path(), "second-s3cret").expect("write the token");
    server.signal(Signal::HUP);
    let number = std::cell::Cell::new(0);
    wait_for("the new token", || {
        number.set(number.get() + 1);
        let client_id = format!("c-{}", number.get());
        assert_eq!(
            connack_code(server.target(), &as_user(Version::V5, &client_id, "ada", "pencil")),
            0
        );
        let asked = hook.asked();
        let last = asked.last().expect("a question");
        last.head.contains("authorization: Bearer second-s3cret\r\n").then_some(())
    });
    let log = server.log();
    for secret in ["s3cret", "pencil", "site=7"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
    Ok(())
}

fn a_session_is_its_users_whether_the_hook_or_a_password_proved_it() -> TestResult {
    let hook = Hook::start(|asked| {
        let user = if asked.body["user"] == "badge-17" { "bob" } else { "ada" };
        Reply::Json(json!({"result": "allow", "user": user}))
    });
    let users = tempfile::NamedTempFile::new().expect("a file");
    fs::write(users.path(), BOB).expect("write the users");
    let users = users.path().to_str().expect("a path of ours");
    let server = hook.server(PingPath::User).flag("--users", users).start()?;
    let connect = |name, password| as_user(Version::V5, "device", name, password).persistent();
    Client::connect(server.target(), &connect("bob", "password")).disconnect();
    assert_eq!(connack_code(server.target(), &connect("ada", "x")), NOT_AUTHORIZED);
    assert!(Client::connect(server.target(), &connect("badge-17", "x")).connack.session_present);
    Ok(())
}

/// As the service runs: as another user than root, whose capabilities are gone by the time that it asks.
fn a_server_without_capabilities_asks_its_hook(path: PingPath) -> TestResult {
    need_root()?;
    if path == PingPath::Kernel {
        // The server will be in this thread's namespace.
        netns::enter_own_loopback()?;
    }
    let hook = Hook::start(by_password);
    let capabilities: &[&str] = match path {
        PingPath::Kernel => &["bpf", "net_admin", "perfmon"],
        PingPath::User => &["net_bind_service"],
    };
    let server = hook.server(path).as_nobody_with(capabilities).start()?;
    let ada = as_user(Version::V5, "witness", "ada", "pencil");
    let mut witness = Client::connect(server.target(), &ada);
    assert_eq!(connack_code(server.target(), &as_user(Version::V311, "e", "eve", "pencil")), 5);
    server.prove_path_by(&mut witness);
    Ok(())
}
