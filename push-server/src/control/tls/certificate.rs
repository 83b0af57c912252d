//! What the server itself has to know of a certificate or a list of revoked ones: whom it names, and
//! until when it holds. Whether to trust one is rustls's to decide.

use sha2::{Digest, Sha256};
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

/// Of a list of revoked certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CrlFacts {
    /// Seconds since 1970 until when it is to be renewed, if it says that.
    pub(super) renewal_due: Option<u64>,
    /// Stands for whose certificates it revokes, and which.
    pub(super) revoked: [u8; 32],
}

impl CrlFacts {
    /// Reads them. Of what rustls can read, and this reader cannot, there is only a digest.
    pub(super) fn read(der: &[u8]) -> Self {
        let Ok(list) = <CertificateList>::from_der(der) else {
            return Self { renewal_due: None, revoked: Sha256::digest(der).into() };
        };
        let content = list.tbs_cert_list;
        let mut serials: Vec<_> = content
            .revoked_certificates
            .iter()
            .flatten()
            .map(|revoked| revoked.serial_number.as_bytes())
            .collect();
        serials.sort_unstable();
        let mut digest = Sha256::new();
        digest.update(content.issuer.to_string());
        for serial in serials {
            digest.update(serial.len().to_be_bytes());
            digest.update(serial);
        }
        Self {
            renewal_due: content.next_update.map(|time| time.to_unix_duration().as_secs()),
            revoked: digest.finalize().into(),
        }
    }
}
