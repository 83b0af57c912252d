//! Where the cryptography of TLS comes from: ring. No other code of the server names it, so another
//! library can be taken here.
//!
//! ring needs a C compiler to build, and no more. It does not wipe the keys that it expands, which
//! aws-lc-rs's C code does. The two have not been measured against each other yet.

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
