//! Peers that do not fit, or that break rules: each is refused with a reason that it and the log's
//! reader understand, and nobody else notices.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use push_tests::clients::{Connect, Gone};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::relay::Relay;
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::target::Target;
use push_tests::tls::{TLS_VERSIONS, TlsStream};
use push_tests::wire::{self, Version};

use crate::rig::Rig;

const FAILED: &str = "the TLS handshake failed";
const STRANGER: &str = "another protocol than the address is for";

pub(crate) fn tls_1_1_is_refused() -> TestResult {
    let rig = Rig::start(PingPath::User)?;
    let ca = rig.certificates.folder.ca();
    for version in ["-tls1", "-tls1_1"] {
        // Debian's OpenSSL wants to be asked for it.
        let more = [version, "-cipher", "DEFAULT@SECLEVEL=0"];
        let mut relay = Relay::openssl(&rig.server.tls(), &ca, &more)?;
        assert!(!relay.wait_exit().success());
        let said = relay.log();
        let is_told = ["alert protocol version", "alert handshake failure"];
        assert!(is_told.iter().any(|alert| said.contains(alert)), "{said}");
    }
    rig.wait_handshakes("result=\"failed\",resumed=\"no\",version=\"\"", 2);
    wait_for("a line for each", || (rig.server.log().matches(FAILED).count() == 2).then_some(()));
    rig.connect(&Connect::new(Version::V5, "after")).disconnect();
    rig.finish();
    Ok(())
}

pub(crate) fn other_protocols_are_named_and_counted() -> TestResult {
    let rig = Rig::start_with(PingPath::User, |server| server.websocket())?;
    let (plain, tls) = (rig.server.target().clone(), rig.server.tls());
    let connect = wire::connect(Version::V311, "x", 60, true, None, &Default::default());
    let hello = || {
        // Whatever a client of TLS says when it is not answered.
        let refused = TlsStream::open(socket(&plain), &rig.certificates.offer().config());
        refused.expect_err("no TLS here");
    };
    let http = b"GET / HTTP/1.1\r\nHost: push\r\n\r\n";
    hello();
    strangers(&rig.server, "tls", 1);
    ends(&plain, http);
    strangers(&rig.server, "http", 1);
    ends(&tls, http);
    strangers(&rig.server, "http", 2);
    ends(&tls, &connect);
    strangers(&rig.server, "mqtt", 1);
    ends(&rig.server.websocket(), &connect);
    strangers(&rig.server, "mqtt", 2);
    wait_for("a line for each", || (rig.server.log().matches(STRANGER).count() == 5).then_some(()));
    rig.server.wait_metric("push_connections", |connections| connections == 0);
    rig.connect(&Connect::new(Version::V5, "after")).disconnect();
    rig.finish();
    Ok(())
}

#[track_caller]
fn strangers(server: &Server, protocol: &str, count: u64) {
    let sample = format!("push_strangers_total{{protocol=\"{protocol}\"}}");
    server.wait_metric(&sample, |found| found == count);
}

fn socket(target: &Target) -> TcpStream {
    let socket = target.connect(None).expect("connect to the server");
    socket.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    socket
}

/// Says this, and waits until the server has ended the connection.
#[track_caller]
fn ends(target: &Target, bytes: &[u8]) {
    let mut socket = socket(target);
    socket.write_all(bytes).expect("send to the server");
    // An alert may come first, and a reset last, since the server may not have read all.
    let _ = socket.read_to_end(&mut Vec::new());
}

/// What is wrong in a record ends its connection and no other.
pub(crate) fn broken_records_end_their_own_connection_only(path: PingPath) -> TestResult {
    /// Type, version and length of a record, and its content.
    const BEFORE: [&[u8]; 6] = [
        // A record of a type that there is not, an alert, data, and one that is too long.
        &[0x19, 3, 3, 0, 1, 0],
        &[0x15, 3, 3, 0, 2, 2, 40],
        &[0x17, 3, 3, 0, 2, 0xC0, 0],
        &[0x16, 3, 1, 0xFF, 0xFF, 1],
        // An empty record, and a hello that is none.
        &[0x16, 3, 1, 0, 0],
        &[0x16, 3, 1, 0, 4, 1, 0, 0, 0],
    ];
    // What is cut short ends with the time for a CONNECT.
    let rig = Rig::start_with(path, |server| server.flag("--connect-timeout-secs", 2))?;
    let target = rig.server.tls();
    let mut bystander = rig.connect(&Connect::new(Version::V5, "bystander"));
    for bytes in BEFORE {
        ends(&target, bytes);
    }
    bystander.assert_alive();
    for version in TLS_VERSIONS {
        let config = rig.certificates.offer().version(version).config();
        for (number, bytes) in AFTER.iter().enumerate() {
            let connect = Connect::new(Version::V5, "breaks");
            let mut client = push_tests::tls::connect(&target, &config, &connect);
            // Pings whose records are right, answered by the path, behind which the stream breaks.
            rig.server.prove_path_by(&mut client);
            let mut raw = client.stream().try_clone().expect("a second handle");
            raw.write_all(bytes).expect("send to the server");
            let ending = client.wait_ending();
            assert!(
                matches!(ending.how, Gone::Alert(_) | Gone::Reset | Gone::Truncated),
                "{number}: {ending:?}"
            );
            bystander.assert_alive();
        }
    }
    // Random bytes, of which none begins like a record of TLS.
    for seed in 0..50_u8 {
        let bytes: Vec<u8> =
            (0..200_u16).map(|at| (at as u8).wrapping_mul(17).wrapping_add(seed) | 0x80).collect();
        ends(&target, &bytes);
    }
    bystander.assert_alive();
    rig.server.wait_metric("push_connections", |connections| connections == 1);
    std::thread::sleep(Duration::from_millis(100));
    bystander.assert_alive();
    rig.finish();
    Ok(())
}

/// Records that are not sealed by the connection's keys, or not at all.
const AFTER: [&[u8]; 5] = [
    &[0x17, 3, 3, 0, 19, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
    &[0x17, 3, 3, 0, 1, 0],
    &[0x17, 3, 3, 0xFF, 0xFF],
    &[0x19, 3, 3, 0, 1, 0],
    &[0x16, 3, 3, 0, 4, 1, 0, 0, 0],
];
