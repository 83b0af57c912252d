//! Certificates made for a test, files of them, and handshakes in memory.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, ServerConfig,
    ServerConnection, SignatureScheme, SupportedProtocolVersion,
};
use tempfile::TempDir;

use super::super::*;
use crate::transport::Kind;

/// Signs certificates.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, as files have them.
#[derive(Clone)]
pub(super) struct Issued {
    pub(super) cert: String,
    pub(super) key: String,
}

impl Issued {
    pub(super) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).expect("a certificate")
    }
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("signed"))
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For hosts, with a key of P-256.
    pub(super) fn issue(&self, hosts: &[&str]) -> Issued {
        self.issue_with(hosts, &KeyPair::generate().expect("a key"), |_| ())
    }

    /// As `change` says.
    pub(super) fn issue_with(
        &self,
        hosts: &[&str],
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("host names");
        change(&mut params);
        let cert = params.signed_by(key, &self.0).expect("signed");
        Issued { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// Of a client.
    pub(super) fn client(&self, serial: u64) -> Issued {
        self.issue_with(&["device"], &KeyPair::generate().expect("a key"), |params| {
            params.serial_number = Some(SerialNumber::from(serial));
        })
    }

    /// Of revoked certificates, to be renewed in a year.
    pub(super) fn crl(&self, serials: &[u64], next_update: i32) -> String {
        let revoked = |&serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(next_update, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).expect("signed").pem().expect("pem")
    }
}

/// Files of a test.
pub(super) struct Files(pub(super) TempDir);

impl Files {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        // As a careful writer does: never half a file.
        let new = self.0.path().join("new");
        fs::write(&new, text).expect("written");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::rename(&new, &path).expect("renamed");
        path
    }

    /// Adds a certificate with its key.
    pub(super) fn add(&self, settings: &mut TlsSettings, name: &str, issued: &Issued) {
        settings.cert_files.push(self.write(&format!("{name}.pem"), &issued.cert));
        settings.key_files.push(self.write(&format!("{name}.key"), &issued.key));
    }
}

/// Settings that listen for TLS.
pub(super) fn config(tls: TlsSettings) -> Config {
    let address = "127.0.0.1:0".parse().expect("an address");
    Config { tls_listen: vec![address], tls, ..Config::default() }
}

pub(super) fn load(tls: &TlsSettings) -> Tls {
    let loaded = Tls::load(&config(tls.clone())).unwrap_or_else(|error| panic!("{error}"));
    loaded.expect("somebody listens")
}

pub(super) fn refusal(tls: &TlsSettings) -> String {
    Tls::load(&config(tls.clone())).map(|_| ()).expect_err("refused").to_string()
}

/// A client that takes any certificate and knows some signatures.
#[derive(Debug)]
struct Trusting(Vec<SignatureScheme>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider::provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider::provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

pub(super) const ECDSA: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];
pub(super) const BOTH: &[SignatureScheme] =
    &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519];

pub(super) fn client(
    version: &'static SupportedProtocolVersion,
    own: Option<&Issued>,
    schemes: &[SignatureScheme],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    client_of(provider::provider(), version, own, schemes, alpn)
}

/// The same with other cryptography.
pub(super) fn client_of(
    provider: CryptoProvider,
    version: &'static SupportedProtocolVersion,
    own: Option<&Issued>,
    schemes: &[SignatureScheme],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .expect("a version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(schemes.to_vec())));
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(vec![own.der()], key).expect("it fits")
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Both ends after a handshake in memory, or why the server refuses it.
pub(super) fn handshake(
    server: Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    host: &str,
) -> Result<(ServerConnection, ClientConnection), Error> {
    let host = ServerName::try_from(host.to_owned()).expect("a name");
    let mut server = ServerConnection::new(server).expect("a server");
    let mut client = ClientConnection::new(Arc::clone(client), host).expect("a client");
    for _ in 0..8 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("into memory");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("from memory");
            server.process_new_packets()?;
        }
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("into memory");
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("from memory");
            client.process_new_packets().expect("the client agrees");
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    Ok((server, client))
}

pub(super) fn current(tls: &Tls, kind: Kind) -> Arc<ServerConfig> {
    tls.shared().current(kind, tls.served().settings.client_auth).expect("a listener for TLS")
}

pub(super) fn connect(tls: &Tls, client: &Arc<ClientConfig>) -> Result<HandshakeKind, Error> {
    let (server, _) = handshake(current(tls, Kind::Tls), client, "a.example")?;
    Ok(server.handshake_kind().expect("it is done"))
}

/// The certificate that a client gets.
pub(super) fn shown(tls: &Tls, client: &Arc<ClientConfig>, host: &str) -> CertificateDer<'static> {
    let mut client = (**client).clone();
    // Who resumes is shown none.
    client.resumption = Resumption::disabled();
    let (_, client) = handshake(current(tls, Kind::Tls), &Arc::new(client), host).expect("served");
    let chain = client.peer_certificates().expect("a chain");
    chain.first().expect("a certificate").clone().into_owned()
}

pub(super) fn both_versions(test: impl Fn(&'static SupportedProtocolVersion)) {
    test(&rustls::version::TLS12);
    test(&rustls::version::TLS13);
}

pub(super) fn full() -> Result<HandshakeKind, Error> {
    Ok(HandshakeKind::Full)
}

pub(super) fn resumed() -> Result<HandshakeKind, Error> {
    Ok(HandshakeKind::Resumed)
}
