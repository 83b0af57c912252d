//! Behind a proxy the client's address counts, and the proxy's own never does.

use std::io::{Read, Write};
use std::net::TcpStream;

use push_tests::claims;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::PATIENCE;
use push_tests::server::{PingPath, Server, Target};
use push_tests::skip::TestResult;
use push_tests::wire::Version;

use super::{QUOTA_EXCEEDED, limit_hit};

claims! {
    sockets_that_a_proxy_names_count_for_their_own_addresses,
    connections_that_a_proxy_names_count_for_their_own_addresses,
    sockets_forwarded_over_websocket_count_for_their_own_addresses,
}

fn settings(limit: &str) -> String {
    format!(
        "{limit}\ntrusted-proxies = '127.0.0.0/8'\n\
         [[listener]]\naddress = '{{ip}}:{{port}}'\n\
         [[listener]]\nname = 'proxied'\naddress = '{{ip}}:0'\nproxy-protocol = true\n"
    )
}

/// A connection whose proxy names this client.
fn dial(proxied: &Target, client: &str) -> TcpStream {
    let mut stream = proxied.connect(None).expect("connect to the server");
    stream
        .write_all(format!("PROXY TCP4 {client} 10.0.0.1 40000 1883\r\n").as_bytes())
        .expect("send");
    stream
}

fn sockets_that_a_proxy_names_count_for_their_own_addresses() -> TestResult {
    let server =
        Server::with(PingPath::User).settings(settings("address-waiting-max = 2")).start()?;
    let proxied = server.listener_called("proxied");
    // More than two of the proxy's own, which have not said for whom they come.
    let silent: Vec<_> =
        (0..5).map(|_| proxied.connect(None).expect("connect to the server")).collect();
    let told = "push_proxied_connections_total{result=\"told\"}";
    let waiting = [dial(&proxied, "192.0.2.1"), dial(&proxied, "192.0.2.1")];
    server.wait_metric(told, |told| told == 2);
    let mut third = Client::over(dial(&proxied, "192.0.2.1"), Version::V5);
    assert!(third.receive(PATIENCE).is_err_and(|gone| gone != Gone::Silent), "it is closed");
    assert_eq!(limit_hit(&server, "address_waiting"), 1);
    let connect = Connect::new(Version::V5, "elsewhere");
    let mut elsewhere = Client::accepted_over(dial(&proxied, "192.0.2.2"), &connect);
    elsewhere.assert_alive();
    drop((silent, waiting));
    server.finish();
    Ok(())
}

fn connections_that_a_proxy_names_count_for_their_own_addresses() -> TestResult {
    let limit = "address-connections-max = 1";
    let server = Server::with(PingPath::User).settings(settings(limit)).start()?;
    let proxied = server.listener_called("proxied");
    let open = |client: &str, id: &str| {
        let mut opened = Client::over(dial(&proxied, client), Version::V5);
        opened.say_connect(&Connect::new(Version::V5, id));
        opened.read_connack(PATIENCE).expect("a CONNACK");
        opened
    };
    let first = open("192.0.2.1", "first");
    let second = open("192.0.2.2", "second");
    assert_eq!([first.connack.code, second.connack.code], [0, 0]);
    assert_eq!(open("192.0.2.1", "third").connack.code, QUOTA_EXCEEDED);
    assert_eq!(limit_hit(&server, "address_connections"), 1);
    server.finish();
    Ok(())
}

fn sockets_forwarded_over_websocket_count_for_their_own_addresses() -> TestResult {
    let server = Server::with(PingPath::User)
        .websocket()
        .flag("--trusted-proxies", "127.0.0.0/8")
        .flag("--address-waiting-max", 2)
        .start()?;
    let target = server.websocket();
    let ask = |client: &str| {
        let mut stream = target.connect(None).expect("connect to the server");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        let request = format!(
            "GET /mqtt HTTP/1.1\r\nHost: push\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: mqtt\r\nX-Forwarded-For: {client}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("send");
        stream
    };
    let upgraded = |client: &str| {
        let mut stream = ask(client);
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).expect("an answer");
        assert_eq!(&begin, b"HTTP/1.1 101");
        stream
    };
    let silent: Vec<_> =
        (0..5).map(|_| target.connect(None).expect("connect to the server")).collect();
    let waiting = [upgraded("192.0.2.1"), upgraded("192.0.2.1")];
    let mut third = ask("192.0.2.1");
    // A reset would be an end as well.
    let _ = third.read_to_end(&mut Vec::new());
    assert_eq!(limit_hit(&server, "address_waiting"), 1);
    let elsewhere = upgraded("192.0.2.2");
    assert_eq!(limit_hit(&server, "address_waiting"), 1);
    drop((silent, waiting, elsewhere));
    server.finish();
    Ok(())
}
