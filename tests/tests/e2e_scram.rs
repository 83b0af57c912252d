//! Enhanced authentication with the real binary. The client's side is rsasl's, which knows nothing of
//! ours; the verifiers are printed by `push-server scram-user`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::PATIENCE;
use push_tests::server::{PingPath, Server, ServerBuilder, server_binary};
use push_tests::skip::{Skip, TestResult};
use push_tests::stand_in;
use push_tests::wire::{self, Packet, Properties, Value, Version, property};
use rsasl::mechname::Mechname;
use rsasl::prelude::{SASLClient, SASLConfig, Session, State};
use rustix::process::Signal;
use tempfile::TempDir;

const METHOD: &str = "SCRAM-SHA-256";
const CONTINUE: u8 = 0x18;
const REAUTHENTICATE: u8 = 0x19;
const NOT_AUTHORIZED: u8 = 0x87;
const BAD_AUTHENTICATION_METHOD: u8 = 0x8C;
const SESSION_TAKEN_OVER: u8 = 0x8E;
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;

/// Longer than TCP may hold an ACK back.
const PING_INTERVAL: Duration = Duration::from_millis(100);

both_paths! {
    clients_with_the_password_are_served_whichever_shard_they_come_to,
    who_does_not_know_the_password_is_refused_and_nothing_of_it_is_logged,
    others_are_refused_where_authentication_is_required,
    client_is_authenticated_again_while_it_is_served,
    users_are_read_again_on_sighup,
    client_that_does_not_go_on_is_closed_in_time,
    session_of_a_user_is_nobody_elses_also_after_a_restart,
    session_of_nobody_is_replaced_by_a_users,
    of_two_connects_the_later_stays_whichever_is_authenticated_first,
}

/// A file of users.
struct Users {
    directory: TempDir,
}

impl Users {
    fn new(users: &[(&str, &str)]) -> Result<Self, Skip> {
        let this = Self { directory: tempfile::tempdir().expect("make a directory") };
        this.write(users)?;
        Ok(this)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("users")
    }

    fn write(&self, users: &[(&str, &str)]) -> Result<(), Skip> {
        let mut lines = String::new();
        for (name, password) in users {
            lines += &scram_user(name, password)?;
        }
        fs::write(self.path(), lines).expect("write the file");
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(self.path(), mode).expect("keep the file to ourselves");
        Ok(())
    }

    /// Four shards with these data, to be started again with the same.
    fn start_with(&self, path: PingPath, data: &Path) -> Result<(ServerBuilder, Server), Skip> {
        let builder = self.start(path).flag("--shards", 4).data_dir(data);
        let server = builder.start()?;
        Ok((builder, server))
    }

    fn start(&self, path: PingPath) -> ServerBuilder {
        // Those who do not authenticate may connect as well, unless a test says otherwise.
        Server::with(path).flag("--scram-users", Shown(&self.path())).flag("--anonymous", "always")
    }
}

#[derive(Clone, Copy)]
struct Shown<'a>(&'a Path);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(formatter)
    }
}

/// What `push-server scram-user` prints.
fn scram_user(name: &str, password: &str) -> Result<String, Skip> {
    let mut child = Command::new(server_binary()?)
        .args(["scram-user", name, "--iterations", "4096"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run scram-user");
    let mut stdin = child.stdin.take().expect("its input is piped");
    writeln!(stdin, "{password}").expect("say the password");
    drop(stdin);
    let output = child.wait_with_output().expect("wait for scram-user");
    assert!(output.status.success());
    let line = String::from_utf8(output.stdout).expect("text");
    assert!(line.starts_with(&format!("{name} {METHOD}$4096:")), "{line}");
    assert!(!line.contains(password), "{line}");
    Ok(line)
}

/// The client's side of one exchange.
struct Sasl(Session);

impl Sasl {
    fn new(name: &str, password: &str) -> Self {
        let config = SASLConfig::with_credentials(None, name.to_owned(), password.to_owned());
        let method = Mechname::parse(METHOD.as_bytes()).expect("a mechanism's name");
        let client = SASLClient::new(config.expect("credentials"));
        Self(client.start_suggested(&[method]).expect("a mechanism of rsasl's"))
    }

    /// The next message, in answer to what the server said.
    fn step(&mut self, said: Option<&[u8]>) -> (State, Vec<u8>) {
        let mut message = Vec::new();
        let state = self.0.step(said, &mut message).expect("a server that does as it should");
        (state, message)
    }

    /// Judges the server's last word: that it knows the verifier.
    fn believes(&mut self, said: &[u8]) -> bool {
        matches!(self.0.step(Some(said), &mut Vec::new()), Ok(State::Finished(_)))
    }
}

fn method_and(data: Vec<u8>) -> Properties {
    let method = Value::Text(METHOD.to_owned());
    Properties(vec![
        (property::AUTHENTICATION_METHOD, method),
        (property::AUTHENTICATION_DATA, Value::Bytes(data)),
    ])
}

#[track_caller]
fn data_of(properties: &Properties) -> Vec<u8> {
    match properties.find(property::AUTHENTICATION_DATA) {
        Some(Value::Bytes(data)) => data.clone(),
        other => panic!("no data: {other:?}"),
    }
}

/// Takes the server's AUTH: its reason and data.
#[track_caller]
fn receive_auth(client: &mut Client) -> (u8, Vec<u8>) {
    client.expect("an AUTH", |packet| match packet {
        Packet::Auth { reason, properties } => Some((*reason, data_of(properties))),
        _ => None,
    })
}

/// Sends CONNECT and proof; CONNACK is what comes next. Both sides of the exchange.
#[track_caller]
fn prove(server: &Server, client_id: &str, name: &str, password: &str) -> (Client, Sasl) {
    prove_by(server, Connect::new(Version::V5, client_id), name, password)
}

/// The same by this CONNECT, with the method and the proof added to it.
#[track_caller]
fn prove_by(server: &Server, connect: Connect, name: &str, password: &str) -> (Client, Sasl) {
    let (mut client, sasl, last) = challenged(server, connect, name, password);
    client.send(&wire::auth(CONTINUE, &method_and(last)));
    client.read_connack(PATIENCE).expect("a CONNACK");
    (client, sasl)
}

/// A client that the server has asked for its proof, and the proof.
#[track_caller]
fn challenged(
    server: &Server,
    mut connect: Connect,
    name: &str,
    password: &str,
) -> (Client, Sasl, Vec<u8>) {
    let mut sasl = Sasl::new(name, password);
    let (_, first) = sasl.step(None);
    connect.properties.0.extend(method_and(first).0);
    let mut client = Client::send_connect(server.target(), &connect);
    let (reason, challenge) = receive_auth(&mut client);
    assert_eq!(reason, CONTINUE);
    let (_, last) = sasl.step(Some(&challenge));
    (client, sasl, last)
}

#[track_caller]
fn authenticated(server: &Server, client_id: &str, name: &str, password: &str) -> Client {
    let (client, mut sasl) = prove(server, client_id, name, password);
    assert_eq!(client.connack.code, 0, "{name} was refused");
    assert!(sasl.believes(&data_of(&client.connack.properties)), "the server proves itself, too");
    client
}

fn clients_with_the_password_are_served_whichever_shard_they_come_to(path: PingPath) -> TestResult {
    stand_in::not_for("has no enhanced authentication")?;
    // A name with what SCRAM escapes, and a password beyond ASCII.
    let users = Users::new(&[("device", "pencil"), ("a b", "p\u{e4}ss w\u{f6}rd")])?;
    let server = users.start(path).flag("--shards", 4).start()?;
    let mut clients: Vec<Client> = (0..24)
        .map(|number| {
            let (name, password) =
                if number % 2 == 0 { ("device", "pencil") } else { ("a b", "p\u{e4}ss w\u{f6}rd") };
            authenticated(&server, &format!("client-{number}"), name, password)
        })
        .collect();
    assert_eq!(server.metrics().value("push_authentications_total{result=\"accepted\"}"), 24);
    // The kernel counts bytes from the first: AUTH, both ways, is among them.
    for _ in 0..4 {
        std::thread::sleep(PING_INTERVAL);
        clients.iter_mut().for_each(Client::ping);
    }
    let kernel = server.metrics().kernel_pings();
    match path {
        PingPath::Kernel => assert!(kernel >= 48, "{kernel} pings answered by the kernel"),
        PingPath::User => assert_eq!(kernel, 0),
    }
    let (first, rest) = clients.split_first_mut().expect("clients");
    first.subscribe(&[("t", 1)]);
    for client in rest {
        assert_eq!(client.publish("t", b"x", 1), 0);
        assert_eq!(first.message().payload, b"x");
    }
    server.finish();
    Ok(())
}

fn who_does_not_know_the_password_is_refused_and_nothing_of_it_is_logged(
    path: PingPath,
) -> TestResult {
    stand_in::not_for("has no enhanced authentication")?;
    let users = Users::new(&[("device", "pencil")])?;
    let server = users.start(path).flag("--log", "trace").start()?;
    for (name, password) in [("device", "crayon-secret"), ("nobody", "crayon-secret")] {
        let (mut client, _) = prove(&server, "client", name, password);
        assert_eq!(client.connack.code, NOT_AUTHORIZED);
        assert_eq!(client.wait_ending().how, Gone::Closed);
    }
    let mut connect = Connect::new(Version::V5, "client");
    connect.properties =
        Properties(vec![(property::AUTHENTICATION_METHOD, Value::Text("PLAIN".into()))]);
    let client = Client::open(server.target(), &connect).expect("a CONNACK");
    assert_eq!(client.connack.code, BAD_AUTHENTICATION_METHOD);
    // Nobody has to be authenticated.
    Client::connect(server.target(), &Connect::new(Version::V311, "plain")).ping();
    authenticated(&server, "client", "device", "pencil").ping();
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_authentications_total{result=\"refused\"}"), 3);
    for reason in ["wrong_password", "unknown_user", "unknown_method"] {
        let name = format!("push_authentications_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(metrics.value(&name), 1, "{reason}");
    }
    assert_eq!(metrics.value("push_authentications_total{result=\"accepted\"}"), 1);
    let verifier = fs::read_to_string(users.path()).expect("the file");
    for why in [
        "not authorized: the password is wrong",
        "not authorized: there is no such user",
        "bad authentication method: its authentication method is not available",
    ] {
        server.wait_log(why);
    }
    let log = server.log();
    let keys = verifier.trim().rsplit_once('$').expect("keys").1.split(':');
    for secret in ["pencil", "crayon-secret"].into_iter().chain(keys) {
        assert!(!log.contains(secret), "the log tells {secret}");
    }
    server.finish();
    Ok(())
}

fn others_are_refused_where_authentication_is_required(path: PingPath) -> TestResult {
    stand_in::not_for("has no enhanced authentication")?;
    let users = Users::new(&[("device", "pencil")])?;
    // No witness gets in, so the path is proven by a client of our own.
    let mut server = users.start(path).switch("--scram-required").start()?;
    for (version, code) in [(Version::V311, 5), (Version::V5, NOT_AUTHORIZED)] {
        let client = Client::open(server.target(), &Connect::new(version, "plain"));
        let mut client = client.expect("a CONNACK");
        assert_eq!(client.connack.code, code);
        assert_eq!(client.wait_ending().how, Gone::Closed);
    }
    let refused = server.metrics().value("push_authentications_refused_total{reason=\"no_proof\"}");
    assert_eq!(refused, 2);
    server.wait_log("it does not authenticate, which is required");
    let mut client = authenticated(&server, "client", "device", "pencil");
    for _ in 0..4 {
        std::thread::sleep(PING_INTERVAL);
        client.ping();
    }
    assert_eq!(server.metrics().kernel_pings() > 0, path == PingPath::Kernel);
    server.terminate();
    assert_eq!(client.wait_ending().how, Gone::Closed);
    assert!(server.wait_exit().0.success());
    Ok(())
}

fn client_is_authenticated_again_while_it_is_served(path: PingPath) -> TestResult {
    stand_in::not_for("has no enhanced authentication")?;
    let users = Users::new(&[("device", "pencil")])?;
    let server = users.start(path).start()?;
    let mut client = authenticated(&server, "client", "device", "pencil");
    for (password, knows) in [("pencil", true), ("crayon", false)] {
        let mut sasl = Sasl::new("device", password);
        let (_, first) = sasl.step(None);
        client.send(&wire::auth(REAUTHENTICATE, &method_and(first)));
        let (reason, challenge) = receive_auth(&mut client);
        assert_eq!(reason, CONTINUE);
        client.ping();
        let (_, last) = sasl.step(Some(&challenge));
        client.send(&wire::auth(CONTINUE, &method_and(last)));
        if knows {
            let (reason, data) = receive_auth(&mut client);
            assert_eq!(reason, 0);
            assert!(sasl.believes(&data));
            client.ping();
        } else {
            let ending = client.wait_ending();
            assert_eq!((ending.how, ending.reason), (Gone::Closed, Some(NOT_AUTHORIZED)));
        }
    }
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_authentications_total{result=\"accepted\"}"), 2);
    assert_eq!(metrics.value("push_authentications_total{result=\"refused\"}"), 1);
    server.finish();
    Ok(())
}

/// The server's AUTH says that it has read the first CONNECT before the second one was sent.
fn of_two_connects_the_later_stays_whichever_is_authenticated_first(path: PingPath) -> TestResult {
    const ROUNDS: usize = 32;
    stand_in::not_for("has no enhanced authentication")?;
    let users = Users::new(&[("device", "pencil")])?;
    let server = users.start(path).flag("--shards", 4).start()?;
    for round in 0..ROUNDS {
        let connect = || Connect::new(Version::V5, &format!("client-{round}"));
        let (mut first, _, proof) = challenged(&server, connect(), "device", "pencil");
        let (mut second, _) = prove_by(&server, connect(), "device", "pencil");
        assert_eq!(second.connack.code, 0);
        first.send(&wire::auth(CONTINUE, &method_and(proof)));
        let ending = first.receive(PATIENCE).expect_err("no CONNACK");
        assert_eq!(ending, Gone::Closed, "round {round}");
        second.ping();
        second.disconnect();
    }
    let refused = server.metrics().value("push_connects_total{result=\"refused\"}");
    assert_eq!(refused, ROUNDS as u64);
    server.finish();
    Ok(())
}

fn users_are_read_again_on_sighup(path: PingPath) -> TestResult {
    stand_in::not_for("has no enhanced authentication")?;
    let users = Users::new(&[("old", "pencil")])?;
    let server = users.start(path).start()?;
    let mut client = authenticated(&server, "client", "old", "pencil");
    assert_eq!(prove(&server, "new", "new", "crayon").0.connack.code, NOT_AUTHORIZED);
    users.write(&[("new", "crayon")])?;
    server.signal(Signal::HUP);
    push_tests::expectations::wait_for("the new user to get in", || {
        (prove(&server, "new", "new", "crayon").0.connack.code == 0).then_some(())
    });
    assert_eq!(prove(&server, "other", "old", "pencil").0.connack.code, NOT_AUTHORIZED);
    assert_eq!(client.wait_ending().reason, Some(NOT_AUTHORIZED), "there is no such user");
    // A file that is none changes nothing.
    fs::write(users.path(), "new crayon\n").expect("write the file");
    server.signal(Signal::HUP);
    push_tests::expectations::wait_for("the server to say so", || {
        server.log().contains("SIGHUP: nothing was changed: ").then_some(())
    });
    authenticated(&server, "new", "new", "crayon").ping();
    server.finish();
    Ok(())
}

fn client_that_does_not_go_on_is_closed_in_time(path: PingPath) -> TestResult {
    stand_in::not_for("has no enhanced authentication")?;
    let users = Users::new(&[("device", "pencil")])?;
    let server = users.start(path).flag("--connect-timeout-secs", 1).start()?;
    let mut connect = Connect::new(Version::V5, "client");
    connect.properties = method_and(Sasl::new("device", "pencil").step(None).1);
    let mut client = Client::send_connect(server.target(), &connect);
    receive_auth(&mut client);
    client.wait_ending();
    assert_eq!(server.metrics().value("push_connects_total{result=\"timeout\"}"), 1);
    server.finish();
    Ok(())
}

/// Alice's, by whom `device` may be resumed.
fn alices(server: &Server) -> Client {
    let connect = Connect::new(Version::V5, "device").persistent();
    let (client, _) = prove_by(server, connect, "alice", "pencil");
    assert_eq!(client.connack.code, 0);
    client
}

/// Neither another user nor nobody gets to the session of `device`, nor can they end it.
#[track_caller]
fn assert_out_of_reach(server: &Server) {
    let refused = "push_connects_total{result=\"refused\"}";
    let before = server.metrics().value(refused);
    for clean in [false, true] {
        let connect = Connect { clean, ..Connect::new(Version::V5, "device").persistent() };
        let (mut bob, _) = prove_by(server, connect.clone(), "bob", "crayon");
        assert_eq!((bob.connack.code, bob.connack.session_present), (NOT_AUTHORIZED, false));
        assert_eq!(bob.wait_ending().how, Gone::Closed);
        for (version, code) in [(Version::V5, NOT_AUTHORIZED), (Version::V311, 5)] {
            let connect = Connect { version, ..connect.clone() };
            let mut nobody = Client::open(server.target(), &connect).expect("a CONNACK");
            assert_eq!((nobody.connack.code, nobody.connack.session_present), (code, false));
            assert_eq!(nobody.wait_ending().how, Gone::Closed);
        }
    }
    assert_eq!(server.metrics().value(refused), before + 6);
}

/// Ends a server in order, and starts another one with its data.
fn restarted(mut server: Server, builder: &ServerBuilder) -> Result<Server, Skip> {
    server.terminate();
    assert!(server.wait_exit().0.success());
    // On the kernel path the loopback interface is one server's at a time.
    drop(server);
    builder.start()
}

fn session_of_a_user_is_nobody_elses_also_after_a_restart(path: PingPath) -> TestResult {
    stand_in::not_for("has no enhanced authentication")?;
    let users = Users::new(&[("alice", "pencil"), ("bob", "crayon")])?;
    let data = tempfile::tempdir().expect("make a directory");
    let (builder, server) = users.start_with(path, data.path())?;
    let mut alice = alices(&server);
    alice.subscribe(&[("mail", 1)]);
    assert_out_of_reach(&server);
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V5, "publisher"));
    assert_eq!(publisher.publish("mail", b"here", 1), 0);
    assert_eq!(alice.message().payload, b"here", "still connected");
    alice.disconnect();
    assert_eq!(publisher.publish("mail", b"away", 1), 0);
    assert_out_of_reach(&server);
    let server = restarted(server, &builder)?;
    assert_out_of_reach(&server);
    let mut alice = alices(&server);
    assert!(alice.connack.session_present);
    assert_eq!(alice.message().payload, b"away");
    // What has ended is nobody's any more.
    alice.disconnect();
    let connect = Connect::new(Version::V5, "device");
    assert_eq!(prove_by(&server, connect, "alice", "pencil").0.connack.code, 0);
    server.wait_metric("push_sessions", |sessions| sessions == 0);
    let (bob, _) = prove(&server, "device", "bob", "crayon");
    assert_eq!((bob.connack.code, bob.connack.session_present), (0, false));
    server.finish();
    Ok(())
}

fn session_of_nobody_is_replaced_by_a_users(path: PingPath) -> TestResult {
    stand_in::not_for("has no enhanced authentication")?;
    let users = Users::new(&[("alice", "pencil"), ("bob", "crayon")])?;
    let data = tempfile::tempdir().expect("make a directory");
    let (builder, server) = users.start_with(path, data.path())?;
    let connect = Connect::new(Version::V5, "device").persistent();
    let mut nobody = Client::connect(server.target(), &connect);
    nobody.subscribe(&[("mail", 1)]);
    let alice = alices(&server);
    assert!(!alice.connack.session_present, "she has made none yet");
    assert_eq!(nobody.wait_ending().reason, Some(SESSION_TAKEN_OVER));
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V5, "publisher"));
    assert_eq!(publisher.publish("mail", b"x", 1), NO_MATCHING_SUBSCRIBERS);
    assert_out_of_reach(&server);
    let server = restarted(server, &builder)?;
    assert_out_of_reach(&server);
    assert!(alices(&server).connack.session_present);
    server.finish();
    Ok(())
}
