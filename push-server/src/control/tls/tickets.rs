//! Tickets, by which clients resume a session instead of a full handshake (RFC 8446, section 4.6.1;
//! RFC 5077). They are in memory alone, the same for all shards; rustls replaces them every 6 hours and
//! accepts those before. A restart forgets both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::Error;
use rustls::pki_types::UnixTime;
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use super::provider::ticket_keys;
use crate::config::ClientAuthMode;

/// How long a certificate that a client has proven to own counts, by tickets and tickets that follow
/// them: it may expire meanwhile, or its key be lost. Then the client does a full handshake.
pub(super) const PROOF_SECS_MAX: u64 = 12 * 3_600;

/// Bytes of a time in a ticket.
const TIME_BYTES: usize = size_of::<u64>();

/// Keys of tickets, others for each way in which listeners ask for certificates. rustls takes a ticket
/// without asking what its client has shown: one of a listener that asks for nothing must not open
/// another that requires a certificate.
#[derive(Clone, Debug)]
pub(super) struct TicketKeys {
    none: Arc<dyn ProducesTickets>,
    optional: Arc<dyn ProducesTickets>,
    required: Arc<dyn ProducesTickets>,
}

impl TicketKeys {
    /// New keys.
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self { none: ticket_keys()?, optional: ticket_keys()?, required: ticket_keys()? })
    }

    /// Those of listeners that ask like this.
    pub(super) fn of(&self, client_auth: ClientAuthMode) -> &Arc<dyn ProducesTickets> {
        match client_auth {
            ClientAuthMode::None => &self.none,
            ClientAuthMode::Optional => &self.optional,
            ClientAuthMode::Required => &self.required,
        }
    }

    /// Makes rustls replace keys that are too old, though no client connects.
    pub(super) fn renew(&self) {
        for keys in [&self.none, &self.optional, &self.required] {
            let _ = keys.encrypt(&[]);
        }
    }
}

/// The tickets of one connection that may have a client's certificate. Each says when the client proved
/// to own it: rustls does not ask again when a session is resumed, and gives a new ticket each time, so
/// that one proof would count for ever.
#[derive(Debug)]
pub(super) struct DatedTickets {
    keys: Arc<dyn ProducesTickets>,
    /// Seconds since 1970; 0: in this handshake.
    proven_at: AtomicU64,
}

impl DatedTickets {
    /// Of a new connection.
    pub(super) fn new(keys: Arc<dyn ProducesTickets>) -> Self {
        Self { keys, proven_at: AtomicU64::new(0) }
    }

    fn encrypt_at(&self, session: &[u8], now: u64) -> Option<Vec<u8>> {
        let proven_at = match self.proven_at.load(Ordering::Relaxed) {
            0 => now,
            earlier => earlier,
        };
        let mut dated = Zeroizing::new(Vec::with_capacity(TIME_BYTES + session.len()));
        dated.extend_from_slice(&proven_at.to_be_bytes());
        dated.extend_from_slice(session);
        self.keys.encrypt(&dated)
    }

    fn decrypt_at(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let dated = Zeroizing::new(self.keys.decrypt(ticket)?);
        let (time, session) = dated.split_first_chunk::<TIME_BYTES>()?;
        let proven_at = u64::from_be_bytes(*time);
        // A clock that was set back must not lengthen it.
        let is_recent = proven_at <= now && now - proven_at < PROOF_SECS_MAX;
        if !is_recent {
            return None;
        }
        // A client may offer several tickets; rustls takes the last that it decrypts.
        self.proven_at.store(proven_at, Ordering::Relaxed);
        Some(session.to_vec())
    }
}

impl ProducesTickets for DatedTickets {
    fn enabled(&self) -> bool {
        self.keys.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.keys.lifetime()
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_at(session, UnixTime::now().as_secs())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.decrypt_at(ticket, UnixTime::now().as_secs())
    }
}

#[cfg(test)]
mod tests;
