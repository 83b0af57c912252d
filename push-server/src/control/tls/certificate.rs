//! What the server itself has to know of a certificate or a list of revoked ones: whom it names, and
//! until when it holds. Whether to trust one is rustls's to decide.

use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::{self, Decode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CertificateFacts {
    /// Hosts that it is for, in small letters; the first label may be `*`.
    pub(super) hosts: Vec<String>,
    /// Seconds since 1970 from which on it is valid.
    pub(super) valid_from: u64,
    /// Seconds since 1970 until which it is valid.
    pub(super) valid_until: u64,
}

impl CertificateFacts {
    /// Reads them.
    ///
    /// # Errors
    /// The bytes are no certificate (RFC 5280).
    pub(super) fn read(der: &[u8]) -> Result<Self, der::Error> {
        let certificate = Certificate::from_der(der)?;
        let content = certificate.tbs_certificate();
        let names = content.get_extension::<SubjectAltName>()?;
        let names = names.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
        let hosts = names.iter().filter_map(|name| match name {
            GeneralName::DnsName(host) => Some(host.to_string().to_ascii_lowercase()),
            _ => None,
        });
        let validity = content.validity();
        Ok(Self {
            hosts: hosts.collect(),
            valid_from: validity.not_before.to_unix_duration().as_secs(),
            valid_until: validity.not_after.to_unix_duration().as_secs(),
        })
    }
}

/// Seconds since 1970 until when a list of revoked certificates is to be renewed, if it says that.
pub(super) fn renewal_due(crl: &[u8]) -> Option<u64> {
    let list = CertificateList::from_der(crl).ok()?;
    Some(list.tbs_cert_list.next_update?.to_unix_duration().as_secs())
}
