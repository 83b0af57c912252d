//! Public keys in PEM (RFC 7468), each a `PUBLIC KEY`, an `RSA PUBLIC KEY`, or a `CERTIFICATE` that has one.

use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{self, Decode, Encode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::key::{KeyProblem, Material, TokenKey, TokenKeysError, of_file, of_key};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The keys of the file, none of which has a name.
pub(super) fn parse(text: &str) -> Result<Vec<TokenKey>, TokenKeysError> {
    let begun = text.matches("-----BEGIN ").count();
    let sections = ::pem::parse_many(text).ok().filter(|sections| sections.len() == begun);
    let sections = sections.ok_or_else(|| {
        of_file("a section of PEM is not whole (-----BEGIN ...-----, base64, -----END ...-----)")
    })?;
    let keys = sections.iter().enumerate().map(|(index, section)| {
        let key = material(section.tag(), section.contents());
        key.and_then(|material| TokenKey::new(None, material, None)).map_err(of_key(index, None))
    });
    keys.collect()
}

fn material(tag: &str, contents: &[u8]) -> Result<Material, KeyProblem> {
    match tag {
        "PUBLIC KEY" => info(contents),
        "RSA PUBLIC KEY" => rsa(contents, false),
        "CERTIFICATE" => {
            let certificate = Certificate::from_der(contents).map_err(|_| KeyProblem::Unknown)?;
            let key = certificate.tbs_certificate().subject_public_key_info().to_der();
            info(&key.map_err(|_| KeyProblem::Unknown)?)
        }
        tag if tag.ends_with("PRIVATE KEY") => Err(KeyProblem::Private),
        tag => Err(KeyProblem::Tag(tag.into())),
    }
}

/// A key with its kind (RFC 5280, section 4.1.2.7).
fn info(contents: &[u8]) -> Result<Material, KeyProblem> {
    let info = SubjectPublicKeyInfoRef::from_der(contents).map_err(|_| KeyProblem::Unknown)?;
    let key = info.subject_public_key.as_bytes().ok_or(KeyProblem::Unknown)?;
    let curve = || info.algorithm.parameters_oid().ok();
    let point = |bytes: usize| Some(key.to_vec()).filter(|key| key.len() == bytes && key[0] == 4);
    let material = match info.algorithm.oid {
        RSA => return rsa(key, false),
        RSA_PSS => return rsa(key, true),
        EC if curve() == Some(P256) => point(65).map(Material::P256),
        EC if curve() == Some(P384) => point(97).map(Material::P384),
        ED25519 => Some(key.to_vec()).filter(|key| key.len() == 32).map(Material::Ed25519),
        _ => None,
    };
    material.ok_or(KeyProblem::Unknown)
}

/// An RSA key (RFC 8017, appendix A.1.1).
fn rsa(contents: &[u8], is_pss: bool) -> Result<Material, KeyProblem> {
    let numbers = || -> Result<_, der::Error> {
        let mut reader = SliceReader::new(contents)?;
        let numbers = reader.sequence(|reader| {
            let (modulus, exponent) = (UintRef::decode(reader)?, UintRef::decode(reader)?);
            Ok::<_, der::Error>((modulus.as_bytes().to_vec(), exponent.as_bytes().to_vec()))
        })?;
        reader.finish()?;
        Ok(numbers)
    };
    let (modulus, exponent) = numbers().map_err(|_| KeyProblem::Unknown)?;
    Ok(Material::Rsa { modulus, exponent, is_pss })
}
