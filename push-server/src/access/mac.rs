//! HMAC-SHA-256 (RFC 2104) of messages in parts.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A key of the function, and what it yields.
pub type Key = [u8; 32];

/// HMAC-SHA-256 of the concatenated parts.
pub(super) fn mac(key: &Key, parts: &[&[u8]]) -> Key {
    // A key is padded with zeros to one block (RFC 2104, section 2).
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}
