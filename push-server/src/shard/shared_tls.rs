//! What clients over TLS are served with, as all shards see it and `control` changes it.

use std::sync::{Arc, PoisonError, RwLock};

use crate::transport::{Kind, ServerTls};

/// What the next handshakes use. Connections that are there keep what theirs has used.
#[derive(Debug, Default)]
pub struct SharedTls {
    /// Locked only while pointers are copied.
    current: RwLock<Option<TlsConfigs>>,
}

/// A configuration for each kind of listener: they differ in what clients may name by ALPN.
#[derive(Clone, Debug)]
pub struct TlsConfigs {
    /// Of listeners for MQTT inside TLS.
    pub mqtt: Arc<ServerTls>,
    /// Of listeners for WebSocket inside TLS.
    pub websocket: Arc<ServerTls>,
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
        match kind {
            Kind::Plain | Kind::WebSocket => None,
            Kind::Tls => Some(Arc::clone(&current.mqtt)),
            Kind::TlsWebSocket => Some(Arc::clone(&current.websocket)),
        }
    }

    /// From now on handshakes begin with these.
    pub fn replace(&self, configs: TlsConfigs) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(configs);
    }
}
