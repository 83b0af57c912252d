//! The records of sessions that outlive their connection: when one is written, and what is in it.

use super::Shard;
use crate::mqtt::{Connect, Connection, Session};
use crate::mutant::{Rule, is_left_out};
use crate::shard::clients::Client;
use crate::shard::journal::{Done, Draft, records};
use crate::shard::ports::Ports;
use crate::shard::sessions::Presence;
use crate::store::{SessionNumber, Write};

impl<P: Ports> Shard<P> {
    /// The store's number of a session, if it is durable.
    pub(super) fn number_of(&mut self, key: u32) -> Option<SessionNumber> {
        let entry = self.sessions.entry_mut(key)?;
        entry.session.is_durable().then_some(entry.number())
    }

    /// Makes the session that a CONNECT asks for, durable if it outlives its connection. If it does not, only its
    /// will is on disk: CONNACK promises that it is published.
    pub(super) fn new_session(&mut self, connect: &Connect) -> (Session, SessionNumber) {
        let (client_id, expiry_secs) = (&connect.client_id, connect.session_expiry_secs);
        let number = SessionNumber(self.here.shared().journal.take_number());
        let session = match self.here.shared().store {
            Some(_) if expiry_secs > 0 => Session::durable(client_id, expiry_secs),
            Some(_) if connect.will.is_some() && !is_left_out(Rule::WillOfBriefSession) => {
                Session::keeping_will(client_id)
            }
            _ => Session::new(client_id, expiry_secs),
        };
        (session.of_user(connect.user()), number)
    }

    /// A session begins, or goes on, with a connection. CONNACK waits for the session's record, and for the end of
    /// a durable session that it replaces (`ended`). If the store fails, CONNACK leaves all the same: a connected
    /// client has its heartbeats answered and gets messages that need no disk, and a refused one would only be back
    /// the next second. SUBACK and PUBACK say that nothing is promised, and what CONNACK said becomes true when the
    /// store is back.
    pub(super) fn save_connected(&mut self, index: u32, key: u32, ended: bool) {
        let mut draft = self.saved_session(key);
        if !draft.has_writes() && !ended {
            return;
        }
        if is_left_out(Rule::ConnackWaits) {
            self.journal.append(draft);
            return;
        }
        self.clients[index].output.hold();
        draft.wait(self.here.index(), Done::Connect { client: self.token_of(index) });
        self.journal.append(draft);
    }

    /// Writes the record of a session that is durable, or keeps its will.
    pub(super) fn save_session(&mut self, key: u32) {
        let draft = self.saved_session(key);
        self.file(draft);
    }

    /// The record of a session that is durable, or keeps its will, to be written with other changes.
    pub(super) fn saved_session(&mut self, key: u32) -> Draft {
        let clocks = self.here.shared().journal.clocks();
        let Some(entry) = self.sessions.entry_mut(key) else { return Draft::default() };
        if !entry.session.is_durable() && !entry.session.keeps_will() {
            return Draft::default();
        }
        let number = entry.number();
        let (disconnected_at, will) = match entry.presence() {
            Presence::Connected(index) => {
                let connection = self.clients.get(*index).and_then(Client::connection);
                (None, connection.and_then(Connection::will).map(records::stored_will))
            }
            Presence::Absent(absence) => {
                let begun = absence.begun(entry.session.expiry_secs(), clocks);
                (Some(begun), absence.will().map(|will| records::stored_pending_will(will, clocks)))
            }
        };
        let record = records::session_record(&entry.session, disconnected_at, will);
        let write = Write::PutSession { number, record: Box::new(record) };
        Draft::from(write).then(self.here.index(), Done::Session { session: key, number })
    }
}
