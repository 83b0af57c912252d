//! Wills: asked about at CONNECT, and again when they go out.

use push_tests::clients::{Client, Connect};
use push_tests::expectations::{PATIENCE, SILENCE, wait_for};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::Version;
use rustix::process::Signal;

use crate::rig::{Files, NOT_AUTHORIZED, OPEN_BUT_SECRETS, anybody, connect_as, counted, next};

/// "Not authorized" of a 3.1.1 CONNACK.
const V311_NOT_AUTHORIZED: u8 = 5;

/// Rules for wills, without strangers.
const OPEN: &str = "[[allow]]\npublish = [\"#\"]\nsubscribe = [\"#\"]\n";

pub(crate) fn a_will_that_may_not_be_published_refuses_the_connect() -> TestResult {
    let server = Files::new(OPEN_BUT_SECRETS).server(PingPath::User).start()?;
    let mut watcher = anybody(server.target(), Version::V5, "watcher");
    watcher.subscribe(&[("#", 1)]);
    for (version, code) in [(Version::V5, NOT_AUTHORIZED), (Version::V311, V311_NOT_AUTHORIZED)] {
        let connect = Connect::new(version, "stranger").will("secret/will", b"denied");
        let mut stranger = Client::send_connect(server.target(), &connect);
        stranger.read_connack(PATIENCE).expect("a CONNACK");
        assert_eq!(stranger.connack.code, code, "{version:?}");
        stranger.wait_ending();
        drop(Client::connect(server.target(), &Connect::new(version, "stranger").will("w", b"w")));
        assert_eq!(next(&mut watcher), "w", "{version:?}");
    }
    let metrics = server.metrics();
    assert_eq!(counted(&metrics, "will", "denied"), 2);
    assert_eq!(counted(&metrics, "will", "allowed"), 4, "at CONNECT, and when they went out");
    server.finish();
    Ok(())
}

/// Wills of sessions that stay, that end, and that end later.
pub(crate) fn a_will_is_checked_again_when_it_goes_out() -> TestResult {
    stand_in::not_for("has other rules")?;
    let files = Files::new(OPEN);
    let server = files.server(PingPath::User).start()?;
    let mut watcher = anybody(server.target(), Version::V5, "watcher");
    watcher.subscribe(&[("#", 1)]);
    let clients = ["stranger-1", "friend", "stranger-2", "stranger-3"].map(|name| {
        let topic = format!("secret/{name}");
        let connect = Connect::new(Version::V5, name).will(&topic, name.as_bytes());
        match name {
            "stranger-2" => Client::connect(server.target(), &connect.persistent()),
            "stranger-3" => Client::connect(server.target(), &connect.persistent().will_delay(1)),
            _ => Client::connect(server.target(), &connect),
        }
    });
    files.write(OPEN_BUT_SECRETS);
    server.signal(Signal::HUP);
    wait_for("the rules to be read", || {
        (server.log().matches("rules from").count() == 2).then_some(())
    });
    let [one, friend, two, three] = clients;
    drop([one, two, three]);
    server.wait_metric("push_authorizations_total{action=\"will\",result=\"denied\"}", |count| {
        count == 3
    });
    drop(friend);
    assert_eq!(next(&mut watcher), "friend");
    watcher.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

/// The rules are others when the server starts again: a will that waits in a session's record on disk is judged by
/// user and client id.
pub(crate) fn wills_that_a_start_finds_are_checked() -> TestResult {
    stand_in::not_for("has other rules")?;
    let files = Files::new(OPEN);
    let builder = files.server_with(PingPath::User, &["alice", "bob"])?;
    let builder = builder.data_dir(files.directory().join("data"));
    let mut server = builder.start()?;
    let clients: Vec<_> = ["alice", "bob"]
        .iter()
        .flat_map(|user| [0, 600].map(|delay| (user, delay)))
        .map(|(user, delay)| {
            let name = format!("{user}-{delay}");
            let connect = Connect::new(Version::V5, &name).persistent();
            let connect = connect.will("reports", name.as_bytes()).will_delay(delay);
            let client = connect_as(server.target(), user, connect);
            assert_eq!(client.connack.code, 0);
            client
        })
        .collect();
    server.signal(Signal::KILL);
    server.wait_exit();
    drop((server, clients));
    files.write(
        "[[allow]]\nusers = [\"alice\"]\npublish = [\"reports\"]\n\
         [[allow]]\naddresses = [\"127.0.0.0/8\"]\npublish = [\"reports\"]\nsubscribe = [\"#\"]\n\
         [[allow]]\nclients = [\"watcher\"]\nsubscribe = [\"#\"]\n",
    );
    let server: Server = builder.start()?;
    let mut watcher = anybody(server.target(), Version::V5, "watcher");
    watcher.subscribe(&[("#", 1)]);
    // Those without a delay wait a little for their clients; nobody remembers bob's address.
    assert_eq!(next(&mut watcher), "alice-0");
    server.wait_metric("push_authorizations_total{action=\"will\",result=\"denied\"}", |count| {
        count == 1
    });
    watcher.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}
