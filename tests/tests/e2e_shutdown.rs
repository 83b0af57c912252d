//! SIGTERM: clients are told, everything is closed cleanly, and the process exits 0 in time.

use std::time::Duration;

use push_tests::both_paths;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::server::{PingPath, Place, STOP_MAX, Server, raise_descriptor_limit};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{Packet, Properties, VERSIONS, Value, Version, property};

/// "Server shutting down" of an MQTT 5 DISCONNECT.
const SERVER_SHUTTING_DOWN: u8 = 0x8B;

/// "Use another server" of an MQTT 5 DISCONNECT or CONNACK.
const USE_ANOTHER_SERVER: u8 = 0x9C;

/// Clients of the great stop.
const CLIENTS: usize = 500;

both_paths! {
    clients_are_told_of_the_stop,
    clients_are_sent_to_the_server_named,
    five_hundred_pinged_clients_see_a_clean_end,
    a_client_that_does_not_read_cannot_delay_the_stop,
    a_new_server_takes_the_port_at_once,
}

fn clients_are_told_of_the_stop(path: PingPath) -> TestResult {
    stand_in::not_for("gives another reason")?;
    let mut server = Server::with(path).start()?;
    let mut clients = VERSIONS.map(|version| {
        (version, Client::connect(server.target(), &Connect::new(version, &format!("{version:?}"))))
    });
    server.prove_path();
    server.terminate();
    for (version, client) in &mut clients {
        let ending = client.wait_ending();
        assert_eq!(ending.how, Gone::Closed);
        let expected = (*version == Version::V5).then_some(SERVER_SHUTTING_DOWN);
        assert_eq!(ending.reason, expected);
    }
    assert_orderly_exit(&mut server);
    Ok(())
}

/// [MQTT5 4.11] Those served, and those that come with their CONNECT during the stop.
fn clients_are_sent_to_the_server_named(path: PingPath) -> TestResult {
    stand_in::not_for("gives another reason")?;
    let elsewhere = "mqtt.example.org:1884";
    let mut server =
        Server::with(path).flag("--redirect-to", elsewhere).flag("--shards", 1).start()?;
    let mut served = VERSIONS.map(|version| {
        (version, Client::connect(server.target(), &Connect::new(version, &format!("{version:?}"))))
    });
    let mut late = VERSIONS.map(|version| (version, Client::dial(server.target(), version, None)));
    wait_for("all of them to be accepted", || {
        (server.metrics().value("push_connections") >= 4).then_some(())
    });
    server.prove_path();
    server.terminate();
    for (version, client) in &mut served {
        let (reason, properties) = match version {
            Version::V5 => client.expect("a DISCONNECT", |packet| match packet {
                Packet::Disconnect { reason, properties } => {
                    Some((Some(*reason), properties.clone()))
                }
                _ => None,
            }),
            Version::V31 | Version::V311 => (None, Properties::default()),
        };
        let expected = (*version == Version::V5).then_some(USE_ANOTHER_SERVER);
        assert_eq!(reason, expected);
        assert_eq!(names(&properties, elsewhere), *version == Version::V5);
        assert_eq!(client.wait_ending().how, Gone::Closed);
    }
    for (version, client) in &mut late {
        client.say_connect(&Connect::new(*version, "late"));
        client.read_connack(PATIENCE).expect("a CONNACK");
        let expected = if *version == Version::V5 { USE_ANOTHER_SERVER } else { 3 };
        assert_eq!(client.connack.code, expected);
        assert_eq!(names(&client.connack.properties, elsewhere), *version == Version::V5);
        assert_eq!(client.wait_ending().how, Gone::Closed);
    }
    assert_orderly_exit(&mut server);
    Ok(())
}

/// Whether the properties have `reference` as Server Reference.
fn names(properties: &Properties, reference: &str) -> bool {
    properties.0.contains(&(property::SERVER_REFERENCE, Value::Text(reference.to_owned())))
}

fn five_hundred_pinged_clients_see_a_clean_end(path: PingPath) -> TestResult {
    stand_in::not_for("gives another reason")?;
    raise_descriptor_limit();
    for place in [Place::LoopbackV4, Place::VethV4] {
        let mut server = Server::with(path).place(place).flag("--shards", 2).start()?;
        let mut clients: Vec<Client> = (0..CLIENTS)
            .map(|number| {
                let connect = Connect::new(Version::V5, &format!("client-{number}"));
                Client::connect(server.target(), &connect)
            })
            .collect();
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(200));
            clients.iter_mut().for_each(Client::ping);
        }
        let metrics = server.metrics();
        match path {
            // Each of them has had an answer of the kernel: its numbers are translated.
            PingPath::Kernel => assert!(
                metrics.kernel_pings() >= 2 * CLIENTS as u64,
                "{} pings answered by the kernel",
                metrics.kernel_pings()
            ),
            PingPath::User => assert_eq!(metrics.kernel_pings(), 0),
        }
        server.terminate();
        for client in &mut clients {
            let ending = client.wait_ending();
            assert_eq!((ending.how, ending.reason), (Gone::Closed, Some(SERVER_SHUTTING_DOWN)));
        }
        assert_orderly_exit(&mut server);
    }
    Ok(())
}

fn a_client_that_does_not_read_cannot_delay_the_stop(path: PingPath) -> TestResult {
    let mut server = Server::with(path).start()?;
    let connect = Connect::new(Version::V5, "stuck").receive_buffer(4 << 10);
    let mut stuck = Client::connect(server.target(), &connect);
    stuck.subscribe(&[("flood", 1)]);
    let mut publisher = Client::connect(server.target(), &Connect::new(Version::V5, "flooder"));
    for _ in 0..20 {
        publisher.publish("flood", &vec![7; 1 << 20], 1);
    }
    server.terminate();
    assert_orderly_exit(&mut server);
    Ok(())
}

fn a_new_server_takes_the_port_at_once(path: PingPath) -> TestResult {
    let server = Server::with(path).start()?;
    let mut client = Client::connect(server.target(), &Connect::new(Version::V311, "first"));
    client.ping();
    let address = server.target().address;
    server.finish();
    // Beside its own listen address it gets that of the server before.
    let second = Server::with(path).flag("--listen", address).start()?;
    let mut target = second.target().clone();
    target.address = address;
    let mut client = Client::connect(&target, &Connect::new(Version::V311, "second"));
    client.ping();
    second.finish();
    Ok(())
}

fn assert_orderly_exit(server: &mut Server) {
    let (status, took) = server.wait_exit();
    assert!(status.success(), "the server ended with {status}");
    assert!(took <= STOP_MAX, "an orderly stop took {took:?}");
}
