//! Makes rustls's configurations of what the files say.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, ServerConfig, SupportedProtocolVersion};

use super::material::Material;
use super::resolver::Resolver;
use super::tickets::{DatedTickets, TicketKeys};
use crate::config::{ClientAuthMode, TlsSettings, TlsVersionMode};
use crate::shard::{TlsConfigs, TlsSource, TlsSources};

/// What clients of MQTT inside TLS may name by ALPN (RFC 7301; IANA's registry has it for MQTT). A
/// client that names nothing is served; one that names only others is refused.
const ALPN_MQTT: &[u8] = b"mqtt";
/// The same inside `wss://`: what TLS carries there is HTTP (RFC 6455, section 4.1), and browsers name
/// that.
const ALPN_WEBSOCKET: &[u8] = b"http/1.1";

/// Tickets of TLS 1.3 for each handshake. A device has one connection, and gets a new ticket each time
/// that it resumes, so a second one, of some 250 bytes and with a client certificate much more, would
/// never be used. A client that asks for none (RFC 9149) gets none.
const TICKETS: usize = 1;

/// Why there are no configurations.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigsError {
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] Error),
    #[error("clients' certificates cannot be checked: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

/// Makes them for listeners that ask for certificates in these ways.
pub(super) fn configs(
    material: &Material,
    settings: &TlsSettings,
    modes: &[ClientAuthMode],
    provider: &Arc<CryptoProvider>,
    tickets: &TicketKeys,
) -> Result<TlsConfigs, ConfigsError> {
    let certificates =
        material.pairs.iter().map(|pair| (Arc::clone(&pair.certified), pair.hosts.as_slice()));
    let resolver = Arc::new(Resolver::new(Arc::clone(provider), certificates));
    modes.iter().try_fold(TlsConfigs::default(), |configs, &mode| {
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions(settings.version_min))?;
        let verifier = verifier(mode, material, provider)?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let config = builder.with_cert_resolver(Arc::<Resolver>::clone(&resolver));
        Ok(configs.with(mode, sources(config, verifier.as_ref(), tickets.of(mode))))
    })
}

/// What judges clients' certificates; `None`: nobody asks for them.
fn verifier(
    mode: ClientAuthMode,
    material: &Material,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, VerifierBuilderError> {
    let builder = || {
        let builder = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&material.authorities),
            Arc::clone(provider),
        );
        // By default all of a chain is looked up, and a certificate whose issuer has no list is refused.
        builder.with_crls(material.revoked.iter().map(|crl| crl.der.clone()))
    };
    match mode {
        ClientAuthMode::None => Ok(None),
        ClientAuthMode::Optional => builder().allow_unauthenticated().build().map(Some),
        ClientAuthMode::Required => builder().build().map(Some),
    }
}

/// What both kinds of listeners that ask like this use.
fn sources(
    mut mqtt: ServerConfig,
    verifier: Option<&Arc<dyn ClientCertVerifier>>,
    tickets: &Arc<dyn ProducesTickets>,
) -> TlsSources {
    // Sessions live in tickets alone, which any shard can open, and any listener that asks the same.
    mqtt.session_storage = Arc::new(NoServerSessionStorage {});
    mqtt.ticketer = Arc::clone(tickets);
    mqtt.send_tls13_tickets = TICKETS;
    mqtt.max_tls13_tickets = TICKETS;
    // Bytes of 0-RTT can be replayed (RFC 8446, section 8), and a CONNECT must not be.
    mqtt.max_early_data_size = 0;
    mqtt.alpn_protocols = vec![ALPN_MQTT.to_vec()];
    let mut websocket = mqtt.clone();
    websocket.alpn_protocols = vec![ALPN_WEBSOCKET.to_vec()];
    let source = |config| -> Arc<dyn TlsSource> {
        match verifier {
            None => Arc::new(Same(Arc::new(config))),
            Some(verifier) => Arc::new(Dated { config, verifier: Arc::clone(verifier) }),
        }
    };
    TlsSources { mqtt: source(mqtt), websocket: source(websocket) }
}

fn versions(least: TlsVersionMode) -> &'static [&'static SupportedProtocolVersion] {
    const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    const NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];
    match least {
        TlsVersionMode::Tls12 => BOTH,
        TlsVersionMode::Tls13 => NEWEST,
    }
}

/// All connections use one.
#[derive(Debug)]
struct Same(Arc<ServerConfig>);

impl TlsSource for Same {
    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

/// Each connection has tickets that know when its client has shown its certificate. rustls drops a
/// connection's configuration when its handshake is done, so an idle one pays nothing.
#[derive(Debug)]
struct Dated {
    config: ServerConfig,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl TlsSource for Dated {
    fn config(&self) -> Arc<ServerConfig> {
        let mut config = self.config.clone();
        config.ticketer = Arc::new(DatedTickets::new(Arc::clone(&self.config.ticketer)));
        Arc::new(config)
    }

    fn accepts(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some((own, signers)) = chain.split_first() else { return true };
        self.verifier.verify_client_cert(own, signers, UnixTime::now()).is_ok()
    }
}
