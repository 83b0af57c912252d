//! The PROXY protocol: whose the connection is, who may say so, and that the kernel goes on to answer.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use push_tests::both_paths;
use push_tests::certificates::{Folder, LOCAL_NAMES};
use push_tests::claims;
use push_tests::clients::{Client, Connect};
use push_tests::expectations::{PATIENCE, wait_for};
use push_tests::server::{PingPath, Place, Server, Target};
use push_tests::skip::TestResult;
use push_tests::tls::{Offer, TLS_VERSIONS, TlsStream};
use push_tests::websocket::connect_packet;
use push_tests::wire::Version;

both_paths! {
    a_client_has_the_address_that_its_proxy_names_and_the_kernel_answers_it,
    the_same_over_veth_by_both_families,
    the_same_inside_tls,
    a_header_in_pieces_is_taken_as_a_whole,
}

claims! {
    who_is_no_trusted_proxy_is_closed_and_counted,
    a_proxy_that_sends_no_header_is_closed_and_counted,
    a_header_comes_within_the_time_to_connect,
    a_header_is_no_longer_than_4_kib,
    a_header_at_another_listener_is_told_from_mqtt,
    a_proxy_may_come_by_a_unix_socket,
}

/// Pings of a calm client: the kernel answers all but the first two.
const PINGS: u64 = 5;

const UNTRUSTED: &str = "push_proxied_connections_total{result=\"untrusted\"}";
const FAULTY: &str = "push_proxied_connections_total{result=\"faulty\"}";
const TOLD: &str = "push_proxied_connections_total{result=\"told\"}";
const LOCAL: &str = "push_proxied_connections_total{result=\"local\"}";

/// A listener for proxies of these networks, and one for everybody.
fn settings(trusted: &str) -> String {
    format!(
        "trusted-proxies = {trusted}\n\
         [[listener]]\naddress = '{{ip}}:{{port}}'\n\
         [[listener]]\nname = 'proxied'\naddress = '{{ip}}:0'\nproxy-protocol = true\n"
    )
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 1 for this client.
fn v1(client: SocketAddr) -> Vec<u8> {
    let (family, server) = if client.is_ipv4() { ("TCP4", "10.0.0.1") } else { ("TCP6", "::1") };
    format!("PROXY {family} {} {server} {} 1883\r\n", client.ip(), client.port()).into_bytes()
}

/// A header of version 2 for this client, with so many bytes of additions.
fn v2(client: SocketAddr, more: usize) -> Vec<u8> {
    let (family, source, server) = match client.ip() {
        IpAddr::V4(ip) => (0x11, ip.octets().to_vec(), vec![10, 0, 0, 1]),
        IpAddr::V6(ip) => (0x21, ip.octets().to_vec(), vec![1; 16]),
    };
    let ports = [client.port().to_be_bytes(), 1883u16.to_be_bytes()].concat();
    let mut body = [source, server, ports].concat();
    if more > 0 {
        let value = u16::try_from(more - 3).expect("short");
        body.push(0xEA);
        body.extend(value.to_be_bytes());
        body.resize(body.len() + usize::from(value), 0);
    }
    let len = u16::try_from(body.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[0x21, family], &len, &body].concat()
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A connection that begins with these bytes.
fn dial(target: &Target, begin: &[u8]) -> TcpStream {
    let mut stream = target.connect(None).expect("connect to the server");
    stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    stream.write_all(begin).expect("send");
    stream
}

/// A client behind a header, known in the log by its address, and pinging.
fn assert_served(server: &Server, proxied: &Target, header: &[u8], client: SocketAddr) {
    let connect = Connect::new(Version::V5, "proxied");
    let mut first = Client::accepted_over(dial(proxied, header), &connect);
    let kernel = server.kernel_share_of(&mut first, PINGS);
    match server.path() {
        PingPath::Kernel => assert!(kernel >= PINGS - 2, "{client}: {kernel} by the kernel"),
        PingPath::User => assert_eq!(kernel, 0),
    }
    let second = Client::accepted_over(dial(proxied, header), &connect);
    let line = format!("client taken over client=\"proxied\" address={client} listener=proxied ");
    wait_for(&line, || server.log().contains(&line).then_some(()));
    second.disconnect();
}

/// It has sent nothing, and ends the connection.
fn assert_closed(mut stream: impl Read) {
    let mut answer = Vec::new();
    // Bytes that it has not read make the end a reset.
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "it has said {answer:?}");
}

fn a_client_has_the_address_that_its_proxy_names_and_the_kernel_answers_it(
    path: PingPath,
) -> TestResult {
    let server =
        Server::with(path).flag("--shards", 2).settings(settings("'127.0.0.0/8'")).start()?;
    let proxied = server.listener_called("proxied");
    let (four, six) = (address("203.0.113.7:40000"), address("[2001:db8::7]:40001"));
    let headers = [v1(four), v1(six), v2(four, 0), v2(six, 0), v2(four, 2_000)];
    for (header, client) in headers.iter().zip([four, six, four, six, four]) {
        assert_served(&server, &proxied, header, client);
    }
    let metrics = server.metrics();
    assert_eq!([TOLD, FAULTY, UNTRUSTED].map(|name| metrics.value(name)), [10, 0, 0]);
    server.finish();
    Ok(())
}

fn the_same_over_veth_by_both_families(path: PingPath) -> TestResult {
    for place in [Place::VethV4, Place::VethV6] {
        let trusted = "['10.0.0.0/8', 'fd00::/8', 'fe80::/10', '2001:db8::/32']";
        let server = Server::with(path).place(place).settings(settings(trusted)).start()?;
        let proxied = server.listener_called("proxied");
        let client = address("203.0.113.7:40000");
        assert_served(&server, &proxied, &v2(client, 0), client);
        server.finish();
    }
    Ok(())
}

fn the_same_inside_tls(path: PingPath) -> TestResult {
    let directory = tempfile::tempdir().expect("make a directory");
    let folder = Folder::make(directory.path(), &LOCAL_NAMES).expect("make certificates");
    let [certificate, key] = folder.server().map(|file| file.display().to_string());
    let settings = format!(
        "tls-cert = '{certificate}'\ntls-key = '{key}'\n{}tls = true\n",
        settings("'127.0.0.1'")
    );
    let server = Server::with(path).settings(settings).flag("--ping-rate", 0).start()?;
    let proxied = server.listener_called("proxied");
    for version in TLS_VERSIONS {
        let config = Offer::new(&folder).version(version).config();
        let header = v2(address("203.0.113.7:40000"), 100);
        let stream = TlsStream::open(dial(&proxied, &header), &config).expect("a handshake");
        let mut client = Client::accepted_over(stream, &Connect::new(Version::V5, "sealed"));
        let kernel = server.kernel_share_of(&mut client, PINGS);
        match path {
            PingPath::Kernel => assert!(kernel >= PINGS - 3, "{kernel} by the kernel"),
            PingPath::User => assert_eq!(kernel, 0),
        }
        client.disconnect();
    }
    assert_eq!(server.metrics().value(TOLD), 2);
    server.finish();
    Ok(())
}

fn a_header_in_pieces_is_taken_as_a_whole(path: PingPath) -> TestResult {
    let server = Server::with(path).settings(settings("'127.0.0.1'")).start()?;
    let proxied = server.listener_called("proxied");
    let connect = Connect::new(Version::V311, "pieces");
    for header in [v1(address("203.0.113.7:40000")), v2(address("[2001:db8::7]:1"), 0)] {
        let mut stream = dial(&proxied, &[]);
        for piece in [&header, &*connect_packet(&connect)].concat().chunks(7) {
            stream.write_all(piece).expect("send");
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut client = Client::over(stream, Version::V311);
        client.read_connack(PATIENCE).expect("a CONNACK");
        let kernel = server.kernel_share_of(&mut client, PINGS);
        match path {
            PingPath::Kernel => assert!(kernel >= PINGS - 2, "{kernel} by the kernel"),
            PingPath::User => assert_eq!(kernel, 0),
        }
    }
    server.finish();
    Ok(())
}

fn who_is_no_trusted_proxy_is_closed_and_counted() -> TestResult {
    let server = Server::with(PingPath::User).settings(settings("'192.0.2.0/24'")).start()?;
    let proxied = server.listener_called("proxied");
    let header = v1(address("203.0.113.7:40000"));
    let stream = dial(&proxied, &header);
    let own = stream.local_addr().expect("an address");
    assert_closed(stream);
    server.wait_metric(UNTRUSTED, |count| count == 1);
    let line = format!("address={own} listener=proxied reason=not one of --trusted-proxies");
    wait_for(&line, || server.log().contains(&line).then_some(()));
    assert_eq!(server.metrics().value("push_connections"), 0);
    // Nobody else has noticed.
    Client::connect(server.target(), &Connect::new(Version::V5, "direct")).disconnect();
    server.finish();
    Ok(())
}

fn a_proxy_that_sends_no_header_is_closed_and_counted() -> TestResult {
    let server = Server::with(PingPath::User).settings(settings("'127.0.0.1'")).start()?;
    let proxied = server.listener_called("proxied");
    let connect = connect_packet(&Connect::new(Version::V5, "bare"));
    let wrong: [&[u8]; 4] = [
        &connect,
        b"PROXY TCP4 here there 1 2\r\n",
        &[SIGNATURE, &[0x31, 0x11, 0, 0]].concat(),
        b"\x16\x03\x01\x02\0",
    ];
    for (count, begin) in (1..).zip(wrong) {
        let mut stream = dial(&proxied, begin);
        let _ = stream.write_all(&connect);
        assert_closed(stream);
        server.wait_metric(FAULTY, |faulty| faulty == count);
    }
    let log = server.log();
    for reason in ["reason=no PROXY header: its listener is for", "reason=a malformed PROXY header"]
    {
        assert!(log.contains(reason), "no `{reason}`: {log}");
    }
    server.finish();
    Ok(())
}

fn a_header_comes_within_the_time_to_connect() -> TestResult {
    let server = Server::with(PingPath::User)
        .flag("--connect-timeout-secs", 1)
        .settings(settings("'127.0.0.1'"))
        .start()?;
    let proxied = server.listener_called("proxied");
    let silent = dial(&proxied, b"");
    let slow = dial(&proxied, b"PROXY TCP4 203.0.113.7");
    let late = dial(&proxied, &v1(address("203.0.113.7:40000")));
    [silent, slow, late].into_iter().for_each(assert_closed);
    server.wait_metric(FAULTY, |count| count == 2);
    server.wait_metric("push_connects_total{result=\"timeout\"}", |count| count == 1);
    server.finish();
    Ok(())
}

fn a_header_is_no_longer_than_4_kib() -> TestResult {
    let server = Server::with(PingPath::User).settings(settings("'127.0.0.1'")).start()?;
    let proxied = server.listener_called("proxied");
    let client = address("203.0.113.7:40000");
    let longest = 4_096 - v2(client, 0).len();
    let stream = dial(&proxied, &v2(client, longest));
    Client::accepted_over(stream, &Connect::new(Version::V5, "long")).disconnect();
    assert_closed(dial(&proxied, &v2(client, longest + 1)));
    server.wait_metric("push_limits_hit_total{limit=\"proxy_header\"}", |count| count == 1);
    server.finish();
    Ok(())
}

fn a_header_at_another_listener_is_told_from_mqtt() -> TestResult {
    let server = Server::with(PingPath::User).settings(settings("'127.0.0.1'")).start()?;
    for header in [v1(address("203.0.113.7:40000")), v2(address("203.0.113.7:40000"), 0)] {
        assert_closed(dial(server.target(), &header));
    }
    server.wait_metric("push_strangers_total{protocol=\"proxy\"}", |count| count == 2);
    let advice = "it sent a PROXY header to a listener without proxy-protocol";
    wait_for(advice, || server.log().contains(advice).then_some(()));
    server.finish();
    Ok(())
}

fn a_proxy_may_come_by_a_unix_socket() -> TestResult {
    let server = Server::with(PingPath::User)
        .settings(
            "trusted-proxies = 'unix'\n[[listener]]\naddress = '{ip}:{port}'\n\
             [[listener]]\nname = 'local'\naddress = '{directory}/mqtt.sock'\n\
             proxy-protocol = true\n",
        )
        .start()?;
    let socket = server.directory().join("mqtt.sock");
    let client = address("203.0.113.7:40000");
    let connect = connect_packet(&Connect::new(Version::V311, "by-unix"));
    let say = |header: &[u8]| {
        let mut stream = UnixStream::connect(&socket).expect("connect to the server");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        stream.write_all(&[header, &connect].concat()).expect("send");
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).expect("a CONNACK");
        assert_eq!(connack, [0x20, 2, 0, 0]);
        stream
    };
    let _first = say(&v2(client, 0));
    let health_check = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    let _second = say(&health_check);
    let line = format!("client taken over client=\"by-unix\" address={client} listener=local ");
    wait_for(&line, || server.log().contains(&line).then_some(()));
    let metrics = server.metrics();
    assert_eq!([TOLD, LOCAL].map(|name| metrics.value(name)), [1, 1]);
    server.finish();
    Ok(())
}
