//! Sessions of a shard that have ended with something left: messages for other members of their groups, or a
//! will whose delay has not passed. `leaving` hands the messages on.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use push_common::clock::Monotonic;

use super::ended_session::EndedSession;
use super::strays::Strays;
use crate::mqtt::Left;
use crate::shard::journal::{Leaver, Outgoing};
use crate::store::SessionNumber;

/// How far an ended session has come with handing on its messages.
#[derive(Debug)]
pub(crate) struct Leaving {
    /// What is in memory of it, and writes under way.
    pub(crate) left: Left,
    /// Its errand waits for its turn, or it waits for a page: nothing else decides how it goes on.
    pub(crate) is_waiting: bool,
    /// Of a session that is on disk.
    pub(crate) records: Option<Records>,
}

/// What an ended session still has on disk.
#[derive(Debug)]
pub(crate) struct Records {
    /// What is under way, to be read and given away again if a write of it fails.
    pub(crate) page: Leaver,
    /// What comes next; then the session's records go.
    pub(crate) next: Option<Leaver>,
}

/// The ended sessions.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    /// Those that still have messages to hand on.
    leaving: HashMap<SessionNumber, Leaving, FixedState>,
    /// Those that the start has found, with wills that are not due yet.
    strays: Strays,
    /// Others that the start has found.
    found: Vec<EndedSession>,
    /// Wills that the start has found on their way.
    found_wills: Vec<Outgoing>,
    /// Client ids of sessions that had moved here and have ended, until the turn's end.
    disowned: Vec<Box<str>>,
    /// Keys of sessions that have moved to another shard, until the rest is over.
    vacated: Vec<u32>,
}

impl Departed {
    /// A session begins to hand on its messages.
    pub(crate) fn begin(&mut self, number: SessionNumber, leaving: Leaving) {
        self.leaving.insert(number, leaving);
    }

    /// Whether a session still gives away.
    pub(crate) fn is_leaving(&self, number: SessionNumber) -> bool {
        self.leaving.contains_key(&number)
    }

    /// How far a session has come with handing on its messages, if it has any.
    pub(crate) fn leaving(&mut self, number: SessionNumber) -> Option<&mut Leaving> {
        self.leaving.get_mut(&number)
    }

    /// It has nothing left.
    pub(crate) fn end(&mut self, number: SessionNumber) {
        self.leaving.remove(&number);
    }

    /// Adds a session with a will that is due at `publish_at`.
    pub(crate) fn add_stray(&mut self, publish_at: Monotonic, found: EndedSession) {
        self.strays.add(publish_at, found);
    }

    /// A client is back: takes the will that its session left. That of another user's session
    /// stays.
    pub(crate) fn take_back(&mut self, client_id: &str, user: Option<&str>) -> Vec<EndedSession> {
        self.strays.take_back(client_id, user)
    }

    /// Whether a session with this client id has left a will that waits.
    pub(crate) fn has_stray(&self, client_id: &str) -> bool {
        self.strays.has(client_id)
    }

    /// Whether the delay of some will has passed at `now`.
    pub(crate) fn has_due(&self, now: Monotonic) -> bool {
        self.strays.has_due(now)
    }

    /// Takes a session whose will's delay has passed at `now`.
    pub(crate) fn take_due(&mut self, now: Monotonic) -> Option<EndedSession> {
        self.strays.take_due(now)
    }

    /// The start has found an ended session with messages to hand on.
    pub(crate) fn push_found(&mut self, found: EndedSession) {
        self.found.push(found);
    }

    /// The start has found these wills on their way.
    pub(crate) fn set_found_wills(&mut self, wills: Vec<Outgoing>) {
        self.found_wills = wills;
    }

    /// Takes what the start has found; every shard has its subscriptions by now.
    pub(crate) fn take_found(&mut self) -> (Vec<EndedSession>, Vec<Outgoing>) {
        (std::mem::take(&mut self.found), std::mem::take(&mut self.found_wills))
    }

    /// A session that had moved here has ended.
    pub(crate) fn disown(&mut self, client_id: &str) {
        self.disowned.push(client_id.into());
    }

    /// A session has moved to another shard, and had this key.
    pub(crate) fn vacate(&mut self, key: u32) {
        self.vacated.push(key);
    }

    /// Takes the keys of those that have moved.
    pub(crate) fn take_vacated(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.vacated)
    }

    /// Takes the client ids of those that have ended in this turn.
    pub(crate) fn take_disowned(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.disowned)
    }

    /// What is left, by kind: nothing once every session and connection has ended.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn leftovers(&self) -> [(&'static str, usize); 1] {
        [("sessions that leave something", self.leaving.len())]
    }
}
