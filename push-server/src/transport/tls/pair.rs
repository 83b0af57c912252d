//! A client of rustls's own, and the layer, with nothing between them but bytes.

use std::io::{Read, Write};
use std::sync::{Arc, LazyLock, OnceLock};

use bytes::Bytes;
use push_common::clock::Monotonic;
use push_common::rate::Pace;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedCipherSuite, SupportedProtocolVersion,
    version,
};

use crate::transport::{Cipher, Kind, Opening, Scratch, Seal, ServerTls, Transport, numbered};

pub(crate) const START: Monotonic = Monotonic(1_000_000_000_000);

/// So much is wrapped at a time.
pub(crate) const WRAP_BYTES_MAX: usize = 128 << 10;

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// A CA, a server's certificate and a client's.
pub(crate) struct Papers {
    ca: CertificateDer<'static>,
    server: (CertificateDer<'static>, PrivateKeyDer<'static>),
    client: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

/// Made once: keys take long.
pub(crate) fn papers() -> &'static Papers {
    static PAPERS: OnceLock<Papers> = OnceLock::new();
    PAPERS.get_or_init(|| {
        let mut params = CertificateParams::new(Vec::new()).expect("no name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let ca = params.self_signed(&key).expect("a certificate").der().clone();
        let issuer = Issuer::new(params, key);
        let signed = |name: &str, usage| {
            let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, &issuer).expect("a certificate");
            (certificate.der().clone(), PrivateKeyDer::from(key))
        };
        Papers {
            server: signed("localhost", ExtendedKeyUsagePurpose::ServerAuth),
            client: signed("device", ExtendedKeyUsagePurpose::ClientAuth),
            ca,
        }
    })
}

fn roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(papers().ca.clone()).expect("a CA");
    roots.into()
}

/// Suites of a library, wrapped for a server.
pub(crate) fn numbered_by_ring(suites: &[SupportedCipherSuite]) -> Vec<SupportedCipherSuite> {
    numbered(suites, with_key)
}

fn with_key(cipher: Cipher, key: &[u8], work: &mut dyn FnMut(&Seal<'_>)) {
    let algorithm = match cipher {
        Cipher::Aes128Gcm => &AES_128_GCM,
        Cipher::Aes256Gcm => &AES_256_GCM,
        Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).expect("as long as its keys are"));
    work(&|nonce, aad, content| {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), content).expect("short");
        Some(tag.as_ref().try_into().expect("16 bytes"))
    });
}

/// What servers use.
fn provider() -> CryptoProvider {
    static SUITES: LazyLock<Vec<SupportedCipherSuite>> =
        LazyLock::new(|| numbered_by_ring(&default_provider().cipher_suites));
    CryptoProvider { cipher_suites: SUITES.clone(), ..default_provider() }
}

/// A server's configuration with two tickets of its own, for MQTT.
pub(crate) fn server_config(
    versions: &[&'static SupportedProtocolVersion],
    asks_for_certificate: bool,
) -> ServerTls {
    server_config_of(provider(), versions, asks_for_certificate)
}

/// The same with other cryptography.
pub(crate) fn server_config_of(
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
    asks_for_certificate: bool,
) -> ServerTls {
    let builder = ServerTls::builder_with_provider(provider.into())
        .with_protocol_versions(versions)
        .expect("versions");
    let builder = if asks_for_certificate {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots(), default_provider().into());
        builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    let (certificate, key) = &papers().server;
    let mut config =
        builder.with_single_cert(vec![certificate.clone()], key.clone_key()).expect("a pair");
    config.ticketer = rustls::crypto::ring::Ticketer::new().expect("randomness");
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    config
}

pub(crate) fn client_config(
    version: &'static SupportedProtocolVersion,
    suites: &[SupportedCipherSuite],
    shows_certificate: bool,
) -> ClientConfig {
    let mut provider = default_provider();
    if !suites.is_empty() {
        provider.cipher_suites = suites.to_vec();
    }
    let builder = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots());
    let (certificate, key) = &papers().client;
    match shows_certificate {
        true => builder
            .with_client_auth_cert(vec![certificate.clone()], key.clone_key())
            .expect("a pair"),
        false => builder.with_no_client_auth(),
    }
}

/// Both ends.
pub(crate) struct Pair {
    pub(crate) client: ClientConnection,
    pub(crate) server: Transport,
    scratch: Scratch,
    /// Bytes of the inside that the server has heard.
    pub(crate) heard: Vec<u8>,
    /// Steps of handshakes that were done.
    pub(crate) steps: usize,
}

impl Pair {
    /// Of any version, and nobody shows more than needed.
    #[cfg(test)]
    pub(crate) fn of(version: &'static SupportedProtocolVersion) -> Self {
        Self::new(&Arc::new(server_config(&VERSIONS, false)), client_config(version, &[], false))
    }

    #[cfg(test)]
    pub(crate) fn new(server: &Arc<ServerTls>, client: ClientConfig) -> Self {
        Self::inside(Kind::Tls, server, &Arc::new(client))
    }

    pub(crate) fn inside(kind: Kind, server: &Arc<ServerTls>, client: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        Self {
            client: ClientConnection::new(Arc::clone(client), name).expect("a client"),
            server: Transport::new(Opening::of(kind, Some(Arc::clone(server))), START)
                .expect("a configuration"),
            scratch: Scratch::default(),
            heard: Vec::new(),
            steps: 0,
        }
    }

    /// With both sides' keys.
    pub(crate) fn open(mut self) -> Self {
        self.settle();
        assert!(!self.client.is_handshaking());
        assert!(self.server.tls_handshake().is_some_and(|handshake| handshake.is_done));
        self
    }

    /// All that the client has to send.
    pub(crate) fn client_says(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).expect("a vector takes all");
        }
        bytes
    }

    /// The server takes a piece of the client's bytes, and does the steps that it allows.
    pub(crate) fn server_takes(&mut self, piece: &[u8]) {
        let inside = self.server.take(piece, Pace::OFF, START, &mut self.scratch);
        self.heard.extend_from_slice(inside);
        while self.server.wants_step() {
            self.steps += 1;
            let inside = self.server.step(Pace::OFF, START, &mut self.scratch);
            self.heard.extend_from_slice(inside);
        }
    }

    /// All that the server has to send, with `said` first.
    pub(crate) fn server_says(&mut self, said: &[&[u8]]) -> Vec<u8> {
        let mut chunks: Vec<Bytes> = said.iter().map(|one| Bytes::copy_from_slice(one)).collect();
        let mut bytes = Vec::new();
        while !chunks.is_empty() || self.server.owes() {
            self.server.wrap(&mut chunks, WRAP_BYTES_MAX);
            bytes.extend(chunks.drain(..).flatten());
        }
        bytes
    }

    /// The client takes bytes.
    ///
    /// # Errors
    /// It does not like them.
    pub(crate) fn client_takes(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut heard = Vec::new();
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).expect("a slice never fails");
            self.client.process_new_packets()?;
            // What it does not read it would not take more after.
            let _ = self.client.reader().read_to_end(&mut heard);
        }
        Ok(heard)
    }

    /// Both say what they have to, in pieces of at most so many bytes, until neither has more. Returns what the client
    /// has heard.
    pub(crate) fn settle_by(&mut self, piece_bytes: usize) -> Vec<u8> {
        let mut heard = Vec::new();
        loop {
            let said = self.client_says();
            for piece in said.chunks(piece_bytes) {
                self.server_takes(piece);
            }
            let answer = self.server_says(&[]);
            if said.is_empty() && answer.is_empty() {
                return heard;
            }
            heard.extend(self.client_takes(&answer).expect("the client likes it"));
        }
    }

    pub(crate) fn settle(&mut self) -> Vec<u8> {
        self.settle_by(usize::MAX)
    }

    /// The client says something of the inside.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.client.writer().write_all(bytes).expect("a vector takes all");
    }
}
