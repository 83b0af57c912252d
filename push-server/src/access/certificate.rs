//! Whom a certificate names: the user that its client is. Whether to trust it is decided before, in the handshake of
//! TLS.

use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

use super::identity::is_user_name;

/// The type of a common name (X.520).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Which of a certificate's names is the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateField {
    /// The common name of its subject (CN).
    CommonName,
    /// The host that it is for: a DNS name among its alternative names (RFC 5280, section 4.2.1.6), in small letters.
    DnsName,
    /// A URI among its alternative names.
    Uri,
}

/// Why a certificate names no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// It cannot be read, or the name in it.
    #[error("its certificate cannot be read")]
    Unreadable,
    /// It has no such name.
    #[error("its certificate has no name of that kind")]
    None,
    /// It has several, and nobody knows which is meant.
    #[error("its certificate has several names of that kind")]
    Several,
    /// The name is empty, too long, or has a control character.
    #[error("the name in its certificate is none that a user can have")]
    NoUserName,
}

/// The user that a certificate names, which is DER (X.690).
///
/// # Errors
/// It names none, or several.
pub fn user_of(der: &[u8], field: CertificateField) -> Result<Box<str>, CertificateFault> {
    let certificate = Certificate::from_der(der).map_err(|_| CertificateFault::Unreadable)?;
    let content = certificate.tbs_certificate();
    let names = match field {
        CertificateField::CommonName => {
            let names = content.subject().iter().filter(|name| name.oid == COMMON_NAME);
            let texts = names.map(|name| DirectoryString::try_from(&name.value));
            let texts = texts.map(|text| text.map(|text| text.value().into_owned()));
            texts.collect::<Result<Vec<_>, _>>().map_err(|_| CertificateFault::Unreadable)?
        }
        CertificateField::DnsName | CertificateField::Uri => {
            let found = content.get_extension::<SubjectAltName>();
            let found = found.map_err(|_| CertificateFault::Unreadable)?;
            let names = found.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
            names.iter().filter_map(|name| alternative(name, field)).collect()
        }
    };
    match names.as_slice() {
        [] => Err(CertificateFault::None),
        [name] if is_user_name(name) => Ok(name.as_str().into()),
        [_] => Err(CertificateFault::NoUserName),
        _ => Err(CertificateFault::Several),
    }
}

/// An alternative name, if it is of the kind that is asked for.
fn alternative(name: &GeneralName, field: CertificateField) -> Option<String> {
    match (field, name) {
        (CertificateField::DnsName, GeneralName::DnsName(host)) => {
            Some(host.to_string().to_ascii_lowercase())
        }
        (CertificateField::Uri, GeneralName::UniformResourceIdentifier(uri)) => {
            Some(uri.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
