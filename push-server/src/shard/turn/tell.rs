//! Which client a line of the log is about (`notices`).

use std::fmt;

use super::Shard;
use crate::shard::clients::Phase;
use crate::shard::notices::{ClientId, NoticeKind};
use crate::shard::ports::{Ports, Socket};

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
        let address = || client.socket.peer_address().ok();
        self.here.shared().notices.say(self.agenda.now(), kind, client_id, address, reason);
    }

    /// Logs, at debug level, what operators need only when they look for something.
    pub(super) fn tell_ordinary(&self, index: u32, words: &dyn fmt::Display) {
        if tracing::enabled!(tracing::Level::DEBUG)
            && let Some(client) = self.clients.get(index)
        {
            let id = self.client_id_of(index).map(|id| tracing::field::debug(ClientId(id)));
            let address = client.socket.peer_address().ok().map(tracing::field::display);
            tracing::debug!(client = id, address, "{words}");
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
