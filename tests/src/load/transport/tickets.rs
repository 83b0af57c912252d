//! The sessions of TLS that clients may resume: a stack for all clients, since they all speak to one
//! server. rustls's own keeps eight for each server, fewer than there are clients that connect at
//! the same time.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// Most tickets that are kept; of more, the newest replaces the one before.
const TICKETS_MAX: usize = 65_536;

/// The sessions.
#[derive(Default)]
pub(super) struct Tickets(Mutex<Sessions>);

#[derive(Default)]
struct Sessions {
    group: Option<NamedGroup>,
    /// Of TLS 1.2, which may be used again.
    reusable: Option<Tls12ClientSessionValue>,
    /// Of TLS 1.3, each for one use.
    tickets: Vec<Tls13ClientSessionValue>,
}

impl Tickets {
    fn with<T>(&self, work: impl FnOnce(&mut Sessions) -> T) -> T {
        // Nothing in here panics half done.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tickets = self.with(|sessions| sessions.tickets.len());
        f.debug_struct("Tickets").field("tickets", &tickets).finish_non_exhaustive()
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.with(|sessions| sessions.group = Some(group));
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.with(|sessions| sessions.group)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.with(|sessions| sessions.reusable = Some(session));
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.with(|sessions| sessions.reusable.clone())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.with(|sessions| sessions.reusable = None);
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.with(|sessions| {
            if sessions.tickets.len() == TICKETS_MAX {
                sessions.tickets.pop();
            }
            sessions.tickets.push(ticket);
        });
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.with(|sessions| sessions.tickets.pop())
    }
}
