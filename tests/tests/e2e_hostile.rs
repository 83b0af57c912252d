//! Peers that break the protocol, or say nothing: they go, the server stays, others are served.

use std::io::Write;
use std::time::{Duration, Instant};

use push_tests::both_paths;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::{PATIENCE, SILENCE};
use push_tests::metrics::Metrics;
use push_tests::server::{PingPath, Server, Target, raise_descriptor_limit};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{self, Packet, Properties, Publish, VERSIONS, Version};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Fixed, so that a failure comes again.
const SEED: u64 = 0x7075_7368;

/// Connections that send nothing.
const SILENT: usize = 1_000;

both_paths! {
    random_bytes_end_their_own_connection_only,
    random_bytes_after_connect_end_their_own_connection_only,
    every_prefix_of_a_connect_is_harmless,
    a_second_connect_on_a_connection_ends_it,
    a_packet_before_connect_ends_the_connection_without_an_answer,
    pings_after_disconnect_are_not_answered,
    an_unknown_protocol_version_is_refused,
    protocol_violations_end_the_connection,
    a_thousand_silent_connections_leave_others_served,
    connections_reset_in_the_middle_leave_nothing,
    half_sent_packets_have_only_so_much_memory_together,
    publishers_are_served_while_others_hold_all_of_the_budget,
    a_packet_that_does_not_go_on_ends_its_connection,
    a_subscribe_of_wide_filters_leaves_others_served,
    who_reads_the_answers_may_ask_as_much_at_once_as_there_are_packet_ids,
    who_never_reads_the_answers_is_closed,
}

fn random_bytes_end_their_own_connection_only(path: PingPath) -> TestResult {
    let server = Server::with(path).flag("--connect-timeout-secs", 2).start()?;
    let mut bystander = bystander(server.target());
    let mut random = StdRng::seed_from_u64(SEED);
    let mut connections = Vec::new();
    for _ in 0..200 {
        let mut client = Client::dial(server.target(), Version::V5, None);
        let bytes: Vec<u8> = (0..random.random_range(1..300)).map(|_| random.random()).collect();
        // The server may have closed already.
        let _ = client.try_send(&bytes);
        connections.push(client);
    }
    assert_served(&mut bystander);
    for client in &mut connections {
        wait_gone(client);
    }
    server.wait_metric("push_connections", |connections| connections == 1);
    server.finish();
    Ok(())
}

fn random_bytes_after_connect_end_their_own_connection_only(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let mut bystander = bystander(server.target());
    let mut random = StdRng::seed_from_u64(SEED);
    for number in 0..200 {
        let version = VERSIONS[number % 2];
        let connect = Connect::new(version, &format!("hostile-{number}")).keep_alive(1);
        let mut client = Client::connect(server.target(), &connect);
        // A packet type of the protocol, and a length that is right, so that bodies are parsed.
        let body: Vec<u8> = (0..random.random_range(0..60)).map(|_| random.random()).collect();
        let first = random.random_range(0x10..=0xFF);
        let _ = client.try_send(&wire::frame(first, &body));
    }
    assert_served(&mut bystander);
    server.wait_metric("push_connections", |connections| connections == 1);
    server.finish();
    Ok(())
}

fn every_prefix_of_a_connect_is_harmless(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let mut bystander = bystander(server.target());
    for version in VERSIONS {
        let whole = wire::connect(version, "half", 60, true, None, &Properties::default());
        for end in 0..whole.len() {
            let mut client = Client::dial(server.target(), version, None);
            client.send(&whole[..end]);
        }
    }
    assert_served(&mut bystander);
    server.wait_metric("push_connections", |connections| connections == 1);
    server.finish();
    Ok(())
}

fn a_second_connect_on_a_connection_ends_it(path: PingPath) -> TestResult {
    stand_in::not_for("ends the connection without a word")?;
    let server = Server::with(path).start()?;
    for version in VERSIONS {
        let mut client = Client::connect(server.target(), &Connect::new(version, "twice"));
        client.send(&wire::connect(version, "twice", 60, true, None, &Properties::default()));
        let ending = client.wait_ending();
        // "Protocol error", where the protocol has a word for it.
        assert_eq!(ending.reason, (version == Version::V5).then_some(0x82));
    }
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn a_packet_before_connect_ends_the_connection_without_an_answer(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let early =
        [wire::PINGREQ.to_vec(), wire::disconnect(), wire::subscribe(Version::V5, 1, &[("a", 0)])];
    for bytes in early {
        let mut client = Client::dial(server.target(), Version::V5, None);
        client.send(&bytes);
        assert_ne!(client.receive(PATIENCE).expect_err("no packet"), Gone::Silent);
    }
    server.wait_metric("push_connects_total{result=\"malformed\"}", |count| count == 3);
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn pings_after_disconnect_are_not_answered(path: PingPath) -> TestResult {
    /// Longer than a client's kernel puts off an acknowledgement.
    const CALM: Duration = Duration::from_millis(100);
    let server = Server::with(path).start()?;
    // In one segment, in one right behind the other, and when the server has closed.
    for pause in [None, Some(Duration::ZERO), Some(CALM)] {
        let mut client = Client::connect(server.target(), &Connect::new(Version::V5, "leaves"));
        for _ in 0..2 {
            std::thread::sleep(CALM);
            client.ping();
        }
        std::thread::sleep(CALM);
        let before = server.metrics();
        let mut last = wire::disconnect();
        match pause {
            None => last.extend(wire::PINGREQ),
            Some(pause) => {
                client.send(&last);
                std::thread::sleep(pause);
                last = wire::PINGREQ.to_vec();
            }
        }
        // The server may have closed already.
        let _ = client.try_send(&last);
        assert_ne!(client.receive(PATIENCE).expect_err("no answer"), Gone::Silent, "{pause:?}");
        for _ in 0..3 {
            let _ = client.try_send(&wire::PINGREQ);
            std::thread::sleep(CALM);
        }
        let after = server.metrics();
        let pings = |metrics: &Metrics| (metrics.kernel_pings(), metrics.user_pings());
        assert_eq!(pings(&after), pings(&before), "{pause:?}");
        assert_eq!(before.kernel_pings() > 0, path == PingPath::Kernel, "{}", before.text());
    }
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn an_unknown_protocol_version_is_refused(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let mut bytes = wire::connect(Version::V311, "old", 60, true, None, &Properties::default());
    // The protocol level: after the fixed header (2) and the name (2 + 4).
    bytes[8] = 3;
    let mut client = Client::dial(server.target(), Version::V311, None);
    client.send(&bytes);
    // [MQTT-3.1.2-2]: return code 1, "unacceptable protocol version", then close.
    match client.receive(PATIENCE) {
        Ok(Packet::Connack { code, .. }) => assert_eq!(code, 1),
        other => panic!("not expected: {other:?}"),
    }
    assert_ne!(client.receive(PATIENCE).expect_err("no packet"), Gone::Silent);
    server.finish();
    Ok(())
}

fn protocol_violations_end_the_connection(path: PingPath) -> TestResult {
    stand_in::not_for("overlooks some of them")?;
    let server = Server::with(path).start()?;
    let mut bystander = bystander(server.target());
    for version in VERSIONS {
        for (what, bytes) in violations(version) {
            println!("{version:?}: {what}");
            let mut client = Client::connect(server.target(), &Connect::new(version, "violator"));
            client.send(&bytes);
            let ending = client.wait_ending();
            if version == Version::V5 {
                let reason = ending.reason.unwrap_or_else(|| panic!("{what}: no DISCONNECT"));
                assert!(reason >= 0x80, "{what}: reason {reason:#04x}");
            }
        }
    }
    assert_served(&mut bystander);
    server.finish();
    Ok(())
}

fn a_thousand_silent_connections_leave_others_served(path: PingPath) -> TestResult {
    raise_descriptor_limit();
    let server = Server::with(path)
        .flag("--connect-timeout-secs", 3)
        .flag("--address-waiting-max", 0)
        .start()?;
    let mut bystander = bystander(server.target());
    let silent: Vec<Client> =
        (0..SILENT).map(|_| Client::dial(server.target(), Version::V5, None)).collect();
    assert_served(&mut bystander);
    let connections = server.wait_metric("push_connections", |n| n == 1 + SILENT as u64);
    assert!(connections == 1 + SILENT as u64 || connections == 0);
    server.wait_metric("push_connections", |connections| connections == 1);
    let timeouts = server.metrics().value("push_connects_total{result=\"timeout\"}");
    assert_eq!(timeouts, SILENT as u64);
    drop(silent);
    assert_served(&mut bystander);
    server.finish();
    Ok(())
}

fn connections_reset_in_the_middle_leave_nothing(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let mut publisher = bystander(server.target());
    for number in 0..100 {
        let connect = Connect::new(Version::V5, &format!("reset-{number}"));
        let mut client = Client::connect(server.target(), &connect);
        client.subscribe(&[("burst", 0)]);
        for _ in 0..5 {
            publisher.publish("burst", &[1; 5_000], 0);
        }
        if number % 2 == 0 {
            // With no time to linger, close sends RST.
            let socket = socket2::SockRef::from(client.stream());
            socket.set_linger(Some(Duration::ZERO)).expect("set linger");
        }
    }
    server.wait_metric("push_connections", |connections| connections == 1);
    server.wait_metric("push_sessions", |sessions| sessions == 1);
    publisher.assert_alive();
    server.finish();
    Ok(())
}

/// Each waits for ever for the rest of its packet; nothing but the budget would end it.
fn half_sent_packets_have_only_so_much_memory_together(path: PingPath) -> TestResult {
    const PACKET_BYTES: usize = 1 << 20;
    const CLIENTS: usize = 12;
    /// As many halves as the budget has room for.
    const ROOM: usize = 8;
    stand_in::not_for("has no such limit")?;
    let server = Server::with(path)
        .flag("--max-packet-bytes", PACKET_BYTES)
        .flag("--input-bytes-max", ROOM * PACKET_BYTES / 2)
        .start()?;
    let mut bystander = bystander(server.target());
    let payload = vec![b'x'; PACKET_BYTES - 100];
    let mut halves = Vec::new();
    for number in 0..CLIENTS {
        let version = VERSIONS[number % 2];
        let connect = Connect::new(version, &format!("half-{number}")).keep_alive(0);
        let mut client = Client::connect(server.target(), &connect);
        let (topic, payload) = ("half".to_owned(), payload.clone());
        let packet = wire::publish(version, &Publish { topic, payload, ..Publish::default() });
        // The server may have ended it already.
        let _ = client.try_send(&packet[..PACKET_BYTES / 2]);
        halves.push((version, client));
    }
    let limit = "push_limits_hit_total{limit=\"input_bytes\"}";
    server.wait_metric(limit, |hits| hits >= (CLIENTS - ROOM) as u64);
    server.wait_metric("push_connections", |connections| connections <= 1 + ROOM as u64);
    assert_served(&mut bystander);
    let mut ended = 0;
    for (version, client) in &mut halves {
        match client.receive(SILENCE) {
            Err(Gone::Silent) => {}
            Ok(Packet::Disconnect { reason, .. }) => {
                ended += 1;
                assert_eq!((*version, reason), (Version::V5, 0x97));
            }
            Ok(other) => panic!("not expected: {other:?}"),
            Err(_) => {
                ended += 1;
                assert_eq!(*version, Version::V311, "without a word");
            }
        }
    }
    assert_eq!(server.metrics().value(limit), ended);
    drop(halves);
    server.wait_metric("push_connections", |connections| connections == 1);
    // With the budget used up as before it would not come through.
    let mut whole = Client::connect(server.target(), &Connect::new(Version::V5, "whole"));
    whole.publish("echo", &payload, 1);
    assert_eq!(bystander.message().payload, payload);
    assert_eq!(server.metrics().value(limit), ended);
    whole.disconnect();
    server.finish();
    Ok(())
}

/// Those that hold the most for the longest pay, not who comes next.
fn publishers_are_served_while_others_hold_all_of_the_budget(path: PingPath) -> TestResult {
    const PACKET_BYTES: usize = 1 << 20;
    const HOLDERS: usize = 4;
    stand_in::not_for("has no such limit")?;
    let server = Server::with(path)
        .flag("--shards", 2)
        .flag("--max-packet-bytes", PACKET_BYTES)
        .flag("--input-bytes-max", HOLDERS * PACKET_BYTES)
        .start()?;
    let mut bystander = bystander(server.target());
    let holders: Vec<Client> = (0..HOLDERS)
        .map(|number| {
            let connect = Connect::new(Version::V5, &format!("holder-{number}")).keep_alive(0);
            let mut client = Client::connect(server.target(), &connect);
            let (topic, payload) = ("held".to_owned(), vec![b'x'; PACKET_BYTES - 100]);
            let publish = Publish { topic, payload, ..Publish::default() };
            let packet = wire::publish(Version::V5, &publish);
            client.send(&packet[..packet.len() - 100]);
            client
        })
        .collect();
    // 100 bytes of each are missing, so all together have some 800 bytes left.
    let limit = "push_limits_hit_total{limit=\"input_bytes\"}";
    for round in 0..20 {
        let connect = Connect::new(VERSIONS[round % 2], &format!("honest-{round}"));
        let mut honest = Client::connect(server.target(), &connect);
        let payload = vec![round as u8; 20_000];
        let (topic, packet_id) = ("echo".to_owned(), 1);
        let publish =
            Publish { topic, payload: payload.clone(), qos: 1, packet_id, ..Publish::default() };
        for piece in wire::publish(connect.version, &publish).chunks(5_000) {
            honest.send(piece);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(bystander.message().payload, payload, "{round}");
        honest.assert_alive();
    }
    let hits = server.metrics().value(limit);
    assert!((1..=HOLDERS as u64).contains(&hits), "{hits}");
    server.wait_metric("push_connections", |count| count <= 1 + HOLDERS as u64 - hits);
    drop(holders);
    server.finish();
    Ok(())
}

fn a_packet_that_does_not_go_on_ends_its_connection(path: PingPath) -> TestResult {
    const RATE_MIN: usize = 1_000;
    stand_in::not_for("has no such limit")?;
    let server = Server::with(path).flag("--packet-rate-min", RATE_MIN).start()?;
    let connect = |name| {
        let connect = Connect::new(Version::V5, name).keep_alive(0);
        Client::connect(server.target(), &connect)
    };
    let (mut stuck, mut slow) = (connect("stuck"), connect("slow"));
    let (topic, payload) = ("t".to_owned(), vec![b'x'; 1 << 20]);
    let publish = Publish { topic, payload, qos: 1, packet_id: 1, ..Publish::default() };
    let packet = wire::publish(Version::V5, &publish);
    let (head, rest) = packet.split_at(8_000);
    stuck.send(head);
    slow.send(head);
    let limit = "push_limits_hit_total{limit=\"packet_rate\"}";
    // Twice what is asked for.
    let mut sent = 0;
    for piece in rest.chunks(RATE_MIN).take(100) {
        if server.metrics().value(limit) > 0 {
            break;
        }
        slow.send(piece);
        sent += piece.len();
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(server.metrics().value(limit), 1);
    assert_eq!(stuck.wait_ending().reason, Some(0x97));
    slow.send(&rest[sent..]);
    assert_eq!(
        slow.expect("an acknowledgement", |packet| match packet {
            Packet::Ack { packet_id, .. } => Some(*packet_id),
            _ => None,
        }),
        1
    );
    server.finish();
    Ok(())
}

/// One packet that asks to look at every retained message more than a thousand million times: nobody
/// else may notice, whatever becomes of it.
fn a_subscribe_of_wide_filters_leaves_others_served(path: PingPath) -> TestResult {
    const RETAINED: usize = 100_000;
    const FILTERS: usize = 16_384;
    /// A shard that works through it in one go takes minutes.
    const FROZEN: Duration = Duration::from_secs(10);
    stand_in::not_for("knows no such limits")?;
    let server = Server::with(path)
        .flag("--shards", 1)
        .flag("--durability", "off")
        .flag("--subscribe-rate", 0)
        .start()?;
    let mut bystander = bystander(server.target());
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V311, "publisher"));
    let mut packets = Vec::new();
    for number in 0..RETAINED {
        let (topic, payload) = (format!("x/{number}"), b"kept".to_vec());
        let publish = Publish { topic, payload, retain: true, ..Publish::default() };
        packets.extend(wire::publish(Version::V311, &publish));
    }
    publisher.send(&packets);
    publisher.publish("all", b"sent", 1);
    let mut greedy = Client::connect(server.target(), &Connect::new(Version::V311, "greedy"));
    greedy.send(&wire::subscribe(Version::V311, 1, &vec![("+/+/a", 1); FILTERS]));
    let mut codes = None;
    for _ in 0..20 {
        let begun = Instant::now();
        bystander.ping();
        assert_eq!(server.http("/healthz").expect("asked").status, 200);
        assert!(begun.elapsed() < FROZEN, "frozen for {:?}", begun.elapsed());
        match greedy.receive(Duration::from_millis(100)) {
            Ok(Packet::Suback { codes: answer, .. }) => codes = Some(answer),
            Err(Gone::Silent) => {}
            other => panic!("not expected: {other:?}"),
        }
    }
    // As many as it may have subscriptions are looked for; more it may not ask for at once.
    let codes = codes.expect("a SUBACK");
    assert_eq!(codes.len(), FILTERS);
    let granted = codes.iter().filter(|code| **code == 1).count();
    assert!((1_000..FILTERS).contains(&granted), "{granted} granted");
    assert!(codes.iter().all(|code| [1, 0x80].contains(code)));
    let refused = server.metrics().value("push_limits_hit_total{limit=\"retained_backlog\"}");
    assert_eq!(refused as usize, FILTERS - granted);
    // Who comes now has what is retained, though others still look.
    let mut late = Client::connect(server.target(), &Connect::new(Version::V311, "late"));
    late.subscribe(&[("x/77", 1), ("x/78/#", 1)]);
    let topics = [late.message().topic, late.message().topic];
    assert_eq!(topics, ["x/77", "x/78"]);
    assert_served(&mut bystander);
    server.finish();
    Ok(())
}

/// The answers are more than may wait, and the server takes no more than it can answer.
fn who_reads_the_answers_may_ask_as_much_at_once_as_there_are_packet_ids(
    path: PingPath,
) -> TestResult {
    const PUBLISHES: u16 = 40_000;
    let server = Server::with(path).flag("--shards", 1).start()?;
    let mut subscriber =
        Client::connect(server.target(), &Connect::new(Version::V5, "durable").persistent());
    subscriber.subscribe(&[("stored", 1)]);
    subscriber.disconnect();
    // Answered at once, and when the disk has the message.
    for topic in ["t", "stored"] {
        let mut client = Client::connect(server.target(), &Connect::new(Version::V311, "eager"));
        let packets: Vec<u8> = (1..=PUBLISHES).flat_map(|id| publish_qos_1(topic, id)).collect();
        let mut writer = client.stream().try_clone().expect("a second handle");
        std::thread::scope(|scope| {
            scope.spawn(move || writer.write_all(&packets).expect("send all"));
            for expected in 1..=PUBLISHES {
                match client.receive(PATIENCE) {
                    Ok(Packet::Ack { kind: wire::PUBACK, packet_id, .. }) => {
                        assert_eq!(packet_id, expected);
                    }
                    other => panic!("{other:?} instead of PUBACK {expected}"),
                }
            }
        });
        client.assert_alive();
        client.disconnect();
    }
    assert_eq!(server.metrics().value("push_limits_hit_total{limit=\"answers\"}"), 0);
    server.finish();
    Ok(())
}

fn who_never_reads_the_answers_is_closed(path: PingPath) -> TestResult {
    stand_in::not_for("has no such limit")?;
    let server = Server::with(path).flag("--shards", 1).start()?;
    let mut bystander = bystander(server.target());
    // Without a keep alive: nothing else would end it.
    let connect = Connect::new(Version::V311, "deaf").keep_alive(0).receive_buffer(4 << 10);
    let mut client = Client::connect(server.target(), &connect);
    let packets: Vec<u8> = (1..=u16::MAX).flat_map(|id| publish_qos_1("t", id)).collect();
    let begun = Instant::now();
    while client.try_send(&packets).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "all of it is taken, and nothing read");
    }
    server.wait_metric("push_limits_hit_total{limit=\"answers\"}", |hits| hits == 1);
    server.wait_metric("push_connections", |connections| connections == 1);
    assert_served(&mut bystander);
    server.finish();
    Ok(())
}

/// A PUBLISH without payload, as 3.1.1 has it.
fn publish_qos_1(topic: &str, packet_id: u16) -> Vec<u8> {
    let topic = topic.to_owned();
    wire::publish(Version::V311, &Publish { topic, qos: 1, packet_id, ..Publish::default() })
}

/// Whole packets that no client may send on a connection [MQTT-4.8.0-1, MQTT-4.13.1-1].
fn violations(version: Version) -> Vec<(&'static str, Vec<u8>)> {
    let publish = |flags: u8, body: &[u8]| wire::frame(0x30 | flags, body);
    let mut list = vec![
        ("packet type 0", vec![0x00, 0x00]),
        ("a CONNACK from a client", vec![0x20, 0x02, 0x00, 0x00]),
        ("a PINGRESP from a client", vec![0xD0, 0x00]),
        ("flags on PINGREQ", vec![0xC1, 0x00]),
        ("a SUBSCRIBE with flags 0", wire::frame(0x80, &[0, 1, 0, 0, 1, b'a', 0])),
        ("a SUBSCRIBE without filters", wire::subscribe(version, 1, &[])),
        ("QoS 3", publish(0x06, &[0, 1, b'a', 0, 1, 0])),
        ("a remaining length of five bytes", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
        ("a wildcard in a topic name", {
            let topic = "a/#".to_owned();
            wire::publish(version, &wire::Publish { topic, ..Default::default() })
        }),
        ("packet id 0", wire::subscribe(version, 0, &[("a", 0)])),
    ];
    if version == Version::V5 {
        list.push(("AUTH without a method", vec![0xF0, 0x00]));
    } else {
        list.push(("packet type 15", vec![0xF0, 0x00]));
    }
    list
}

fn bystander(target: &Target) -> Client {
    let mut client = Client::connect(target, &Connect::new(Version::V5, "bystander"));
    client.subscribe(&[("echo", 1)]);
    client
}

#[track_caller]
fn assert_served(client: &mut Client) {
    client.publish("echo", b"served", 1);
    assert_eq!(client.message().payload, b"served");
    client.expect_no_message(SILENCE);
    client.ping();
}

/// Waits for the server to end the connection, whatever it says before.
#[track_caller]
fn wait_gone(client: &mut Client) {
    loop {
        match client.read_some(4_096, PATIENCE) {
            Ok(_) => {}
            Err(Gone::Silent) => panic!("the server did not end the connection"),
            Err(_) => return,
        }
    }
}
