//! The kernel answers heartbeats inside TLS if user space can foretell the client's next record; otherwise user
//! space answers. The client does not notice.

use std::time::Duration;

use push_tests::clients::{Client, Connect};
use push_tests::expectations::PATIENCE;
use push_tests::load::options::LayerOptions;
use push_tests::load::transport::Kind;
use push_tests::server::PingPath;
use push_tests::skip::TestResult;
use push_tests::stream::Layered;
use push_tests::tls::{self, NONCES_SUITE, Nonces, TLS_VERSIONS, TlsStream};
use push_tests::wire::{PINGREQ, Packet, Version};
use rustls::version::TLS13;

use crate::rig::{Rig, declined};

/// Pings of a client whose share is looked at: more than its table has answers for.
const PINGS: u64 = 20;

/// The kernel answers at least so many of them: not the first one after a message, and not those that come
/// before the table is filled up again.
const KERNEL_PINGS_MIN: u64 = 10;

/// On the kernel path the kernel has answered most pings of a client, and on the other path none.
#[track_caller]
fn assert_path(path: PingPath, kernel: u64, what: &str) {
    match path {
        PingPath::Kernel => assert!(kernel >= KERNEL_PINGS_MIN, "{what}: {kernel} by the kernel"),
        PingPath::User => assert_eq!(kernel, 0, "{what}"),
    }
}

pub(crate) fn pings_of_every_version_take_the_path(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    for version in TLS_VERSIONS {
        let config = rig.certificates.offer().version(version).config();
        let connect = Connect::new(Version::V5, &format!("{version:?}"));
        let mut client = tls::connect(&rig.server.tls(), &config, &connect);
        let suite = client.layers::<TlsStream>().suite();
        assert_path(path, rig.server.kernel_share_of(&mut client, PINGS), &format!("{suite:?}"));
        client.subscribe(&[("echo", 1)]);
        client.publish("echo", b"after pings", 1);
        assert_eq!(client.message().payload, b"after pings");
        assert_path(path, rig.server.kernel_share_of(&mut client, PINGS), &format!("{suite:?}"));
        client.disconnect();
    }
    assert_eq!(declined(&rig.server, "layers"), 0);
    rig.finish();
    Ok(())
}

/// TLS 1.2 with AES-GCM: the client says a nonce in each record, as it likes.
pub(crate) fn nonces_that_can_be_foretold_are(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    for nonces in [Nonces::Numbers, Nonces::Counted, Nonces::Mixed] {
        // A start decides what counting and mixing have in common.
        for connection in 0..3 {
            let name = format!("{nonces}-{connection}");
            let mut client = tls::connect(
                &rig.server.tls(),
                &rig.certificates.offer().nonces(nonces).config(),
                &Connect::new(Version::V5, &name),
            );
            assert_eq!(client.layers::<TlsStream>().suite(), NONCES_SUITE);
            assert_path(path, rig.server.kernel_share_of(&mut client, PINGS), &name);
            client.disconnect();
        }
    }
    rig.finish();
    Ok(())
}

pub(crate) fn nonces_that_cannot_be_foretold_are_served_by_user_space(
    path: PingPath,
) -> TestResult {
    let rig = Rig::start(path)?;
    let config = rig.certificates.offer().nonces(Nonces::Random).config();
    let connect = Connect::new(Version::V5, "random");
    let mut client = tls::connect(&rig.server.tls(), &config, &connect);
    client.subscribe(&[("echo", 1)]);
    for round in 0..3_u8 {
        assert_eq!(rig.server.kernel_share_of(&mut client, PINGS), 0);
        client.publish("echo", &[round; 100], 1);
        assert_eq!(client.message().payload, [round; 100]);
    }
    client.disconnect();
    rig.finish();
    Ok(())
}

/// TLS 1.3: a client may put zeros behind what it says.
pub(crate) fn padded_pings_are_served_by_user_space(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    for padding in [1, 13, 200] {
        let config = rig.certificates.offer().padding(padding).config();
        let connect = Connect::new(Version::V5, &format!("pads-{padding}"));
        let mut client = tls::connect(&rig.server.tls(), &config, &connect);
        client.subscribe(&[("echo", 1)]);
        for round in 0..2_u8 {
            assert_eq!(rig.server.kernel_share_of(&mut client, PINGS / 2), 0);
            client.publish("echo", &[round; 100], 1);
            assert_eq!(client.message().payload, [round; 100]);
        }
        client.disconnect();
    }
    rig.finish();
    Ok(())
}

/// The server's own KeyUpdate waits for what it says next, and nothing of the kernel's may come before it.
pub(crate) fn a_reply_to_a_key_update_holds_nobody_up(path: PingPath) -> TestResult {
    /// Long enough for the server to have read what was sent.
    const APART: Duration = Duration::from_millis(50);
    let rig = Rig::start(path)?;
    let config = rig.certificates.offer().version(&TLS13).config();
    let mut client =
        tls::connect(&rig.server.tls(), &config, &Connect::new(Version::V5, "new-keys"));
    let mut other = rig.connect(&Connect::new(Version::V5, "other"));
    client.subscribe(&[("keys", 1)]);
    for round in 0..4_u8 {
        rig.server.prove_path_by(&mut client);
        let stream = client.layers::<TlsStream>();
        stream.connection().refresh_traffic_keys().expect("TLS 1.3");
        stream.write_records().expect("send to the server");
        std::thread::sleep(APART);
        match round % 2 {
            // The first ping with the new keys: alone on its way.
            0 => {
                client.send(&PINGREQ);
                client.expect("a PINGRESP", |packet| (*packet == Packet::Pingresp).then_some(()));
            }
            // The server speaks first.
            _ => {
                other.publish("keys", &[round], 1);
                assert_eq!(client.message().payload, [round]);
            }
        }
        // And the path goes on with them.
        rig.server.prove_path_by(&mut client);
    }
    client.disconnect();
    other.disconnect();
    rig.finish();
    Ok(())
}

/// The mask of each frame is the client's choice: nobody can foretell it.
pub(crate) fn websocket_inside_tls_is_served_by_user_space(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    let target = rig.server.websocket_tls();
    let layers = LayerOptions {
        tls: Some(rig.certificates.folder.ca()),
        ws: true,
        tls_name: Some("localhost".to_owned()),
        ..LayerOptions::default()
    };
    let kind = Kind::new(&layers, target.address).expect("certificates of our own");
    let socket = target.connect(None).expect("connect to the server");
    socket.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    let stream = Layered::open(socket, &kind, 1).expect("handshakes");
    let mut client = Client::accepted_over(stream, &Connect::new(Version::V5, "frames"));
    assert_eq!(rig.server.kernel_share_of(&mut client, PINGS / 2), 0);
    assert_eq!(declined(&rig.server, "layers"), u64::from(path == PingPath::Kernel));
    client.disconnect();
    rig.finish();
    Ok(())
}
