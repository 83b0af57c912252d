//! Keys with their secret halves, which sign tokens for tests.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};

/// A key of RSA with 2,048 bits (PKCS #1), of these tests alone.
const RSA_KEY: &str = include_str!("rsa.base64");

/// A key that signs.
pub(in crate::access::token) enum Signer {
    Secret(Vec<u8>),
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>, &'static str),
    Ed(Box<Ed25519KeyPair>),
}

impl Signer {
    /// One of each kind.
    pub(in crate::access::token) fn all() -> [Self; 5] {
        [Self::secret(&[7; 64]), Self::rsa(), Self::p256(), Self::p384(), Self::ed25519()]
    }

    pub(in crate::access::token) fn secret(secret: &[u8]) -> Self {
        Self::Secret(secret.to_vec())
    }

    pub(in crate::access::token) fn rsa() -> Self {
        let der = STANDARD.decode(RSA_KEY.replace('\n', "")).expect("base64");
        Self::Rsa(Box::new(RsaKeyPair::from_der(&der).expect("a key")))
    }

    pub(in crate::access::token) fn p256() -> Self {
        Self::ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
    }

    pub(in crate::access::token) fn p384() -> Self {
        Self::ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")
    }

    fn ec(algorithm: &'static EcdsaSigningAlgorithm, curve: &'static str) -> Self {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).expect("a key");
        Self::Ec(Box::new(key), curve)
    }

    pub(in crate::access::token) fn ed25519() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Self::Ed(Box::new(Ed25519KeyPair::from_pkcs8(der.as_ref()).expect("a key")))
    }

    /// Two of one kind check each other's algorithms.
    pub(in crate::access::token) fn kind(&self) -> &'static str {
        match self {
            Self::Secret(_) => "oct",
            Self::Rsa(_) => "RSA",
            Self::Ec(_, curve) => curve,
            Self::Ed(_) => "OKP",
        }
    }

    pub(in crate::access::token) fn algorithms(&self) -> Vec<&'static str> {
        match self {
            Self::Secret(_) => vec!["HS256", "HS384", "HS512"],
            Self::Rsa(_) => vec!["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
            Self::Ec(_, "P-256") => vec!["ES256"],
            Self::Ec(..) => vec!["ES384"],
            Self::Ed(_) => vec!["EdDSA"],
        }
    }

    /// The public half, or the secret, as a JWK.
    pub(in crate::access::token) fn jwk(&self, algorithm: Option<&str>) -> Value {
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match self {
            Self::Secret(secret) => json!({ "kty": "oct", "k": encoded(secret) }),
            Self::Rsa(key) => {
                let public: PublicKeyComponents<Vec<u8>> = key.public().into();
                let (modulus, exponent) = (&public.n, &public.e);
                json!({ "kty": "RSA", "n": encoded(modulus), "e": encoded(exponent) })
            }
            Self::Ec(key, curve) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y) })
            }
            Self::Ed(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(key.public_key().as_ref()) })
            }
        };
        if let Some(algorithm) = algorithm {
            jwk["alg"] = algorithm.into();
        }
        jwk
    }

    /// The public half as SubjectPublicKeyInfo.
    pub(in crate::access::token) fn public_der(&self) -> Vec<u8> {
        let (algorithm, key): (&[u8], &[u8]) = match self {
            Self::Secret(_) => panic!("a secret has no public half"),
            Self::Rsa(key) => (
                &[0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0],
                key.public_key().as_ref(),
            ),
            Self::Ec(key, "P-256") => (
                &[
                    0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48,
                    0xce, 0x3d, 3, 1, 7,
                ],
                key.public_key().as_ref(),
            ),
            Self::Ec(key, _) => (
                &[
                    0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0,
                    0x22,
                ],
                key.public_key().as_ref(),
            ),
            Self::Ed(key) => (&[0x30, 5, 6, 3, 0x2b, 0x65, 0x70], key.public_key().as_ref()),
        };
        let bits = [&[0][..], key].concat();
        let content = [algorithm, &tagged(3, &bits)].concat();
        tagged(0x30, &content)
    }

    pub(in crate::access::token) fn pem(&self) -> String {
        pem("PUBLIC KEY", &self.public_der())
    }

    pub(in crate::access::token) fn sign(
        &self,
        algorithm: &str,
        id: Option<&str>,
        claims: &Value,
    ) -> String {
        let mut header = json!({ "typ": "JWT", "alg": algorithm });
        if let Some(id) = id {
            header["kid"] = id.into();
        }
        self.sign_with(&header, claims)
    }

    pub(in crate::access::token) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let algorithm = header["alg"].as_str().expect("an algorithm");
        let unsigned = token_of(header, claims, "");
        let signed = unsigned.trim_end_matches('.').as_bytes();
        let random = SystemRandom::new();
        let signature = match (self, algorithm) {
            (Self::Secret(secret), _) => {
                let by = match algorithm {
                    "HS256" => hmac::HMAC_SHA256,
                    "HS384" => hmac::HMAC_SHA384,
                    _ => hmac::HMAC_SHA512,
                };
                hmac::sign(&hmac::Key::new(by, secret), signed).as_ref().to_vec()
            }
            (Self::Rsa(key), _) => {
                let by: &'static dyn RsaEncoding = match algorithm {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    _ => &RSA_PSS_SHA512,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(by, &random, signed, &mut signature).expect("a signature");
                signature
            }
            (Self::Ec(key, _), _) => {
                key.sign(&random, signed).expect("a signature").as_ref().to_vec()
            }
            (Self::Ed(key), _) => key.sign(signed).as_ref().to_vec(),
        };
        unsigned + &URL_SAFE_NO_PAD.encode(signature)
    }
}

/// A token with this signature.
pub(in crate::access::token) fn token_of(
    header: &Value,
    claims: &Value,
    signature: &str,
) -> String {
    let [header, claims] =
        [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string().as_bytes()));
    format!("{header}.{claims}.{signature}")
}

/// DER with this tag.
pub(in crate::access::token) fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let head = match len {
        0..0x80 => vec![tag, len as u8],
        0x80..0x100 => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [&head[..], content].concat()
}

pub(in crate::access::token) fn pem(tag: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", lines.join("\n"))
}
