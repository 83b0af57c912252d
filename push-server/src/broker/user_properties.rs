//! The user properties of a message, in the bytes that they are sent in [MQTT5 2.2.2.2]: as
//! objects, a thousand short ones would take fifteen times as much.

use std::fmt;

/// Stands before each property; the only piece of the wire format in this room.
const IDENTIFIER: u8 = 38;

/// Bytes of the longest name or value: the most that a two-byte length can say [MQTT5 1.5.4].
const TEXT_BYTES_MAX: usize = u16::MAX as usize;

/// Names and values in the publisher's order [MQTT-3.3.2-18]; names may repeat.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserProperties(Box<[u8]>);

/// Collects user properties.
#[derive(Debug, Default)]
pub struct UserPropertiesBuilder(Vec<u8>);

/// A name or a value of more than 65,535 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user property of {0} bytes")]
pub struct UserPropertyTooLong(usize);

impl UserProperties {
    /// Bytes that each property takes beside its name and its value.
    pub const PAIR_BYTES: usize = 5;

    /// Makes user properties of names and values.
    ///
    /// # Errors
    /// One of them is longer than 65,535 bytes.
    pub fn collect<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, UserPropertyTooLong> {
        let mut builder = UserPropertiesBuilder::default();
        for (name, value) in pairs {
            builder.push(name, value)?;
        }
        Ok(builder.finish())
    }

    /// The bytes to send, which are also all the memory that they take.
    pub fn encoded(&self) -> &[u8] {
        &self.0
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.0;
        // The builder wrote these bytes, so none of the parse errors below occurs.
        std::iter::from_fn(move || {
            rest = rest.strip_prefix(&[IDENTIFIER])?;
            Some((take_text(&mut rest)?, take_text(&mut rest)?))
        })
    }
}

impl fmt::Debug for UserProperties {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl UserPropertiesBuilder {
    /// Adds one at the end.
    ///
    /// # Errors
    /// Its name or its value is longer than 65,535 bytes. Nothing was added.
    pub fn push(&mut self, name: &str, value: &str) -> Result<(), UserPropertyTooLong> {
        let longest = name.len().max(value.len());
        if longest > TEXT_BYTES_MAX {
            return Err(UserPropertyTooLong(longest));
        }
        self.0.push(IDENTIFIER);
        for text in [name, value] {
            self.0.extend_from_slice(&(text.len() as u16).to_be_bytes());
            self.0.extend_from_slice(text.as_bytes());
        }
        Ok(())
    }

    /// The collected properties.
    pub fn finish(self) -> UserProperties {
        UserProperties(self.0.into_boxed_slice())
    }
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (len, behind) = rest.split_first_chunk()?;
    let (text, behind) = behind.split_at_checked(u16::from_be_bytes(*len).into())?;
    *rest = behind;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests;
