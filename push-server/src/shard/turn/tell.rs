//! Which client a line of the log is about (`notices`).

use std::fmt;

use super::Shard;
use crate::shard::clients::Phase;
use crate::shard::notices::{ClientAddress, ClientId, NoticeKind, Whom};
use crate::shard::ports::Ports;

impl<P: Ports> Shard<P> {
    /// Logs an event of a client whose connection is known.
    pub(super) fn tell(&self, index: u32, kind: NoticeKind, reason: &dyn fmt::Display) {
        self.tell_of(index, kind, self.client_id_of(index), reason);
    }

    /// The same, with the client id as an argument.
    pub(super) fn tell_of(
        &self,
        index: u32,
        kind: NoticeKind,
        client_id: Option<&str>,
        reason: &dyn fmt::Display,
    ) {
        let Some(client) = self.clients.get(index) else { return };
        let shared = self.here.shared();
        let listener = shared.entrance.listeners()[client.intake.listener()].name();
        let whom = Whom { client_id, listener, address: || client.address() };
        shared.notices.say(self.agenda.now(), kind, whom, reason);
    }

    /// Logs, at debug level, what operators need only when they look for something.
    pub(super) fn tell_ordinary(&self, index: u32, words: &dyn fmt::Display) {
        if tracing::enabled!(tracing::Level::DEBUG)
            && let Some(client) = self.clients.get(index)
        {
            let id = self.client_id_of(index).map(|id| tracing::field::debug(ClientId(id)));
            let address = client.address().map(|at| tracing::field::display(ClientAddress(at)));
            let shared = self.here.shared();
            let listener = shared.entrance.listeners()[client.intake.listener()].name();
            tracing::debug!(client = id, address, %listener, "{words}");
        }
    }

    fn client_id_of(&self, index: u32) -> Option<&str> {
        match self.clients.get(index)?.phase() {
            Phase::Handshake(pending) => pending.handshake.client_id(),
            Phase::Serving { session, .. } => Some(self.sessions.session(*session)?.client_id()),
            Phase::Flushing { .. } | Phase::Lingering { .. } => None,
        }
    }
}
