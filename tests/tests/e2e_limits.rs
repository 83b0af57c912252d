//! Limits: what happens when one is reached, that it is counted, and that nobody else suffers.

use std::time::Duration;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::{PATIENCE, SILENCE};
use push_tests::server::{PingPath, Server, Target};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{self, PINGREQ, Packet, Publish, Version};
use rustix::process::Signal;

/// "Packet too large" of an MQTT 5 DISCONNECT.
const PACKET_TOO_LARGE: u8 = 0x95;

/// "Message rate too high" of an MQTT 5 DISCONNECT.
const MESSAGE_RATE_TOO_HIGH: u8 = 0x96;

/// Longer than a client's kernel puts off an acknowledgement.
const DELAYED_ACK: Duration = Duration::from_millis(100);

/// How long a client that is not accepted is seen to wait.
const KEPT_WAITING: Duration = Duration::from_secs(1);

both_paths! {
    at_max_connections_accept_pauses_and_resumes,
    out_of_descriptors_accept_pauses_and_resumes,
    with_few_descriptors_fewer_connections_are_promised,
    a_packet_too_large_disconnects_its_sender_alone,
    a_ping_flood_disconnects_its_sender_alone,
    pings_without_limit_are_all_answered,
    pings_sent_while_the_server_stood_still_cost_no_connection,
    a_short_keep_alive_raises_the_ping_rate,
    who_does_not_connect_in_time_is_closed,
    a_longer_keep_alive_than_allowed_is_cut_to_the_limit,
    a_client_id_is_no_longer_than_allowed,
    filters_of_a_session_have_only_so_many_bytes_together,
}

fn at_max_connections_accept_pauses_and_resumes(path: PingPath) -> TestResult {
    const CONNECTIONS: usize = 8;
    // With several shards the limit is still one.
    for shards in [1, 2] {
        let server = Server::with(path)
            .flag("--max-connections", CONNECTIONS)
            .flag("--shards", shards)
            .start()?;
        let mut clients: Vec<Client> =
            (0..CONNECTIONS).map(|n| connect(server.target(), n)).collect();
        assert_accept_pauses_and_resumes(&server, &mut clients);
        let sample = "push_limits_hit_total{limit=\"max_connections\"}";
        server.wait_metric(sample, |hits| hits > 0);
        drop(clients);
        server.wait_metric("push_connections", |connections| connections == 0);
        server.finish();
    }
    Ok(())
}

fn out_of_descriptors_accept_pauses_and_resumes(path: PingPath) -> TestResult {
    /// Of these the server keeps its reserve and promises the rest.
    const DESCRIPTORS: u64 = 512;
    /// Open already when it starts, which its reserve does not know of: left by who started it, as
    /// careless supervisors do.
    const INHERITED: u64 = 446;
    let server = Server::with(path)
        .descriptors(DESCRIPTORS)
        .inherited_descriptors(INHERITED)
        .flag("--shards", 1)
        .flag("--max-connections", 1_000)
        .start()?;
    let mut clients = fill(&server, (DESCRIPTORS - INHERITED) as usize);
    assert_accept_pauses_and_resumes(&server, &mut clients);
    // HTTP needs descriptors too.
    clients.truncate(clients.len() / 2);
    server.wait_metric("push_limits_hit_total{limit=\"descriptors\"}", |hits| hits > 0);
    drop(clients);
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn with_few_descriptors_fewer_connections_are_promised(path: PingPath) -> TestResult {
    const DESCRIPTORS: u64 = 512;
    let server = Server::with(path)
        .descriptors(DESCRIPTORS)
        .flag("--shards", 1)
        .flag("--max-connections", 1_000)
        .start()?;
    server.wait_log("RLIMIT_NOFILE");
    server.wait_log("ulimit -Hn");
    let mut clients = fill(&server, DESCRIPTORS as usize);
    assert_accept_pauses_and_resumes(&server, &mut clients);
    server.wait_metric("push_limits_hit_total{limit=\"max_connections\"}", |hits| hits > 0);
    assert_eq!(server.metrics().value("push_limits_hit_total{limit=\"descriptors\"}"), 0);
    drop(clients);
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn a_packet_too_large_disconnects_its_sender_alone(path: PingPath) -> TestResult {
    const PACKET_BYTES_MAX: usize = 10_000;
    let server = Server::with(path).flag("--max-packet-bytes", PACKET_BYTES_MAX).start()?;
    let mut bystander = connect(server.target(), 0);
    bystander.subscribe(&[("size", 1)]);
    let mut client = connect(server.target(), 1);
    let granted = client.connack.properties.number(wire::property::MAXIMUM_PACKET_SIZE);
    assert_eq!(granted, Some(PACKET_BYTES_MAX as u32));
    // Fixed header 3, topic 2 + 4, packet id 2, properties 1.
    let fits = vec![7; PACKET_BYTES_MAX - 12];
    client.publish("size", &fits, 1);
    assert_eq!(bystander.message().payload, fits);
    let too_large = Publish {
        topic: "size".to_owned(),
        payload: vec![7; PACKET_BYTES_MAX - 11],
        qos: 1,
        packet_id: 9,
        ..Publish::default()
    };
    client.send(&wire::publish(Version::V5, &too_large));
    assert_eq!(client.wait_ending().reason, Some(PACKET_TOO_LARGE));
    server.wait_metric("push_limits_hit_total{limit=\"packet_bytes\"}", |hits| hits == 1);
    bystander.expect_no_message(SILENCE);
    bystander.assert_alive();
    server.finish();
    Ok(())
}

fn a_ping_flood_disconnects_its_sender_alone(path: PingPath) -> TestResult {
    const BURST: usize = 20;
    /// Enough even if the flood takes this many seconds less the burst.
    const FLOOD: usize = 200;
    let server = Server::with(path).start()?;
    let mut bystander = connect(server.target(), 0);
    let mut client = connect(server.target(), 1);
    // As the kernel's rules want it: the CONNACK acknowledged before the first ping.
    std::thread::sleep(DELAYED_ACK);
    let mut answered = 0;
    let reason = loop {
        assert!(answered < FLOOD, "{answered} pings at once are answered");
        client.send(&PINGREQ);
        match client.receive(PATIENCE).expect("a PINGRESP or a DISCONNECT") {
            Packet::Pingresp => answered += 1,
            Packet::Disconnect { reason, .. } => break reason,
            other => panic!("{other:?}"),
        }
    };
    assert!(answered >= BURST, "{answered} pings were answered of a burst of {BURST}");
    assert_eq!(reason, MESSAGE_RATE_TOO_HIGH);
    server.wait_metric("push_limits_hit_total{limit=\"ping_rate\"}", |hits| hits == 1);
    let metrics = server.metrics();
    let declined = metrics.value("push_kernel_path_declined_total{reason=\"ping_rate\"}");
    match path {
        PingPath::User => assert_eq!((metrics.kernel_pings(), declined), (0, 0)),
        PingPath::Kernel => assert!(metrics.kernel_pings() > 0 && declined > 0),
    }
    bystander.assert_alive();
    server.finish();
    Ok(())
}

fn pings_without_limit_are_all_answered(path: PingPath) -> TestResult {
    let server = Server::with(path).flag("--ping-rate", 0).start()?;
    let mut client = connect(server.target(), 0);
    for _ in 0..500 {
        client.ping();
    }
    assert_eq!(server.metrics().value("push_limits_hit_total{limit=\"ping_rate\"}"), 0);
    server.finish();
    Ok(())
}

/// A stopped process reads at once what came meanwhile; a suspended machine does the same.
fn pings_sent_while_the_server_stood_still_cost_no_connection(path: PingPath) -> TestResult {
    /// After so long the kernel answers for a shard no more, and all pings wait in the socket.
    const SHARD_SILENT: Duration = Duration::from_secs(6);
    const PER_SEC: u32 = 20;
    const HELD_BACK: usize = 40;
    let server = Server::with(path).flag("--ping-rate", PER_SEC).flag("--ping-burst", 5).start()?;
    let mut client = connect(server.target(), 0);
    client.ping();
    server.signal(Signal::STOP);
    if path == PingPath::Kernel {
        std::thread::sleep(SHARD_SILENT);
    }
    for _ in 0..HELD_BACK {
        client.send(&PINGREQ);
        // Never faster than the rate, and a busy machine only makes it slower.
        std::thread::sleep(Duration::from_secs(1) / PER_SEC);
    }
    server.signal(Signal::CONT);
    for ping in 0..HELD_BACK {
        let answer = client.receive(PATIENCE);
        assert!(matches!(answer, Ok(Packet::Pingresp)), "ping {ping}: {answer:?}");
    }
    let metrics = server.metrics();
    assert_eq!(metrics.value("push_limits_hit_total{limit=\"ping_rate\"}"), 0);
    let left = metrics.value("push_kernel_path_declined_total{reason=\"shard_silent\"}");
    assert_eq!(left > 0, path == PingPath::Kernel, "{left} pings were left to user space");
    client.assert_alive();
    server.finish();
    Ok(())
}

fn a_short_keep_alive_raises_the_ping_rate(path: PingPath) -> TestResult {
    /// Four a second: what the keep alive allows, and four times `--ping-rate`.
    const INTERVAL: Duration = Duration::from_millis(250);
    const PINGS: usize = 12;
    for version in [Version::V311, Version::V5] {
        let server = Server::with(path).flag("--ping-burst", 1).start()?;
        let connect = Connect::new(version, "impatient").keep_alive(1);
        let mut client = Client::connect(server.target(), &connect);
        for _ in 0..PINGS {
            std::thread::sleep(INTERVAL);
            client.ping();
        }
        let metrics = server.metrics();
        assert_eq!(metrics.value("push_limits_hit_total{limit=\"ping_rate\"}"), 0);
        let declined = metrics.value("push_kernel_path_declined_total{reason=\"ping_rate\"}");
        assert_eq!(declined, 0, "the kernel has the same rate");
        assert_eq!(metrics.kernel_pings() > 0, path == PingPath::Kernel);
        server.finish();
    }
    Ok(())
}

fn who_does_not_connect_in_time_is_closed(path: PingPath) -> TestResult {
    let server = Server::with(path).flag("--connect-timeout-secs", 1).start()?;
    let mut silent = Client::dial(server.target(), Version::V5, None);
    let mut half = Client::dial(server.target(), Version::V5, None);
    half.send(&[0x10, 0x10, 0x00, 0x04, b'M']);
    for client in [&mut silent, &mut half] {
        let ending = client.wait_ending();
        assert_eq!(ending.reason, None, "a packet before CONNECT was answered");
    }
    server.wait_metric("push_connects_total{result=\"timeout\"}", |timeouts| timeouts == 2);
    server.wait_metric("push_connections", |connections| connections == 0);
    server.finish();
    Ok(())
}

fn a_longer_keep_alive_than_allowed_is_cut_to_the_limit(path: PingPath) -> TestResult {
    let server = Server::with(path).flag("--keep-alive-max-secs", 100).start()?;
    let server_keep_alive = |asked: u16| {
        let connect = Connect::new(Version::V5, "asks").keep_alive(asked);
        let client = Client::connect(server.target(), &connect);
        client.connack.properties.number(wire::property::SERVER_KEEP_ALIVE)
    };
    assert_eq!(server_keep_alive(101), Some(100));
    assert_eq!(server_keep_alive(0), Some(100));
    assert_eq!(server_keep_alive(100).unwrap_or(100), 100);
    server.finish();
    Ok(())
}

fn a_client_id_is_no_longer_than_allowed(path: PingPath) -> TestResult {
    stand_in::not_for("has another limit")?;
    for (flag, longest) in [(None, 1_024), (Some(23), 23)] {
        let server = Server::with(path).flag("--shards", 2);
        let server = match flag {
            Some(bytes) => server.flag("--client-id-bytes-max", bytes),
            None => server,
        };
        let server = server.start()?;
        for (version, code) in [(Version::V311, 2), (Version::V5, 0x85)] {
            let connect = |bytes: usize| {
                let connect = Connect::new(version, &"x".repeat(bytes));
                Client::open(server.target(), &connect).expect("a CONNACK")
            };
            assert_eq!(connect(longest + 1).connack.code, code);
            assert_eq!(connect(longest).connack.code, 0);
        }
        server.wait_metric("push_limits_hit_total{limit=\"client_id_bytes\"}", |hits| hits == 2);
        let refused = server.metrics().value("push_connects_total{result=\"refused\"}");
        assert_eq!(refused, 2);
        server.finish();
    }
    Ok(())
}

fn filters_of_a_session_have_only_so_many_bytes_together(path: PingPath) -> TestResult {
    stand_in::not_for("has no such limit")?;
    let server = Server::with(path).flag("--subscription-bytes-max", 9_216).start()?;
    // Each weighs some 3,500: its text in three places, and three levels in two.
    let filters = ["a", "b", "c"].map(|level| format!("{level}/{}/+", "x".repeat(1_000)));
    let [first, second, third] = &filters;
    for (version, full) in [(Version::V311, 0x80), (Version::V5, 0x97)] {
        let mut client = Client::connect(server.target(), &Connect::new(version, "collector"));
        let asked = [(first.as_str(), 1), (second, 1), (third, 1), ("short", 1)];
        assert_eq!(client.subscribe(&asked), [1, 1, full, 1]);
        // Those that are there may change.
        assert_eq!(client.subscribe(&[(first, 0), (third, 0)]), [0, full]);
        client.unsubscribe(&[second]);
        assert_eq!(client.subscribe(&[(third, 1)]), [1]);
        client.publish(&third.replace('+', "it"), b"is here", 1);
        assert_eq!(client.message().payload, b"is here");
        client.disconnect();
    }
    server.wait_metric("push_limits_hit_total{limit=\"subscription_bytes\"}", |hits| hits == 4);
    server.finish();
    Ok(())
}

/// Connects clients until one is kept waiting: more than a handful, and fewer than `clients_max`.
fn fill(server: &Server, clients_max: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    while clients.len() < clients_max {
        let number = clients.len();
        let connect = Connect::new(Version::V5, &format!("client-{number}"));
        let mut client = Client::send_connect(server.target(), &connect);
        match client.read_connack(KEPT_WAITING) {
            Ok(()) => clients.push(client),
            Err(Gone::Silent) => {
                assert!(number > 4, "only {number} clients fit");
                return clients;
            }
            Err(gone) => panic!("client {number} was {gone:?}, not kept waiting"),
        }
    }
    panic!("{clients_max} clients fit: the limit is not kept");
}

/// The clients fill the server. The next one waits and nobody else notices, nor does the server
/// spin; when one leaves, the waiting one is served.
#[track_caller]
fn assert_accept_pauses_and_resumes(server: &Server, clients: &mut Vec<Client>) {
    let target = server.target();
    let mut waiting = Client::send_connect(target, &Connect::new(Version::V5, "waiting"));
    let busy_before = server.cpu_time();
    assert_eq!(waiting.read_connack(KEPT_WAITING), Err(Gone::Silent), "the limit is not kept");
    let busy = server.cpu_time() - busy_before;
    assert!(busy < KEPT_WAITING / 2, "the server was busy for {busy:?} of {KEPT_WAITING:?}");

    let (first, others) = clients.split_first_mut().expect("clients");
    first.subscribe(&[("still", 1)]);
    for client in others {
        client.publish("still", b"working", 1);
        assert_eq!(first.message().payload, b"working");
        client.assert_alive();
    }
    assert_eq!(waiting.read_connack(SILENCE), Err(Gone::Silent), "the limit is not kept");
    clients.pop().expect("clients").disconnect();
    waiting.read_connack(PATIENCE).expect("served after one left");
    assert_eq!(waiting.connack.code, 0);
    waiting.disconnect();
}

fn connect(target: &Target, number: usize) -> Client {
    Client::connect(target, &Connect::new(Version::V5, &format!("client-{number}")))
}
