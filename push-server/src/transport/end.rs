//! Why a connection ends: the peer's reasons, and the server's.

use std::fmt;

use super::proxy::ProxyFault;
use super::stranger::Stranger;
use super::tls::TlsFault;

/// Why a layer stopped taking the peer's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The peer speaks another protocol than the listener.
    Stranger(Stranger),
    /// The peer asked for something other than MQTT over WebSocket.
    NotUpgraded,
    /// It is of a page whose origin may not connect.
    OriginRefused,
    /// Its request is longer than [`super::UPGRADE_HEAD_BYTES_MAX`].
    HeadTooLarge,
    /// It sent a close frame.
    Left,
    /// It broke the framing rules, or sent text [MQTT-6.0.0-1].
    Fault,
    /// It sent WebSocket pings too often.
    PingRate,
    /// It sent a close_notify.
    LeftTls,
    /// TLS has failed.
    Tls(TlsFault),
    /// It did not begin with a PROXY header, where one is needed.
    Proxy(ProxyFault),
}

/// A limit that a layer enforces on its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// [`super::UPGRADE_HEAD_BYTES_MAX`].
    UpgradeHead,
    /// The ping rate.
    PingRate,
    /// [`super::HANDSHAKE_INPUT_BYTES_MAX`].
    HandshakeInput,
    /// [`super::PROXY_HEADER_BYTES_MAX`].
    ProxyHeader,
}

/// Why the server ends a connection, for layers that can tell the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// MQTT has ended: WebSocket's 1000.
    Done,
    /// The server stops: WebSocket's 1001.
    Stopping,
}

impl Ended {
    /// Whether the peer did something wrong, rather than leave.
    pub(crate) fn is_fault(self) -> bool {
        match self {
            Self::Left | Self::LeftTls => false,
            Self::Tls(fault) => fault.is_fault(),
            _ => true,
        }
    }

    /// The limit that the peer exceeded, if that was the reason.
    pub(crate) fn limit(self) -> Option<Limit> {
        match self {
            Self::HeadTooLarge => Some(Limit::UpgradeHead),
            Self::PingRate => Some(Limit::PingRate),
            Self::Tls(TlsFault::TooLong) => Some(Limit::HandshakeInput),
            Self::Proxy(ProxyFault::TooLong) => Some(Limit::ProxyHeader),
            Self::Stranger(_)
            | Self::Proxy(_)
            | Self::NotUpgraded
            | Self::OriginRefused
            | Self::Left
            | Self::Fault
            | Self::LeftTls
            | Self::Tls(_) => None,
        }
    }
}

impl fmt::Display for Ended {
    /// What happened, for the log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Stranger(stranger) => return stranger.fmt(formatter),
            Self::Tls(fault) => return fault.fmt(formatter),
            Self::Proxy(fault) => return fault.fmt(formatter),
            Self::NotUpgraded => "no request for MQTT over WebSocket",
            Self::OriginRefused => "it is of a page whose origin is not one of --ws-origins",
            Self::HeadTooLarge => "its request is too large",
            Self::Left => "client closed its WebSocket",
            Self::Fault => "broke the rules of WebSocket",
            Self::PingRate => "too many pings of WebSocket",
            Self::LeftTls => "client closed its TLS without a DISCONNECT",
        })
    }
}
