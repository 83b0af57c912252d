//! TLS for the tests' own client, by rustls: what it offers, trusts and shows.

mod sealing;

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use crate::certificates::Folder;
use crate::clients::{Client, Connect};
use crate::expectations::PATIENCE;
use crate::stream::Stream;
pub use crate::stream::alert_of;
use crate::target::Target;
use sealing::Sealing;
pub use sealing::{NONCES_SUITE, Nonces};

/// Every version that clients may speak.
pub const TLS_VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Every suite of rustls that an ECDSA certificate serves, and its version.
pub const SUITES: [(&SupportedProtocolVersion, CipherSuite); 6] = [
    (&TLS13, CipherSuite::TLS13_AES_128_GCM_SHA256),
    (&TLS13, CipherSuite::TLS13_AES_256_GCM_SHA384),
    (&TLS13, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    (&TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    (&TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    (&TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// The name that the tests' servers are looked for by.
const SERVER_NAME: &str = "localhost";

/// What a client offers, trusts and shows.
#[derive(Clone, Debug)]
pub struct Offer {
    ca: PathBuf,
    versions: Vec<&'static SupportedProtocolVersion>,
    suite: Option<CipherSuite>,
    protocols: Vec<Vec<u8>>,
    /// A chain and its key.
    shown: Option<[PathBuf; 2]>,
    resumes: bool,
    /// Otherwise than rustls does.
    sealing: Option<Sealing>,
}

impl Offer {
    /// Trusts a folder's authority, offers all versions and suites, names `mqtt`, shows nothing and
    /// resumes nothing.
    pub fn new(folder: &Folder) -> Self {
        Self::trusting(folder.ca())
    }

    /// The same, trusting the certificates of this file.
    pub fn trusting(ca: PathBuf) -> Self {
        Self {
            ca,
            versions: TLS_VERSIONS.to_vec(),
            suite: None,
            protocols: vec![b"mqtt".to_vec()],
            shown: None,
            resumes: false,
            sealing: None,
        }
    }

    /// Offers one version only.
    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// Offers one suite only.
    pub fn suite(mut self, suite: CipherSuite) -> Self {
        self.suite = Some(suite);
        self
    }

    /// Names these protocols by ALPN; none: does without.
    pub fn protocols(mut self, names: &[&str]) -> Self {
        self.protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Shows a certificate.
    pub fn showing(mut self, [certificate, key]: [PathBuf; 2]) -> Self {
        self.shown = Some([certificate, key]);
        self
    }

    /// Resumes sessions of connections by the same configuration.
    pub fn resuming(mut self) -> Self {
        self.resumes = true;
        self
    }

    /// Offers TLS 1.2 with [`NONCES_SUITE`] only, and says nonces chosen this way.
    pub fn nonces(self, nonces: Nonces) -> Self {
        let sealing = Some(Sealing::Nonces(nonces));
        Self { sealing, ..self.version(&TLS12).suite(NONCES_SUITE) }
    }

    /// Offers TLS 1.3 only, and puts so many zeros behind the content of each record.
    pub fn padding(self, bytes: usize) -> Self {
        Self { sealing: Some(Sealing::Padding(bytes)), ..self.version(&TLS13) }
    }

    /// rustls's configuration.
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut provider = ring::default_provider();
        provider
            .cipher_suites
            .retain(|suite| self.suite.is_none_or(|wanted| suite.suite() == wanted));
        if let Some(sealing) = self.sealing {
            sealing.apply(&mut provider);
        }
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca) {
            roots.add(certificate).expect("an authority's certificate");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&self.versions)
            .expect("suites of this version")
            .with_root_certificates(roots);
        let mut config = match &self.shown {
            None => builder.with_no_client_auth(),
            Some([certificate, key]) => {
                let key = PrivateKeyDer::from_pem_file(key).expect("a private key");
                builder
                    .with_client_auth_cert(certificates(certificate), key)
                    .expect("a certificate and its key")
            }
        };
        config.alpn_protocols.clone_from(&self.protocols);
        config.resumption = if self.resumes {
            Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)))
        } else {
            Resumption::disabled()
        };
        Arc::new(config)
    }
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    let certificates = CertificateDer::pem_file_iter(file).expect("a file of certificates");
    certificates.collect::<Result<_, _>>().expect("certificates in PEM")
}

/// A connection of rustls's.
#[derive(Debug)]
pub struct TlsStream<S: Socket = TcpStream>(StreamOwned<ClientConnection, S>);

/// What records go by: a socket, or one that does something to them.
pub trait Socket: std::fmt::Debug + Read + Write + Send + 'static {
    /// The socket itself.
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl<S: Socket> TlsStream<S> {
    /// Shakes hands. An error has rustls's reason: see [`alert_of`].
    pub fn open(mut socket: S, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from(SERVER_NAME).expect("a host's name");
        let mut connection =
            ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        socket.tcp().set_read_timeout(Some(PATIENCE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Self(StreamOwned::new(connection, socket)))
    }

    /// Whether a ticket was used.
    pub fn is_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// What the server chose.
    pub fn suite(&self) -> CipherSuite {
        self.0.conn.negotiated_cipher_suite().expect("a handshake that is over").suite()
    }

    /// rustls's half.
    pub fn connection(&mut self) -> &mut ClientConnection {
        &mut self.0.conn
    }

    /// Writes what rustls wants to.
    pub fn write_records(&mut self) -> io::Result<()> {
        while self.0.conn.wants_write() {
            self.0.conn.write_tls(&mut self.0.sock)?;
        }
        Ok(())
    }
}

impl<S: Socket> Read for TlsStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Socket> Write for TlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<S: Socket> Stream for TlsStream<S> {
    fn tcp(&self) -> &TcpStream {
        self.0.sock.tcp()
    }
}

/// Connects over TLS and shakes hands.
pub fn dial(target: &Target, config: &Arc<ClientConfig>) -> io::Result<TlsStream> {
    TlsStream::open(target.connect(None)?, config)
}

/// Connects over TLS, and expects to be accepted.
#[track_caller]
pub fn connect(target: &Target, config: &Arc<ClientConfig>, connect: &Connect) -> Client {
    let stream = dial(target, config).expect("a handshake");
    Client::accepted_over(stream, connect)
}

/// Whether the server said goodbye before it ended the connection.
pub fn is_in_order(ended: &io::Result<usize>) -> bool {
    match ended {
        Ok(0) => true,
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
        other => panic!("not an end: {other:?}"),
    }
}
