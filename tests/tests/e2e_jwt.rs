//! Tokens (JWT) as passwords, with the real binary: clients of others, what is refused and how it is told, the end of a
//! token, new keys, and what a token gives besides a name. OpenSSL signs some of the tokens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use push_tests::clients::{Client, Connect, Gone, connack_code};
use push_tests::expectations::wait_for;
use push_tests::faketime::faketime;
use push_tests::foreign::{self, By};
use push_tests::server::{PingPath, Server, ServerBuilder};
use push_tests::skip::{Skip, TestResult};
use push_tests::wire::Version;
use push_tests::{both_paths, claims, stand_in};
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

both_paths! {
    clients_of_others_are_let_in_by_a_token_and_not_by_a_forged_one,
    who_is_refused_is_told_by_its_version_and_counted_by_the_reason,
    client_is_closed_when_its_token_expires_and_its_session_stays,
    new_keys_count_at_once_after_sighup_and_wrong_ones_change_nothing,
}

claims! {
    tokens_of_openssls_keys_count,
    token_that_comes_again_is_remembered,
    clock_that_is_set_ends_a_token_in_time,
    hash_that_takes_long_delays_no_token,
    groups_and_rights_of_a_token_are_its_clients,
    password_that_is_no_token_is_one_of_the_users,
    neither_tokens_nor_keys_are_in_a_log_or_shown_by_check_config,
}

const BAD_USER_NAME: u8 = 0x86;
const NOT_AUTHORIZED: u8 = 0x87;
const SERVER_BUSY: u8 = 0x89;

/// Passwords that may wait to be hashed, one of which is being hashed, as docs/limits.md says.
const PASSWORDS_WAITING_MAX: u64 = 1_024;

/// The secret of `Keys::new`.
const SECRET: &[u8; 32] = b"this is a secret of 32 bytes, ok";

/// A hash that takes seconds to check.
const SLOW: &str =
    "$argon2id$v=19$m=262144,t=16,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

/// A directory with a file of keys.
struct Keys(TempDir);

impl Keys {
    /// With one secret.
    fn new() -> Self {
        let this = Self(tempfile::tempdir().expect("make a directory"));
        this.write(&secret("one", SECRET));
        this
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("keys.json")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("write the file");
    }

    fn start(&self, path: PingPath) -> ServerBuilder {
        let file = self.path();
        // All clients come from one address, and many of them are refused.
        let server = Server::with(path).flag("--auth-failures", 0).flag("--address-waiting-max", 0);
        server.flag("--jwt-keys", file.to_str().expect("a path of ours"))
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("write the file");
        path
    }
}

/// A set with this secret.
fn secret(id: &str, secret: &[u8]) -> String {
    json!({ "keys": [{ "kty": "oct", "kid": id, "k": URL_SAFE_NO_PAD.encode(secret) }] })
        .to_string()
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Header and claims as they are signed.
fn unsigned(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{claims}")
}

/// A token signed by HS256.
fn token_by(secret: &[u8], claims: &Value) -> String {
    let unsigned = unsigned(&json!({ "alg": "HS256", "typ": "JWT" }), claims);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length will do");
    mac.update(unsigned.as_bytes());
    format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn token(claims: &Value) -> String {
    token_by(SECRET, claims)
}

/// A token of this user's, for an hour.
fn token_of(user: &str) -> String {
    token(&json!({ "sub": user, "exp": now_secs() + 3_600 }))
}

fn with_token(version: Version, client_id: &str, user: &str, token: &str) -> Connect {
    Connect::new(version, client_id).login(user, token.as_bytes())
}

/// Proves who answers pings, by a client with a token.
#[track_caller]
fn prove_path(server: &Server) {
    let connect = with_token(Version::V311, "witness", "", &token_of("witness"));
    let mut witness = Client::connect(server.target(), &connect);
    server.prove_path_by(&mut witness);
}

fn clients_of_others_are_let_in_by_a_token_and_not_by_a_forged_one(path: PingPath) -> TestResult {
    stand_in::not_for("has no tokens")?;
    foreign::need_mosquitto_clients()?;
    let server = Keys::new().start(path).websocket().start()?;
    let target = server.target();
    let token = token_of("ada");
    let forged = token_by(
        b"another secret of 32 bytes, also",
        &json!({ "sub": "ada", "exp": now_secs() + 60 }),
    );
    for version in [Version::V31, Version::V311, Version::V5] {
        let ada = ["-u", "ada", "-P", &token];
        let arguments = [&ada[..], &["-t", "a/#"]].concat();
        let subscriber = foreign::Subscriber::start(target, version, "%t %p", &arguments);
        let message = ["-t", "a/b", "-q", "1", "-m", "hello"];
        foreign::mosquitto_pub(target, version, &[&ada[..], &message].concat());
        assert_eq!(subscriber.message(), "a/b hello");
        for (user, password) in [("ada", &*forged), ("ada", "pencil"), ("eve", &token)] {
            let arguments = [&["-u", user, "-P", password][..], &message].concat();
            assert!(!foreign::mosquitto_pub_is_let_in(target, version, &arguments), "{user}");
        }
        assert!(!foreign::mosquitto_pub_is_let_in(target, version, &message), "without a token");
        let paho = |case, password| {
            let login = ["--user", "ada", "--password", password];
            foreign::paho_with(By::Tcp, target, version, case, &login)
        };
        paho("qos", &token)?;
        paho("refused", &forged)?;
    }
    for version in [Version::V311, Version::V5] {
        for by in [By::Tcp, By::WebSocket] {
            let login = [("PUSH_USER", "ada"), ("PUSH_PASSWORD", &token)];
            foreign::mqtt_js_as(by, &by.target(&server), version, "qos", &login)?;
        }
    }
    let mut witness = Client::connect(target, &with_token(Version::V5, "witness", "", &token));
    server.prove_path_by(&mut witness);
    Ok(())
}

fn who_is_refused_is_told_by_its_version_and_counted_by_the_reason(path: PingPath) -> TestResult {
    stand_in::not_for("has no tokens")?;
    let server = Keys::new()
        .start(path)
        .flag("--jwt-issuer", "https://login.example.org")
        .flag("--jwt-audience", "mqtt")
        .start()?;
    let claims = |more: Value| {
        let mut claims = json!({
            "sub": "ada", "exp": now_secs() + 3_600, "iss": "https://login.example.org",
            "aud": ["web", "mqtt"],
        });
        claims.as_object_mut().expect("claims").extend(more.as_object().expect("more").clone());
        claims
    };
    let good = token(&claims(json!({})));
    let none = unsigned(&json!({ "alg": "none" }), &claims(json!({}))) + ".";
    let expired = json!({ "exp": now_secs() - 60 });
    let early = json!({ "nbf": now_secs() + 60 });
    let cases = [
        ("ada", token(&claims(expired)), "expired_token", "its token has expired (exp)"),
        ("ada", token(&claims(early)), "token", "its token is not valid yet (nbf)"),
        ("ada", token(&claims(json!({ "iss": "eve" }))), "token", "--jwt-issuer"),
        ("ada", token(&claims(json!({ "aud": "web" }))), "token", "--jwt-audience"),
        ("ada", token(&claims(json!({ "sub": "" }))), "token", "the sub of its token"),
        ("ada", token(&claims(json!({ "groups": "ops" }))), "token", "a claim has another form"),
        ("ada", none, "token", "no key of --jwt-keys"),
        ("ada", good.clone() + "x", "token", "its token"),
        ("ada", "pencil".to_owned(), "token", "its password is no token (--jwt-keys)"),
        ("eve", good.clone(), "other_name", "it gives another user name"),
    ];
    for (version, [not_authorized, bad_name]) in [
        (Version::V31, [5, 4]),
        (Version::V311, [5, 4]),
        (Version::V5, [NOT_AUTHORIZED, BAD_USER_NAME]),
    ] {
        for (user, token, reason, why) in &cases {
            let counter = format!("push_authentications_refused_total{{reason=\"{reason}\"}}");
            let before = server.metrics().value(&counter);
            let connect = with_token(version, "c", user, token);
            let mut client = Client::open(server.target(), &connect).expect("a CONNACK");
            let expected = if *reason == "other_name" { bad_name } else { not_authorized };
            assert_eq!(client.connack.code, expected, "{why}");
            assert_eq!(client.wait_ending().how, Gone::Closed);
            assert_eq!(server.metrics().value(&counter), before + 1, "{why}");
        }
        assert_eq!(connack_code(server.target(), &with_token(version, "c", "ada", &good)), 0);
    }
    // The log has ten such lines a second at most, so not all of them.
    assert!(server.log().contains("its token has expired (exp)"), "{}", server.log());
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_authentications_accepted_total{source=\"jwt\"}"), 3);
    assert_eq!(metrics.value("push_passwords_checked_total{by=\"hash\"}"), 0);
    let connect = with_token(Version::V311, "witness", "ada", &good);
    let mut witness = Client::connect(server.target(), &connect);
    server.prove_path_by(&mut witness);
    Ok(())
}

fn client_is_closed_when_its_token_expires_and_its_session_stays(path: PingPath) -> TestResult {
    stand_in::not_for("has no tokens")?;
    let server = Keys::new().start(path).start()?;
    let mut watcher = Client::connect(
        server.target(),
        &with_token(Version::V5, "watcher", "", &token_of("watcher")),
    );
    watcher.subscribe(&[("wills/#", 1), ("mail", 1)]);
    for (round, version) in [(1, Version::V311), (2, Version::V5)] {
        let exp = now_secs() + 3;
        let short = token(&json!({ "sub": "ada", "exp": exp }));
        let client_id = format!("device {round}");
        let connect = with_token(version, &client_id, "ada", &short).persistent();
        let connect = connect.will("wills/ada", b"gone");
        let mut ada = Client::connect(server.target(), &connect);
        ada.subscribe(&[("news", 1)]);
        let ending = ada.wait_ending();
        let ended = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        assert!(ended >= Duration::from_secs(exp), "closed at {ended:?}, before {exp}");
        assert_eq!(ending.how, Gone::Closed);
        let told = (version == Version::V5).then_some(NOT_AUTHORIZED);
        assert_eq!(ending.reason, told);
        assert_eq!(watcher.message().payload, b"gone", "as after any other end");
        assert_eq!(server.metrics().value("push_authentications_expired_total"), round);
        server.wait_log("what has proved who it is has expired");
        // It waits for the same user with another token, and for nobody else.
        watcher.publish("news", b"while it was away", 1);
        let again = |token: &str| with_token(version, &client_id, "", token).persistent();
        let again = [again(&token_of("ada")), again(&token_of("eve"))];
        assert_ne!(connack_code(server.target(), &again[1]), 0);
        let mut ada = Client::connect(server.target(), &again[0]);
        assert!(ada.connack.session_present);
        assert_eq!(ada.message().payload, b"while it was away");
        ada.assert_alive();
    }
    server.prove_path_by(&mut watcher);
    Ok(())
}

fn new_keys_count_at_once_after_sighup_and_wrong_ones_change_nothing(path: PingPath) -> TestResult {
    const OTHER: &[u8; 32] = b"the secret of the month after it";
    stand_in::not_for("has no tokens")?;
    let keys = Keys::new();
    let server = keys.start(path).start()?;
    let claims = json!({ "sub": "ada", "exp": now_secs() + 3_600 });
    let connect = |secret: &[u8]| with_token(Version::V5, "c", "ada", &token_by(secret, &claims));
    let mut ada =
        Client::connect(server.target(), &with_token(Version::V5, "ada", "", &token_of("ada")));
    assert_eq!(connack_code(server.target(), &connect(SECRET)), 0);
    assert_eq!(connack_code(server.target(), &connect(OTHER)), NOT_AUTHORIZED);
    keys.write(&secret("two", OTHER));
    server.signal(Signal::HUP);
    wait_for("the keys to be read again", || {
        (server.log().matches("1 keys for tokens from").count() == 2).then_some(())
    });
    assert_eq!(
        connack_code(server.target(), &connect(SECRET)),
        NOT_AUTHORIZED,
        "though it is remembered"
    );
    assert_eq!(connack_code(server.target(), &connect(OTHER)), 0);
    for (text, why) in [
        ("{", "line 1, column 1: this is no JSON (--jwt-keys)"),
        (&*secret("short", b"short"), "key 1 (kid \"short\"): a secret of 5 bytes"),
    ] {
        keys.write(text);
        server.signal(Signal::HUP);
        let log = server.wait_log(why);
        assert!(log.contains("SIGHUP: nothing was changed:"), "{log}");
        assert_eq!(connack_code(server.target(), &connect(OTHER)), 0);
    }
    fs::remove_file(keys.path()).expect("remove the file");
    server.signal(Signal::HUP);
    server.wait_log("No such file or directory (os error 2); it is named by --jwt-keys");
    assert_eq!(connack_code(server.target(), &connect(OTHER)), 0);
    server.prove_path_by(&mut ada);
    Ok(())
}

/// Runs openssl in a directory. Returns what it writes.
fn openssl(dir: &Path, arguments: &[&str]) -> Result<Vec<u8>, Skip> {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Skip::missing(format!("cannot run openssl: {error}")))?;
    assert!(output.status.success(), "openssl {arguments:?}: {output:?}");
    Ok(output.stdout)
}

fn tokens_of_openssls_keys_count() -> TestResult {
    stand_in::not_for("has no tokens")?;
    let keys = Keys::new();
    let dir = keys.0.path();
    let rsa =
        ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.key"];
    openssl(dir, &rsa)?;
    openssl(dir, &["genpkey", "-algorithm", "ED25519", "-out", "ed.key"])?;
    let public = |key| openssl(dir, &["pkey", "-in", key, "-pubout"]);
    let both = [public("rsa.key")?, public("ed.key")?].concat();
    keys.write(&String::from_utf8(both).expect("PEM"));
    let server = keys.start(PingPath::User).start()?;
    let claims = json!({ "sub": "ada", "exp": now_secs() + 3_600 });
    let signed = |algorithm: &str, arguments: &[&str]| {
        let unsigned = unsigned(&json!({ "alg": algorithm, "kid": "any" }), &claims);
        keys.file("unsigned", &unsigned);
        let signature = openssl(dir, arguments)?;
        Ok::<_, Skip>(format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature)))
    };
    let rs = ["dgst", "-sha256", "-sign", "rsa.key", "unsigned"];
    let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"];
    let ps = [&rs[..4], &pss, &rs[4..]].concat();
    let ed = ["pkeyutl", "-sign", "-inkey", "ed.key", "-rawin", "-in", "unsigned"];
    for (algorithm, arguments) in [("RS256", &rs[..]), ("PS256", &ps), ("EdDSA", &ed)] {
        let token = signed(algorithm, arguments)?;
        let connect = with_token(Version::V5, algorithm, "ada", &token);
        assert_eq!(connack_code(server.target(), &connect), 0, "{algorithm}");
    }
    let wrong = signed("RS512", &rs)?;
    let connect = with_token(Version::V5, "wrong", "ada", &wrong);
    assert_eq!(connack_code(server.target(), &connect), NOT_AUTHORIZED);
    server.wait_log("the signature of its token is wrong");
    // The public key as a secret.
    let pem = fs::read(keys.path()).expect("the keys");
    let connect = with_token(Version::V5, "confused", "ada", &token_by(&pem, &claims));
    assert_eq!(connack_code(server.target(), &connect), NOT_AUTHORIZED);
    let connect = with_token(Version::V311, "witness", "", &signed("EdDSA", &ed)?);
    server.prove_path_by(&mut Client::connect(server.target(), &connect));
    Ok(())
}

fn token_that_comes_again_is_remembered() -> TestResult {
    const TIMES: u64 = 100;
    stand_in::not_for("has no metrics")?;
    let server = Keys::new().start(PingPath::User).start()?;
    let token = token_of("ada");
    for _ in 0..TIMES {
        Client::connect(server.target(), &with_token(Version::V311, "c", "ada", &token));
    }
    // Another client of the same token as well, and a wrong name costs no signature.
    let eve = with_token(Version::V311, "d", "eve", &token);
    assert_eq!(connack_code(server.target(), &eve), 4);
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_tokens_checked_total{by=\"signature\"}"), 1);
    assert_eq!(metrics.value("push_tokens_checked_total{by=\"memory\"}"), TIMES);
    assert_eq!(metrics.value("push_tokens_remembered"), 1);
    assert_eq!(metrics.value("push_tokens_waiting"), 0);
    // One that expires is not let in by memory.
    let short = token_by(SECRET, &json!({ "sub": "ada", "exp": now_secs().saturating_sub(28) }));
    let connect = with_token(Version::V311, "e", "ada", &short);
    assert_eq!(connack_code(server.target(), &connect), 0, "by the leeway");
    wait_for("the leeway to end", || (connack_code(server.target(), &connect) == 5).then_some(()));
    let by_memory = server.metrics().value("push_tokens_checked_total{by=\"memory\"}");
    assert!(by_memory > TIMES, "{by_memory}");
    prove_path(&server);
    Ok(())
}

/// The server has a clock of its own, by libfaketime.
fn clock_that_is_set_ends_a_token_in_time() -> TestResult {
    stand_in::not_for("has no tokens")?;
    let library = faketime()?;
    let keys = Keys::new();
    let clock = keys.file("clock", "+0\n");
    let server = keys
        .start(PingPath::User)
        .environment("LD_PRELOAD", library.display())
        .environment("FAKETIME_TIMESTAMP_FILE", clock.display())
        .environment("FAKETIME_NO_CACHE", 1)
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", 1)
        .start()?;
    let connect = |id, secs| {
        let token = token(&json!({ "sub": "ada", "exp": now_secs() + secs }));
        Client::connect(server.target(), &with_token(Version::V5, id, "ada", &token))
    };
    let (mut hour, mut day) = (connect("hour", 3_600), connect("day", 86_400));
    // Two hours later, by what the clock says.
    fs::write(&clock, "+7200\n").expect("set the server's clock");
    assert_eq!(hour.wait_ending().reason, Some(NOT_AUTHORIZED));
    day.assert_alive();
    assert_eq!(server.metrics().value("push_authentications_expired_total"), 1);
    let token = token(&json!({ "sub": "ada", "exp": now_secs() + 3_600 }));
    let late = with_token(Version::V5, "late", "ada", &token);
    assert_eq!(connack_code(server.target(), &late), NOT_AUTHORIZED);
    // And back: whoever was closed may come again.
    fs::write(&clock, "+0\n").expect("set the server's clock");
    wait_for("the clock to be right", || (connack_code(server.target(), &late) == 0).then_some(()));
    day.assert_alive();
    prove_path(&server);
    Ok(())
}

fn hash_that_takes_long_delays_no_token() -> TestResult {
    stand_in::not_for("has no metrics")?;
    let keys = Keys::new();
    let users = keys.file("users", &format!("slow:{SLOW}\n"));
    let users = users.to_str().expect("a path of ours");
    let server = keys.start(PingPath::User).flag("--users", users).start()?;
    let slow = Connect::new(Version::V5, "slow").login("slow", b"pencil");
    // As many as may wait: further ones are refused, and tokens have a queue of their own.
    let waiting: Vec<_> =
        (0..PASSWORDS_WAITING_MAX).map(|_| Client::send_connect(server.target(), &slow)).collect();
    server.wait_metric("push_passwords_waiting", |waiting| waiting == PASSWORDS_WAITING_MAX - 1);
    assert_eq!(connack_code(server.target(), &slow), SERVER_BUSY);
    let connect = with_token(Version::V5, "quick", "", &token_of("ada"));
    Client::connect(server.target(), &connect).disconnect();
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_tokens_checked_total{by=\"signature\"}"), 1);
    assert_eq!(metrics.value("push_passwords_checked_total{by=\"hash\"}"), 0, "it still hashes");
    drop(waiting);
    Ok(())
}

fn groups_and_rights_of_a_token_are_its_clients() -> TestResult {
    stand_in::not_for("has no rules of ours")?;
    let keys = Keys::new();
    let rules = "[groups]\nreaders = []\n[[allow]]\ngroups = [\"readers\"]\nsubscribe = [\"news/#\"]\n\
                 [[deny]]\npublish = [\"secret/#\"]\n";
    let acl = keys.file("acl.toml", rules);
    let server =
        keys.start(PingPath::User).flag("--acl", acl.to_str().expect("a path of ours")).start()?;
    let connect = |id: &str, more: Value| {
        let mut claims = json!({ "sub": id, "exp": now_secs() + 3_600 });
        claims.as_object_mut().expect("claims").extend(more.as_object().expect("more").clone());
        Client::connect(server.target(), &with_token(Version::V5, id, id, &token(&claims)))
    };
    let mut reader = connect("reader", json!({ "groups": ["readers"] }));
    assert_eq!(reader.subscribe(&[("news/#", 1), ("mail", 1)]), [1, NOT_AUTHORIZED]);
    assert_eq!(reader.publish("news/x", b"", 1), NOT_AUTHORIZED);
    let rights = json!({ "publish": ["news/%u/#", "secret/#"], "subscribe": ["mail"] });
    let mut writer = connect("writer", json!({ "acl": rights }));
    assert_eq!(writer.subscribe(&[("news/#", 1), ("mail", 1)]), [NOT_AUTHORIZED, 1]);
    assert_eq!(writer.publish("news/reader/x", b"", 1), NOT_AUTHORIZED);
    assert_eq!(writer.publish("secret/x", b"", 1), NOT_AUTHORIZED, "what rules deny is denied");
    assert_eq!(writer.publish("news/writer/x", b"hello", 1), 0);
    assert_eq!(reader.message().payload, b"hello");
    let mut nothing = connect("nothing", json!({}));
    assert_eq!(nothing.subscribe(&[("news/#", 1)]), [NOT_AUTHORIZED]);
    prove_path(&server);
    Ok(())
}

fn password_that_is_no_token_is_one_of_the_users() -> TestResult {
    stand_in::not_for("has no tokens")?;
    let keys = Keys::new();
    let binary = push_tests::server::server_binary()?;
    let users = keys.0.path().join("users");
    let secret = keys.file("password", "pencil\n");
    let set = Command::new(binary)
        .args(["user", "set", "ada", "--file"])
        .arg(&users)
        .arg("--password-file")
        .arg(&secret)
        .output()
        .expect("run push-server user set");
    assert!(set.status.success(), "{set:?}");
    let users = users.to_str().expect("a path of ours");
    let server = keys.start(PingPath::User).flag("--users", users).start()?;
    let login = |user: &str, password: &str| {
        // Each user has a session of its own: one that ends just now would keep others out.
        connack_code(
            server.target(),
            &Connect::new(Version::V5, user).login(user, password.as_bytes()),
        )
    };
    let token = token_of("ada");
    assert_eq!(login("ada", "pencil"), 0);
    assert_eq!(login("ada", &token), 0);
    assert_eq!(login("eve", &token_of("eve")), 0, "whom the file does not know");
    assert_eq!(login("ada", "crayon"), NOT_AUTHORIZED);
    assert_eq!(login("ada", "a.b.c"), NOT_AUTHORIZED);
    assert_eq!(login("eve", "pencil"), NOT_AUTHORIZED);
    // A wrong token falls through to nothing, and is not hashed.
    let hashed = server.metrics().value("push_passwords_checked_total{by=\"hash\"}");
    assert_eq!(login("ada", &(token + "x")), NOT_AUTHORIZED);
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_passwords_checked_total{by=\"hash\"}"), hashed);
    for (reason, count) in [("wrong_password", 2), ("unknown_user", 1), ("token", 1)] {
        let name = format!("push_authentications_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(metrics.value(&name), count, "{reason}");
    }
    for (source, count) in [("users", 1), ("jwt", 2)] {
        let name = format!("push_authentications_accepted_total{{source=\"{source}\"}}");
        assert_eq!(metrics.value(&name), count, "{source}");
    }
    prove_path(&server);
    Ok(())
}

fn neither_tokens_nor_keys_are_in_a_log_or_shown_by_check_config() -> TestResult {
    stand_in::not_for("has a log of its own")?;
    let keys = Keys::new();
    let server = keys.start(PingPath::User).flag("--log", "trace").start()?;
    let good = token_of("ada");
    for token in [good.clone(), good.clone() + "x", token(&json!({ "sub": "ada", "exp": 1 }))] {
        let _ = Client::open(server.target(), &with_token(Version::V5, "c", "ada", &token));
    }
    keys.write("{\"keys\": [{\"kty\": \"oct\", \"k\": \"hunter22\"}]}");
    server.signal(Signal::HUP);
    server.wait_log("key 1: a secret of 6 bytes");
    let log = server.log();
    let signature = good.rsplit('.').next().expect("a signature");
    let key = URL_SAFE_NO_PAD.encode(SECRET);
    let secret = String::from_utf8(SECRET.to_vec()).expect("text");
    for word in [signature, &key, &secret, "hunter22"] {
        assert!(!log.contains(word), "{word}: {log}");
    }
    let file = keys.path();
    keys.write(&self::secret("one", SECRET));
    let settings = keys.file("push.toml", &format!("jwt-keys = {file:?}\n"));
    let check = |settings: &Path| {
        let binary = push_tests::server::server_binary().expect("the binary");
        let output = Command::new(binary).arg("check-config").arg(settings).output();
        let output = output.expect("run push-server check-config");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (_, said) = check(&settings);
    assert!(said.contains("jwt-keys = ") && !said.contains(&key), "{said}");
    keys.write("{\"keys\": [{\"kty\": \"oct\", \"kid\": \"a\", \"k\": \"hunter22\"}]}");
    let (status, said) = check(&settings);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("key 1 (kid \"a\"): a secret of 6 bytes"), "{said}");
    assert!(!said.contains("hunter22"), "{said}");
    prove_path(&server);
    Ok(())
}
