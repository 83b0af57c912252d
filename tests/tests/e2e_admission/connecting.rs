//! How fast clients connect, how large a CONNECT is, and how many sockets and connections an address or user has.

use push_tests::claims;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::PATIENCE;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::Version;

use super::{
    QUOTA_EXCEEDED, V311_UNAVAILABLE, address, as_user, connect_from, limit_hit, users_file,
};

claims! {
    a_large_connect_is_closed_by_its_header_alone,
    only_so_many_sockets_of_an_address_wait_and_others_are_let_in,
    in_a_storm_addresses_take_turns_and_nobody_is_lost,
    an_address_has_only_so_many_connections,
    a_user_has_only_so_many_connections,
}

const ACCEPTED: &str = "push_connects_total{result=\"accepted\"}";

fn a_large_connect_is_closed_by_its_header_alone() -> TestResult {
    const BYTES_MAX: usize = 1_024;
    let server = Server::with(PingPath::User).flag("--connect-bytes-max", BYTES_MAX).start()?;
    for version in [Version::V5, Version::V311] {
        // As large as allowed: fixed header 3, variable header 10, empty id, topic `w`, user name, properties.
        let overhead = match version {
            Version::V5 => 3 + 10 + 1 + 2 + 1 + 3 + 2,
            _ => 3 + 10 + 2 + 3 + 2,
        };
        let fits = Connect::new(version, "").will("w", &vec![7; BYTES_MAX - overhead]);
        drop(Client::connect(server.target(), &fits));
        let mut large = Client::dial(server.target(), version, None);
        // CONNECT with 1,022 bytes behind the header, of which none is sent.
        large.send(&[0x10, 0xFE, 0x07]);
        assert!(large.read_connack(PATIENCE).is_err_and(|gone| gone != Gone::Silent));
    }
    assert_eq!(limit_hit(&server, "connect_bytes"), 2);
    assert_eq!(server.metrics().value("push_connects_total{result=\"malformed\"}"), 2);
    server.finish();
    Ok(())
}

fn only_so_many_sockets_of_an_address_wait_and_others_are_let_in() -> TestResult {
    const WAITING_MAX: usize = 3;
    for shards in [1, 2] {
        let server = Server::with(PingPath::User)
            .flag("--address-waiting-max", WAITING_MAX)
            .flag("--shards", shards)
            .start()?;
        let target = server.target();
        let dial = |last| Client::dial_from(address(last), target.address, Version::V5);
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| dial(2)).collect();
        server.wait_metric("push_connections", |connections| connections == 3);
        let mut fourth = dial(2);
        assert!(fourth.receive(PATIENCE).is_err_and(|gone| gone != Gone::Silent), "it is closed");
        assert_eq!(limit_hit(&server, "address_waiting"), 1);
        // Of another address, or once one has connected, there is room.
        drop(connect_from(address(3), target, &Connect::new(Version::V311, "elsewhere")));
        let mut first = waiting.swap_remove(0);
        first.say_connect(&Connect::new(Version::V5, "first"));
        first.read_connack(PATIENCE).expect("a CONNACK");
        let second = connect_from(address(2), target, &Connect::new(Version::V5, "second"));
        // A socket that goes leaves its place, too.
        drop(waiting);
        drop((first, second));
        server.wait_metric("push_connections", |connections| connections == 0);
        let again: Vec<_> = (0..WAITING_MAX).map(|_| dial(2)).collect();
        server.wait_metric("push_connections", |connections| connections == 3);
        assert_eq!(limit_hit(&server, "address_waiting"), 1);
        drop(again);
        server.finish();
    }
    Ok(())
}

/// 60 clients of one address come at once, where 20 a second may: one of another address is let in before most of them.
fn in_a_storm_addresses_take_turns_and_nobody_is_lost() -> TestResult {
    const STORM: usize = 60;
    const BURST: u64 = 5;
    for shards in [1, 2] {
        let server = Server::with(PingPath::User)
            .flag("--connect-rate", 20)
            .flag("--connect-burst", BURST)
            .flag("--shards", shards)
            .start()?;
        let target = server.target();
        let mut established = Client::connect(target, &Connect::new(Version::V5, "established"));
        let mut storm: Vec<_> = (0..STORM)
            .map(|number| {
                let mut client = Client::dial_from(address(2), target.address, Version::V311);
                client.say_connect(&Connect::new(Version::V311, &format!("storm-{number}")));
                client
            })
            .collect();
        let calm = connect_from(address(3), target, &Connect::new(Version::V5, "calm"));
        assert_eq!(calm.connack.code, 0);
        let accepted = server.metrics().value(ACCEPTED);
        assert!(accepted < STORM as u64 / 2, "{accepted} were let in before it");
        established.ping();
        for client in &mut storm {
            client.read_connack(PATIENCE).expect("a CONNACK");
        }
        server.wait_metric(ACCEPTED, |accepted| accepted == STORM as u64 + 2);
        assert!(limit_hit(&server, "connect_rate") >= STORM as u64 / 2);
        established.assert_alive();
        server.finish();
    }
    Ok(())
}

fn an_address_has_only_so_many_connections() -> TestResult {
    let server = Server::with(PingPath::User).flag("--address-connections-max", 2).start()?;
    let target = server.target();
    let connect =
        |last, version, id| connect_from(address(last), target, &Connect::new(version, id));
    let first = connect(2, Version::V5, "first");
    let second = connect(2, Version::V311, "second");
    assert_eq!([first.connack.code, second.connack.code], [0, 0]);
    for (version, code) in [(Version::V5, QUOTA_EXCEEDED), (Version::V311, V311_UNAVAILABLE)] {
        assert_eq!(connect(2, version, "third").connack.code, code, "{version:?}");
    }
    assert_eq!(limit_hit(&server, "address_connections"), 2);
    let mut elsewhere = connect(3, Version::V5, "third");
    assert_eq!(elsewhere.connack.code, 0, "another address");
    // Who takes a connection of its own over needs no further place.
    let mut again = connect(2, Version::V5, "first");
    assert_eq!(again.connack.code, 0);
    assert_eq!(connect(2, Version::V5, "fourth").connack.code, QUOTA_EXCEEDED);
    // One that leaves has left its place.
    second.disconnect();
    server.wait_metric("push_sessions", |sessions| sessions == 2);
    assert_eq!(connect(2, Version::V5, "fourth").connack.code, 0);
    again.assert_alive();
    elsewhere.assert_alive();
    server.finish();
    Ok(())
}

fn a_user_has_only_so_many_connections() -> TestResult {
    stand_in::not_for("has no users of ours")?;
    let directory = tempfile::tempdir().expect("a directory");
    let users = users_file(directory.path(), &["ada", "bob"]);
    let server = Server::with(PingPath::User)
        .flag("--users", &*users)
        .flag("--user-connections-max", 2)
        .start()?;
    let target = server.target();
    let connect = |last, version, id, user| {
        connect_from(address(last), target, &as_user(version, id, user, "pencil"))
    };
    let held = [connect(2, Version::V5, "a1", "ada"), connect(3, Version::V311, "a2", "ada")];
    assert_eq!(held.each_ref().map(|client| client.connack.code), [0, 0]);
    for (version, code) in [(Version::V5, QUOTA_EXCEEDED), (Version::V311, V311_UNAVAILABLE)] {
        assert_eq!(connect(4, version, "a3", "ada").connack.code, code, "{version:?}");
    }
    assert_eq!(limit_hit(&server, "user_connections"), 2);
    assert_eq!(connect(2, Version::V5, "b1", "bob").connack.code, 0, "another user");
    let over = connect(4, Version::V5, "a1", "ada");
    assert_eq!(over.connack.code, 0, "a take-over");
    drop((held, over));
    server.wait_metric("push_connections", |connections| connections == 0);
    assert_eq!(connect(4, Version::V5, "a3", "ada").connack.code, 0);
    Ok(())
}
