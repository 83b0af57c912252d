//! The contents of a memory store: how changes alter them, a page of an outbox, and what a start
//! finds. It knows no requests, and nothing of it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[cfg(any(test, feature = "simulation"))]
use {crate::broker::Held, push_common::clock::Monotonic, std::collections::HashMap};

use crate::broker::{Kept, Message, Retained, RetainedChange};
use crate::store::api::recovered::Occupant;
use crate::store::rules::room::Room;
use crate::store::{
    Opening, Page, PageLimit, Position, Recovered, RecoveredSession, RecoveredWill, SessionNumber,
    SessionRecord, Stored, StoredSubscription, WillNumber, Write,
};

/// Everything that stores on this memory have kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    sessions: BTreeMap<SessionNumber, SessionContents>,
    wills: BTreeMap<(SessionNumber, WillNumber), Arc<Message>>,
    /// By topic.
    retained: BTreeMap<String, Kept>,
    /// Higher than every number of a session or will so far.
    next_number: SessionNumber,
}

#[derive(Clone, Debug, Default)]
struct SessionContents {
    record: Option<SessionRecord>,
    subscriptions: BTreeMap<String, StoredSubscription>,
    outbox: BTreeMap<Position, Stored>,
    exactly_once: BTreeSet<u16>,
}

impl Contents {
    /// Makes a change.
    pub(crate) fn apply(&mut self, write: Write) {
        match write {
            Write::PutSession { number, record } => {
                self.set_aside(number);
                self.session(number).record = Some(*record);
            }
            Write::RemoveSession { number } => {
                self.sessions.remove(&number);
            }
            Write::RemoveRecord { number } => self.take_from(number, |session| {
                session.record = None;
            }),
            Write::PutSubscription { number, filter, options } => {
                let key = filter.as_str().to_owned();
                let kept = StoredSubscription { filter, options };
                self.session(number).subscriptions.insert(key, kept);
            }
            Write::RemoveSubscription { number, filter } => self.take_from(number, |session| {
                session.subscriptions.remove(filter.as_str());
            }),
            Write::PutOutbox { number, position, entry } => {
                self.session(number).outbox.insert(position, Stored::Entry(entry));
            }
            Write::ReleaseOutbox { number, position } => {
                self.session(number).outbox.insert(position, Stored::Released);
            }
            Write::RemoveOutbox { number, position } => self.take_from(number, |session| {
                session.outbox.remove(&position);
            }),
            Write::PutExactlyOnce { number, packet_id } => {
                self.session(number).exactly_once.insert(packet_id);
            }
            Write::RemoveExactlyOnce { number, packet_id } => self.take_from(number, |session| {
                session.exactly_once.remove(&packet_id);
            }),
            Write::PutWill { session, number, message } => {
                self.set_aside(SessionNumber(number.0));
                self.wills.insert((session, number), message);
            }
            Write::RemoveWill { session, number } => {
                self.wills.remove(&(session, number));
            }
            Write::SaveRetained { change } => self.save_retained(&change),
        }
    }

    /// A page of an outbox.
    pub(crate) fn page(&self, number: SessionNumber, from: Position, limit: PageLimit) -> Page {
        let mut page = Page::default();
        let mut bytes = 0;
        let Some(session) = self.sessions.get(&number) else { return page };
        for (&position, stored) in session.outbox.range(from..) {
            if page.entries.len() >= limit.messages as usize || bytes >= limit.bytes {
                page.next = Some(position);
                break;
            }
            if let Stored::Entry(entry) = stored {
                bytes += entry.weight_bytes();
            }
            page.entries.push((position, stored.clone()));
        }
        page
    }

    /// What a start finds. Removes records without a session, sessions with a younger namesake, and
    /// retained messages that have expired or are on the server's own topics.
    pub(crate) fn recover(&mut self, opening: &Opening, retained: &Retained) -> Recovered {
        let mut room = Room::new(opening);
        let mut sessions = Vec::new();
        for (&number, session) in &self.sessions {
            if let Some(record) = &session.record
                && room.take_session(number, record)
            {
                sessions.push(RecoveredSession::of(number, record.clone()));
            }
        }
        for number in room.take_older_twins(&mut sessions) {
            self.sessions.remove(&number);
        }
        self.sessions.retain(|_, session| session.record.is_some());
        for found in &mut sessions {
            if let Some(session) = self.sessions.get(&found.number) {
                session.add_to(found, &mut room, opening.inflight_max);
            }
        }
        room.leave_out_namesakes(&mut sessions);
        let mut wills = Vec::new();
        for (&(session, number), message) in &self.wills {
            if room.take_will(message) {
                wills.push(RecoveredWill { session, number, message: Arc::clone(message) });
            }
        }
        self.retained.retain(|_, Kept { message, .. }| {
            !message.is_expired(opening.clocks.monotonic) && !message.topic.is_hidden()
        });
        for Kept { message, publisher } in self.retained.values() {
            // A message without room is left out.
            let _ = retained.set_by(message, publisher.as_deref());
        }
        let (left_out, wills_left_out) = room.into_left_out();
        let (next_number, clocks) = (self.next_number, opening.clocks);
        Recovered { sessions, left_out, wills, wills_left_out, next_number, clocks }
    }

    /// The session with this number, made if it is missing.
    fn session(&mut self, number: SessionNumber) -> &mut SessionContents {
        self.sessions.entry(number).or_default()
    }

    /// Takes something out of a session, and removes the session if that leaves it empty.
    fn take_from(&mut self, number: SessionNumber, take: impl FnOnce(&mut SessionContents)) {
        if let Some(session) = self.sessions.get_mut(&number) {
            take(session);
            if session.is_empty() {
                self.sessions.remove(&number);
            }
        }
    }

    fn save_retained(&mut self, change: &RetainedChange) {
        if !change.take() {
            return;
        }
        let key = change.topic().as_str().to_owned();
        match change.kept() {
            Some(kept) => self.retained.insert(key, kept.clone()),
            None => self.retained.remove(&key),
        };
    }

    fn set_aside(&mut self, number: SessionNumber) {
        self.next_number = self.next_number.max(SessionNumber(number.0.saturating_add(1)));
    }
}

/// For the simulation of a failing disk.
#[cfg(any(test, feature = "simulation"))]
impl Contents {
    /// Removes records that were not there in `before`.
    pub(crate) fn undo_made(&mut self, before: &Self) {
        let none = SessionContents::default();
        for (number, session) in &mut self.sessions {
            let before = before.sessions.get(number).unwrap_or(&none);
            if before.record.is_none() {
                session.record = None;
            }
            session.subscriptions.retain(|filter, _| before.subscriptions.contains_key(filter));
            session.outbox.retain(|position, _| before.outbox.contains_key(position));
            session.exactly_once.retain(|packet_id| before.exactly_once.contains(packet_id));
        }
        self.sessions.retain(|_, session| !session.is_empty());
        self.wills.retain(|key, _| before.wills.contains_key(key));
    }

    /// Makes the retained messages those that memory has.
    pub(crate) fn catch_up(&mut self, retained: &Retained) {
        let all = retained.all().into_iter();
        self.retained = all.map(|kept| (kept.message.topic.as_str().to_owned(), kept)).collect();
    }

    /// Converts every expiry by `convert`. Records that share a message still share it afterwards.
    pub(crate) fn convert_expiries(&mut self, convert: impl Fn(Monotonic) -> Monotonic) {
        let mut converted = HashMap::new();
        let mut to_now = |message: &mut Arc<Message>| {
            let Some(at) = message.expires_at else { return };
            let body = Arc::as_ptr(message);
            // The original stays alive, so that its address is not used for another message.
            let (_, read) = converted.entry(body).or_insert_with(|| {
                let (expires_at, held) = (Some(convert(at)), Held::default());
                let read = Message { expires_at, held, ..Message::clone(message) };
                (Arc::clone(message), Arc::new(read))
            });
            *message = Arc::clone(read);
        };
        for session in self.sessions.values_mut() {
            let will = session.record.as_mut().and_then(|record| record.will.as_mut());
            will.into_iter().for_each(|will| to_now(&mut will.message));
            for stored in session.outbox.values_mut() {
                if let Stored::Entry(entry) = stored {
                    to_now(&mut entry.message);
                }
            }
        }
        self.wills.values_mut().for_each(&mut to_now);
        self.retained.values_mut().for_each(|kept| to_now(&mut kept.message));
    }

    /// How many sessions, messages in outboxes, and wills.
    pub(crate) fn len(&self) -> [usize; 3] {
        let messages = self.sessions.values().map(|session| session.outbox.len()).sum();
        [self.sessions.len(), messages, self.wills.len()]
    }
}

impl SessionContents {
    fn is_empty(&self) -> bool {
        let Self { record, subscriptions, outbox, exactly_once } = self;
        record.is_none() && subscriptions.is_empty() && outbox.is_empty() && exactly_once.is_empty()
    }

    /// Adds everything beside the record to a session that was found.
    fn add_to(&self, found: &mut RecoveredSession, room: &mut Room<'_>, inflight_max: u16) {
        for stored in self.subscriptions.values() {
            if !room.leaves_out(found.number) && room.take_subscription(found, &stored.filter) {
                found.subscriptions.push(stored.clone());
            }
        }
        found.exactly_once.extend(&self.exactly_once);
        for (&position, stored) in &self.outbox {
            let occupant = match stored {
                Stored::Entry(entry) => Occupant::Message {
                    weight_bytes: entry.weight_bytes(),
                    queued_at: entry.queued_at,
                },
                Stored::Released => Occupant::Released,
            };
            found.add_place(position, occupant, inflight_max);
        }
    }
}
