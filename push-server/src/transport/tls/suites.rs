//! Cipher suites whose records have the numbers of [`Numbers`](super::numbers::Numbers), made of a library's own.
//!
//! # How many records a key seals
//! AES-GCM may seal 2^24 records by one key, and rustls sees to that by its own count, which knows nothing of answers.
//! So rustls is told of half of that, and the table has answers only for numbers below the other half: a
//! number counts both, so there are never more answers than that. Beyond it pings go to user space, and its records
//! make rustls change the key in time (TLS 1.3, and then answers begin anew), or end the connection (TLS 1.2), as
//! they do without answers.

use push_common::claim::NUMBER_MAX;
use rustls::crypto::cipher::{
    AeadKey, Iv, KeyBlockShape, MessageDecrypter, MessageEncrypter, Tls12AeadAlgorithm,
    Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::{
    CipherSuite, CipherSuiteCommon, ConnectionTrafficSecrets, SupportedCipherSuite,
    Tls12CipherSuite, Tls13CipherSuite,
};

use super::numbers::{Cipher, Secrets, Suite, WithKey, hand_decrypter, hand_encrypter};

/// Wraps a library's suites. Those with a cipher that is not known stay as they are. Call it once for
/// all connections: the suites stay in memory as long as the process lives, as rustls wants it.
pub(crate) fn numbered(
    suites: &[SupportedCipherSuite],
    with_key: WithKey,
) -> Vec<SupportedCipherSuite> {
    suites.iter().map(|suite| wrapped(*suite, with_key).unwrap_or(*suite)).collect()
}

fn wrapped(suite: SupportedCipherSuite, with_key: WithKey) -> Option<SupportedCipherSuite> {
    let cipher = cipher(suite.suite())?;
    let is_tls13 = suite.tls13().is_some();
    let half = |common: &CipherSuiteCommon| CipherSuiteCommon {
        confidentiality_limit: common.confidentiality_limit / 2,
        ..*common
    };
    let facts = |common: &CipherSuiteCommon| -> &'static Suite {
        let answers_max = (common.confidentiality_limit / 2).min(NUMBER_MAX);
        Box::leak(Box::new(Suite { cipher, is_tls13, answers_max, with_key }))
    };
    Some(match suite {
        SupportedCipherSuite::Tls13(inner) => {
            let aead_alg = Aead13 { inner: inner.aead_alg, suite: facts(&inner.common) };
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: half(&inner.common),
                aead_alg: Box::leak(Box::new(aead_alg)),
                hkdf_provider: inner.hkdf_provider,
                quic: None,
            })))
        }
        SupportedCipherSuite::Tls12(inner) => {
            let aead_alg = Aead12 { inner: inner.aead_alg, suite: facts(&inner.common) };
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: half(&inner.common),
                aead_alg: Box::leak(Box::new(aead_alg)),
                prf_provider: inner.prf_provider,
                kx: inner.kx,
                sign: inner.sign,
            })))
        }
    })
}

fn cipher(suite: CipherSuite) -> Option<Cipher> {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => Some(Cipher::Aes128Gcm),
        CipherSuite::TLS13_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Some(Cipher::Aes256Gcm),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            Some(Cipher::ChaCha20Poly1305)
        }
        _ => None,
    }
}

struct Aead13 {
    inner: &'static dyn Tls13AeadAlgorithm,
    suite: &'static Suite,
}

impl Tls13AeadAlgorithm for Aead13 {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        hand_encrypter(self.inner.encrypter(key, iv))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        let secrets = Secrets::new(key.as_ref(), iv.as_ref());
        hand_decrypter(self.inner.decrypter(key, iv), self.suite, secrets)
    }

    fn key_len(&self) -> usize {
        self.inner.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.inner.extract_keys(key, iv)
    }

    fn fips(&self) -> bool {
        self.inner.fips()
    }
}

struct Aead12 {
    inner: &'static dyn Tls12AeadAlgorithm,
    suite: &'static Suite,
}

impl Tls12AeadAlgorithm for Aead12 {
    fn encrypter(&self, key: AeadKey, iv: &[u8], explicit: &[u8]) -> Box<dyn MessageEncrypter> {
        hand_encrypter(self.inner.encrypter(key, iv, explicit))
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        let secrets = Secrets::new(key.as_ref(), iv);
        hand_decrypter(self.inner.decrypter(key, iv), self.suite, secrets)
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.inner.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.inner.extract_keys(key, iv, explicit)
    }

    fn fips(&self) -> bool {
        self.inner.fips()
    }
}
