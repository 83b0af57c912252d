//! The keys that sign tokens, as a file has them: a JWK Set (RFC 7517), or keys and certificates in PEM.
//!
//! A key says for which algorithms it is. What is no key of a signature is skipped in a set, as RFC 7517 (section 5)
//! asks for: a provider's set may have keys for other purposes. What would be unsafe is refused.

mod key;
mod pem;
mod set;

use std::fmt;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use sha2::{Digest, Sha256};

use super::ring;
use crate::access::mac::Key;
pub use key::{KeyPlace, TokenKeysError};
use key::{TokenKey, of_file};

/// Most keys in one file: a token without a key's name may be tried with all of them.
pub const TOKEN_KEYS_MAX: usize = 64;

/// Keys that sign tokens. `Debug` shows only their number.
pub struct TokenKeys {
    keys: Vec<TokenKey>,
    /// Keys that are for something else.
    skipped: usize,
    fingerprint: Key,
}

impl TokenKeys {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not one of keys, has none for signatures, or one that is not safe.
    pub fn parse(text: &str) -> Result<Self, TokenKeysError> {
        ring::install();
        let (keys, skipped) = if text.trim_start().starts_with('{') {
            set::parse(text)?
        } else if text.contains("-----BEGIN ") {
            (pem::parse(text)?, 0)
        } else {
            return Err(of_file("neither a JWK Set ({\"keys\": [...]}) nor keys in PEM"));
        };
        match keys.len() {
            0 => Err(of_file("no key for signatures is in it")),
            1..=TOKEN_KEYS_MAX => {
                let fingerprint = Sha256::digest(text).into();
                Ok(Self { keys, skipped, fingerprint })
            }
            more => Err(of_file(&format!("{more} keys: at most {TOKEN_KEYS_MAX}"))),
        }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none, which no file says.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys of the file are for something else than signatures of tokens.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether any of them is a secret, by which tokens can be made as well.
    pub fn has_secrets(&self) -> bool {
        self.keys.iter().any(|key| key.key.family() == AlgorithmFamily::Hmac)
    }

    /// Names what the file says.
    pub(super) fn fingerprint(&self) -> &Key {
        &self.fingerprint
    }

    /// The keys by which a token may be signed that names a key and an algorithm: those of that name, or if no key has
    /// it, those without a name.
    pub(super) fn for_token(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        let is_known =
            id.is_some_and(|id| self.keys.iter().any(|key| key.id.as_deref() == Some(id)));
        let may_be = move |key: &&TokenKey| match id {
            None => true,
            Some(_) if is_known => key.id.as_deref() == id,
            Some(_) => key.id.is_none(),
        };
        let fits = move |key: &&TokenKey| key.algorithms.contains(&algorithm);
        self.keys.iter().filter(may_be).filter(fits).map(|key| &key.key)
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} keys", self.keys.len())
    }
}

#[cfg(test)]
mod tests;
