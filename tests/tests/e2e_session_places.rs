//! Who gets one of the places for sessions when they are short.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::netns::{CLIENT_V6, Veth};
use push_tests::server::{PingPath, Place, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{VERSIONS, Version};

claims! {
    sessions_that_nobody_uses_give_way_to_new_ones,
    sessions_that_nobody_uses_give_way_on_whichever_shard_they_are,
    a_network_has_only_its_share_when_places_are_short,
    a_link_has_half_of_its_ipv6_networks_share_when_places_are_short,
}

/// "Quota exceeded" of a CONNACK.
const QUOTA_EXCEEDED: u8 = 0x97;

fn persistent(version: Version, client_id: &str) -> Connect {
    Connect::new(version, client_id).persistent()
}

/// By one version and the other in turn.
fn nth(number: u32, client_id: &str) -> Connect {
    persistent(VERSIONS[number as usize % 2], client_id)
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

/// Few are unused, so that most newcomers come to a shard that has none.
fn sessions_that_nobody_uses_give_way_on_whichever_shard_they_are() -> TestResult {
    const PLACES: u32 = 64;
    const UNUSED: u32 = 8;
    /// Sessions give way when so many places are taken.
    const NEARLY_FULL: u32 = PLACES - PLACES / 16;
    stand_in::not_for("has no such limit")?;
    let server = Server::with(PingPath::User)
        .flag("--shards", 4)
        .flag("--durability", "off")
        .flag("--max-sessions", PLACES)
        .start()?;
    let target = server.target();
    let alone = || server.wait_metric("push_connections", |count| count == 0);
    for number in 0..UNUSED {
        Client::connect(target, &nth(number, &format!("unused-{number}"))).disconnect();
    }
    alone();
    let gone = "push_limits_hit_total{limit=\"sessions_unused\"}";
    for number in 0..NEARLY_FULL {
        let mut client = Client::connect(target, &nth(number, &format!("used-{number}")));
        client.subscribe(&[("t", 1)]);
        client.disconnect();
        alone();
        let newcomers = (UNUSED + number + 1).saturating_sub(NEARLY_FULL);
        server.wait_metric(gone, |gone| gone == u64::from(newcomers));
    }
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_sessions"), u64::from(NEARLY_FULL));
    assert_eq!(metrics.value("push_limits_hit_total{limit=\"sessions\"}"), 0);
    server.finish();
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
        let address = Ipv4Addr::from([127, 0, from, 1]);
        use_one(address.into(), target.address, &nth(number, &format!("{from}-{number}")))
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

/// An IPv6 site and two of its links.
fn a_link_has_half_of_its_ipv6_networks_share_when_places_are_short() -> TestResult {
    const PLACES: u32 = 4_200;
    const PERCENT: u32 = 49;
    const SHARE: u32 = PLACES * PERCENT / 100;
    stand_in::not_for("has no such limit")?;
    let veth = Arc::new(Veth::create()?);
    veth.server.ip(&format!("route add 2001:db8::/32 via {CLIENT_V6}"))?;
    // Every address of theirs is the clients' host's.
    veth.client.ip("route add local 2001:db8::/32 dev lo")?;
    veth.client
        .run(|| fs::write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1"))
        .expect("let clients use any address");
    let server = Server::with(PingPath::User)
        .within(Arc::clone(&veth), Place::VethV6)
        .flag("--durability", "off")
        .flag("--max-sessions", PLACES)
        .flag("--sessions-share-percent", PERCENT)
        .flag("--max-connections", 4 * PLACES)
        .start()?;
    let target = server.target().address;
    // A link that has just come up finds no neighbours yet.
    wait_for("a way to the server", || veth.client.run(|| TcpStream::connect(target)).ok());
    // Each from an address of its own.
    let use_one = |site: u16, link: u16, host: u32| {
        let address = Ipv6Addr::new(0x2001, 0xdb8, site, link, 0, 0, 0, host as u16);
        let connect = nth(host, &address.to_string());
        veth.client.run(|| use_one(address.into(), target, &connect))
    };
    let taken_by = |site: u16, link: u16| {
        (1..=PLACES).find(|host| use_one(site, link, *host).is_some()).map(|host| host - 1)
    };
    assert_eq!(taken_by(1, 1), Some(PLACES / 2), "half of all places are anybody's");
    assert_eq!(taken_by(2, 1), Some(SHARE / 2), "half of the site's share");
    assert_eq!(taken_by(2, 2), Some(SHARE / 2), "the other half is its neighbour's");
    assert_eq!(taken_by(2, 3), Some(0), "the site has its share");
    assert_eq!(use_one(3, 1, 1), None, "another site has a place");
    assert_eq!(use_one(2, 1, 1), None, "a session that is there goes on");
    let share = "push_limits_hit_total{limit=\"sessions_share\"}";
    assert_eq!(server.metrics().value(share), 4);
    assert_eq!(server.metrics().value("push_limits_hit_total{limit=\"sessions\"}"), 0);
    server.finish();
    Ok(())
}

/// Makes a session that is used, or returns by what version and with what code it was refused.
fn use_one(from: IpAddr, target: SocketAddr, connect: &Connect) -> Option<(Version, u8)> {
    let mut client = Client::dial_from(from, target, connect.version);
    client.say_connect(connect);
    client.read_connack(PATIENCE).expect("a CONNACK");
    if client.connack.code == 0 {
        client.subscribe(&[("t", 1)]);
        client.disconnect();
        return None;
    }
    Some((connect.version, client.connack.code))
}

fn refused(version: Version) -> u8 {
    if version == Version::V5 { QUOTA_EXCEEDED } else { 3 }
}
