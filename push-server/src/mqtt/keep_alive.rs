//! Keep alive: an interval the client promised, and the deadline that follows [MQTT-3.1.2-24].

use push_common::clock::Monotonic;

use super::{Limits, Version};

/// The interval in force on a connection, in seconds; 0 switches expiry off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepAlive(pub u16);

impl KeepAlive {
    /// The keep alive that the server grants to a client that asks for `wish_secs`. MQTT 5 clients
    /// get at most the server's limits, and CONNACK tells them [MQTT-3.2.2-21]; older versions get
    /// what they ask for.
    pub(super) fn granted(version: Version, wish_secs: u16, limits: &Limits) -> Self {
        let (max_secs, default_secs) = (limits.keep_alive_max_secs, limits.keep_alive_default_secs);
        match (version, wish_secs) {
            (Version::V5, 0) if default_secs != 0 => Self(default_secs.min(max_secs)),
            (Version::V5, 0) if max_secs < u16::MAX => Self(max_secs),
            (Version::V5, _) => Self(wish_secs.min(max_secs)),
            (Version::V31 | Version::V311, _) => Self(wish_secs),
        }
    }

    /// When a connection last heard at `last_seen` expires: 1.5 keep alives later. `None`: never.
    pub fn deadline(self, last_seen: Monotonic) -> Option<Monotonic> {
        (self.0 != 0).then(|| last_seen.after_millis(u64::from(self.0) * 1_500))
    }
}

#[cfg(test)]
mod tests;
