//! The settings of TLS.

use std::path::PathBuf;

use super::modes::{ClientAuthMode, TlsVersionMode};

/// What clients over TLS are shown, and asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// `--tls-cert`: files of chains; the first is shown to clients that name no host, or an unknown one.
    pub cert_files: Vec<PathBuf>,
    /// `--tls-key`: the file of the key of each, in the same order.
    pub key_files: Vec<PathBuf>,
    /// `--tls-client-auth`: whether clients show a certificate.
    pub client_auth: ClientAuthMode,
    /// `--tls-client-ca`: files of the certificates that sign clients'.
    pub client_ca_files: Vec<PathBuf>,
    /// `--tls-client-crl`: files of lists of revoked ones.
    pub client_crl_files: Vec<PathBuf>,
    /// `--tls-min`: the lowest version.
    pub version_min: TlsVersionMode,
    /// `--tls-handshakes-max`: under way at once.
    pub handshakes_max: u32,
    /// `--reload-secs`: time between two looks at these files; 0: only SIGHUP makes the server look.
    pub reload_secs: u32,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            cert_files: Vec::new(),
            key_files: Vec::new(),
            client_auth: ClientAuthMode::None,
            client_ca_files: Vec::new(),
            client_crl_files: Vec::new(),
            version_min: TlsVersionMode::Tls12,
            handshakes_max: 512,
            reload_secs: 60,
        }
    }
}
