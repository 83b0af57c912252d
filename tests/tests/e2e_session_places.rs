//! Who gets one of the places for sessions when they are short.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::PATIENCE;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{VERSIONS, Version};
use socket2::{Domain, Socket, Type};

claims! {
    sessions_that_nobody_uses_give_way_to_new_ones,
    a_network_has_only_its_share_when_places_are_short,
}

/// "Quota exceeded" of a CONNACK.
const QUOTA_EXCEEDED: u8 = 0x97;

fn persistent(version: Version, client_id: &str) -> Connect {
    Connect::new(version, client_id).persistent()
}

fn sessions_that_nobody_uses_give_way_to_new_ones() -> TestResult {
    const PLACES: u32 = 32;
    const USED: u32 = 8;
    stand_in::not_for("has no such limit")?;
    for durability in ["off", "fsync"] {
        let server = Server::with(PingPath::User)
            .flag("--shards", 1)
            .flag("--durability", durability)
            .flag("--max-sessions", PLACES)
            .start()?;
        let target = server.target();
        // Half of them are subscribed, half have been owed something; one is connected.
        let used =
            |number: u32| persistent(VERSIONS[number as usize % 2], &format!("used-{number}"));
        let mut idle = Client::connect(target, &Connect::new(Version::V5, "idle"));
        for number in 0..USED {
            let mut client = Client::connect(target, &used(number));
            client.subscribe(&[("t", 1)]);
            if number < USED / 2 {
                client.publish("t", b"x", 1);
                client.message();
                client.unsubscribe(&["t"]);
            }
            client.disconnect();
        }
        for number in 0..3 * PLACES {
            let connect = persistent(VERSIONS[number as usize % 2], &format!("flood-{number}"));
            Client::connect(target, &connect).disconnect();
            server.wait_metric("push_connections", |count| count == 1);
        }
        let gone = "push_limits_hit_total{limit=\"sessions_unused\"}";
        let metrics = server.metrics();
        assert!(metrics.value(gone) >= u64::from(2 * PLACES), "{}", metrics.value(gone));
        assert_eq!(metrics.value("push_limits_hit_total{limit=\"sessions\"}"), 0);
        assert!(metrics.value("push_sessions") <= u64::from(PLACES));
        idle.assert_alive();
        for number in 0..USED {
            let client = Client::connect(target, &used(number));
            assert!(client.connack.session_present, "{number}");
            client.disconnect();
        }
        // The first of the flood are those that went.
        let first = Client::connect(target, &persistent(Version::V5, "flood-0"));
        assert!(!first.connack.session_present);
        let last = format!("flood-{}", 3 * PLACES - 1);
        let last = Client::connect(target, &persistent(VERSIONS[1], &last));
        assert!(last.connack.session_present);
        server.finish();
    }
    Ok(())
}

fn a_network_has_only_its_share_when_places_are_short() -> TestResult {
    const PLACES: u32 = 2_200;
    /// The least share there is.
    const SHARE: u32 = 1_024;
    stand_in::not_for("has no such limit")?;
    let server = Server::with(PingPath::User)
        .flag("--durability", "off")
        .flag("--max-sessions", PLACES)
        .flag("--max-connections", 4 * PLACES)
        .start()?;
    let target = server.target();
    let use_one = |from: u8, number: u32| {
        let client_id = format!("{from}-{number}");
        let connect = persistent(VERSIONS[number as usize % 2], &client_id);
        let mut client = dial_from([127, 0, from, 1].into(), target.address, connect.version);
        client.say_connect(&connect);
        client.read_connack(PATIENCE).expect("a CONNACK");
        if client.connack.code == 0 {
            client.subscribe(&[("t", 1)]);
            client.disconnect();
            return None;
        }
        Some((connect.version, client.connack.code))
    };
    let taken = (0..PLACES).find(|number| use_one(10, *number).is_some());
    assert_eq!(taken, Some(PLACES / 2), "half of them are anybody's");
    let refusals: Vec<_> = (PLACES..PLACES + 2).filter_map(|number| use_one(10, number)).collect();
    assert_eq!(
        refusals,
        [(VERSIONS[0], refused(VERSIONS[0])), (VERSIONS[1], refused(VERSIONS[1]))]
    );
    // Its sessions that are there go on.
    assert_eq!(use_one(10, 0), None);
    // Others have what is left, and each its share of it.
    assert_eq!((0..PLACES).find(|number| use_one(11, *number).is_some()), Some(SHARE));
    assert_eq!(use_one(12, 0), None);
    let share = "push_limits_hit_total{limit=\"sessions_share\"}";
    assert_eq!(server.metrics().value(share), 4);
    assert_eq!(server.metrics().value("push_limits_hit_total{limit=\"sessions\"}"), 0);
    server.finish();
    Ok(())
}

fn refused(version: Version) -> u8 {
    if version == Version::V5 { QUOTA_EXCEEDED } else { 3 }
}

fn dial_from(address: Ipv4Addr, target: SocketAddr, version: Version) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((address, 0)).into())
        .expect("an address of the loopback network");
    socket.set_tcp_nodelay(true).expect("set an option");
    socket.connect_timeout(&target.into(), PATIENCE).expect("connect to the server");
    Client::over(TcpStream::from(socket), version)
}
