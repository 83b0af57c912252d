//! Keep alive: an interval the client promised, and the deadline that follows [MQTT-3.1.2-24].

use push_common::clock::Monotonic;

use super::Version;

/// The interval in force on a connection, in seconds; 0 switches expiry off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepAlive(pub u16);

impl KeepAlive {
    /// What is in force when the client asks for `wish_secs` and the server grants `max_secs` at
    /// most: MQTT 5 is held to the maximum, being told so [MQTT-3.2.2-21]; 3.1.1 has its wish.
    pub(super) fn granted(version: Version, wish_secs: u16, max_secs: u16) -> Self {
        let endless = wish_secs == 0 && max_secs < u16::MAX;
        match version {
            Version::V5 if endless || wish_secs > max_secs => Self(max_secs),
            _ => Self(wish_secs),
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
        assert_eq!(KeepAlive::granted(Version::V5, 61, 60), KeepAlive(60));
        assert_eq!(KeepAlive::granted(Version::V5, 0, 60), KeepAlive(60));
        assert_eq!(KeepAlive::granted(Version::V5, 59, 60), KeepAlive(59));
        assert_eq!(KeepAlive::granted(Version::V5, 0, u16::MAX), KeepAlive(0));
        assert_eq!(KeepAlive::granted(Version::V311, 61, 60), KeepAlive(61));
        assert_eq!(KeepAlive::granted(Version::V311, 0, 60), KeepAlive(0));
    }
}
