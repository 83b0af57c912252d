//! How a connection ends by its peer's doing.

/// Why nothing that a peer still sends is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It asked for something else than MQTT over WebSocket.
    NotUpgraded,
    /// Its request is longer than [`super::UPGRADE_HEAD_BYTES_MAX`].
    HeadTooLarge,
    /// It sent a close frame.
    Left,
    /// It broke the rules of frames, or sent text [MQTT-6.0.0-1].
    Fault,
    /// It sent too many pings.
    PingRate,
}
