//! A client's key, and how a suite seals a PINGREQ by it, so that the record is known before the client sends it.

use push_common::answer_table::{RECORD_WORDS_MAX, Record, RecordShape};
use push_common::claim::RecordNumber;
use push_common::heartbeat::PINGREQ;
use rustls::crypto::cipher::{Iv, NONCE_LEN, Nonce, make_tls12_aad, make_tls13_aad};
use rustls::{ContentType, ProtocolVersion};
use zeroize::Zeroize as _;

/// The longest key of a cipher.
const KEY_BYTES_MAX: usize = 32;

/// Bytes that a cipher adds, to tell who has sealed.
const TAG_BYTES: usize = 16;

/// Bytes of a nonce of AES-GCM in TLS 1.2 that are secret; the others are in each record (RFC 5288, section 3).
const SALT_BYTES: usize = 4;

/// Bytes of such a nonce that are in each record.
const EXPLICIT_BYTES: usize = NONCE_LEN - SALT_BYTES;

/// A cipher of TLS, all of which authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cipher {
    /// With keys of 16 bytes.
    Aes128Gcm,
    /// With keys of 32 bytes.
    Aes256Gcm,
    /// With keys of 32 bytes.
    ChaCha20Poly1305,
}

/// Seals what is given last, in place, by a key, a nonce and additional data, and returns the tag. `None`: that is too
/// long, which a heartbeat never is.
pub(crate) type Seal<'a> =
    dyn Fn([u8; NONCE_LEN], &[u8], &mut [u8]) -> Option<[u8; TAG_BYTES]> + 'a;

/// Expands a key for a piece of work, which is not done if the key has another length than the cipher's. Comes from
/// a library of cryptography.
pub(in crate::transport::tls) type WithKey = fn(Cipher, &[u8], &mut dyn FnMut(&Seal<'_>));

/// What makes two suites seal in different ways.
#[derive(Clone, Copy, Debug)]
pub(in crate::transport::tls) struct Suite {
    pub(in crate::transport::tls) cipher: Cipher,
    pub(in crate::transport::tls) is_tls13: bool,
    /// Answers are only for numbers below this.
    pub(in crate::transport::tls) answers_max: u64,
    pub(in crate::transport::tls) with_key: WithKey,
}

/// Key and IV, wiped when they are dropped.
pub(in crate::transport::tls) struct Secrets {
    key: [u8; KEY_BYTES_MAX],
    /// In TLS 1.2 with AES-GCM the salt, and the explicit nonce of the client's first record.
    iv: [u8; NONCE_LEN],
    explicit: Explicit,
}

/// How a client makes the explicit nonces of AES-GCM in TLS 1.2 from the one that it began with, which is random, or 0.
/// RFC 5288, section 3, leaves that to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Explicit {
    /// By one of the next two: so far both give the same. No PINGREQ is known where they differ; the record tells.
    Either,
    /// By adding a record's number: OpenSSL, mbedTLS, Go, Java.
    Added,
    /// By XOR with it: rustls.
    Mixed,
    /// In another way, or at random. None of its PINGREQs is ever known.
    Unknown,
}

impl Explicit {
    /// The nonce of a record, if it can be known.
    const fn nonce(self, start: u64, number: u64) -> Option<u64> {
        let (added, mixed) = (start.wrapping_add(number), start ^ number);
        match self {
            Self::Either if added != mixed => None,
            Self::Either | Self::Added => Some(added),
            Self::Mixed => Some(mixed),
            Self::Unknown => None,
        }
    }

    /// A record has come with this nonce.
    const fn after(self, start: u64, number: u64, nonce: u64) -> Self {
        let is_added = nonce == start.wrapping_add(number);
        let is_mixed = nonce == start ^ number;
        let may_be = (
            matches!(self, Self::Either | Self::Added) && is_added,
            matches!(self, Self::Either | Self::Mixed) && is_mixed,
        );
        match may_be {
            (true, true) => Self::Either,
            (true, false) => Self::Added,
            (false, true) => Self::Mixed,
            (false, false) => Self::Unknown,
        }
    }
}

impl Secrets {
    pub(super) const NONE: Self =
        Self { key: [0; KEY_BYTES_MAX], iv: [0; NONCE_LEN], explicit: Explicit::Either };

    /// Behind a shorter `iv` are zeros. `None`: they are longer than any cipher's.
    pub(in crate::transport::tls) fn new(key: &[u8], iv: &[u8]) -> Option<Self> {
        let mut secrets = Self::NONE;
        secrets.key.get_mut(..key.len())?.copy_from_slice(key);
        secrets.iv.get_mut(..iv.len())?.copy_from_slice(iv);
        Some(secrets)
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
    }
}

impl Cipher {
    const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

impl Suite {
    /// How it frames a heartbeat.
    pub(super) const fn shape(&self) -> RecordShape {
        match (self.is_tls13, self.cipher) {
            (true, _) => RecordShape::TLS_1_3,
            (false, Cipher::ChaCha20Poly1305) => RecordShape::TLS_1_2_CHACHA20,
            (false, _) => RecordShape::TLS_1_2_GCM,
        }
    }

    /// Seals a PINGREQ for each of these numbers, and passes it on.
    pub(super) fn requests(
        &self,
        secrets: &Secrets,
        numbers: &mut dyn Iterator<Item = RecordNumber>,
        mut pass: impl FnMut(RecordNumber, &Record),
    ) {
        let key = &secrets.key[..self.cipher.key_bytes()];
        (self.with_key)(self.cipher, key, &mut |seal| {
            for at in &mut *numbers {
                if let Some(request) = self.request(secrets, at.number(), seal) {
                    pass(at, &request);
                }
            }
        });
    }

    /// The client's PINGREQ, as rustls or any other library would seal it.
    fn request(&self, secrets: &Secrets, number: u64, seal: &Seal<'_>) -> Option<Record> {
        let (aad, shape) = (make_tls12_aad, self.shape());
        let aad =
            aad(number, ContentType::ApplicationData, ProtocolVersion::TLSv1_2, PINGREQ.len());
        let nonce = Nonce::new(&Iv::from(secrets.iv), number).0;
        match shape {
            RecordShape::TLS_1_3 => {
                let mut content = [PINGREQ[0], PINGREQ[1], ContentType::ApplicationData.into()];
                let tag = seal(nonce, &make_tls13_aad(content.len() + TAG_BYTES), &mut content)?;
                record(&[], &content, &tag)
            }
            RecordShape::TLS_1_2_CHACHA20 => {
                let mut content = PINGREQ;
                let tag = seal(nonce, &aad, &mut content)?;
                record(&[], &content, &tag)
            }
            _ => {
                let (salt, start) = secrets.iv.split_first_chunk::<SALT_BYTES>()?;
                let start = u64::from_be_bytes(start.try_into().ok()?);
                let explicit = secrets.explicit.nonce(start, number)?.to_be_bytes();
                let mut nonce = [0; NONCE_LEN];
                nonce[..SALT_BYTES].copy_from_slice(salt);
                nonce[SALT_BYTES..].copy_from_slice(&explicit);
                let mut content = PINGREQ;
                let tag = seal(nonce, &aad, &mut content)?;
                record(&explicit, &content, &tag)
            }
        }
    }

    /// A record of the client's has been opened, that begins so behind its header. In TLS 1.2 with AES-GCM that is
    /// the explicit nonce, and the first record under the key is Finished, with the number 0.
    pub(super) fn note_nonce(
        &self,
        secrets: &mut Secrets,
        begin: [u8; EXPLICIT_BYTES],
        number: u64,
    ) {
        if !self.is_tls13 && self.cipher != Cipher::ChaCha20Poly1305 {
            if number == 0 {
                secrets.iv[SALT_BYTES..].copy_from_slice(&begin);
            }
            let [_, _, _, _, start @ ..] = secrets.iv;
            let (start, nonce) = (u64::from_be_bytes(start), u64::from_be_bytes(begin));
            secrets.explicit = secrets.explicit.after(start, number, nonce);
        }
    }
}

/// A record of application data, with its header.
fn record(explicit: &[u8], content: &[u8], tag: &[u8]) -> Option<Record> {
    let len = explicit.len() + content.len() + tag.len();
    let header = [23, 3, 3, 0, u8::try_from(len).ok()?];
    let mut bytes = [0; 8 * RECORD_WORDS_MAX];
    let mut left = bytes.get_mut(..header.len() + len)?;
    for part in [&header, explicit, content, tag] {
        let (place, behind) = left.split_at_mut(part.len());
        place.copy_from_slice(part);
        left = behind;
    }
    Record::new(&bytes[..header.len() + len])
}

#[cfg(test)]
mod tests;
