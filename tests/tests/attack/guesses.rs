//! Guessing passwords.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use push_tests::clients::{Client, Connect};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::users::line_that_costs;
use push_tests::wire::Version;

use crate::crowd;
use crate::withstand::Attack;

/// Guesses of each of two threads.
const GUESSES: usize = 600;

/// Failures of one name at one address, after which it is refused unheard.
const FAILURES_MAX: usize = 10;

/// Iterations of the hash: a check takes about a millisecond.
const ITERATIONS: u32 = 1_000;

pub(crate) fn guessed_passwords() -> TestResult {
    let directory = tempfile::tempdir().expect("make a directory");
    let file = directory.path().join("users");
    fs::write(
        &file,
        line_that_costs(ITERATIONS, "alice", "pencil")
            + &line_that_costs(ITERATIONS, "bystander", "crayon"),
    )
    .expect("write");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("keep it to ourselves");
    let server = Server::with(PingPath::User)
        .flag("--users", file.to_str().expect("a path of ours"))
        .flag("--anonymous", "always");
    let counters = [
        ("push_authentications_refused_total{reason=\"unknown_user\"}", GUESSES as u64),
        ("push_authentications_refused_total{reason=\"wrong_password\"}", FAILURES_MAX as u64),
        (
            "push_authentications_refused_total{reason=\"banned\"}",
            (GUESSES - 2 * FAILURES_MAX) as u64,
        ),
    ];
    let attack = Attack {
        bystander: Connect::new(Version::V5, "bystander").login("bystander", b"crayon"),
        ..Attack::on(server, &counters)
    };
    attack.withstood(
        |server| {
            thread::scope(|scope| {
                // One address guesses alice's; and many guess at nobody's, each once.
                scope.spawn(|| guess(server, "alice", |_| 0));
                scope.spawn(|| guess(server, "nobody", |number| 1 + number));
            });
        },
        |_, ()| {},
    )
}

fn guess(server: &Server, user: &str, address: impl Fn(usize) -> usize) {
    for number in 0..GUESSES {
        let stream = crowd::dial(address(number), server.target().address);
        let connect = Connect::new(Version::V5, &format!("guess-{user}-{number}"));
        let mut client = Client::over(stream, Version::V5);
        client.say_connect(&connect.login(user, format!("guess {number}").as_bytes()));
        client.read_connack(push_tests::expectations::PATIENCE).expect("a CONNACK");
        assert_ne!(client.connack.code, 0, "{user} got in");
    }
}
