//! What clients over TLS are served with, as all shards see it and `control` changes it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::config::ClientAuthMode;
use crate::transport::{Certificate, Kind, ServerTls};

/// What the next handshakes use. Connections that are there keep what theirs has used.
#[derive(Debug, Default)]
pub struct SharedTls {
    /// Locked only while pointers are copied.
    current: RwLock<Option<TlsConfigs>>,
}

/// What listeners use, by whether their clients show certificates.
#[derive(Clone, Debug, Default)]
pub struct TlsConfigs {
    none: Option<TlsSources>,
    optional: Option<TlsSources>,
    required: Option<TlsSources>,
}

/// What each kind of listener uses: they differ in what clients may name by ALPN.
#[derive(Clone, Debug)]
pub struct TlsSources {
    /// Of listeners for MQTT inside TLS.
    pub mqtt: Arc<dyn TlsSource>,
    /// Of listeners for WebSocket inside TLS.
    pub websocket: Arc<dyn TlsSource>,
}

impl TlsConfigs {
    /// Listeners whose clients show certificates like this use `sources`.
    #[must_use]
    pub fn with(mut self, client_auth: ClientAuthMode, sources: TlsSources) -> Self {
        *self.sources_mut(client_auth) = Some(sources);
        self
    }

    fn sources_mut(&mut self, client_auth: ClientAuthMode) -> &mut Option<TlsSources> {
        match client_auth {
            ClientAuthMode::None => &mut self.none,
            ClientAuthMode::Optional => &mut self.optional,
            ClientAuthMode::Required => &mut self.required,
        }
    }

    fn sources(&self, client_auth: ClientAuthMode) -> Option<&TlsSources> {
        match client_auth {
            ClientAuthMode::None => self.none.as_ref(),
            ClientAuthMode::Optional => self.optional.as_ref(),
            ClientAuthMode::Required => self.required.as_ref(),
        }
    }
}

/// Gives each connection its configuration.
pub trait TlsSource: fmt::Debug + Send + Sync {
    /// The next connection's.
    fn config(&self) -> Arc<ServerTls>;

    /// Whether a handshake would accept these certificates of a client's now, its own first.
    fn accepts(&self, chain: &[Certificate<'_>]) -> bool {
        let _ = chain;
        true
    }
}

impl SharedTls {
    /// What the first handshakes use.
    pub fn new(configs: TlsConfigs) -> Self {
        Self { current: RwLock::new(Some(configs)) }
    }

    /// What a new connection of a listener uses; `None`: its listener is not one for TLS.
    pub(crate) fn current(
        &self,
        kind: Kind,
        client_auth: ClientAuthMode,
    ) -> Option<Arc<ServerTls>> {
        self.source(kind, client_auth).map(|source| source.config())
    }

    /// What gives new connections of a listener what they use; `None`: its listener is not one for TLS.
    pub(crate) fn source(
        &self,
        kind: Kind,
        client_auth: ClientAuthMode,
    ) -> Option<Arc<dyn TlsSource>> {
        // The lock holds pointers, whole whatever panicked.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let current = current.as_ref()?.sources(client_auth)?;
        let source = match kind {
            Kind::Plain | Kind::WebSocket => return None,
            Kind::Tls => &current.mqtt,
            Kind::TlsWebSocket => &current.websocket,
        };
        Some(Arc::clone(source))
    }

    /// From now on handshakes begin with these.
    pub fn replace(&self, configs: TlsConfigs) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(configs);
    }
}
