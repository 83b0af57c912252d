//! Where the cryptography of TLS comes from. Nothing else names the library.

use std::sync::Arc;

use rustls::Error;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::ProducesTickets;

/// Cipher suites, key exchanges, signatures, randomness.
pub(crate) fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// Keys of tickets, new ones every 6 hours.
pub(super) fn ticket_keys() -> Result<Arc<dyn ProducesTickets>, Error> {
    ring::Ticketer::new()
}
