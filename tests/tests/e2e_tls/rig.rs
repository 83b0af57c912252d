//! A server with listeners for TLS, and certificates made for it.

use std::fmt::Display;

use push_tests::certificates::{Folder, LOCAL_NAMES};
use push_tests::clients::{Client, Connect, Gone};
use push_tests::server::{PingPath, Server, ServerBuilder};
use push_tests::skip::Skip;
use push_tests::tls::{self, Offer};
use push_tests::wire::Version;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, SupportedProtocolVersion};
use tempfile::TempDir;

/// Certificates; gone with their directory.
pub(crate) struct Certificates {
    pub(crate) folder: Folder,
    directory: TempDir,
}

impl Certificates {
    /// For a server on this machine.
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().expect("make a directory");
        let folder = Folder::make(directory.path(), &LOCAL_NAMES).expect("make certificates");
        Self { folder, directory }
    }

    /// What clients offer by default.
    pub(crate) fn offer(&self) -> Offer {
        Offer::new(&self.folder)
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }
}

/// A server, its certificates, and a client that watches over TCP.
pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) certificates: Certificates,
}

impl Rig {
    /// With the listeners for TLS.
    pub(crate) fn start(path: PingPath) -> Result<Self, Skip> {
        Self::start_with(path, |builder| builder)
    }

    /// With further flags.
    pub(crate) fn start_with(
        path: PingPath,
        more: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Result<Self, Skip> {
        let certificates = Certificates::new();
        // Clients here ping more often than devices.
        let builder = Server::with(path).tls(&certificates.folder).flag("--ping-rate", 0);
        let server = more(builder).start()?;
        Ok(Self { server, certificates })
    }

    /// A client over TLS by rustls, accepted.
    #[track_caller]
    pub(crate) fn connect(&self, connect: &Connect) -> Client {
        tls::connect(&self.server.tls(), &self.certificates.offer().config(), connect)
    }

    /// One that watches wills, over TCP.
    #[track_caller]
    pub(crate) fn watcher(&self) -> Client {
        let connect = Connect::new(Version::V5, "watcher");
        let mut watcher = Client::connect(self.server.target(), &connect);
        watcher.subscribe(&[("wills/#", 1)]);
        watcher
    }

    /// Waits for a count of handshakes.
    #[track_caller]
    pub(crate) fn wait_handshakes(&self, labels: impl Display, count: u64) {
        self.server.wait_metric(&handshakes(labels), |found| found == count);
    }

    /// The end of a good test: who answers pings is proven inside TLS, too.
    #[track_caller]
    pub(crate) fn finish(self) {
        self.prove_path();
        self.server.finish();
    }

    /// Proves which path answers pings inside TLS, by a client of each kind of record that the kernel answers
    /// whatever nonces clients say.
    #[track_caller]
    fn prove_path(&self) {
        for (version, suite) in WITNESSES {
            let config = self.certificates.offer().version(version).suite(suite).config();
            let connect = Connect::new(Version::V311, "witness-inside-tls");
            let mut witness = tls::connect(&self.server.tls(), &config, &connect);
            self.server.prove_path_by(&mut witness);
            witness.disconnect();
        }
    }
}

/// What these speak.
const WITNESSES: [(&SupportedProtocolVersion, CipherSuite); 2] = [
    (&TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    (&TLS13, CipherSuite::TLS13_AES_128_GCM_SHA256),
];

/// How many connections or heartbeats the kernel path has declined for this reason.
#[track_caller]
pub(crate) fn declined(server: &Server, reason: &str) -> u64 {
    server.metrics().value(&format!("push_kernel_path_declined_total{{reason=\"{reason}\"}}"))
}

/// The counter of handshakes with these labels.
pub(crate) fn handshakes(labels: impl Display) -> String {
    format!("push_tls_handshakes_total{{{labels}}}")
}

/// Sizes around those of records, of lengths in MQTT, and of buffers.
pub(crate) const SIZES: [usize; 12] =
    [0, 1, 125, 128, 16_350, 16_383, 16_384, 16_385, 65_535, 65_536, 300_000, 1_000_000];

/// What is published comes back: each size, at QoS 0 and 1. No letter in it is a command of s_client's.
#[track_caller]
pub(crate) fn echo(client: &mut Client, topic: &str) {
    assert_eq!(client.subscribe(&[(topic, 1)]), [1]);
    for size in SIZES {
        for qos in [0, 1] {
            let payload = vec![b'x'; size];
            client.publish(topic, &payload, qos);
            assert!(client.message().payload == payload, "{size} bytes at QoS {qos}");
        }
    }
    client.ping();
}

/// Asserts that a connection ended in order: goodbye of TLS, then FIN.
#[track_caller]
pub(crate) fn ended_in_order(client: &mut Client) -> Option<u8> {
    let ending = client.wait_ending();
    assert_eq!(ending.how, Gone::Closed, "close_notify, then FIN");
    ending.reason
}
