//! A client's life over TLS: messages, sessions across listeners, expiry. How an operator sets TLS up, and
//! what clients show and resume, is in `e2e_tls_settings`.

use std::time::Duration;

use push_tests::clients::{Client, Connect};
use push_tests::expectations::PATIENCE;
use push_tests::server::PingPath;
use push_tests::skip::TestResult;
use push_tests::tls::{self, TLS_VERSIONS, TlsStream};
use push_tests::wire::{PINGREQ, Packet, VERSIONS, Version};

use crate::rig::{Rig, echo, ended_in_order};

/// "Session taken over" and "Keep Alive timeout" of an MQTT 5 DISCONNECT.
const TAKEN_OVER: u8 = 0x8E;
const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;

pub(crate) fn messages_of_every_size_come_whole(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    for version in TLS_VERSIONS {
        let config = rig.certificates.offer().version(version).config();
        for protocol in VERSIONS {
            let connect = Connect::new(protocol, "echoes");
            let mut client = tls::connect(&rig.server.tls(), &config, &connect);
            echo(&mut client, "echo");
            client.disconnect();
        }
    }
    // From TLS to TCP, and back.
    let mut inside = rig.connect(&Connect::new(Version::V5, "inside"));
    let mut outside = Client::connect(rig.server.target(), &Connect::new(Version::V5, "outside"));
    inside.subscribe(&[("to/inside", 1)]);
    outside.subscribe(&[("to/outside", 1)]);
    for size in [1, 20_000, 1_000_000] {
        let payload: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        outside.publish("to/inside", &payload, 1);
        assert!(inside.message().payload == payload, "{size} bytes");
        inside.publish("to/outside", &payload, 1);
        assert!(outside.message().payload == payload, "{size} bytes");
    }
    rig.finish();
    Ok(())
}

/// What is sealed waits for the socket, and nothing of it is lost or sealed twice.
pub(crate) fn a_slow_reader_gets_all_of_it(path: PingPath) -> TestResult {
    const MESSAGES: usize = 60;
    const BYTES: usize = 50_000;
    let rig = Rig::start(path)?;
    for version in TLS_VERSIONS {
        let config = rig.certificates.offer().version(version).config();
        let socket = rig.server.tls().connect(Some(4 << 10)).expect("connect to the server");
        let stream = TlsStream::open(socket, &config).expect("a handshake");
        let mut slow = Client::accepted_over(stream, &Connect::new(Version::V5, "slow"));
        slow.subscribe(&[("flood", 1)]);
        let connect = Connect::new(Version::V5, "publisher");
        let mut publisher = Client::connect(rig.server.target(), &connect);
        for number in 0..MESSAGES {
            publisher.publish("flood", &vec![number as u8; BYTES], 1);
        }
        slow.send(&PINGREQ);
        let (mut expected, mut is_answered) = (0, false);
        while expected < MESSAGES || !is_answered {
            if expected % 10 == 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
            match slow.receive(PATIENCE).expect("messages and a PINGRESP") {
                Packet::Publish(publish) => {
                    assert!(publish.payload == vec![expected as u8; BYTES], "message {expected}");
                    slow.acknowledge(&publish);
                    expected += 1;
                }
                Packet::Pingresp => is_answered = true,
                other => panic!("not expected: {other:?}"),
            }
        }
        rig.server.prove_path_by(&mut slow);
        slow.disconnect();
    }
    rig.finish();
    Ok(())
}

pub(crate) fn a_session_is_taken_over_across_listeners(path: PingPath) -> TestResult {
    let rig = Rig::start_with(path, |server| server.flag("--shards", 2))?;
    let mut publisher = Client::connect(rig.server.target(), &Connect::new(Version::V5, "sends"));
    for number in 0..6 {
        let name = format!("moves-{number}");
        let connect = Connect::new(Version::V5, &name).persistent();
        let mut plain = Client::connect(rig.server.target(), &connect);
        plain.subscribe(&[(&name, 1)]);
        let mut inside = rig.connect(&connect);
        assert!(inside.connack.session_present);
        // What is said to it later comes behind answers of its path's.
        rig.server.prove_path_by(&mut inside);
        assert_eq!(plain.wait_ending().reason, Some(TAKEN_OVER));
        publisher.publish(&name, b"to the second", 1);
        assert_eq!(inside.message().payload, b"to the second");
        // Its acknowledgement is read before the other client's CONNECT.
        inside.ping();
        let mut plain = Client::connect(rig.server.target(), &connect);
        assert!(plain.connack.session_present);
        assert_eq!(ended_in_order(&mut inside), Some(TAKEN_OVER));
        publisher.publish(&name, b"to the third", 1);
        assert_eq!(plain.message().payload, b"to the third");
    }
    rig.finish();
    Ok(())
}

pub(crate) fn expiry_and_goodbye_are_said_in_tls(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    let mut watcher = rig.watcher();
    for version in TLS_VERSIONS {
        let config = rig.certificates.offer().version(version).config();
        let connect = Connect::new(Version::V5, "silent").keep_alive(1).will("wills/silent", b"x");
        let mut silent = tls::connect(&rig.server.tls(), &config, &connect);
        rig.server.prove_path_by(&mut silent);
        let connect = Connect::new(Version::V5, "pings").keep_alive(1).will("wills/pings", b"x");
        let mut pings = tls::connect(&rig.server.tls(), &config, &connect);
        let before = rig.server.metrics().kernel_pings();
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(400));
            pings.ping();
        }
        let kernel = rig.server.metrics().kernel_pings() - before;
        assert_eq!(kernel >= 4, path == PingPath::Kernel, "{kernel} of 8 by the kernel");
        assert_eq!(ended_in_order(&mut silent), Some(KEEP_ALIVE_TIMEOUT));
        assert_eq!(watcher.message().topic, "wills/silent");
        pings.disconnect();
    }
    watcher.expect_no_message(push_tests::expectations::SILENCE);
    rig.finish();
    Ok(())
}
