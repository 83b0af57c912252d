//! What a token says, as far as the server looks at it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// The claims (RFC 7519, section 4.1), and two of the server's own. Others mean nothing to it.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Claims {
    /// The user.
    pub(super) sub: String,
    /// Until when it is valid.
    pub(super) exp: NumericDate,
    /// From when on it is valid.
    #[serde(default)]
    pub(super) nbf: Option<NumericDate>,
    /// Groups of the user, for rules of `--acl`.
    #[serde(default)]
    pub(super) groups: Option<Vec<Box<str>>>,
    /// Filters that the user may publish and subscribe to, in the place of what rules allow it, by `publish` and
    /// `subscribe`.
    #[serde(default)]
    pub(super) acl: Option<BTreeMap<String, Vec<String>>>,
}

/// Seconds since 1970, perhaps with a fraction (RFC 7519, section 2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NumericDate(f64);

impl NumericDate {
    pub(super) fn rounded_down(self) -> u64 {
        // Saturates.
        self.0.floor() as u64
    }

    pub(super) fn rounded_up(self) -> u64 {
        self.0.ceil() as u64
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;
        impl Visitor<'_> for Seconds {
            type Value = NumericDate;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("seconds since 1970")
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<NumericDate, E> {
                self.visit_f64(seconds as f64)
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<NumericDate, E> {
                self.visit_f64(seconds as f64)
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<NumericDate, E> {
                let is_time = seconds.is_finite() && seconds >= 0.0;
                is_time.then_some(NumericDate(seconds)).ok_or_else(|| E::custom("no time"))
            }
        }
        deserializer.deserialize_any(Seconds)
    }
}
