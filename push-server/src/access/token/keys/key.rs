//! One key: what a file says of it, for which algorithms it is, and what is wrong with one that is refused.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey};
use zeroize::Zeroizing;

/// RSA keys that are accepted, in bits: NIST takes none below for signatures, and ring none above.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// The shortest secret, in bytes: as long as what HMAC-SHA-256 yields (RFC 7518, section 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// One key.
pub(super) struct TokenKey {
    /// Its name (`kid`).
    pub(super) id: Option<Box<str>>,
    pub(super) key: DecodingKey,
    pub(super) algorithms: Vec<Algorithm>,
}

/// Why a file of keys is refused. It says nothing of what is in a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}{problem}")]
pub struct TokenKeysError {
    /// Which key.
    pub place: KeyPlace,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Where a mistake is.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// In the file as a whole.
    File,
    /// In the key with this number, counted from 1, and this name.
    Key(usize, Option<Box<str>>),
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => Ok(()),
            Self::Key(number, None) => write!(formatter, "key {number}: "),
            Self::Key(number, Some(id)) => write!(formatter, "key {number} (kid {id:?}): "),
        }
    }
}

/// What is wrong with a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyProblem {
    #[error("this is a private key, and whoever has it can make tokens: put the public one here")]
    Private,
    #[error("an RSA key of {0} bits: it needs 2048 to 8192")]
    RsaBits(usize),
    #[error("an RSA key with a public exponent that is even, 1 or longer than 8 bytes")]
    RsaExponent,
    #[error("a secret of {0} bytes: it needs 32 at least, 48 for HS384 and 64 for HS512")]
    ShortSecret(usize),
    #[error("{0} is missing, or is not base64url without padding of the right length")]
    Member(&'static str),
    #[error("alg {0:?} is not one for this kind of key")]
    OtherAlgorithm(String),
    #[error("{0:?} in PEM is no public key: use PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE")]
    Tag(String),
    #[error("this is no public key of RSA (2048 bits or more), P-256, P-384 or Ed25519")]
    Unknown,
}

/// What is read of a key before it is known for which algorithms it is.
pub(super) enum Material {
    Secret(Zeroizing<Vec<u8>>),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
        is_pss: bool,
    },
    /// A point of the curve, not compressed.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl TokenKey {
    /// `algorithm`: the one that the file says, if it says one.
    pub(super) fn new(
        id: Option<Box<str>>,
        material: Material,
        algorithm: Option<&str>,
    ) -> Result<Self, KeyProblem> {
        const RSA: &[Algorithm] = &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
        const PSS: &[Algorithm] = &[Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
        let (key, mut algorithms) = match material {
            Material::Secret(secret) => {
                let len = secret.len();
                let by_length = [
                    (Algorithm::HS256, SECRET_BYTES_MIN),
                    (Algorithm::HS384, 48),
                    (Algorithm::HS512, 64),
                ];
                let fits = by_length.into_iter().filter(|(_, min)| len >= *min);
                let algorithms: Vec<_> = fits.map(|(algorithm, _)| algorithm).collect();
                let is_hmac = by_length.iter().any(|(one, _)| is_called(*one, algorithm));
                let is_long = algorithms.iter().any(|one| is_called(*one, algorithm));
                if !is_long && (algorithm.is_none() || is_hmac) {
                    return Err(KeyProblem::ShortSecret(len));
                }
                let key = DecodingKey::from_secret(&secret);
                (key.map_err(|_| KeyProblem::ShortSecret(len))?, algorithms)
            }
            Material::Rsa { modulus, exponent, is_pss } => {
                let (modulus, exponent) = (without_zeros(&modulus), without_zeros(&exponent));
                let bits = modulus.len() * 8
                    - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
                if !RSA_BITS.contains(&bits) {
                    return Err(KeyProblem::RsaBits(bits));
                }
                let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
                if !is_odd || *exponent == [1] || exponent.len() > 8 {
                    return Err(KeyProblem::RsaExponent);
                }
                let algorithms = if is_pss { PSS.to_vec() } else { [RSA, PSS].concat() };
                (DecodingKey::from_rsa_raw_components(modulus, exponent), algorithms)
            }
            Material::P256(point) => (DecodingKey::from_ec_der(&point), vec![Algorithm::ES256]),
            Material::P384(point) => (DecodingKey::from_ec_der(&point), vec![Algorithm::ES384]),
            Material::Ed25519(key) => (DecodingKey::from_ed_der(&key), vec![Algorithm::EdDSA]),
        };
        algorithms.retain(|one| is_called(*one, algorithm));
        match algorithm {
            Some(other) if algorithms.is_empty() => Err(KeyProblem::OtherAlgorithm(other.into())),
            _ => Ok(Self { id, key, algorithms }),
        }
    }
}

/// Whether the algorithm has the name that a file says, if it says one.
fn is_called(algorithm: Algorithm, said: Option<&str>) -> bool {
    said.is_none_or(|said| said.parse().is_ok_and(|said: Algorithm| said == algorithm))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

pub(super) fn of_file(problem: &str) -> TokenKeysError {
    TokenKeysError { place: KeyPlace::File, problem: problem.to_owned() }
}

pub(super) fn of_key(index: usize, id: Option<&str>) -> impl FnOnce(KeyProblem) -> TokenKeysError {
    let place = KeyPlace::Key(index + 1, id.map(Into::into));
    move |problem| TokenKeysError { place, problem: problem.to_string() }
}
