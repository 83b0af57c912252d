//! The kinds of listeners that clients connect to, and the setting that names the addresses of each.

use std::net::SocketAddr;

use super::Config;

/// Which layers are around MQTT on a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// None.
    Mqtt,
    /// TLS.
    Tls,
    /// WebSocket.
    WebSocket,
    /// WebSocket inside TLS.
    TlsWebSocket,
}

impl Listener {
    /// Every kind, in the order of `--help`.
    pub const ALL: [Self; 4] = [Self::Mqtt, Self::Tls, Self::WebSocket, Self::TlsWebSocket];

    /// The setting that names its addresses.
    pub fn key(self) -> &'static str {
        match self {
            Self::Mqtt => "listen",
            Self::Tls => "tls-listen",
            Self::WebSocket => "ws-listen",
            Self::TlsWebSocket => "wss-listen",
        }
    }

    /// Whether its connections begin with a handshake of TLS.
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsWebSocket)
    }
}

impl Config {
    /// The addresses of the listeners of one kind.
    pub fn addresses_of(&self, listener: Listener) -> &[SocketAddr] {
        match listener {
            Listener::Mqtt => &self.listen,
            Listener::Tls => &self.tls_listen,
            Listener::WebSocket => &self.ws_listen,
            Listener::TlsWebSocket => &self.wss_listen,
        }
    }

    /// The addresses that clients connect to, by kind.
    pub fn listeners(&self) -> impl Iterator<Item = (Listener, SocketAddr)> {
        Listener::ALL.into_iter().flat_map(|listener| {
            self.addresses_of(listener).iter().map(move |&address| (listener, address))
        })
    }

    /// Whether any client can connect over TLS.
    pub fn has_tls_listener(&self) -> bool {
        self.listeners().any(|(listener, _)| listener.has_tls())
    }
}
