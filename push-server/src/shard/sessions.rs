//! The sessions whose home is this shard, by key and by client id, and what they count against the total
//! of all sessions.

mod absence;
mod ended_session;
mod ended_sessions;
mod entry;
mod hand_on;
mod recovered;
mod remains_bytes;
mod session_shares;
mod strays;
mod unused;

pub(super) use absence::Absence;
pub(super) use ended_session::EndedSession;
use ended_sessions::EndedSessions;
pub(super) use entry::{Entry, Presence};
pub(super) use hand_on::{HandOn, NextStep};
pub(super) use recovered::RecoveredPart;
pub(super) use remains_bytes::RemainsBytes;
pub(super) use session_shares::{NoPlace, SessionShares};
pub(super) use unused::UnusedCounts;
use unused::{Fit, Unused, UnusedSessions};

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use push_common::clock::Monotonic;
use slab::Slab;

use super::journal::Outgoing;
use crate::broker::{MemoryBudget, PeerNetwork, session_weight_bytes};
use crate::mqtt::Session;
use crate::store::SessionNumber;

/// The sessions. The index holds keys only: four bytes and a hash byte a session.
#[derive(Debug)]
pub(super) struct Sessions {
    /// `None`: the session has ended, and its filters are not out of the tables yet.
    entries: Slab<Option<Entry>>,
    /// By key. Not in the entries, which would grow by eight bytes for its four.
    networks: Vec<PeerNetwork>,
    by_client_id: HashTable<u32>,
    hasher: FixedState,
    memory: Arc<MemoryBudget>,
    /// Sessions that give way when places are short.
    unused: UnusedSessions,
    /// The shard that was last asked to end one of its unused sessions.
    asked_last: u16,
    /// Sessions that have ended and are not done yet.
    ended: EndedSessions,
}

impl Sessions {
    /// Of the shard `own`. `seed` is random per process, so that clients cannot choose colliding ids.
    pub(super) fn new(own: u16, seed: u64, memory: &Arc<MemoryBudget>) -> Self {
        Self {
            memory: Arc::clone(memory),
            entries: Slab::new(),
            networks: Vec::new(),
            by_client_id: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            unused: UnusedSessions::default(),
            asked_last: own,
            ended: EndedSessions::default(),
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn find(&self, client_id: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(client_id);
        let same =
            |key: &u32| self.session(*key).is_some_and(|known| known.client_id() == client_id);
        self.by_client_id.find(hash, same).copied()
    }

    /// Takes the memory of a session; `anyway`: even beyond the limit, because it replaces another
    /// session. Returns whether there was enough.
    pub(super) fn take_memory(&self, session: &Session, anyway: bool) -> bool {
        let bytes = weight_bytes(session);
        if anyway {
            self.memory.add(bytes);
            return true;
        }
        self.memory.take(bytes)
    }

    /// Adds a session that `find` does not know, and whose memory is taken.
    pub(super) fn insert(
        &mut self,
        session: Session,
        presence: Presence,
        number: SessionNumber,
    ) -> u32 {
        let hash = self.hasher.hash_one(session.client_id());
        let key = u32::try_from(self.entries.insert(Some(Entry::new(session, presence, number))))
            .expect("sessions are limited to u32 by configuration");
        let Self { entries, by_client_id, hasher, .. } = self;
        by_client_id.insert_unique(hash, key, |key| {
            let entry = entries[*key as usize].as_ref();
            entry.map_or(0, |entry| hasher.hash_one(entry.session.client_id()))
        });
        key
    }

    /// Removes a session. Its key is not given again before `release_key`.
    pub(super) fn remove(&mut self, key: u32) -> Option<Entry> {
        let entry = self.entries.get_mut(key as usize)?.take()?;
        let hash = self.hasher.hash_one(entry.session.client_id());
        if let Ok(occupied) = self.by_client_id.find_entry(hash, |other| *other == key) {
            occupied.remove();
        }
        self.memory.give_back(weight_bytes(&entry.session));
        Some(entry)
    }

    /// A removed session's key may be given again: nothing refers to it any more.
    pub(super) fn release_key(&mut self, key: u32) {
        if self.entries.get(key as usize).is_some_and(Option::is_none) {
            self.entries.remove(key as usize);
        }
    }

    /// A session has moved to another shard. Its groups know it by its key until it has come there, so another
    /// session that comes here in the same rest gets another key.
    pub(super) fn vacate(&mut self, key: u32) {
        self.ended.vacate(key);
    }

    /// The rest is over: keys of sessions that have moved in it may be given again.
    pub(super) fn release_vacated(&mut self) {
        for key in self.ended.take_vacated() {
            self.release_key(key);
        }
    }

    /// The network that a session's client has connected from last.
    pub(super) fn network(&self, key: u32) -> PeerNetwork {
        self.networks.get(key as usize).copied().unwrap_or_default()
    }

    /// A session's client has connected from this network. Returns the network before.
    pub(super) fn set_network(&mut self, key: u32, network: PeerNetwork) -> PeerNetwork {
        let index = key as usize;
        if self.networks.len() <= index {
            self.networks.resize(index + 1, PeerNetwork::default());
        }
        std::mem::replace(&mut self.networks[index], network)
    }

    pub(super) fn entry_mut(&mut self, key: u32) -> Option<&mut Entry> {
        self.entries.get_mut(key as usize)?.as_mut()
    }

    pub(super) fn entry(&self, key: u32) -> Option<&Entry> {
        self.entries.get(key as usize)?.as_ref()
    }

    /// The session with this key, if it is still the one with this number.
    pub(super) fn numbered(&mut self, key: u32, number: SessionNumber) -> Option<&mut Entry> {
        self.entry_mut(key).filter(|entry| entry.number() == number)
    }

    /// Whether this key is still that of the session with this number.
    pub(super) fn is_there(&self, key: u32, number: SessionNumber) -> bool {
        self.entry(key).is_some_and(|entry| entry.number() == number)
    }

    /// The number of the session that has a key now; 0: none has.
    pub(super) fn number(&self, key: u32) -> SessionNumber {
        self.entry(key).map(Entry::number).unwrap_or_default()
    }

    /// The client of the session that has a key, when it is connected.
    pub(super) fn client(&self, key: u32) -> Option<u32> {
        self.entry(key)?.client()
    }

    /// Whether the store keeps the session that has a key.
    pub(super) fn is_durable(&self, key: u32) -> bool {
        self.session(key).is_some_and(Session::is_durable)
    }

    /// The time without a connection of the session that has a key, if it has none.
    pub(super) fn absence_mut(&mut self, key: u32) -> Option<&mut Absence> {
        self.entry_mut(key)?.absence_mut()
    }

    pub(super) fn session(&self, key: u32) -> Option<&Session> {
        self.entry(key).map(|entry| &entry.session)
    }

    pub(super) fn session_mut(&mut self, key: u32) -> Option<&mut Session> {
        self.entry_mut(key).map(|entry| &mut entry.session)
    }

    /// How much is left, by kind: nothing once every session and connection has ended.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn leftovers(&self) -> [(&'static str, usize); 1] {
        self.ended.leftovers()
    }

    /// An ended session begins to hand on its messages.
    pub(super) fn begin_hand_on(&mut self, number: SessionNumber, hand_on: HandOn) {
        self.ended.begin_hand_on(number, hand_on, &self.memory);
    }

    /// Whether an ended session hands on its messages still.
    pub(super) fn hands_on(&self, number: SessionNumber) -> bool {
        self.ended.hands_on(number)
    }

    /// How far an ended session has come with handing on its messages.
    pub(super) fn hand_on_mut(&mut self, number: SessionNumber) -> Option<&mut HandOn> {
        self.ended.hand_on_mut(number)
    }

    /// Decides the next step of an ended session with nothing under way, and forgets the session if it was the
    /// last one.
    pub(super) fn next_step(&mut self, number: SessionNumber) -> Option<NextStep> {
        self.ended.next_step(number)
    }

    /// A session that had moved here has ended.
    pub(super) fn disown(&mut self, client_id: &str) {
        self.ended.disown(client_id);
    }

    /// Takes the client ids of such sessions of which none is here by now.
    pub(super) fn take_disowned(&mut self) -> Vec<Box<str>> {
        let mut ended = self.ended.take_disowned();
        ended.retain(|client_id| self.find(client_id).is_none());
        ended
    }

    /// Adds an ended session with a will that is due at `publish_at`.
    pub(super) fn add_stray(&mut self, publish_at: Monotonic, found: EndedSession) {
        self.ended.add_stray(publish_at, found);
    }

    /// Whether an ended session with this client id has left a will that waits.
    pub(super) fn has_stray(&self, client_id: &str) -> bool {
        self.ended.has_stray(client_id)
    }

    /// Takes an ended session whose will is due at `now`.
    pub(super) fn take_due_stray(&mut self, now: Monotonic) -> Option<EndedSession> {
        self.ended.take_due(now)
    }

    /// The start has found an ended session with messages to hand on.
    pub(super) fn push_found(&mut self, found: EndedSession) {
        self.ended.push_found(found);
    }

    /// The start has found these wills, which an earlier process was publishing.
    pub(super) fn set_found_wills(&mut self, wills: Vec<Outgoing>) {
        self.ended.set_found_wills(wills);
    }

    /// Takes the sessions and wills that the start has found. By now every shard has its subscriptions.
    pub(super) fn take_found(&mut self) -> (Vec<EndedSession>, Vec<Outgoing>) {
        self.ended.take_found()
    }

    /// Whether the delay of some ended session's will has passed at `now`.
    pub(super) fn has_due_stray(&self, now: Monotonic) -> bool {
        self.ended.has_due(now)
    }

    /// The client of a session is back: takes the will that the session left.
    pub(super) fn take_strays_back(&mut self, key: u32) -> Vec<EndedSession> {
        let entry = self.entries.get(key as usize).and_then(Option::as_ref);
        let Some(Entry { session, .. }) = entry else { return Vec::new() };
        self.ended.take_back(session.client_id(), session.user())
    }

    /// A session has no connection: it may have to give way if it was never used. Returns whether it may.
    pub(super) fn note_unused(&mut self, key: u32) -> bool {
        let Self { entries, unused, .. } = self;
        let session = (key, number_in(entries, key));
        let is_noted = unused_in(entries, &session).is_some();
        if is_noted {
            unused.push(session, |other| unused_in(entries, other).is_some());
        }
        is_noted
    }

    /// Takes the key of the session that has been unused for longest, among those that fit.
    pub(super) fn take_unused(
        &mut self,
        fits: impl Fn(&Session, PeerNetwork) -> bool,
    ) -> Option<u32> {
        let Self { entries, networks, unused, .. } = self;
        let found = unused.take(|session| {
            let Some(other) = unused_in(entries, session) else { return Fit::InUse };
            let network = networks.get(session.0 as usize).copied().unwrap_or_default();
            if fits(other, network) { Fit::Yes } else { Fit::NotThis }
        });
        found.map(|(key, _)| key)
    }

    /// How many sessions may have to give way.
    pub(super) fn unused_len(&self) -> usize {
        self.unused.len()
    }

    /// The shard that was last asked to end one of its unused sessions.
    pub(super) fn asked_last(&self) -> u16 {
        self.asked_last
    }

    pub(super) fn set_asked_last(&mut self, shard: u16) {
        self.asked_last = shard;
    }
}

fn number_in(entries: &Slab<Option<Entry>>, key: u32) -> SessionNumber {
    let entry = entries.get(key as usize).and_then(Option::as_ref);
    entry.map(Entry::number).unwrap_or_default()
}

/// The session, if it is still the same one and still unused.
fn unused_in<'a>(entries: &'a Slab<Option<Entry>>, &(key, number): &Unused) -> Option<&'a Session> {
    let entry = entries.get(key as usize)?.as_ref()?;
    let is_left = entry.number() == number && entry.client().is_none();
    (is_left && entry.session.is_unused()).then_some(&entry.session)
}

fn weight_bytes(session: &Session) -> u64 {
    session_weight_bytes(session.client_id(), session.user())
}

#[cfg(test)]
mod tests;
