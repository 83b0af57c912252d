//! Signatures of tokens, checked by ring, as those of TLS are: jsonwebtoken brings no cryptography then.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

/// Makes jsonwebtoken use ring, in the whole process. Before that it can check nothing.
pub(super) fn install() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        // The server makes no token.
        signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    static INSTALLED: Once = Once::new();
    // An error says that the process has a provider already: this one, since nothing else installs one.
    INSTALLED.call_once(|| {
        let _ = PROVIDER.install_default();
    });
}

/// Checks signatures by one algorithm and key.
struct Signature {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if algorithm.family() != key.family() {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(Signature { algorithm: *algorithm, key: key.clone() }))
}

impl JwtVerifier for Signature {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Signature {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let by = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature).ok()
        };
        let by_secret = |algorithm, secret: &[u8]| {
            // Compares in constant time.
            hmac::verify(&hmac::Key::new(algorithm, secret), message, signature).ok()
        };
        let verified = match (self.key.kind(), self.algorithm) {
            (DecodingKeyKind::SecretOrDer(key), algorithm) => match algorithm {
                Algorithm::HS256 => by_secret(hmac::HMAC_SHA256, key),
                Algorithm::HS384 => by_secret(hmac::HMAC_SHA384, key),
                Algorithm::HS512 => by_secret(hmac::HMAC_SHA512, key),
                Algorithm::ES256 => by(&ECDSA_P256_SHA256_FIXED, key),
                Algorithm::ES384 => by(&ECDSA_P384_SHA384_FIXED, key),
                Algorithm::EdDSA => by(&ED25519, key),
                _ => None,
            },
            (DecodingKeyKind::RsaModulusExponent { n, e }, algorithm) => {
                rsa(algorithm).and_then(|algorithm| {
                    RsaPublicKeyComponents { n, e }.verify(algorithm, message, signature).ok()
                })
            }
        };
        verified.ok_or_else(signature::Error::new)
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}
