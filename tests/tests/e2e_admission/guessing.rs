//! How often a client may fail to authenticate.

use push_tests::claims;
use push_tests::clients::Client;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::Version;

use super::{address, as_user, connect_from, limit_hit, users_file};

claims! {
    who_guesses_is_refused_unheard_and_clients_that_are_in_stay,
    an_address_that_guesses_many_names_is_refused_with_every_name,
    without_the_limit_nobody_is_banned,
}

const BANNED: u8 = 0x8A;
const NOT_AUTHORIZED: u8 = 0x87;
const V311_NOT_AUTHORIZED: u8 = 5;

const BANNED_REASON: &str = "push_authentications_refused_total{reason=\"banned\"}";
const WRONG: &str = "push_authentications_refused_total{reason=\"wrong_password\"}";

fn who_guesses_is_refused_unheard_and_clients_that_are_in_stay() -> TestResult {
    stand_in::not_for("has no users of ours")?;
    const FAILURES: u64 = 4;
    let directory = tempfile::tempdir().expect("a directory");
    let users = users_file(directory.path(), &["ada", "bob"]);
    let server = Server::with(PingPath::User)
        .flag("--users", &*users)
        .flag("--auth-failures", FAILURES)
        .start()?;
    let target = server.target();
    let connect = |last, version, id, user, password| {
        connect_from(address(last), target, &as_user(version, id, user, password))
    };
    let mut inside = connect(2, Version::V5, "inside", "ada", "pencil");
    assert_eq!(inside.connack.code, 0);
    for number in 0..FAILURES {
        let (version, code) = match number % 2 {
            0 => (Version::V5, NOT_AUTHORIZED),
            _ => (Version::V311, V311_NOT_AUTHORIZED),
        };
        assert_eq!(connect(2, version, "guess", "ada", "crayon").connack.code, code);
    }
    // The right password does not help now; the client is not told whether it is right.
    assert_eq!(connect(2, Version::V5, "guess", "ada", "pencil").connack.code, BANNED);
    let code = connect(2, Version::V311, "guess", "ada", "pencil").connack.code;
    assert_eq!(code, V311_NOT_AUTHORIZED);
    let metrics = server.metrics();
    assert_eq!(metrics.value(WRONG), FAILURES);
    assert_eq!(metrics.value(BANNED_REASON), 2);
    assert_eq!(limit_hit(&server, "auth_failures"), 2);
    assert!(server.log().contains("too many failures to authenticate"), "{}", server.log());
    // Others, and the same elsewhere, are heard.
    assert_eq!(connect(2, Version::V5, "other", "bob", "pencil").connack.code, 0);
    assert_eq!(connect(3, Version::V5, "elsewhere", "ada", "pencil").connack.code, 0);
    inside.assert_alive();
    Ok(())
}

fn an_address_that_guesses_many_names_is_refused_with_every_name() -> TestResult {
    stand_in::not_for("has no users of ours")?;
    const FAILURES: u64 = 2;
    let directory = tempfile::tempdir().expect("a directory");
    let users = users_file(directory.path(), &["ada"]);
    let server = Server::with(PingPath::User)
        .flag("--users", &*users)
        .flag("--auth-failures", FAILURES)
        .start()?;
    let target = server.target();
    for number in 0..10 * FAILURES {
        let guess = as_user(Version::V5, "guess", &format!("user-{number}"), "pencil");
        let code = connect_from(address(2), target, &guess).connack.code;
        assert_eq!(code, NOT_AUTHORIZED, "after {number}");
    }
    let ada = as_user(Version::V5, "ada", "ada", "pencil");
    assert_eq!(connect_from(address(2), target, &ada).connack.code, BANNED);
    assert_eq!(limit_hit(&server, "auth_failures"), 1);
    assert_eq!(connect_from(address(3), target, &ada).connack.code, 0);
    Ok(())
}

fn without_the_limit_nobody_is_banned() -> TestResult {
    stand_in::not_for("has no users of ours")?;
    let directory = tempfile::tempdir().expect("a directory");
    let users = users_file(directory.path(), &["ada"]);
    let server =
        Server::with(PingPath::User).flag("--users", &*users).flag("--auth-failures", 0).start()?;
    for _ in 0..30 {
        let guess = as_user(Version::V5, "guess", "ada", "crayon");
        let client = Client::open(server.target(), &guess).expect("a CONNACK");
        assert_eq!(client.connack.code, NOT_AUTHORIZED);
    }
    drop(Client::connect(server.target(), &as_user(Version::V5, "ada", "ada", "pencil")));
    assert_eq!(server.metrics().value(BANNED_REASON), 0);
    Ok(())
}
