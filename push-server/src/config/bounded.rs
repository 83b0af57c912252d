//! Numbers with bounds: plain ones, sizes and times. A plain number means bytes or seconds; a text may
//! name a unit, as `64MiB` or `7d`. clap and serde both parse through these.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use bytesize::ByteSize;
use serde::de::{Deserialize, Deserializer, Error as _, Unexpected, Visitor};

use super::values::Expected;

/// A whole number from `MIN` to `MAX`, both included, in unit `U`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded<T, const MIN: u64, const MAX: u64, U = Count>(T, PhantomData<U>);

/// A number of bytes from `MIN` to `MAX`.
pub type Bytes<T, const MIN: u64, const MAX: u64> = Bounded<T, MIN, MAX, InBytes>;

/// A number of seconds from `MIN` to `MAX`.
pub type Secs<T, const MIN: u64, const MAX: u64> = Bounded<T, MIN, MAX, InSecs>;

/// The unit of a number, and how to read its text.
pub trait Unit {
    /// Whether the file may give a text instead of a number.
    const HAS_NAMES: bool;

    /// The number that `text` means, if it is valid.
    fn parse(text: &str) -> Option<u64>;

    /// Describes the values allowed from `min` to `max`.
    fn expected(min: u64, max: u64) -> String;
}

/// A number of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count;

impl Unit for Count {
    const HAS_NAMES: bool = false;

    fn parse(text: &str) -> Option<u64> {
        text.parse().ok()
    }

    fn expected(min: u64, max: u64) -> String {
        format!("a whole number from {min} to {max}")
    }
}

/// A number of bytes, as `65536` or `64KiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InBytes;

impl Unit for InBytes {
    const HAS_NAMES: bool = true;

    fn parse(text: &str) -> Option<u64> {
        text.parse::<ByteSize>().ok().map(|size| size.as_u64())
    }

    fn expected(min: u64, max: u64) -> String {
        format!("a size from {min} to {max} bytes, as 65536 or 64KiB")
    }
}

/// A number of seconds, as `600` or `10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InSecs;

impl Unit for InSecs {
    const HAS_NAMES: bool = true;

    fn parse(text: &str) -> Option<u64> {
        if let Ok(secs) = text.parse() {
            return Some(secs);
        }
        // humantime reads `M` as months; people who write `10M` mostly mean minutes.
        if text.contains('M') {
            return None;
        }
        let time = humantime::parse_duration(text).ok()?;
        // Half a second would become 0, which often means "never".
        (time.subsec_nanos() == 0).then_some(time.as_secs())
    }

    fn expected(min: u64, max: u64) -> String {
        format!("a time from {min} to {max} seconds, as 600 or 10m")
    }
}

impl<T: Copy + TryFrom<u64>, const MIN: u64, const MAX: u64, U: Unit> Bounded<T, MIN, MAX, U> {
    /// The number.
    pub fn value(self) -> T {
        self.0
    }

    fn new(number: u64) -> Option<Self> {
        let number = Some(number).filter(|number| (MIN..=MAX).contains(number))?;
        T::try_from(number).ok().map(|number| Self(number, PhantomData))
    }

    fn expected() -> Expected {
        Expected(U::expected(MIN, MAX))
    }
}

impl<T, const MIN: u64, const MAX: u64, U: Unit> FromStr for Bounded<T, MIN, MAX, U>
where
    T: Copy + TryFrom<u64>,
{
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        U::parse(text).and_then(Self::new).ok_or_else(Self::expected)
    }
}

impl<'de, T, const MIN: u64, const MAX: u64, U: Unit> Deserialize<'de> for Bounded<T, MIN, MAX, U>
where
    T: Copy + TryFrom<u64>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Expected(allowed) = Self::expected();
        let number = deserializer.deserialize_any(Number::<U>(&allowed, PhantomData))?;
        Self::new(number)
            .ok_or_else(|| D::Error::invalid_value(Unexpected::Unsigned(number), &allowed.as_str()))
    }
}

/// Reads a non-negative integer, or a text if the unit has names. The field describes the values
/// allowed.
struct Number<'a, U>(&'a str, PhantomData<U>);

impl<U: Unit> Visitor<'_> for Number<'_, U> {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u64, E> {
        number.try_into().map_err(|_| E::invalid_value(Unexpected::Signed(number), &self.0))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
        let number = U::HAS_NAMES.then(|| U::parse(text)).flatten();
        number.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self.0))
    }
}

#[cfg(test)]
mod tests;
