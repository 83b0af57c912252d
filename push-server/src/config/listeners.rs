//! The kinds of listeners that clients connect to, and the setting that names the addresses of each.

/// Which layers are around MQTT on a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// None.
    Mqtt,
    /// TLS.
    Tls,
    /// WebSocket.
    WebSocket,
    /// WebSocket inside TLS.
    TlsWebSocket,
}

impl ListenerKind {
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
