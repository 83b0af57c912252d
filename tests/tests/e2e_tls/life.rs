//! A client's life over TLS: messages, sessions across listeners, expiry, certificates, tickets.

use std::time::Duration;

use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::PATIENCE;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::tls::{self, TLS_VERSIONS, TlsStream, alert_of, dial};
use push_tests::wire::{PINGREQ, Packet, VERSIONS, Version};
use rustls::AlertDescription;

use crate::rig::{Certificates, Rig, echo, ended_in_order};

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
        slow.ping();
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
        assert_eq!(plain.wait_ending().reason, Some(TAKEN_OVER));
        publisher.publish(&name, b"to the second", 1);
        assert_eq!(inside.message().payload, b"to the second");
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
        let connect = Connect::new(Version::V5, "pings").keep_alive(1).will("wills/pings", b"x");
        let mut pings = tls::connect(&rig.server.tls(), &config, &connect);
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(400));
            pings.ping();
        }
        assert_eq!(ended_in_order(&mut silent), Some(KEEP_ALIVE_TIMEOUT));
        assert_eq!(watcher.message().topic, "wills/silent");
        pings.disconnect();
    }
    watcher.expect_no_message(push_tests::expectations::SILENCE);
    rig.finish();
    Ok(())
}

pub(crate) fn a_certificate_is_asked_for_as_configured() -> TestResult {
    let foreign = Certificates::new();
    for (mode, without, with_foreign) in
        [("none", true, true), ("optional", true, false), ("required", false, false)]
    {
        let certificates = Certificates::new();
        let ca = certificates.folder.ca();
        let ca = ca.to_str().expect("a path in UTF-8");
        let mut server = Server::with(PingPath::User).tls(&certificates.folder);
        server = server.flag("--tls-client-auth", mode);
        if mode != "none" {
            server = server.flag("--tls-client-ca", ca);
        }
        let server = server.start()?;
        for version in TLS_VERSIONS {
            let offer = certificates.offer().version(version);
            let ours = offer.clone().showing(certificates.folder.client());
            let theirs = offer.clone().showing(foreign.folder.client());
            let is_served = |offer: tls::Offer| {
                let name = format!("{mode}-{version:?}");
                // In TLS 1.3 a client learns of its refusal only after its own last flight.
                let stream = match dial(&server.tls(), &offer.config()) {
                    Ok(stream) => stream,
                    Err(error) => {
                        assert!(alert_of(&error).is_some(), "{error}");
                        return false;
                    }
                };
                let mut client = Client::over(stream, Version::V5);
                let connect = Connect::new(Version::V5, &name);
                if client.try_send(&push_tests::websocket::connect_packet(&connect)).is_err() {
                    return false;
                }
                match client.read_connack(PATIENCE) {
                    Ok(()) => {
                        client.disconnect();
                        true
                    }
                    Err(Gone::Alert(alert)) => {
                        let expected = [
                            AlertDescription::CertificateRequired,
                            AlertDescription::UnknownCA,
                            AlertDescription::BadCertificate,
                        ];
                        assert!(expected.contains(&alert), "{alert:?}");
                        false
                    }
                    Err(gone) => {
                        assert_eq!(gone, Gone::Reset, "without a reason");
                        false
                    }
                }
            };
            assert_eq!(is_served(offer.clone()), without, "{mode}: none shown");
            assert!(is_served(ours), "{mode}: one that our authority has issued");
            assert_eq!(is_served(theirs), with_foreign, "{mode}: a stranger's");
        }
        server.finish();
    }
    Ok(())
}

pub(crate) fn sessions_are_resumed_until_the_server_restarts(path: PingPath) -> TestResult {
    let certificates = Certificates::new();
    let builder = || Server::with(path).tls(&certificates.folder).flag("--shards", 2);
    for version in TLS_VERSIONS {
        let config = certificates.offer().version(version).resuming().config();
        let visit = |server: &Server| {
            let stream = dial(&server.tls(), &config).expect("a handshake");
            let is_resumed = stream.is_resumed();
            let mut client = Client::accepted_over(stream, &Connect::new(Version::V5, "back"));
            client.ping();
            client.disconnect();
            is_resumed
        };
        let server = builder().start()?;
        // Whichever shard takes it, once it has a ticket.
        let resumed: Vec<bool> = (0..10).map(|_| visit(&server)).collect();
        assert_eq!(resumed[0], false);
        assert!(resumed[1..].iter().all(|&is_resumed| is_resumed), "{resumed:?}");
        server.finish();
        // Its keys are in no file: tickets of before are of no use, and do no harm.
        let server = builder().start()?;
        let resumed: Vec<bool> = (0..3).map(|_| visit(&server)).collect();
        assert_eq!(resumed, [false, true, true]);
        server.finish();
    }
    Ok(())
}
