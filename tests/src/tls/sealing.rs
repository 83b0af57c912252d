//! Clients that seal their records otherwise than rustls does, as other stacks may: by other explicit nonces
//! in TLS 1.2 with AES-GCM, or padded in TLS 1.3. A server must serve them all, and can foretell the records
//! of some.

use std::fmt;

use rand::RngExt as _;
use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{
    AeadKey, Iv, KeyBlockShape, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundOpaqueMessage, OutboundPlainMessage, Tls12AeadAlgorithm, Tls13AeadAlgorithm,
    UnsupportedOperationError,
};
use rustls::{
    CipherSuite, CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, Error,
    SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
};

/// The suite whose explicit nonces are chosen: the one of AES-GCM whose keys are as long as an [`AeadKey`]
/// made of bytes is.
pub const NONCES_SUITE: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;

/// Longest content that is padded: no record may become too long.
const PADDED_BYTES_MAX: usize = 1_000;

/// How a client chooses the eight bytes of nonce that it says in each record (RFC 5288, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonces {
    /// The record's number, as mbedTLS, Go and Java do.
    Numbers,
    /// Counted from a random start, as OpenSSL does.
    Counted,
    /// A random start, exclusive or the number, as rustls does.
    Mixed,
    /// Random ones.
    Random,
}

/// How a client seals.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sealing {
    /// By these nonces.
    Nonces(Nonces),
    /// With so many zeros behind the content of each record.
    Padding(usize),
}

impl Sealing {
    /// Replaces the provider's suites by those that seal this way.
    pub(super) fn apply(self, provider: &mut CryptoProvider) {
        let changed = |suite: &SupportedCipherSuite| match (self, suite) {
            (Self::Nonces(nonces), SupportedCipherSuite::Tls12(suite)) => {
                (suite.common.suite == NONCES_SUITE).then(|| with_nonces(suite, nonces))
            }
            (Self::Padding(bytes), SupportedCipherSuite::Tls13(suite)) => {
                Some(with_padding(suite, bytes))
            }
            _ => None,
        };
        provider.cipher_suites = provider.cipher_suites.iter().filter_map(changed).collect();
    }
}

// rustls wants suites for ever; a test process makes a few.

fn with_nonces(suite: &'static Tls12CipherSuite, nonces: Nonces) -> SupportedCipherSuite {
    let aead_alg = Box::leak(Box::new(WithNonces { inner: suite.aead_alg, nonces }));
    SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
        common: CipherSuiteCommon { ..suite.common },
        prf_provider: suite.prf_provider,
        kx: suite.kx,
        sign: suite.sign,
        aead_alg,
    })))
}

fn with_padding(suite: &'static Tls13CipherSuite, bytes: usize) -> SupportedCipherSuite {
    let aead_alg = Box::leak(Box::new(WithPadding { inner: suite.aead_alg, bytes }));
    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
        common: CipherSuiteCommon { ..suite.common },
        hkdf_provider: suite.hkdf_provider,
        aead_alg,
        quic: None,
    })))
}

/// AES-GCM in TLS 1.2.
struct WithNonces {
    inner: &'static dyn Tls12AeadAlgorithm,
    nonces: Nonces,
}

impl Tls12AeadAlgorithm for WithNonces {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        let start = match self.nonces {
            Nonces::Numbers => 0,
            _ => u64::from_be_bytes(extra.try_into().expect("eight bytes of explicit nonce")),
        };
        Box::new(ByNonces {
            inner: self.inner,
            key: key.as_ref().try_into().expect("a key of AES-256"),
            iv: iv.to_vec(),
            start,
            nonces: self.nonces,
        })
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        self.inner.decrypter(key, iv)
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
}

/// Seals each record by an encrypter of rustls's that begins at the nonce wanted.
struct ByNonces {
    inner: &'static dyn Tls12AeadAlgorithm,
    key: [u8; 32],
    iv: Vec<u8>,
    start: u64,
    nonces: Nonces,
}

impl ByNonces {
    fn at(&self, extra: u64) -> Box<dyn MessageEncrypter> {
        self.inner.encrypter(AeadKey::from(self.key), &self.iv, &extra.to_be_bytes())
    }
}

impl MessageEncrypter for ByNonces {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        number: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let wanted = match self.nonces {
            Nonces::Numbers => number,
            Nonces::Counted => self.start.wrapping_add(number),
            Nonces::Mixed => self.start ^ number,
            Nonces::Random => rand::rng().random(),
        };
        // rustls's own says its start, exclusive or the number.
        self.at(wanted ^ number).encrypt(message, number)
    }

    fn encrypted_payload_len(&self, length: usize) -> usize {
        self.at(0).encrypted_payload_len(length)
    }
}

/// Any suite of TLS 1.3.
struct WithPadding {
    inner: &'static dyn Tls13AeadAlgorithm,
    bytes: usize,
}

impl Tls13AeadAlgorithm for WithPadding {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Padded { inner: self.inner.encrypter(key, iv), bytes: self.bytes })
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.inner.decrypter(key, iv)
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
}

/// Puts zeros behind the content type (RFC 8446, section 5.4).
struct Padded {
    inner: Box<dyn MessageEncrypter>,
    bytes: usize,
}

impl Padded {
    fn bytes_for(&self, length: usize) -> usize {
        if length <= PADDED_BYTES_MAX { self.bytes } else { 0 }
    }
}

impl MessageEncrypter for Padded {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        number: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let bytes = self.bytes_for(message.payload.len());
        if bytes == 0 {
            return self.inner.encrypt(message, number);
        }
        // rustls's own appends the content type: of what is padded that is the last zero.
        let mut content = message.payload.to_vec();
        content.push(message.typ.into());
        content.resize(content.len() + bytes - 1, 0);
        let padded = OutboundPlainMessage {
            typ: ContentType::Unknown(0),
            version: message.version,
            payload: OutboundChunks::Single(&content),
        };
        self.inner.encrypt(padded, number)
    }

    fn encrypted_payload_len(&self, length: usize) -> usize {
        self.inner.encrypted_payload_len(length + self.bytes_for(length))
    }
}

impl fmt::Display for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Numbers => "numbers",
            Self::Counted => "counted",
            Self::Mixed => "mixed",
            Self::Random => "random",
        })
    }
}
