//! Sessions of a shard that have ended and still have messages for other members of their groups, or a will
//! whose delay has not passed.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use push_common::clock::Monotonic;

use super::ended_session::EndedSession;
use super::hand_on::{HandOn, NextStep};
use super::strays::Strays;
use crate::broker::{Charge, Holder, MemoryBudget, SESSION_BYTES};
use crate::shard::journal::Outgoing;
use crate::store::SessionNumber;

/// The ended sessions.
#[derive(Debug, Default)]
pub(crate) struct EndedSessions {
    /// Sessions with messages to hand on, or with writes of such messages under way; with each its part of the
    /// total of all sessions.
    handing_on: HashMap<SessionNumber, (HandOn, Charge), FixedState>,
    /// Sessions that the start has found, with wills that are not due yet.
    strays: Strays,
    /// Other ended sessions that the start has found.
    found: Vec<EndedSession>,
    /// Wills that the start has found, which an earlier process was publishing.
    found_wills: Vec<Outgoing>,
    /// Client ids of sessions that had moved here and have ended, until the turn's end.
    disowned: Vec<Box<str>>,
    /// Keys of sessions that have moved to another shard, until the rest is over.
    vacated: Vec<u32>,
}

impl EndedSessions {
    /// A session begins to hand on its messages. While the disk fails none of them comes to an end, so each
    /// counts against the total of all `sessions`.
    pub(crate) fn begin_hand_on(
        &mut self,
        number: SessionNumber,
        hand_on: HandOn,
        sessions: &Arc<MemoryBudget>,
    ) {
        let charge = sessions.charge_anyway(Holder::NOBODY, SESSION_BYTES as u64);
        self.handing_on.insert(number, (hand_on, charge));
    }

    /// Whether a session hands on its messages still.
    pub(crate) fn hands_on(&self, number: SessionNumber) -> bool {
        self.handing_on.contains_key(&number)
    }

    /// How far a session has come with handing on its messages.
    pub(crate) fn hand_on_mut(&mut self, number: SessionNumber) -> Option<&mut HandOn> {
        self.handing_on.get_mut(&number).map(|(hand_on, _)| hand_on)
    }

    /// Decides the next step of a session with nothing under way, and forgets the session if it was the
    /// last one.
    pub(crate) fn next_step(&mut self, number: SessionNumber) -> Option<NextStep> {
        let next = self.hand_on_mut(number)?.next();
        if let Some(NextStep::RemoveRecords | NextStep::Forget) = next {
            self.handing_on.remove(&number);
        }
        next
    }

    /// Adds a session with a will that is due at `publish_at`.
    pub(crate) fn add_stray(&mut self, publish_at: Monotonic, found: EndedSession) {
        self.strays.add(publish_at, found);
    }

    /// A client is back: takes the wills that its sessions left. Wills of another user's sessions stay.
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

    /// The start has found these wills, which an earlier process was publishing.
    pub(crate) fn set_found_wills(&mut self, wills: Vec<Outgoing>) {
        self.found_wills = wills;
    }

    /// Takes the sessions and wills that the start has found. By now every shard has its subscriptions.
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

    /// How much is left, by kind: nothing once every session and connection has ended.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn leftovers(&self) -> [(&'static str, usize); 1] {
        [("sessions that hand on messages", self.handing_on.len())]
    }
}

#[cfg(test)]
mod tests;
