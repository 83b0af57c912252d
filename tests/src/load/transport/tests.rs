use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, version};
use tempfile::TempDir;

use super::super::options::TlsVersion;
use super::*;
use crate::certificates::Folder;

const TARGET: &str = "127.0.0.1:8883";

/// A server's half by rustls with buffers, in memory.
struct World {
    folder: Folder,
    _directory: TempDir,
}

impl World {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let folder = Folder::make(directory.path(), &["127.0.0.1"]).unwrap();
        Self { folder, _directory: directory }
    }

    fn options(&self) -> LayerOptions {
        LayerOptions { tls: Some(self.folder.ca()), ..LayerOptions::default() }
    }

    fn server(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ServerConfig {
        let [certificate, key] = self.folder.server();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(certificate_of(&self.folder.ca())).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![certificate_of(&certificate)],
                PrivateKeyDer::from_pem_file(key).unwrap(),
            )
            .unwrap();
        config.ticketer = rustls::crypto::ring::Ticketer::new().unwrap();
        config.alpn_protocols = vec![b"mqtt".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

fn certificate_of(file: &PathBuf) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).unwrap()
}

fn kind(options: &LayerOptions) -> Kind {
    Kind::new(options, TARGET.parse().unwrap()).unwrap()
}

/// A client and a server, and bytes between them in pieces.
struct Pair {
    client: Transport,
    server: ServerConnection,
    /// What the client has taken in clear.
    clear: Vec<u8>,
}

impl Pair {
    fn new(kind: &Kind, config: &Arc<ServerConfig>) -> Self {
        let client = Transport::new(kind, 7).unwrap();
        let mut server = ServerConnection::new(Arc::clone(config)).unwrap();
        server.set_buffer_limit(None);
        Self { client, server, clear: Vec::new() }
    }

    /// Carries bytes both ways until there are none, in pieces of `chunk` to the client.
    fn carry(&mut self, chunk: usize) -> Result<(), Fault> {
        loop {
            let mut out = Vec::new();
            self.client.wrap(&[], &mut out)?;
            let mut is_idle = out.is_empty();
            let mut input = &out[..];
            while !input.is_empty() {
                self.server.read_tls(&mut input).unwrap();
                // A refusal leaves an alert, which goes to the client.
                let _ = self.server.process_new_packets();
            }
            let mut answer = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut answer).unwrap();
            }
            is_idle &= answer.is_empty();
            for piece in answer.chunks_mut(chunk) {
                self.client.take(piece, &mut self.clear)?;
            }
            if is_idle {
                return Ok(());
            }
        }
    }

    /// The client sends bytes of MQTT. What the server has read.
    fn say(&mut self, mqtt: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.client.wrap(mqtt, &mut out).unwrap();
        let (mut input, mut heard) = (&out[..], Vec::new());
        while !input.is_empty() {
            self.server.read_tls(&mut input).unwrap();
            self.server.process_new_packets().unwrap();
            let mut buffer = [0; 1 << 14];
            while let Ok(count @ 1..) = std::io::Read::read(&mut self.server.reader(), &mut buffer)
            {
                heard.extend_from_slice(&buffer[..count]);
            }
        }
        heard
    }

    fn answer(&mut self, bytes: &[u8]) {
        std::io::Write::write_all(&mut self.server.writer(), bytes).unwrap();
    }
}

#[test]
fn bytes_pass_through_tls_however_the_stream_is_cut() {
    let world = World::new();
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let options = LayerOptions { tls_version: Some(version), ..world.options() };
        let (kind, config) = (kind(&options), Arc::new(world.server(rustls::ALL_VERSIONS)));
        for chunk in [1, 2, 3, 5, 17, 100, 1 << 20] {
            let mut pair = Pair::new(&kind, &config);
            assert!(pair.client.owes() && !pair.client.is_open());
            pair.carry(chunk).unwrap();
            assert!(pair.client.is_open());
            let handshake = pair.client.handshake().unwrap();
            let is_tls_1_3 = version == TlsVersion::Tls13;
            assert_eq!(handshake, Handshake { is_resumed: false, is_tls_1_3 });
            let long: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
            for bytes in [&[0xC0, 0][..], &long] {
                assert!(pair.say(bytes) == bytes, "in pieces of {chunk}");
                // While a part of a record waits, the client sends.
                pair.answer(bytes);
                let mut answer = Vec::new();
                while pair.server.wants_write() {
                    pair.server.write_tls(&mut answer).unwrap();
                }
                // Of the long answer at most 50 pieces.
                let piece_bytes = chunk.max(answer.len() / 50);
                for piece in answer.chunks_mut(piece_bytes) {
                    pair.client.take(piece, &mut pair.clear).unwrap();
                    assert_eq!(pair.say(b"between"), b"between");
                }
                assert!(pair.clear == bytes, "in pieces of {chunk}");
                pair.clear.clear();
            }
        }
    }
}

#[test]
fn a_ping_inside_tls_1_3_is_one_record_of_24_bytes() {
    let world = World::new();
    let config = Arc::new(world.server(&[&version::TLS13]));
    let mut pair = Pair::new(&kind(&world.options()), &config);
    pair.carry(usize::MAX).unwrap();
    let mut out = Vec::new();
    pair.client.wrap(&[0xC0, 0], &mut out).unwrap();
    assert_eq!((out.len(), &out[..5]), (24, &[0x17, 3, 3, 0, 19][..]));
}

#[test]
fn new_keys_of_the_server_are_taken_and_answered() {
    let world = World::new();
    let config = Arc::new(world.server(&[&version::TLS13]));
    let mut pair = Pair::new(&kind(&world.options()), &config);
    pair.carry(usize::MAX).unwrap();
    for _ in 0..3 {
        pair.server.refresh_traffic_keys().unwrap();
        pair.answer(b"after");
        pair.carry(usize::MAX).unwrap();
        assert_eq!(std::mem::take(&mut pair.clear), b"after");
        assert_eq!(pair.say(b"answer"), b"answer");
    }
}

#[test]
fn sessions_are_resumed_if_asked_for() {
    let world = World::new();
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        for tls_resume in [false, true] {
            let options =
                LayerOptions { tls_version: Some(version), tls_resume, ..world.options() };
            let (kind, config) = (kind(&options), Arc::new(world.server(rustls::ALL_VERSIONS)));
            let resumed: Vec<bool> = (0..3)
                .map(|_| {
                    let mut pair = Pair::new(&kind, &config);
                    pair.carry(usize::MAX).unwrap();
                    pair.client.handshake().unwrap().is_resumed
                })
                .collect();
            assert_eq!(resumed, [false, tls_resume, tls_resume], "{version:?}");
        }
    }
}

#[test]
fn only_the_authoritys_certificates_are_trusted_for_the_right_name() {
    let world = World::new();
    let config = Arc::new(world.server(rustls::ALL_VERSIONS));
    let foreign = World::new();
    let wrong_name = LayerOptions { tls_name: Some("else.where".to_owned()), ..world.options() };
    for options in [foreign.options(), wrong_name] {
        let carried = Pair::new(&kind(&options), &config).carry(usize::MAX);
        assert!(matches!(carried, Err(Fault::Tls(_))), "{carried:?}");
    }
    // A second certificate of the same authority is verified, too.
    let kind = kind(&world.options());
    Pair::new(&kind, &config).carry(usize::MAX).unwrap();
    let carried = Pair::new(&kind, &Arc::new(foreign.server(rustls::ALL_VERSIONS))).carry(1_000);
    assert!(matches!(carried, Err(Fault::Tls(_))), "{carried:?}");
}

#[test]
fn a_clients_certificate_is_shown() {
    let world = World::new();
    let [tls_cert, tls_key] = world.folder.client().map(Some);
    let options = LayerOptions { tls_cert, tls_key, ..world.options() };
    let mut pair = Pair::new(&kind(&options), &Arc::new(world.server(rustls::ALL_VERSIONS)));
    pair.carry(usize::MAX).unwrap();
    assert_eq!(pair.server.peer_certificates().map(<[_]>::len), Some(1));
}

#[test]
fn a_suite_is_chosen_by_name() {
    let world = World::new();
    for suite in ["TLS13_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"] {
        let options = LayerOptions { tls_suite: Some(suite.to_owned()), ..world.options() };
        // The version without this suite is of no use, and rustls would refuse it.
        let version =
            if suite.starts_with("TLS13") { TlsVersion::Tls13 } else { TlsVersion::Tls12 };
        let options = LayerOptions { tls_version: Some(version), ..options };
        let mut pair = Pair::new(&kind(&options), &Arc::new(world.server(rustls::ALL_VERSIONS)));
        pair.carry(usize::MAX).unwrap();
        let found = pair.server.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(format!("{found:?}"), suite);
    }
    let options = LayerOptions { tls_suite: Some("NULL".to_owned()), ..world.options() };
    let refused = Kind::new(&options, TARGET.parse().unwrap()).unwrap_err().to_string();
    assert!(refused.contains("TLS13_AES_256_GCM_SHA384"), "it names the others: {refused}");
}

#[test]
fn goodbyes_of_tls_are_said_and_taken() {
    let world = World::new();
    let config = Arc::new(world.server(rustls::ALL_VERSIONS));
    let mut pair = Pair::new(&kind(&world.options()), &config);
    pair.carry(usize::MAX).unwrap();
    pair.client.close();
    assert!(pair.client.is_open(), "the last bytes are to be wrapped");
    assert_eq!(pair.say(&[0xE0, 0]), [0xE0, 0]);
    assert!(!pair.client.is_open());
    assert!(matches!(std::io::Read::read(&mut pair.server.reader(), &mut [0; 8]), Ok(0)));
    pair.server.send_close_notify();
    pair.carry(usize::MAX).unwrap();
    assert!(pair.client.has_ended());
    assert!(matches!(pair.client.wrap(&[1], &mut Vec::new()), Err(Fault::NotOpen)));
}

#[test]
fn websocket_goes_inside_tls() {
    let world = World::new();
    let options = LayerOptions { ws: true, ..world.options() };
    let config = Arc::new(world.server(rustls::ALL_VERSIONS));
    let mut pair = Pair::new(&kind(&options), &config);
    pair.carry(usize::MAX).unwrap();
    assert!(!pair.client.is_open() && !pair.client.owes(), "the answer is awaited");
    assert_eq!(pair.server.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut request = vec![0; 4_096];
    let count = std::io::Read::read(&mut pair.server.reader(), &mut request).unwrap();
    let request = String::from_utf8_lossy(&request[..count]);
    assert!(request.starts_with("GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1:8883\r\n"), "{request}");
    pair.answer(
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\
          \r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
    );
    pair.answer(&[0x82, 2, 0xD0, 0]);
    pair.carry(1).unwrap();
    assert!(pair.client.is_open());
    assert_eq!(pair.clear, [0xD0, 0]);
    let heard = pair.say(&[0xC0, 0]);
    assert_eq!((heard.len(), &heard[..2]), (8, &[0x82, 0x82][..]));
    pair.client.close();
    let heard = pair.say(&[0xE0, 0]);
    assert_eq!(heard.len(), 8 + 8, "DISCONNECT, then a close frame");
    assert!(matches!(std::io::Read::read(&mut pair.server.reader(), &mut [0; 8]), Ok(0)));
}

#[test]
fn without_layers_bytes_stay_as_they_are() {
    let mut plain = Transport::new(&Kind::default(), 1).unwrap();
    assert!(plain.is_plain() && plain.is_open() && !plain.owes());
    let (mut clear, mut out) = (Vec::new(), Vec::new());
    plain.take(&mut [1, 2], &mut clear).unwrap();
    plain.wrap(&[3], &mut out).unwrap();
    plain.close();
    assert_eq!((clear, out, plain.handshake()), (vec![1, 2], vec![3], None));
}
