//! Totals of what sessions keep in memory: reached, they refuse with the protocol's word for it, whoever
//! it is that asks, and a start leaves on disk what does not fit.

use std::net::Ipv4Addr;

use push_tests::claims;
use push_tests::clients::{Client, Connect, Gone, connack_code};
use push_tests::durable;
use push_tests::expectations::PATIENCE;
use push_tests::server::{PingPath, Server, ServerBuilder, Target};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{self, Packet, Publish, VERSIONS, Version};
use tempfile::TempDir;

claims! {
    subscriptions_of_all_sessions_have_only_so_many_bytes_together,
    a_network_has_only_its_share_of_subscriptions_when_they_are_short,
    a_will_that_does_not_fit_refuses_its_client,
    a_network_has_only_its_share_of_wills_when_they_are_short,
    a_session_that_does_not_fit_refuses_its_client,
    what_unacknowledged_state_may_take_is_limited_for_all_sessions_together,
    a_network_has_only_its_share_of_what_is_unacknowledged_when_it_is_short,
    who_is_connected_is_not_closed_because_others_need_memory_while_there_is_some,
    a_start_leaves_on_disk_what_does_not_fit_and_a_larger_one_finds_it,
    a_start_takes_up_no_more_sessions_than_there_may_be,
    totals_come_from_the_memory_there_is,
}

/// "Quota exceeded" in MQTT 5; in SUBACK and CONNACK of 3.1.1 what is nearest.
fn suback_refusal(version: Version) -> u8 {
    if version == Version::V5 { 0x97 } else { 0x80 }
}

fn connack_refusal(version: Version) -> u8 {
    if version == Version::V5 { 0x97 } else { 3 }
}

/// Of several shards, whose total is one.
fn server() -> ServerBuilder {
    Server::with(PingPath::User).flag("--shards", 2)
}

fn connect(target: &Target, version: Version, client_id: &str) -> Client {
    Client::connect(target, &Connect::new(version, client_id))
}

/// A client that comes from a network of this host's, answered whatever way.
fn from(network: u8, target: &Target, connect: &Connect) -> Client {
    let address = Ipv4Addr::from([127, 0, network, 1]);
    let mut client = Client::dial_from(address.into(), target.address, connect.version);
    client.say_connect(connect);
    client.read_connack(PATIENCE).expect("a CONNACK");
    client
}

fn used(kind: &str) -> String {
    format!("push_session_memory_bytes{{kind=\"{kind}\"}}")
}

fn hits(limit: &str) -> String {
    format!("push_limits_hit_total{{limit=\"{limit}\"}}")
}

fn subscriptions_of_all_sessions_have_only_so_many_bytes_together() -> TestResult {
    stand_in::not_for("has no such limit")?;
    let server = server().flag("--subscription-bytes-total", 8_000).start()?;
    // Each weighs some 3,500.
    let filter = |client: usize| format!("{client}/{}/+", "x".repeat(1_000));
    for version in VERSIONS {
        let mut clients: Vec<_> =
            (0..3).map(|n| connect(server.target(), version, &format!("collector-{n}"))).collect();
        assert_eq!(clients[0].subscribe(&[(&filter(0), 1)]), [1]);
        assert_eq!(clients[1].subscribe(&[(&filter(1), 1)]), [1]);
        let refused = suback_refusal(version);
        assert_eq!(clients[2].subscribe(&[(&filter(2), 1), ("short", 1)]), [refused, 1]);
        // What is there already may change.
        assert_eq!(clients[0].subscribe(&[(&filter(0), 0)]), [0]);
        clients[0].unsubscribe(&[&filter(0)]);
        assert_eq!(clients[2].subscribe(&[(&filter(2), 1)]), [1]);
        clients.remove(1).disconnect();
        server.wait_metric("push_connections", |count| count == 2);
        assert_eq!(clients[0].subscribe(&[(&filter(0), 1)]), [1]);
        drop(clients);
        server.wait_metric(&used("subscriptions"), |bytes| bytes == 0);
    }
    server.wait_metric(&hits("subscription_bytes_total"), |hits| hits == 2);
    server.finish();
    Ok(())
}

fn a_network_has_only_its_share_of_subscriptions_when_they_are_short() -> TestResult {
    const TOTAL: u64 = 100_000;
    /// More than a tenth of the total, and so the share.
    const OF_SESSION: u64 = 11_000;
    stand_in::not_for("has no such limit")?;
    let server = server()
        .flag("--subscription-bytes-total", TOTAL)
        .flag("--subscription-bytes-max", OF_SESSION)
        .start()?;
    let filter = |client: usize| format!("{client}/{}/+", "x".repeat(1_000));
    let mut probe = connect(server.target(), Version::V5, "probe");
    probe.subscribe(&[(&filter(0), 1)]);
    let each = server.metrics().value(&used("subscriptions"));
    probe.disconnect();
    for (round, version) in (1..).zip(VERSIONS) {
        server_is_empty(&server);
        let refused = suback_refusal(version);
        // Each session of a network subscribes to one, until one is refused.
        let fill = |network: u8| {
            let mut clients = Vec::new();
            loop {
                let number = clients.len();
                let connect = Connect::new(version, &format!("client-{network}-{number}"));
                let mut client = from(network, server.target(), &connect);
                let code = client.subscribe(&[(&filter(number), 1)])[0];
                clients.push(client);
                if code == refused {
                    return clients;
                }
            }
        };
        let mut greedy = fill(10);
        assert_eq!(greedy.len() as u64 - 1, TOTAL / 2 / each, "half of it is anybody's");
        let others = fill(11);
        assert_eq!(others.len() as u64 - 1, OF_SESSION / each, "its share of what is left");
        let mut third = from(12, server.target(), &Connect::new(version, "third"));
        assert_eq!(third.subscribe(&[(&filter(0), 1)]), [1]);
        assert_eq!(greedy[0].subscribe(&[(&filter(0), 0)]), [0], "what is there may change");
        let hits_of = |limit: &str| server.metrics().value(&hits(limit));
        assert_eq!(hits_of("subscriptions_share"), 3 * round - 1);
        assert_eq!(hits_of("subscription_bytes_total"), 0);
        // What one gives back is there again for its network.
        third.unsubscribe(&[&filter(0)]);
        let mut others = others;
        others[0].unsubscribe(&[&filter(0)]);
        assert_eq!(others[1].subscribe(&[(&filter(0), 1), (&filter(9), 1)]), [1, refused]);
    }
    server.finish();
    Ok(())
}

fn a_will_that_does_not_fit_refuses_its_client() -> TestResult {
    stand_in::not_for("has no such limit")?;
    let server = server().flag("--will-bytes-total", 5_000).start()?;
    for version in VERSIONS {
        let with_will = |name: &str| Connect::new(version, name).will("wills", &vec![b'x'; 3_000]);
        let first = Client::connect(server.target(), &with_will("first"));
        let refused = connack_refusal(version);
        assert_eq!(connack_code(server.target(), &with_will("second")), refused);
        connect(server.target(), version, "second").disconnect();
        // The will of who takes over comes in the place of the one before.
        let again = Client::connect(server.target(), &with_will("first"));
        drop(first);
        again.disconnect();
        server.wait_metric(&used("wills"), |bytes| bytes == 0);
        drop(Client::connect(server.target(), &with_will("second")));
        server.wait_metric(&used("wills"), |bytes| bytes == 0);
    }
    server.wait_metric(&hits("will_bytes_total"), |hits| hits == 2);
    server.finish();
    Ok(())
}

fn a_network_has_only_its_share_of_wills_when_they_are_short() -> TestResult {
    const TOTAL: u64 = 4 << 20;
    /// The least share there is.
    const SHARE: u64 = 1 << 20;
    stand_in::not_for("has no such limit")?;
    let server = server().flag("--will-bytes-total", TOTAL).start()?;
    let with_will = |version: Version, network: u8, number: usize| {
        let name = format!("client-{network}-{number}");
        Connect::new(version, &name).will("wills", &vec![b'x'; 60_000])
    };
    let probe = Client::connect(server.target(), &with_will(Version::V5, 0, 0));
    let each = server.metrics().value(&used("wills"));
    probe.disconnect();
    for (round, version) in (1..).zip(VERSIONS) {
        server_is_empty(&server);
        let fill = |network: u8| {
            let mut clients = Vec::new();
            loop {
                let connect = with_will(version, network, clients.len());
                let client = from(network, server.target(), &connect);
                match client.connack.code {
                    0 => clients.push(client),
                    code => {
                        assert_eq!(code, connack_refusal(version));
                        return clients;
                    }
                }
            }
        };
        let greedy = fill(10);
        assert_eq!(greedy.len() as u64, TOTAL / 2 / each, "half of it is anybody's");
        let others = fill(11);
        assert_eq!(others.len() as u64, SHARE / each, "its share of what is left");
        // The will of who takes over comes in the place of the one before, from wherever.
        let again = from(12, server.target(), &with_will(version, 10, 0));
        assert_eq!(again.connack.code, 0);
        let hits_of = |limit: &str| server.metrics().value(&hits(limit));
        assert_eq!(hits_of("wills_share"), 2 * round);
        assert_eq!(hits_of("will_bytes_total"), 0);
    }
    server.finish();
    Ok(())
}

fn a_session_that_does_not_fit_refuses_its_client() -> TestResult {
    stand_in::not_for("has no such limit")?;
    let server = server().flag("--session-bytes-total", 1_700).start()?;
    for version in VERSIONS {
        let name = |n: usize| format!("{n}{}", "-".repeat(100));
        let first = connect(server.target(), version, &name(1));
        let second = connect(server.target(), version, &name(2));
        let third = Connect::new(version, &name(3));
        assert_eq!(connack_code(server.target(), &third), connack_refusal(version));
        // Who has a session may come again.
        let again = connect(server.target(), version, &name(2));
        first.disconnect();
        server.wait_metric("push_sessions", |sessions| sessions == 1);
        drop(Client::connect(server.target(), &third));
        drop((second, again));
        server.wait_metric(&used("sessions"), |bytes| bytes == 0);
    }
    server.wait_metric(&hits("session_bytes_total"), |hits| hits == 2);
    server.finish();
    Ok(())
}

fn what_unacknowledged_state_may_take_is_limited_for_all_sessions_together() -> TestResult {
    const IDS_MAX: u16 = 500;
    stand_in::not_for("has no such limit")?;
    let server =
        server().flag("--inflight-bytes-total", 2_000).flag("--receive-max", IDS_MAX).start()?;
    for version in VERSIONS {
        // It never releases what it was told has arrived.
        let mut hoarder = connect(server.target(), version, "hoarder");
        let refused_at = (1..IDS_MAX).find(|&packet_id| {
            let publish = Publish { topic: "t".into(), qos: 2, packet_id, ..Publish::default() };
            hoarder.send(&wire::publish(version, &publish));
            match hoarder.receive(PATIENCE) {
                Ok(Packet::Ack { kind: wire::PUBREC, reason, .. }) => reason == 0x97,
                // 3.1.1 has no word for it.
                Err(Gone::Closed | Gone::Reset) if version == Version::V311 => true,
                other => panic!("not a PUBREC: {other:?}"),
            }
        });
        assert!(refused_at.is_some_and(|id| id > 32), "{version:?}: {refused_at:?}");
        let mut other = connect(server.target(), version, "other");
        other.subscribe(&[("t", 2)]);
        other.publish("t", b"passes", 2);
        assert_eq!(other.message().payload, b"passes");
        drop((hoarder, other));
        server_is_empty(&server);
    }
    server.wait_metric(&hits("inflight_bytes_total"), |hits| hits == 2);
    server.finish();
    Ok(())
}

fn a_network_has_only_its_share_of_what_is_unacknowledged_when_it_is_short() -> TestResult {
    const TOTAL: u64 = 2 << 20;
    const SESSIONS: usize = 60;
    const MESSAGES: u16 = 900;
    stand_in::not_for("has no such limit")?;
    let server =
        server().flag("--durability", "off").flag("--inflight-bytes-total", TOTAL).start()?;
    let away = |network: u8, number: usize| {
        let name = format!("away-{network}-{number}");
        let connect = Connect::new(Version::V5, &name).persistent();
        let mut client = from(network, server.target(), &connect);
        client.subscribe(&[("t", 1)]);
        client.disconnect();
        connect
    };
    let modest = away(11, 0);
    for number in 0..SESSIONS {
        away(10, number);
    }
    server.wait_metric("push_connections", |connections| connections == 0);
    let mut publisher = connect(server.target(), Version::V5, "publisher");
    for _ in 0..MESSAGES {
        assert_eq!(publisher.publish("t", b"x", 1), 0);
    }
    let metrics = server.metrics();
    assert!(metrics.value(&hits("inflight_share")) > 0);
    assert_eq!(metrics.value(&hits("inflight_bytes_total")), 0);
    let bytes = metrics.value(&used("inflight"));
    assert!(bytes > TOTAL / 2 && bytes < TOTAL, "{bytes}");
    // Of another network, which has its share.
    let mut modest = from(11, server.target(), &modest);
    for _ in 0..MESSAGES {
        assert_eq!(modest.message().payload, b"x");
    }
    server.finish();
    Ok(())
}

fn who_is_connected_is_not_closed_because_others_need_memory_while_there_is_some() -> TestResult {
    const TOTAL: u64 = 16 << 20;
    const SLOW: usize = 100;
    const AWAY: u8 = 150;
    const MESSAGES: u16 = 400;
    stand_in::not_for("has no such limit")?;
    let server =
        server().flag("--durability", "off").flag("--inflight-bytes-total", TOTAL).start()?;
    let mut slow: Vec<Client> = (0..SLOW)
        .map(|number| {
            let connect = Connect::new(Version::V5, &format!("slow-{number}"));
            let mut client = from(10, server.target(), &connect);
            client.subscribe(&[("slow", 1)]);
            client
        })
        .collect();
    let mut publisher = connect(server.target(), Version::V5, "publisher");
    // Less than half of the total, and more than a share of it.
    for _ in 0..MESSAGES {
        assert_eq!(publisher.publish("slow", b"x", 1), 0);
    }
    let share = TOTAL / 10;
    let theirs = server.metrics().value(&used("inflight"));
    assert!(theirs > share && theirs < TOTAL / 2, "{theirs}");
    // Others, none of whom has its share, need the other half, and a little more.
    for network in 0..AWAY {
        let connect = Connect::new(Version::V5, &format!("away-{network}")).persistent();
        let mut client = from(20 + network, server.target(), &connect);
        client.subscribe(&[("away", 1)]);
        client.disconnect();
    }
    server.wait_metric("push_connections", |connections| connections == SLOW as u64 + 1);
    while server.metrics().value(&used("inflight")) <= TOTAL / 2 {
        for _ in 0..50 {
            publisher.publish("away", b"x", 1);
        }
    }
    assert_eq!(publisher.publish("slow", b"last", 1), 0);
    assert_eq!(server.metrics().value(&hits("outbox")), 0);
    for client in &mut slow {
        for _ in 0..MESSAGES {
            assert_eq!(client.message().payload, b"x");
        }
        assert_eq!(client.message().payload, b"last");
    }
    server.finish();
    Ok(())
}

fn a_start_leaves_on_disk_what_does_not_fit_and_a_larger_one_finds_it() -> TestResult {
    durable::need()?;
    stand_in::not_for("has no such limit")?;
    let data = TempDir::new().expect("make a data directory");
    let starting = |total: u32| {
        let builder = server().data_dir(data.path());
        builder.flag("--subscription-bytes-total", total).start()
    };
    let names = ["device-0", "device-1", "device-2"];
    for version in VERSIONS {
        let persistent = |name: &str| Connect::new(version, name).persistent();
        let full = starting(100_000)?;
        for name in names {
            let mut client = Client::connect(full.target(), &persistent(name));
            let filter = format!("{name}/{}/+", "x".repeat(1_000));
            client.subscribe(&[(&filter, 1), ("all", 1)]);
            client.disconnect();
        }
        connect(full.target(), version, "publisher").publish("all", b"news", 1);
        full.finish();

        // Room for one of them, and the smallest behind it.
        let small = starting(5_000)?;
        assert_eq!(small.metrics().value("push_store_sessions_left_out"), 2);
        small.wait_log("exceed --max-sessions or the totals of memory");
        let mut first = Client::connect(small.target(), &persistent(names[0]));
        assert!(first.connack.session_present);
        assert_eq!(first.message().payload, b"news");
        first.disconnect();
        for connect in [persistent(names[1]), Connect::new(version, names[2])] {
            assert_eq!(connack_code(small.target(), &connect), connack_refusal(version));
        }
        small.wait_metric(&hits("sessions_left_out"), |hits| hits == 2);
        connect(small.target(), version, "another").disconnect();
        small.finish();

        let full = starting(100_000)?;
        assert_eq!(full.metrics().value("push_store_sessions_left_out"), 0);
        for name in &names[1..] {
            let mut client = Client::connect(full.target(), &persistent(name));
            assert!(client.connack.session_present, "{name}");
            assert_eq!(client.message().payload, b"news", "{name}");
            client.disconnect();
        }
        for name in names {
            connect(full.target(), version, name).disconnect();
        }
        server_is_empty(&full);
        full.finish();
    }
    Ok(())
}

fn a_start_takes_up_no_more_sessions_than_there_may_be() -> TestResult {
    durable::need()?;
    stand_in::not_for("has no such limit")?;
    let data = TempDir::new().expect("make a data directory");
    let starting = |max: u32| server().data_dir(data.path()).flag("--max-sessions", max).start();
    let persistent = |n: u32| Connect::new(Version::V5, &format!("device-{n}")).persistent();
    let full = starting(10)?;
    for n in 0..4 {
        Client::connect(full.target(), &persistent(n)).disconnect();
    }
    full.finish();

    let mut small = starting(3)?;
    assert_eq!(small.metrics().value("push_store_sessions_left_out"), 1);
    assert_eq!(small.metrics().value("push_sessions"), 3);
    small.wait_log("exceed --max-sessions");
    assert_eq!(connack_code(small.target(), &persistent(3)), 0x97);
    small.wait_metric(&hits("sessions_left_out"), |hits| hits == 1);
    // It has no room for the client by which `finish` would look whether it serves.
    small.terminate();
    assert!(small.wait_exit().0.success(), "{}", small.log());

    let full = starting(10)?;
    let last = Client::connect(full.target(), &persistent(3));
    assert!(last.connack.session_present);
    last.disconnect();
    full.finish();
    Ok(())
}

fn server_is_empty(server: &Server) {
    server.wait_metric("push_sessions", |sessions| sessions == 0);
    for kind in ["sessions", "subscriptions", "wills", "inflight"] {
        server.wait_metric(&used(kind), |bytes| bytes == 0);
    }
}

fn totals_come_from_the_memory_there_is() -> TestResult {
    stand_in::not_for("has no such limit")?;
    let server = server().start()?;
    let limit = |name: &str| server.metrics().value(&format!("push_limit{{limit=\"{name}\"}}"));
    let [sessions, wills] = ["session_bytes_total", "will_bytes_total"].map(limit);
    assert!(sessions >= 8 << 20 && sessions >= wills, "{sessions} and {wills}");
    server.wait_log("sessions take up to");
    server.finish();
    Ok(())
}
