//! Records: cut and split anywhere, keys that change, goodbyes, and a handshake too many.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::wait_for;
use push_tests::relay::Relay;
use push_tests::server::PingPath;
use push_tests::skip::TestResult;
use push_tests::tls::{Socket, TLS_VERSIONS, TlsStream};
use push_tests::wire::{self, Version};
use rustls::version::TLS13;

use crate::rig::{Rig, ended_in_order};

/// Long enough for a segment to be read before the next one comes.
const APART: Duration = Duration::from_millis(1);

/// A socket that writes the first bytes by themselves, up to a place, or each byte by itself.
#[derive(Debug)]
struct Cutting {
    socket: TcpStream,
    /// Bytes written.
    written: usize,
    /// Where segments end.
    cut: Cut,
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    After(usize),
    Everywhere,
}

impl Read for Cutting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Cutting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = match self.cut {
            Cut::Everywhere => 1,
            Cut::After(place) if self.written < place => place - self.written,
            Cut::After(_) => bytes.len(),
        };
        let count = self.socket.write(&bytes[..length.min(bytes.len())])?;
        self.written += count;
        let is_cut = match self.cut {
            Cut::Everywhere => true,
            Cut::After(place) => self.written == place,
        };
        if is_cut {
            std::thread::sleep(APART);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Cutting {
    fn tcp(&self) -> &TcpStream {
        &self.socket
    }
}

pub(crate) fn a_hello_may_be_cut_anywhere() -> TestResult {
    let rig = Rig::start(PingPath::User)?;
    let target = rig.server.tls();
    for version in TLS_VERSIONS {
        let config = rig.certificates.offer().version(version).config();
        // Its length is the same each time.
        let hello_bytes = {
            let name = "localhost".try_into().expect("a host's name");
            let mut connection =
                rustls::ClientConnection::new(config.clone(), name).expect("a connection");
            connection.write_tls(&mut Vec::new()).expect("a hello")
        };
        for place in 1..hello_bytes {
            let socket = target.connect(None).expect("connect to the server");
            let cutting = Cutting { socket, written: 0, cut: Cut::After(place) };
            let stream = TlsStream::open(cutting, &config);
            let stream = stream.unwrap_or_else(|error| panic!("cut after {place}: {error}"));
            let mut client = Client::accepted_over(stream, &Connect::new(Version::V5, "cut"));
            client.ping();
            client.disconnect();
        }
    }
    rig.finish();
    Ok(())
}

pub(crate) fn records_may_come_byte_by_byte(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    let target = rig.server.tls();
    for version in TLS_VERSIONS {
        let config = rig.certificates.offer().version(version).config();
        let socket = target.connect(None).expect("connect to the server");
        let cutting = Cutting { socket, written: 0, cut: Cut::Everywhere };
        let stream = TlsStream::open(cutting, &config).expect("a handshake");
        let mut client = Client::accepted_over(stream, &Connect::new(Version::V311, "bytes"));
        client.subscribe(&[("split", 1)]);
        for round in 0..3 {
            client.publish("split", &[round; 300], 1);
            assert_eq!(client.message().payload, [round; 300]);
            client.ping();
        }
        client.disconnect();
    }
    rig.finish();
    Ok(())
}

pub(crate) fn keys_are_changed_by_rustls(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    let config = rig.certificates.offer().version(&TLS13).config();
    let connect = Connect::new(Version::V5, "new-keys");
    let mut client = push_tests::tls::connect(&rig.server.tls(), &config, &connect);
    client.subscribe(&[("keys", 1)]);
    for round in 0..20_u8 {
        // It also asks for new keys of the server.
        let stream = client.layers::<TlsStream>();
        stream.connection().refresh_traffic_keys().expect("TLS 1.3");
        if round % 2 == 0 {
            // By itself, and not with what follows.
            stream.write_records().expect("send to the server");
            std::thread::sleep(APART);
        }
        client.ping();
        client.publish("keys", &[round], 1);
        assert_eq!(client.message().payload, [round]);
        if round % 5 == 0 {
            rig.server.prove_path_by(&mut client);
        }
    }
    client.disconnect();
    rig.finish();
    Ok(())
}

pub(crate) fn keys_are_changed_by_openssl(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    let ca = rig.certificates.folder.ca();
    let mut relay = Relay::openssl(&rig.server.tls(), &ca, &["-tls1_3"])?;
    relay.wait_log("TLSv1.3");
    let mut client = relay.connect(&Connect::new(Version::V5, "new-keys"));
    client.subscribe(&[("letters", 1)]);
    // K asks for new keys of the server, too.
    for (number, letter) in "KkkKKkK".chars().enumerate() {
        // OpenSSL takes a letter for a command only where nothing stands before it in what it reads.
        rig.server.prove_path_by(&mut client);
        relay.command(letter);
        wait_for("openssl's KeyUpdate", || {
            (relay.log().matches("KEYUPDATE").count() == number + 1).then_some(())
        });
        client.ping();
        client.publish("letters", &[number as u8], 1);
        assert_eq!(client.message().payload, [number as u8]);
    }
    client.disconnect();
    assert!(relay.wait_exit().success(), "{}", relay.log());
    rig.finish();
    Ok(())
}

/// A second handshake in one connection is a hole of TLS 1.2 that nobody needs.
pub(crate) fn renegotiation_is_refused(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    let ca = rig.certificates.folder.ca();
    let mut bystander = rig.connect(&Connect::new(Version::V5, "bystander"));
    let mut relay = Relay::openssl(&rig.server.tls(), &ca, &["-tls1_2"])?;
    relay.wait_log("TLSv1.2");
    let mut client = relay.connect(&Connect::new(Version::V5, "again"));
    rig.server.prove_path_by(&mut client);
    relay.command('R');
    relay.wait_log("RENEGOTIATING");
    // OpenSSL gives up when it is refused.
    assert!(!relay.wait_exit().success());
    assert!(relay.log().to_lowercase().contains("renegotiation"), "{}", relay.log());
    rig.wait_handshakes("result=\"completed\",resumed=\"no\",version=\"1.2\"", 1);
    rig.server.wait_metric("push_connections", |connections| connections == 1);
    bystander.assert_alive();
    rig.finish();
    Ok(())
}

/// Without DISCONNECT the will is published, whether TLS said goodbye or not.
pub(crate) fn a_clients_goodbye_ends_the_connection(path: PingPath) -> TestResult {
    let rig = Rig::start(path)?;
    let mut watcher = rig.watcher();
    for version in TLS_VERSIONS {
        let config = rig.certificates.offer().version(version).config();
        let leaving = |name: &str| {
            let connect = Connect::new(Version::V5, name).will(&format!("wills/{name}"), b"gone");
            let mut client = push_tests::tls::connect(&rig.server.tls(), &config, &connect);
            rig.server.prove_path_by(&mut client);
            client
        };
        let mut polite = leaving("polite");
        let stream = polite.layers::<TlsStream>();
        stream.connection().send_close_notify();
        stream.write_records().expect("send to the server");
        assert_eq!(watcher.message().topic, "wills/polite");
        ended_in_order(&mut polite);

        let mut half = leaving("half-closed");
        let stream = half.layers::<TlsStream>();
        stream.connection().send_close_notify();
        stream.write_records().expect("send to the server");
        half.stream().shutdown(Shutdown::Write).expect("FIN");
        assert_eq!(watcher.message().topic, "wills/half-closed");
        ended_in_order(&mut half);

        let mut cut = leaving("cut-off");
        cut.stream().shutdown(Shutdown::Write).expect("FIN");
        assert_eq!(watcher.message().topic, "wills/cut-off");
        let ending = cut.wait_ending();
        assert!(matches!(ending.how, Gone::Closed | Gone::Truncated), "{ending:?}");

        // DISCONNECT and goodbye in one segment: the will is not published.
        let mut orderly = leaving("orderly");
        orderly.send(&wire::disconnect());
        let stream = orderly.layers::<TlsStream>();
        stream.connection().send_close_notify();
        stream.write_records().expect("send to the server");
        ended_in_order(&mut orderly);
    }
    rig.server.wait_metric("push_connections", |connections| connections == 1);
    watcher.expect_no_message(push_tests::expectations::SILENCE);
    rig.finish();
    Ok(())
}

pub(crate) fn the_servers_goodbye_comes_before_its_fin(path: PingPath) -> TestResult {
    let mut rig = Rig::start(path)?;
    let mut clients = Vec::new();
    for version in TLS_VERSIONS {
        let config = rig.certificates.offer().version(version).config();
        let connect = Connect::new(Version::V5, &format!("{version:?}"));
        let mut client = push_tests::tls::connect(&rig.server.tls(), &config, &connect);
        rig.server.prove_path_by(&mut client);
        clients.push(client);
    }
    let [mut left, mut stays] = <[Client; 2]>::try_from(clients).expect("two clients");
    left.send(&wire::disconnect());
    assert_eq!(ended_in_order(&mut left), None);
    rig.server.prove_path();
    rig.server.terminate();
    // "Server shutting down".
    assert_eq!(ended_in_order(&mut stays), Some(0x8B));
    let (status, _) = rig.server.wait_exit();
    assert!(status.success(), "{status}");
    Ok(())
}
