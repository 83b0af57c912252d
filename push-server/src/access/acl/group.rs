//! The table of a group that has limits: `[groups.NAME]` with `users`, and `[groups.NAME.limits]`.

use super::super::client_limits::GroupLimits;

/// Keys of a group.
pub(super) const GROUP_KEYS: &str = "users and limits";

/// Keys of its limits.
pub(super) const LIMIT_KEYS: &str = "publish-rate, publish-burst, publish-bytes-rate, \
     publish-bytes-burst, subscribe-rate, subscribe-burst and user-connections-max";

/// Highest rate, burst and number.
const LIMIT_MAX: u32 = 1_000_000_000;

/// Why a limit is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoLimit {
    /// There is no such key.
    Unknown,
    /// Its value is not one of these.
    Value(&'static str),
}

/// Sets the limit of a key; `value`: `None` if it is no whole number.
///
/// # Errors
/// There is no such limit, or it cannot be that.
pub(super) fn set(limits: &mut GroupLimits, key: &str, value: Option<i64>) -> Result<(), NoLimit> {
    let (limit, is_burst) = match key {
        "publish-rate" => (&mut limits.publish_rate, false),
        "publish-burst" => (&mut limits.publish_burst, true),
        "publish-bytes-rate" => (&mut limits.publish_bytes_rate, false),
        "publish-bytes-burst" => (&mut limits.publish_bytes_burst, true),
        "subscribe-rate" => (&mut limits.subscribe_rate, false),
        "subscribe-burst" => (&mut limits.subscribe_burst, true),
        "user-connections-max" => (&mut limits.user_connections_max, false),
        _ => return Err(NoLimit::Unknown),
    };
    let value = value.and_then(|value| u32::try_from(value).ok()).filter(|&n| n <= LIMIT_MAX);
    match value {
        Some(0) if is_burst => Err(NoLimit::Value("a whole number from 1 to 1000000000")),
        Some(value) => {
            *limit = Some(value);
            Ok(())
        }
        None if is_burst => Err(NoLimit::Value("a whole number from 1 to 1000000000")),
        None => Err(NoLimit::Value("a whole number from 0 (no limit) to 1000000000")),
    }
}

#[cfg(test)]
mod tests;
