//! Slowloris: whatever a connection begins with, it comes byte by byte and never ends.

use push_tests::certificates::{Folder, LOCAL_NAMES};
use push_tests::server::{PingPath, Server, ServerBuilder};
use push_tests::skip::TestResult;
use push_tests::tls::Offer;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::crowd;
use crate::withstand::Attack;

/// Connections of each attack.
const SLOW: usize = 200;

/// Those of the attack on the HTTP port, which serves 64.
const SLOW_HTTP: usize = 100;

const TIMED_OUT: &str = "push_connects_total{result=\"timeout\"}";

/// Patient for 2 s only.
fn server() -> ServerBuilder {
    Server::with(PingPath::User).flag("--connect-timeout-secs", 2)
}

pub(crate) fn a_connect_byte_by_byte() -> TestResult {
    // 40,000 bytes follow, it says.
    let connect = b"\x10\xC0\xB8\x02\0\x04MQTT\x04\x02\0\x3C\xFF\xFFidididid";
    let attack = Attack::on(server(), &[(TIMED_OUT, SLOW as u64)]);
    attack.withstood(|server| crowd::drip(SLOW, server.target().address, connect), |_, ()| {})
}

pub(crate) fn an_upgrade_byte_by_byte() -> TestResult {
    let request = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nX-Header: a";
    let attack = Attack::on(server().websocket(), &[(TIMED_OUT, SLOW as u64)]);
    attack.withstood(|server| crowd::drip(SLOW, server.websocket().address, request), |_, ()| {})
}

pub(crate) fn a_tls_hello_byte_by_byte() -> TestResult {
    let directory = tempfile::tempdir().expect("make a directory");
    let folder = Folder::make(directory.path(), &LOCAL_NAMES).expect("make certificates");
    let hello = hello(&folder);
    let timed_out = "push_tls_handshakes_total{result=\"timeout\",resumed=\"no\",version=\"\"}";
    let counters = [(timed_out, SLOW as u64)];
    let attack = Attack::on(server().tls(&folder), &counters);
    // It lacks its end.
    let most = &hello[..100];
    attack.withstood(|server| crowd::drip(SLOW, server.tls().address, most), |_, ()| {})
}

/// What a client of TLS begins with.
pub(crate) fn hello(folder: &Folder) -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(Offer::new(folder).config(), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a vector takes all");
    hello
}

pub(crate) fn a_proxy_header_byte_by_byte() -> TestResult {
    let settings = "trusted-proxies = '127.0.0.0/8'\n\
                    [[listener]]\naddress = '{ip}:{port}'\n\
                    [[listener]]\nname = 'proxied'\naddress = '{ip}:0'\nproxy-protocol = true\n";
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0F\x00\x7F\0\0\x01";
    let counters = [("push_proxied_connections_total{result=\"faulty\"}", SLOW as u64)];
    let attack = Attack::on(server().settings(settings), &counters);
    attack.withstood(
        |server| crowd::drip(SLOW, server.listener_called("proxied").address, header),
        |_, ()| {},
    )
}

pub(crate) fn an_http_request_byte_by_byte() -> TestResult {
    let counters = [
        ("push_limits_hit_total{limit=\"http_connections\"}", 1),
        ("push_limits_hit_total{limit=\"http_head_timeout\"}", 1),
    ];
    let attack = Attack::on(Server::with(PingPath::User), &counters);
    attack.withstood(
        |server| {
            std::thread::scope(|scope| {
                let slow = scope.spawn(|| {
                    crowd::drip(SLOW_HTTP, server.http_address(), b"GET /metrics HTTP/1.1\r\nX: a");
                });
                // Who asks for something is answered all the while.
                while !slow.is_finished() {
                    assert_eq!(server.http("/healthz").expect("an answer").status, 200);
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
            });
        },
        |_, ()| {},
    )
}
