//! The protocol version that a client speaks, with two flags, in one byte: an idle connection keeps
//! little else.

use crate::mqtt::Version;

/// A version of the protocol, with what CONNECT said that holds as long as the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V31,
    V31Bridge,
    V311,
    V311Bridge,
    V5,
    /// The client asked for no reason strings or user properties in answers (Request Problem Information 0).
    V5Terse,
}

impl Dialect {
    /// `is_bridge` counts in 3.1 and 3.1.1 only, `wants_words` in 5.0 only.
    pub(super) fn new(version: Version, is_bridge: bool, wants_words: bool) -> Self {
        match (version, is_bridge, wants_words) {
            (Version::V31, false, _) => Self::V31,
            (Version::V31, true, _) => Self::V31Bridge,
            (Version::V311, false, _) => Self::V311,
            (Version::V311, true, _) => Self::V311Bridge,
            (Version::V5, _, true) => Self::V5,
            (Version::V5, _, false) => Self::V5Terse,
        }
    }

    pub(super) fn version(self) -> Version {
        match self {
            Self::V31 | Self::V31Bridge => Version::V31,
            Self::V311 | Self::V311Bridge => Version::V311,
            Self::V5 | Self::V5Terse => Version::V5,
        }
    }

    /// Whether the client's CONNECT said that it is the bridge of another broker.
    pub(super) fn is_bridge(self) -> bool {
        matches!(self, Self::V31Bridge | Self::V311Bridge)
    }

    /// Whether answers may have reason strings and user properties, which only 5.0 has.
    pub(super) fn wants_words(self) -> bool {
        self == Self::V5
    }
}
