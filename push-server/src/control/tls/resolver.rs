//! Which certificate a client gets: the one for the host that it names, with a key that it knows.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificates of `--tls-cert`, in their order.
#[derive(Debug)]
pub(super) struct Resolver {
    provider: Arc<CryptoProvider>,
    certificates: Vec<Arc<CertifiedKey>>,
    /// Places of certificates by the hosts that they name, in order.
    by_host: HashMap<String, Vec<usize>>,
}

impl Resolver {
    /// Of certificates with the hosts that each names, in small letters.
    pub(super) fn new<'a>(
        provider: Arc<CryptoProvider>,
        certificates: impl Iterator<Item = (Arc<CertifiedKey>, &'a [String])>,
    ) -> Self {
        let mut by_host = HashMap::<String, Vec<usize>>::new();
        let certificates = certificates.enumerate().map(|(place, (certificate, hosts))| {
            for host in hosts {
                by_host.entry(host.clone()).or_default().push(place);
            }
            certificate
        });
        let certificates = certificates.collect();
        Self { provider, certificates, by_host }
    }

    /// The places of the certificates for `host`: those that name it, else those with `*` in the place
    /// of its first label (RFC 9525, section 6.3), else none.
    fn named(&self, host: &str) -> &[usize] {
        let wildcard = || {
            let (_, parent) = host.split_once('.')?;
            self.by_host.get(&format!("*.{parent}"))
        };
        self.by_host.get(host).or_else(wildcard).map_or(&[], Vec::as_slice)
    }

    /// Whether the client knows the kind of the certificate's key.
    fn suits(&self, certificate: &CertifiedKey, hello: &ClientHello<'_>) -> bool {
        let key = &certificate.key;
        let has_suite = || {
            self.provider.cipher_suites.iter().any(|suite| {
                suite.usable_for_signature_algorithm(key.algorithm())
                    && hello.cipher_suites().contains(&suite.suite())
            })
        };
        key.choose_scheme(hello.signature_schemes()).is_some() && has_suite()
    }
}

impl ResolvesServerCert for Resolver {
    /// Of the certificates for the host that the client names, the first that it can use. A client that
    /// names none, or an unknown one, gets the first of all that it can use.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().map_or(&[][..], |host| self.named(host));
        let named = named.iter().filter_map(|&place| self.certificates.get(place));
        let first = named.clone().next().or(self.certificates.first());
        let mut candidates = named.chain(&self.certificates);
        // If none suits, the handshake fails with the first one's reason.
        candidates.find(|certificate| self.suits(certificate, &hello)).or(first).cloned()
    }
}
