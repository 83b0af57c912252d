//! Which client a line of the log is about (`notices`).

use std::fmt;

use super::Shard;
use crate::shard::clients::Phase;
use crate::shard::notices::{ClientId, Kind};
use crate::shard::ports::{Ports, Socket};

impl<P: Ports> Shard<P> {
    /// Says what has happened to a client that is known by its connection.
    pub(super) fn tell(&self, index: u32, kind: Kind, reason: &dyn fmt::Display) {
        self.tell_of(index, kind, self.client_id_of(index), reason);
    }

    /// The same of one that its connection does not tell.
    pub(super) fn tell_of(
        &self,
        index: u32,
        kind: Kind,
        client_id: Option<&str>,
        reason: &dyn fmt::Display,
    ) {
        let Some(client) = self.clients.get(index) else { return };
        let address = || client.socket.peer_address().ok();
        self.here.shared().notices.say(self.agenda.now(), kind, client_id, address, reason);
    }

    /// Says what is no event for operators, but may be for whoever looks for something.
    pub(super) fn tell_ordinary(&self, index: u32, words: &str) {
        if tracing::enabled!(tracing::Level::DEBUG)
            && let Some(client) = self.clients.get(index)
        {
            let id = self.client_id_of(index).map(|id| tracing::field::debug(ClientId(id)));
            let address = client.socket.peer_address().ok().map(tracing::field::display);
            tracing::debug!(client = id, address, "{words}");
        }
    }

    fn client_id_of(&self, index: u32) -> Option<&str> {
        match &self.clients.get(index)?.phase {
            Phase::Handshake(introduction) => introduction.handshake.client_id(),
            Phase::Serving { session, .. } => Some(self.sessions.session(*session)?.client_id()),
            Phase::Flushing { .. } | Phase::Lingering { .. } => None,
        }
    }
}
