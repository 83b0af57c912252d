//! Where the cryptography of TLS comes from: ring. Of the server's other code only what checks tokens
//! names it (`access/token/ring.rs`), so another library can be taken in these two places.
//!
//! ring needs a C compiler to build, and no more. It does not wipe the keys that it expands, which
//! aws-lc-rs's C code does. What both cost is in docs/evidence.md.

use std::sync::{Arc, LazyLock};

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::crypto::{self, CryptoProvider};
use rustls::server::ProducesTickets;
use rustls::{Error, SupportedCipherSuite};

use crate::transport::{Cipher, Seal, numbered};

/// Cipher suites, key exchanges, signatures, randomness. Connections share their record numbers with the kernel path.
#[must_use]
pub fn provider() -> CryptoProvider {
    static SUITES: LazyLock<Vec<SupportedCipherSuite>> =
        LazyLock::new(|| numbered(&crypto::ring::default_provider().cipher_suites, with_key));
    CryptoProvider { cipher_suites: SUITES.clone(), ..crypto::ring::default_provider() }
}

/// The same for the server's own requests, which the kernel path has no part in.
pub(crate) fn hook_provider() -> CryptoProvider {
    crypto::ring::default_provider()
}

/// Keys of tickets, new ones every 6 hours.
pub(super) fn ticket_keys() -> Result<Arc<dyn ProducesTickets>, Error> {
    crypto::ring::Ticketer::new()
}

/// Seals by a client's key what the client would send, to be compared with that. It never leaves.
fn with_key(cipher: Cipher, key: &[u8], work: &mut dyn FnMut(&Seal<'_>)) {
    let algorithm = match cipher {
        Cipher::Aes128Gcm => &AES_128_GCM,
        Cipher::Aes256Gcm => &AES_256_GCM,
        Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
    };
    let Ok(key) = UnboundKey::new(algorithm, key) else { return };
    let key = LessSafeKey::new(key);
    work(&|nonce, aad, content| {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), content).ok()?;
        tag.as_ref().try_into().ok()
    });
}
