//! What clients over TLS offer, whom they trust, and what they show: rustls's configuration from the
//! command line.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion, version,
};

use super::super::options::{LayerOptions, TlsVersion};
use super::tickets::Tickets;

/// The server, as clients over TLS see it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Peer {
    /// By the command line; `ca`: the file of the certificates to trust.
    pub(super) fn new(
        options: &LayerOptions,
        ca: &Path,
        target: SocketAddr,
    ) -> anyhow::Result<Self> {
        let provider = Arc::new(provider(options.tls_suite.as_deref())?);
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).with_context(|| format!("{}", ca.display()))?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .with_context(|| format!("{} has no certificate to trust", ca.display()))?;
        let versions: &[&SupportedProtocolVersion] = match options.tls_version {
            None => &[&version::TLS13, &version::TLS12],
            Some(TlsVersion::Tls12) => &[&version::TLS12],
            Some(TlsVersion::Tls13) => &[&version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .context("no suite is left for this version of TLS")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Once::new(verifier)));
        let mut config = match (&options.tls_cert, &options.tls_key) {
            (Some(cert), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key)
                    .with_context(|| format!("no private key in {}", key.display()))?;
                builder.with_client_auth_cert(certificates(cert)?, key)?
            }
            _ => builder.with_no_client_auth(),
        };
        let protocol: &[u8] = if options.ws { b"http/1.1" } else { b"mqtt" };
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = if options.tls_resume {
            Resumption::store(Arc::new(Tickets::default()))
        } else {
            Resumption::disabled()
        };
        let name = match &options.tls_name {
            Some(name) => ServerName::try_from(name.clone())?,
            None => ServerName::from(target.ip()),
        };
        Ok(Self { config: Arc::new(config), name })
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    pub(super) fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }
}

/// ring, with the suite of this name or with all.
fn provider(suite: Option<&str>) -> anyhow::Result<CryptoProvider> {
    let mut provider = ring::default_provider();
    let Some(wanted) = suite else { return Ok(provider) };
    let name = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
    let known: Vec<String> = provider.cipher_suites.iter().map(name).collect();
    provider.cipher_suites.retain(|suite| name(suite) == wanted);
    if provider.cipher_suites.is_empty() {
        bail!("no suite is called {wanted}; there are {}", known.join(", "));
    }
    Ok(provider)
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    let certificates = read().with_context(|| format!("cannot read {}", file.display()))?;
    if certificates.is_empty() {
        bail!("{} has no certificate in PEM", file.display());
    }
    Ok(certificates)
}

/// Verifies the server's chain once, and later that it is the same: the generator makes thousands of
/// connections to one server, and its CPU is part of what is measured. That the server has the key,
/// every handshake verifies.
#[derive(Debug)]
struct Once {
    inner: Arc<WebPkiServerVerifier>,
    /// The chain that was verified.
    known: OnceLock<Vec<CertificateDer<'static>>>,
}

impl Once {
    fn new(inner: Arc<WebPkiServerVerifier>) -> Self {
        Self { inner, known: OnceLock::new() }
    }
}

impl ServerCertVerifier for Once {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = || std::iter::once(end_entity).chain(intermediates);
        if self.known.get().is_some_and(|known| known.iter().eq(chain())) {
            return Ok(ServerCertVerified::assertion());
        }
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        // Another thread may have been first: then each connection with this chain is verified.
        let _ = self.known.set(chain().map(|one| one.clone().into_owned()).collect());
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
