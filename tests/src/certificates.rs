//! Certificates made for one occasion: an authority, and what it issues to servers and clients. ECDSA
//! on P-256, which every client knows.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

/// Whom a server on this machine is known as.
pub const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

/// What a certificate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Proving who a server is.
    Server,
    /// Proving who a client is.
    Client,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Issued {
    certificate: Certificate,
    key: KeyPair,
    serial: SerialNumber,
}

impl Authority {
    /// A new one, of this name.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// A certificate for `subject`, which also has these alternative names: hosts and addresses.
    pub fn issue(&self, subject: &str, names: &[&str], purpose: Purpose) -> Result<Issued> {
        const FAR: i32 = 4_096;
        self.issue_until(subject, names, purpose, (FAR, 1, 1))
    }

    /// A client's certificate with these common names, and these URIs among its alternative names.
    pub fn issue_naming(&self, subjects: &[&str], uris: &[&str]) -> Result<Issued> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for subject in subjects {
            params.distinguished_name.push(DnType::CommonName, *subject);
        }
        let uri = |uri: &&str| Ok::<_, anyhow::Error>(SanType::URI((*uri).try_into()?));
        params.subject_alt_names = uris.iter().map(uri).collect::<Result<_>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = date_time_ymd(4_096, 1, 1);
        let serial = SerialNumber::from(u64::from(rand::random::<u32>()) + 1);
        params.serial_number = Some(serial.clone());
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate, key, serial })
    }

    /// The same, valid until a year, month and day.
    pub fn issue_until(
        &self,
        subject: &str,
        names: &[&str],
        purpose: Purpose,
        (year, month, day): (i32, u8, u8),
    ) -> Result<Issued> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named(subject).distinguished_name;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match purpose {
            Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.not_after = date_time_ymd(year, month, day);
        let serial = SerialNumber::from(u64::from(rand::random::<u32>()) + 1);
        params.serial_number = Some(serial.clone());
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate, key, serial })
    }

    /// The list of revoked ones, in PEM.
    pub fn revoking(&self, revoked: &[&Issued]) -> Result<String> {
        let entry = |issued: &&Issued| RevokedCertParams {
            serial_number: issued.serial.clone(),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(4_096, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }
}

impl Issued {
    /// The certificate.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The private key.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Writes both as `NAME.pem` and `NAME.key` to a folder.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        write(&folder.join(format!("{name}.pem")), &self.pem())?;
        write(&folder.join(format!("{name}.key")), &self.key_pem())
    }
}

/// A folder with an authority's certificate, a server's and a client's.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes all of them anew in `path`, for a server of these names. The authority's key is not kept.
    pub fn make(path: &Path, names: &[&str]) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        let authority = Authority::new("push-load's authority for this occasion")?;
        authority.issue("push-server", names, Purpose::Server)?.write(path, "server")?;
        authority.issue("device", &[], Purpose::Client)?.write(path, "client")?;
        write(&path.join("ca.pem"), &authority.pem())?;
        Ok(Self { path: path.to_owned() })
    }

    /// The certificate to trust.
    pub fn ca(&self) -> PathBuf {
        self.path.join("ca.pem")
    }

    /// The server's certificate and key.
    pub fn server(&self) -> [PathBuf; 2] {
        ["server.pem", "server.key"].map(|name| self.path.join(name))
    }

    /// The client's certificate and key.
    pub fn client(&self) -> [PathBuf; 2] {
        ["client.pem", "client.key"].map(|name| self.path.join(name))
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Writes a file that only its owner can read: some are keys.
fn write(path: &Path, text: &str) -> Result<()> {
    let open =
        || fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let write = || open()?.write_all(text.as_bytes());
    write().with_context(|| format!("cannot write {}", path.display()))
}
