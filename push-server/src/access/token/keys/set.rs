//! Keys as a JWK Set (RFC 7517, RFC 7518, RFC 8037).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::key::{KeyProblem, Material, TokenKey, TokenKeysError, of_file, of_key};

/// The set, as far as it is looked at.
#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

/// A key of it.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<Secret>,
    /// Of a private key.
    d: Option<IgnoredAny>,
}

/// Base64 of a secret, wiped when it is dropped.
struct Secret(Zeroizing<String>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// The keys, and how many are for something else.
pub(super) fn parse(text: &str) -> Result<(Vec<TokenKey>, usize), TokenKeysError> {
    let set: Set = serde_json::from_str(text).map_err(|error| {
        // Its text may quote the file, which may have secrets.
        let (line, column) = (error.line(), error.column());
        let what = match error.is_data() {
            true => "this is no JWK Set ({\"keys\": [{\"kty\": ...}]})",
            false => "this is no JSON",
        };
        of_file(&format!("line {line}, column {column}: {what}"))
    })?;
    let (mut keys, mut skipped) = (Vec::new(), 0);
    for (index, jwk) in set.keys.iter().enumerate() {
        let wrong = of_key(index, jwk.kid.as_deref());
        match jwk.material() {
            Ok(None) => skipped += 1,
            Ok(Some(material)) => {
                let id = jwk.kid.as_deref().map(Into::into);
                keys.push(TokenKey::new(id, material, jwk.alg.as_deref()).map_err(wrong)?);
            }
            Err(problem) => return Err(wrong(problem)),
        }
    }
    Ok((keys, skipped))
}

impl Jwk {
    /// `None`: the key is for something else, or of a kind that the server does not know.
    fn material(&self) -> Result<Option<Material>, KeyProblem> {
        let verifies = |operations: &Vec<String>| operations.iter().any(|one| one == "verify");
        let is_of_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(verifies);
        if !is_of_signatures {
            return Ok(None);
        }
        let material = match (&*self.kty, self.crv.as_deref()) {
            ("oct", _) => {
                let k = self.k.as_ref().ok_or(KeyProblem::Member("k"))?;
                let secret = URL_SAFE_NO_PAD.decode(k.0.as_bytes());
                Material::Secret(secret.map_err(|_| KeyProblem::Member("k"))?.into())
            }
            ("RSA", _) => {
                let modulus = number("n", self.n.as_ref(), None)?;
                let exponent = number("e", self.e.as_ref(), None)?;
                Material::Rsa { modulus, exponent, is_pss: false }
            }
            ("EC", Some("P-256")) => Material::P256(self.point(32)?),
            ("EC", Some("P-384")) => Material::P384(self.point(48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(number("x", self.x.as_ref(), Some(32))?),
            _ => return Ok(None),
        };
        match self.d {
            Some(_) => Err(KeyProblem::Private),
            None => Ok(Some(material)),
        }
    }

    /// The point of a curve whose numbers have so many bytes.
    fn point(&self, bytes: usize) -> Result<Vec<u8>, KeyProblem> {
        let x = number("x", self.x.as_ref(), Some(bytes))?;
        let y = number("y", self.y.as_ref(), Some(bytes))?;
        Ok([&[4][..], &x, &y].concat())
    }
}

fn number(
    name: &'static str,
    text: Option<&String>,
    bytes: Option<usize>,
) -> Result<Vec<u8>, KeyProblem> {
    let number = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let number = number.filter(|number| bytes.is_none_or(|bytes| number.len() == bytes));
    number.ok_or(KeyProblem::Member(name))
}
