//! Why a connection ends: the peer's reasons, and the server's.

/// Why a layer stopped taking the peer's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The peer asked for something other than MQTT over WebSocket.
    NotUpgraded,
    /// Its request is longer than [`super::UPGRADE_HEAD_BYTES_MAX`].
    HeadTooLarge,
    /// It sent a close frame.
    Left,
    /// It broke the framing rules, or sent text [MQTT-6.0.0-1].
    Fault,
    /// It sent WebSocket pings too often.
    PingRate,
}

/// A limit that a layer enforces on its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// [`super::UPGRADE_HEAD_BYTES_MAX`].
    UpgradeHead,
    /// The ping rate.
    PingRate,
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
    /// What happened, for the log.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NotUpgraded => "no request for MQTT over WebSocket",
            Self::HeadTooLarge => "its request is too large",
            Self::Left => "client closed its WebSocket",
            Self::Fault => "broke the rules of WebSocket",
            Self::PingRate => "too many pings of WebSocket",
        }
    }

    /// Whether the peer did something wrong, rather than leave.
    pub(crate) fn is_fault(self) -> bool {
        self != Self::Left
    }

    /// The limit that the peer exceeded, if that was the reason.
    pub(crate) fn limit(self) -> Option<Limit> {
        match self {
            Self::HeadTooLarge => Some(Limit::UpgradeHead),
            Self::PingRate => Some(Limit::PingRate),
            Self::NotUpgraded | Self::Left | Self::Fault => None,
        }
    }
}
