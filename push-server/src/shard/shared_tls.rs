//! What clients over TLS are served with, as all shards see it and `control` changes it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::transport::{Kind, ServerTls};

/// What the next handshakes use. Connections that are there keep what theirs has used.
#[derive(Debug, Default)]
pub struct SharedTls {
    /// Locked only while pointers are copied.
    current: RwLock<Option<TlsConfigs>>,
}

/// What each kind of listener uses: they differ in what clients may name by ALPN.
#[derive(Clone, Debug)]
pub struct TlsConfigs {
    /// Of listeners for MQTT inside TLS.
    pub mqtt: Arc<dyn TlsSource>,
    /// Of listeners for WebSocket inside TLS.
    pub websocket: Arc<dyn TlsSource>,
}

/// Gives each connection its configuration.
pub trait TlsSource: fmt::Debug + Send + Sync {
    /// The next connection's.
    fn config(&self) -> Arc<ServerTls>;
}

impl SharedTls {
    /// What the first handshakes use.
    pub fn new(configs: TlsConfigs) -> Self {
        Self { current: RwLock::new(Some(configs)) }
    }

    /// What a new connection of a listener uses; `None`: its listener is not one for TLS.
    pub(crate) fn current(&self, kind: Kind) -> Option<Arc<ServerTls>> {
        // The lock holds pointers, whole whatever panicked.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let current = current.as_ref()?;
        let source = match kind {
            Kind::Plain | Kind::WebSocket => return None,
            Kind::Tls => &current.mqtt,
            Kind::TlsWebSocket => &current.websocket,
        };
        Some(source.config())
    }

    /// From now on handshakes begin with these.
    pub fn replace(&self, configs: TlsConfigs) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(configs);
    }
}
