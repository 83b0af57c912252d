//! A session in its shard's table: what the store knows it by, and whether its client is here.

use super::absence::Absence;
use crate::mqtt::{PendingWill, Session};
use crate::store::SessionNumber;

/// A session and where it stands.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What the protocol knows of it.
    pub(crate) session: Session,
    presence: Presence,
    number: SessionNumber,
}

/// Whether a session's client is here.
#[derive(Debug)]
pub(crate) enum Presence {
    /// Connected, as this client of the shard's.
    Connected(u32),
    /// Without a connection.
    Absent(Absence),
}

impl Presence {
    /// The client, when it is here.
    pub(crate) fn client(&self) -> Option<u32> {
        match self {
            Self::Connected(client) => Some(*client),
            Self::Absent(_) => None,
        }
    }
}

impl Entry {
    /// `number`: what the store knows the session by, if it is durable.
    pub(super) fn new(session: Session, presence: Presence, number: SessionNumber) -> Self {
        Self { session, presence, number }
    }

    /// What the store knows a durable session by. It never changes.
    pub(crate) fn number(&self) -> SessionNumber {
        self.number
    }

    /// Whether its client is here.
    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// The client, when it is here.
    pub(crate) fn client(&self) -> Option<u32> {
        self.presence.client()
    }

    /// Its time without a connection, if it has none.
    pub(crate) fn absence_mut(&mut self) -> Option<&mut Absence> {
        match &mut self.presence {
            Presence::Absent(absence) => Some(absence),
            Presence::Connected(_) => None,
        }
    }

    /// Its client is here, as this one of the shard's. With an absence goes the will that still waited
    /// [MQTT-3.1.3-9].
    pub(crate) fn connect(&mut self, client: u32) {
        self.presence = Presence::Connected(client);
    }

    /// Its connection has ended.
    pub(crate) fn begin_absence(&mut self, absence: Absence) {
        self.presence = Presence::Absent(absence);
    }

    /// It moves to another shard. Returns all that it is made of.
    pub(crate) fn into_parts(self) -> (Session, Presence, SessionNumber) {
        (self.session, self.presence, self.number)
    }

    /// It has ended. Returns its session, and the will that waited for its delay.
    pub(crate) fn end(self) -> (Session, SessionNumber, Option<Box<PendingWill>>) {
        let will = match self.presence {
            Presence::Absent(absence) => absence.into_will(),
            Presence::Connected(_) => None,
        };
        (self.session, self.number, will)
    }
}
