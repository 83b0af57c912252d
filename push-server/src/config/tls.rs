//! The settings of TLS, and which of them contradict each other.

use std::path::PathBuf;

use super::contradictions::Contradictions;
use super::listeners::{Listener, ListenerForm};
use super::modes::{ClientAuthMode, TlsVersionMode};

/// Most certificates, one a host name or kind of key: all are read at each reload.
pub(super) const CERTIFICATES_MAX: usize = 1_024;

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

/// The settings that give listeners for TLS.
const LISTENERS_FOR_TLS: &[&str] =
    &["tls-listen", "wss-listen", "listener", "listener.tls", "listener.address"];

/// What clients' certificates need.
const SIGNERS: &str = "a file of those who sign clients' certificates, by tls-client-ca";

impl TlsSettings {
    /// Contradictions between settings of TLS.
    pub(super) fn look_for_contradictions(
        &self,
        listeners: &[Listener],
        found: &mut Contradictions,
    ) {
        let (certs, keys) = (self.cert_files.len(), self.key_files.len());
        let listener = listeners.iter().find(|listener| listener.kind.has_tls());
        if let Some(listener) = listener.filter(|_| certs == 0) {
            let allowed = "a certificate with it, by tls-cert and tls-key";
            found.refuse_address(listener, &["tls-cert"], allowed);
        }
        if certs != keys {
            let allowed = format!("one for each tls-cert, which is given {certs} times");
            found.refuse("tls-key", &["tls-cert"], &format_args!("{keys} files"), allowed);
        }
        if certs > CERTIFICATES_MAX {
            let allowed = format!("at most {CERTIFICATES_MAX} files");
            found.refuse("tls-cert", &[], &format_args!("{certs} files"), allowed);
        }
        let first_cert = self.cert_files.first().filter(|_| listener.is_none());
        if let Some(file) = first_cert {
            let allowed = "a listener with it, by tls-listen or wss-listen";
            found.refuse("tls-cert", LISTENERS_FOR_TLS, &file.display(), allowed);
        }
        let asks_at = listeners.iter().find(|listener| listener.asks_clients());
        let is_asked = asks_at.is_some() || self.client_auth != ClientAuthMode::None;
        match (self.client_ca_files.first(), asks_at.map(|listener| listener.form)) {
            (None, Some(ListenerForm::Table(place)))
                if self.client_auth == ClientAuthMode::None =>
            {
                let key = ("listener.client-certificate", &["tls-client-ca"] as &[_]);
                let mode = asks_at.map_or(self.client_auth, |listener| listener.client_auth);
                found.refuse_in(place, key, &mode, SIGNERS);
            }
            (None, _) if is_asked => {
                found.refuse("tls-client-auth", &["tls-client-ca"], &self.client_auth, SIGNERS);
            }
            (Some(file), _) if !is_asked => {
                let allowed = "tls-client-auth optional or required with it";
                let others = &["tls-client-auth", "listener.client-certificate"];
                found.refuse("tls-client-ca", others, &file.display(), allowed);
            }
            _ => {}
        }
        let first_crl = self.client_crl_files.first().filter(|_| self.client_ca_files.is_empty());
        if let Some(file) = first_crl {
            let allowed = "tls-client-ca with it, for the certificates that it revokes";
            found.refuse("tls-client-crl", &["tls-client-ca"], &file.display(), allowed);
        }
    }
}
