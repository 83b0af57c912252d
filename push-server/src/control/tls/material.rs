//! Reads the files of TLS: certificates with their keys, and what clients' certificates are checked by.
//! Every mistake at once, each with its file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys, RootCertStore};
use zeroize::Zeroizing;

use super::certificate::{CertificateFacts, CrlFacts};
use super::pem::{self, PemError, Section};
use crate::config::TlsSettings;

/// The settings that name files.
const CERT_KEY: &str = "tls-cert";
const KEY_KEY: &str = "tls-key";
const CA_KEY: &str = "tls-client-ca";
const CRL_KEY: &str = "tls-client-crl";

/// What the files say.
#[derive(Debug)]
pub(super) struct Material {
    /// In the order of the settings.
    pub(super) pairs: Vec<Pair>,
    /// Who may sign clients' certificates.
    pub(super) authorities: Arc<RootCertStore>,
    pub(super) revoked: Vec<Crl>,
    /// What an operator should know, and no reason to refuse the files.
    pub(super) doubts: Vec<String>,
}

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Pair {
    /// Of the certificate.
    pub(super) file: PathBuf,
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) hosts: Vec<String>,
    /// Seconds since 1970 from when on it can be used.
    pub(super) valid_from: u64,
    /// Seconds since 1970 until when the certificate is valid, and all of its chain.
    pub(super) valid_until: u64,
}

/// A list of revoked certificates.
#[derive(Debug)]
pub(super) struct Crl {
    pub(super) file: PathBuf,
    pub(super) der: CertificateRevocationListDer<'static>,
    pub(super) facts: CrlFacts,
}

/// A mistake in a file, or between two.
#[derive(Debug, thiserror::Error)]
#[error("{} {mistake} (--{key})", file.display())]
pub struct FileMistake {
    /// The setting that names the file.
    pub(crate) key: &'static str,
    /// The file.
    pub(crate) file: PathBuf,
    mistake: Mistake,
}

impl FileMistake {
    fn of(key: &'static str, file: &Path) -> impl FnOnce(Mistake) -> Self {
        let file = file.to_owned();
        move |mistake| Self { key, file, mistake }
    }

    /// What is wrong, without file and setting.
    pub(crate) fn problem(&self) -> String {
        self.mistake.to_string()
    }
}

#[derive(Debug, thiserror::Error)]
enum Mistake {
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error("has no certificate (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    #[error("line {line}: this is no valid certificate: {problem}")]
    Certificate { line: usize, problem: String },
    #[error("has no private key (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
    #[error(
        "line {line}: the server cannot use this key ({problem}): it takes RSA from 2048 bits on, \
         ECDSA P-256 and P-384, and Ed25519"
    )]
    Key { line: usize, problem: Error },
    #[error("is not the key of the first certificate in {}; the two may be of different renewals", certificate.display())]
    OtherKey { certificate: PathBuf },
    #[error("is not the key of the first certificate in {}, but of number {place}: the server's own \
         certificate comes first, then the one that signed it", certificate.display())]
    ChainOrder { certificate: PathBuf, place: usize },
    #[error("has no list of revoked certificates (-----BEGIN X509 CRL-----)")]
    NoCrl,
    #[error("line {line}: this is no valid list of revoked certificates: {problem}")]
    Crl { line: usize, problem: String },
}

impl Material {
    /// Reads everything that `settings` name.
    ///
    /// # Errors
    /// All mistakes.
    pub(super) fn read(
        settings: &TlsSettings,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Vec<FileMistake>> {
        let (mut mistakes, mut doubts) = (Vec::new(), Vec::new());
        let mut pairs = Vec::new();
        for (cert, key) in settings.cert_files.iter().zip(&settings.key_files) {
            match read_pair(cert, key, provider) {
                Ok(pair) => pairs.push(pair),
                Err(found) => mistakes.extend(found),
            }
            doubts.extend(doubt_of_key(key));
        }
        doubts.extend(doubts_of_hosts(&pairs));
        let mut authorities = RootCertStore::empty();
        for file in &settings.client_ca_files {
            let added = add_authorities(file, &mut authorities);
            mistakes.extend(added.err().map(FileMistake::of(CA_KEY, file)));
        }
        let authorities = Arc::new(authorities);
        let mut revoked = Vec::new();
        for file in &settings.client_crl_files {
            match read_crls(file, &authorities, provider) {
                Ok(crls) => revoked.extend(crls),
                Err(mistake) => mistakes.push(FileMistake::of(CRL_KEY, file)(mistake)),
            }
        }
        if mistakes.is_empty() {
            Ok(Self { pairs, authorities, revoked, doubts })
        } else {
            Err(mistakes)
        }
    }

    /// Whether the files say the same as `other`. Each certificate has its key, so keys need no
    /// comparison.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let chains = self.pairs.iter().map(|pair| &pair.certified.cert);
        let lists = self.revoked.iter().map(|crl| &crl.der);
        chains.eq(other.pairs.iter().map(|pair| &pair.certified.cert))
            && self.authorities.roots == other.authorities.roots
            && lists.eq(other.revoked.iter().map(|crl| &crl.der))
    }

    /// Whether the same clients may connect as by `other`. A list that is only renewed changes nothing.
    pub(super) fn admits_same(&self, other: &Self) -> bool {
        let revoked = self.revoked.iter().map(|crl| crl.facts.revoked);
        self.authorities.roots == other.authorities.roots
            && revoked.eq(other.revoked.iter().map(|crl| crl.facts.revoked))
    }
}

fn read_pair(
    cert_file: &Path,
    key_file: &Path,
    provider: &CryptoProvider,
) -> Result<Pair, Vec<FileMistake>> {
    let chain = read_chain(cert_file).map_err(FileMistake::of(CERT_KEY, cert_file));
    let key = read_key(key_file, provider).map_err(FileMistake::of(KEY_KEY, key_file));
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
    };
    let certificates = chain.iter().map(|link| link.der.clone()).collect();
    let certified = CertifiedKey::new(certificates, key);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            let mistake = wrong_key(cert_file, &certified);
            return Err(vec![FileMistake::of(KEY_KEY, key_file)(mistake)]);
        }
        Err(error) => {
            let line = chain.first().map_or(1, |own| own.line);
            let mistake = Mistake::Certificate { line, problem: error.to_string() };
            return Err(vec![FileMistake::of(CERT_KEY, cert_file)(mistake)]);
        }
    }
    let (valid_from, valid_until) = validity(&chain);
    Ok(Pair {
        file: cert_file.to_owned(),
        certified: Arc::new(certified),
        hosts: chain.into_iter().next().map(|own| own.facts.hosts).unwrap_or_default(),
        valid_from,
        valid_until,
    })
}

/// A certificate of a chain.
#[derive(Debug)]
struct Link {
    line: usize,
    der: CertificateDer<'static>,
    facts: CertificateFacts,
}

/// At least one certificate, the server's own first.
fn read_chain(file: &Path) -> Result<Vec<Link>, Mistake> {
    let links = of_kind(pem::read(file)?, SectionKind::Certificate).into_iter().map(|section| {
        let Section { line, der, .. } = section;
        let facts = CertificateFacts::read(&der)
            .map_err(|error| Mistake::Certificate { line, problem: error.to_string() })?;
        Ok(Link { line, der: CertificateDer::from(der.to_vec()), facts })
    });
    let chain = links.collect::<Result<Vec<_>, Mistake>>()?;
    if chain.is_empty() { Err(Mistake::NoCertificate) } else { Ok(chain) }
}

/// The first key of a file. Its bytes are wiped: here, and by rustls.
fn read_key(file: &Path, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, Mistake> {
    let keys = pem::read(file)?.into_iter().find_map(|mut section| {
        let der = std::mem::take(&mut *section.der);
        let key = PrivateKeyDer::from_pem(section.kind, der)?;
        Some((section.line, Zeroizing::new(key)))
    });
    let (line, key) = keys.ok_or(Mistake::NoKey)?;
    let loaded = provider.key_provider.load_private_key(key.clone_key());
    loaded.map_err(|problem| Mistake::Key { line, problem })
}

/// Names the certificate of the chain that the key is of, if it is.
fn wrong_key(cert_file: &Path, certified: &CertifiedKey) -> Mistake {
    let is_of = |certificate: &CertificateDer<'static>| {
        let key = Arc::clone(&certified.key);
        CertifiedKey::new(vec![certificate.clone()], key).keys_match().is_ok()
    };
    let certificate = cert_file.to_owned();
    match certified.cert.iter().position(is_of) {
        Some(place) => Mistake::ChainOrder { certificate, place: place + 1 },
        None => Mistake::OtherKey { certificate },
    }
}

/// When all certificates of a chain are valid.
fn validity(chain: &[Link]) -> (u64, u64) {
    let valid_from = chain.iter().map(|link| link.facts.valid_from).max();
    let valid_until = chain.iter().map(|link| link.facts.valid_until).min();
    (valid_from.unwrap_or(0), valid_until.unwrap_or(0))
}

/// A key that every user of the machine can read is a copy of the server.
fn doubt_of_key(file: &Path) -> Option<String> {
    let mode = fs::metadata(file).ok()?.permissions().mode();
    let is_open = mode & 0o007 != 0;
    is_open.then(|| {
        format!("{} can be read by others: whoever has the key can be this server", file.display())
    })
}

/// A certificate but the first is of use only to clients that name a host.
fn doubts_of_hosts(pairs: &[Pair]) -> impl Iterator<Item = String> {
    let unnamed = pairs.iter().skip(1).filter(|pair| pair.hosts.is_empty());
    unnamed.map(|pair| {
        format!(
            "{} names no host (subjectAltName), and is not the first --tls-cert: few clients get it",
            pair.file.display()
        )
    })
}

/// Those who may sign a certificate, of the file that a setting names.
///
/// # Errors
/// The file cannot be read, or has no certificate.
pub(crate) fn authorities(key: &'static str, file: &Path) -> Result<RootCertStore, FileMistake> {
    let mut found = RootCertStore::empty();
    add_authorities(file, &mut found).map_err(FileMistake::of(key, file))?;
    Ok(found)
}

fn add_authorities(file: &Path, authorities: &mut RootCertStore) -> Result<(), Mistake> {
    let sections = of_kind(pem::read(file)?, SectionKind::Certificate);
    if sections.is_empty() {
        return Err(Mistake::NoCertificate);
    }
    for Section { line, der, .. } in sections {
        let added = authorities.add(CertificateDer::from(der.to_vec()));
        added.map_err(|error| Mistake::Certificate { line, problem: error.to_string() })?;
    }
    Ok(())
}

fn read_crls(
    file: &Path,
    authorities: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Vec<Crl>, Mistake> {
    let sections = of_kind(pem::read(file)?, SectionKind::Crl);
    if sections.is_empty() {
        return Err(Mistake::NoCrl);
    }
    let crls = sections.into_iter().map(|Section { line, der, .. }| {
        let der = CertificateRevocationListDer::from(der.to_vec());
        let builder = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(authorities),
            Arc::clone(provider),
        );
        // Alone, so that the mistake has a line. Without authorities their own mistake is told.
        match builder.with_crls([der.clone()]).build() {
            Err(VerifierBuilderError::InvalidCrl(error)) => {
                Err(Mistake::Crl { line, problem: format!("{error:?}") })
            }
            _ => Ok(Crl { file: file.to_owned(), facts: CrlFacts::read(&der), der }),
        }
    });
    crls.collect()
}

fn of_kind(sections: Vec<Section>, kind: SectionKind) -> Vec<Section> {
    sections.into_iter().filter(|section| section.kind == kind).collect()
}
