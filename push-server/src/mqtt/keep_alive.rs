//! Keep alive: an interval the client promised, and the deadline that follows [MQTT-3.1.2-24].

use push_common::clock::Monotonic;

use super::{Limits, Version};

/// The interval in force on a connection, in seconds; 0 switches expiry off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepAlive(pub u16);

impl KeepAlive {
    /// What is in force when the client asks for `wish_secs`: MQTT 5 is held to the server's limits,
    /// being told so [MQTT-3.2.2-21]; older versions have their wish.
    pub(super) fn granted(version: Version, wish_secs: u16, limits: &Limits) -> Self {
        let (max_secs, default_secs) = (limits.keep_alive_max_secs, limits.keep_alive_default_secs);
        match (version, wish_secs) {
            (Version::V5, 0) if default_secs != 0 => Self(default_secs.min(max_secs)),
            (Version::V5, 0) if max_secs < u16::MAX => Self(max_secs),
            (Version::V5, _) => Self(wish_secs.min(max_secs)),
            (Version::V31 | Version::V311, _) => Self(wish_secs),
        }
    }

    /// The instant at which a connection last heard of at `last_seen` is dead: 1.5 times the keep
    /// alive later. `None`: never.
    pub fn deadline(self, last_seen: Monotonic) -> Option<Monotonic> {
        (self.0 != 0).then(|| last_seen.after_millis(u64::from(self.0) * 1_500))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadline_is_one_and_a_half_keep_alives_away_and_zero_has_none() {
        let last_seen = Monotonic(7);
        assert_eq!(KeepAlive(3).deadline(last_seen), Some(last_seen.after_millis(4_500)));
        assert_eq!(KeepAlive(0).deadline(last_seen), None);
    }

    #[test]
    fn only_mqtt_5_is_held_to_the_longest_keep_alive() {
        let granted = |version, wish_secs, keep_alive_max_secs| {
            let limits = Limits { keep_alive_max_secs, ..Limits::default() };
            KeepAlive::granted(version, wish_secs, &limits).0
        };
        assert_eq!(granted(Version::V5, 61, 60), 60);
        assert_eq!(granted(Version::V5, 0, 60), 60);
        assert_eq!(granted(Version::V5, 59, 60), 59);
        assert_eq!(granted(Version::V5, 0, u16::MAX), 0);
        assert_eq!(granted(Version::V311, 61, 60), 61);
        assert_eq!(granted(Version::V311, 0, 60), 0);
    }

    #[test]
    fn who_asks_for_no_keep_alive_is_given_the_default_within_the_longest() {
        let granted = |version, wish_secs, keep_alive_max_secs| {
            let limits =
                Limits { keep_alive_max_secs, keep_alive_default_secs: 300, ..Limits::default() };
            KeepAlive::granted(version, wish_secs, &limits).0
        };
        assert_eq!(granted(Version::V5, 0, u16::MAX), 300);
        assert_eq!(granted(Version::V5, 0, 60), 60);
        assert_eq!(granted(Version::V5, 900, u16::MAX), 900);
        assert_eq!(granted(Version::V31, 0, 60), 0);
        assert_eq!(granted(Version::V311, 0, u16::MAX), 0);
    }
}
