//! How a connection ends: by its peer's doing, or by ours.

/// Why a layer takes nothing more of what its peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its request was for something else than MQTT over WebSocket.
    NotUpgraded,
    /// Its request is longer than [`super::UPGRADE_HEAD_BYTES_MAX`].
    HeadTooLarge,
    /// It sent a close frame.
    Left,
    /// It broke the rules of frames, or sent text [MQTT-6.0.0-1].
    Fault,
    /// It sent too many pings of WebSocket.
    PingRate,
}

/// A limit that a layer holds its peer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// [`super::UPGRADE_HEAD_BYTES_MAX`].
    UpgradeHead,
    /// The ping rate.
    PingRate,
}

/// Why the server ends a connection, where a layer can say it.
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

    /// The limit that the peer has reached, if it was one.
    pub(crate) fn limit(self) -> Option<Limit> {
        match self {
            Self::HeadTooLarge => Some(Limit::UpgradeHead),
            Self::PingRate => Some(Limit::PingRate),
            Self::NotUpgraded | Self::Left | Self::Fault => None,
        }
    }
}
