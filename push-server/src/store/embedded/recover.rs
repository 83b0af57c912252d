//! What a start reads: everything but the bodies in outboxes, of which it keeps figures only. One
//! pass over each tree, in order; memory grows with sessions and subscriptions, and with retained
//! messages up to their limits.
//!
//! What belongs to no session is removed on the way, and so is the older of two sessions with one
//! client identifier: its removal failed, and whoever asked for it was told so.
//!
//! Memory has totals, and sessions a number. A session that does not fit into what is left of them when
//! its turn comes, by itself, its will or its subscriptions, is left on disk as it is; smaller ones
//! behind it may fit. So is a will that was being published: what sessions have comes first.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use hashbrown::HashMap;

use super::bodies::Bodies;
use super::clock_watch::ClockMark;
use super::database::{Database, DatabaseError, Tree};
use super::encode::{self, DecodeError, PlaceFacts};
use super::group::{CLOCK_KEY, Group, Key, NEXT_NUMBER_KEY};
use super::options::StoreOptions;
use crate::broker::{
    Kept, Retained, SessionMemory, session_weight_bytes, subscription_weight_bytes,
    will_weight_bytes,
};
use crate::store::api::counters;
use crate::store::{
    Clocks, LeftOut, OutboxSummary, Position, Recovered, RecoveredSession, RecoveredWill,
    SessionNumber, SessionRecord, StoreCounters, Write,
};

/// Leftovers that are removed in one write.
const REMOVED_AT_A_TIME: usize = 1_000;

/// What the store's thread goes on with.
pub(super) struct Index {
    pub(super) bodies: Bodies,
    /// Above every number that was set aside.
    pub(super) next_number: SessionNumber,
}

/// What an earlier start has noted of the wall clock last. A note that cannot be read is one that is not
/// there.
pub(super) fn clock_mark(database: &Database) -> Result<Option<ClockMark>, DatabaseError> {
    let noted = database.read(Tree::Meta, CLOCK_KEY)?;
    Ok(noted.and_then(|value| encode::decode_clock_mark(&value).ok()))
}

/// Reads everything.
pub(super) fn recover(
    database: &Database,
    options: &StoreOptions,
    counters: &StoreCounters,
    retained: &Retained,
) -> Result<(Recovered, Index), DatabaseError> {
    let StoreOptions { clocks, inflight_max, memory, sessions_max, .. } = options;
    let mut recovery = Recovery {
        database,
        clocks,
        memory,
        inflight_max: (*inflight_max).into(),
        places: *sessions_max,
        left_out: LeftOut::default(),
        wills_left_out: 0,
        leftovers: Leftovers::default(),
        unreadable: 0,
        reserved: &counters.reserved_removed,
    };
    let (mut sessions, above) = recovery.sessions()?;
    recovery.subscriptions(&mut sessions)?;
    recovery.leave_out_namesakes(&mut sessions);
    recovery.exactly_once(&mut sessions)?;
    let mut bodies = recovery.outboxes(&mut sessions)?;
    let wills = recovery.wills()?;
    recovery.retained(retained)?;
    recovery.unused_bodies(&mut bodies)?;
    let next_number = set_aside(database)?.max(above);
    let group = Group::new(*clocks, next_number);
    recovery.leftovers.remove(group, database, &mut bodies)?;
    counters::add(&counters.unreadable, recovery.unreadable);
    let Recovery { left_out, wills_left_out, leftovers, .. } = recovery;
    counters::add(&counters.remains_removed, leftovers.sessions.len() as u64);
    counters::add(&counters.sessions_left_out, left_out.sessions() as u64);
    counters::add(&counters.wills_left_out, wills_left_out);
    let recovered =
        Recovered { sessions, left_out, wills, wills_left_out, next_number, clocks: *clocks };
    Ok((recovered, Index { bodies, next_number }))
}

/// Reads what the store's thread keeps, to go on after a failure.
pub(super) fn reindex(database: &Database) -> Result<Index, DatabaseError> {
    let mut bodies = Bodies::default();
    for found in database.scan(Tree::Outbox, &[], &[]) {
        let (key, value) = found?;
        if let (Ok(place), Ok(PlaceFacts { body: Some(body), .. })) =
            (encode::decode_outbox_key(&key), encode::decode_place_facts(&value))
        {
            bodies.found(place, body);
        }
    }
    for key in database.keys(Tree::Bodies, &[]) {
        if let Ok(number) = encode::decode_body_key(&key?) {
            bodies.reserve(number);
        }
    }
    Ok(Index { bodies, next_number: set_aside(database)? })
}

/// The first number not set aside.
fn set_aside(database: &Database) -> Result<SessionNumber, DatabaseError> {
    let value = database.read(Tree::Meta, NEXT_NUMBER_KEY)?;
    let number = value.and_then(|value| encode::split_key(&value).map(|(number, _)| number).ok());
    Ok(number.unwrap_or_default())
}

struct Recovery<'a> {
    database: &'a Database,
    clocks: &'a Clocks,
    memory: &'a SessionMemory,
    inflight_max: u32,
    /// That further sessions may take.
    places: u32,
    left_out: LeftOut,
    wills_left_out: u64,
    leftovers: Leftovers,
    unreadable: u64,
    /// Counts retained messages on topics that are the server's own.
    reserved: &'a AtomicU64,
}

impl Recovery<'_> {
    /// The sessions, and the number above all that were found.
    fn sessions(&mut self) -> Result<(Vec<RecoveredSession>, SessionNumber), DatabaseError> {
        let mut sessions = Vec::new();
        let mut above = SessionNumber(0);
        for found in self.database.scan(Tree::Sessions, &[], &[]) {
            let (key, value) = found?;
            let Some((number, _)) = self.readable(encode::split_key(&key)) else { continue };
            above = SessionNumber(number.0.saturating_add(1));
            match self.readable(encode::decode_session(&value, self.clocks)) {
                Some(record) if !self.take_record(&record) => self.leave_out(number, &record),
                Some(record) => sessions.push(RecoveredSession {
                    number,
                    outbox: OutboxSummary {
                        first: record.sent_to,
                        next: record.sent_to,
                        sent_to: record.sent_to,
                        ..OutboxSummary::default()
                    },
                    record,
                    subscriptions: Vec::new(),
                    exactly_once: Vec::new(),
                }),
                None => self.left_out.add_number(number),
            }
        }
        let older = older_twins(&sessions);
        sessions.retain(|session| {
            let is_older = older.binary_search(&session.number).is_ok();
            if is_older {
                self.give_back_record(&session.record);
            }
            !is_older
        });
        self.leftovers.sessions.extend(older);
        Ok((sessions, above))
    }

    /// Takes a session's place and the memory of its own record. Returns whether they were there.
    fn take_record(&mut self, record: &SessionRecord) -> bool {
        let place = place_taken(record);
        let (session_bytes, will_bytes) = record_bytes(record);
        if self.places < place || !self.memory.sessions.take(session_bytes) {
            return false;
        }
        let fits = self.memory.wills.take(will_bytes);
        if fits {
            self.places -= place;
        } else {
            self.memory.sessions.give_back(session_bytes);
        }
        fits
    }

    fn give_back_record(&mut self, record: &SessionRecord) {
        self.places += place_taken(record);
        let (session_bytes, will_bytes) = record_bytes(record);
        self.memory.sessions.give_back(session_bytes);
        self.memory.wills.give_back(will_bytes);
    }

    fn leave_out(&mut self, number: SessionNumber, record: &SessionRecord) {
        if record.expiry_secs == 0 {
            self.left_out.add_number(number);
        } else {
            self.left_out.add(number, &record.client_id);
        }
    }

    /// Leaves out sessions whose client id is that of one that was left out. They are an older and a younger
    /// one, and which of them goes is for a start to say that takes up both.
    fn leave_out_namesakes(&mut self, sessions: &mut Vec<RecoveredSession>) {
        sessions.retain(|session| {
            let RecoveredSession { number, record, subscriptions, .. } = session;
            let is_left = self.left_out.has_number(*number);
            let stays = !is_left
                && (record.expiry_secs == 0 || !self.left_out.has_client(&record.client_id));
            if !stays {
                self.leave_out(*number, record);
                self.give_back_record(record);
                let filters = subscriptions.iter().map(|kept| &kept.filter);
                let bytes = filters.map(|filter| subscription_weight_bytes(filter) as u64).sum();
                self.memory.subscriptions.give_back(bytes);
            }
            stays
        });
    }

    fn subscriptions(&mut self, sessions: &mut [RecoveredSession]) -> Result<(), DatabaseError> {
        let mut cursor = Cursor { sessions, at: 0 };
        for found in self.database.scan(Tree::Subscriptions, &[], &[]) {
            let (key, value) = found?;
            let Some((number, _)) = self.readable(encode::split_key(&key)) else { continue };
            let Some(session) = cursor.seek(number) else {
                self.add_leftover(number);
                continue;
            };
            if self.left_out.has_number(number) {
                continue;
            }
            let Some(stored) = self.readable(encode::decode_subscription(&value)) else { continue };
            // One that has ended is not subscribed to anything any more.
            let is_counted = session.record.expiry_secs > 0;
            let bytes =
                if is_counted { subscription_weight_bytes(&stored.filter) as u64 } else { 0 };
            if self.memory.subscriptions.take(bytes) {
                session.subscriptions.push(stored);
            } else {
                self.left_out.add(number, &session.record.client_id);
            }
        }
        Ok(())
    }

    fn exactly_once(&mut self, sessions: &mut [RecoveredSession]) -> Result<(), DatabaseError> {
        let mut cursor = Cursor { sessions, at: 0 };
        for key in self.database.keys(Tree::ExactlyOnce, &[]) {
            let decoded = encode::decode_exactly_once_key(&key?);
            let Some((number, packet_id)) = self.readable(decoded) else { continue };
            match cursor.seek(number) {
                Some(session) => session.exactly_once.push(packet_id),
                None => self.add_leftover(number),
            }
        }
        Ok(())
    }

    fn outboxes(&mut self, sessions: &mut [RecoveredSession]) -> Result<Bodies, DatabaseError> {
        let mut bodies = Bodies::default();
        let mut cursor = Cursor { sessions, at: 0 };
        for found in self.database.scan(Tree::Outbox, &[], &[]) {
            let (key, value) = found?;
            let Some(place) = self.readable(encode::decode_outbox_key(&key)) else { continue };
            let facts = self.readable(encode::decode_place_facts(&value));
            if let Some(body) = facts.and_then(|facts| facts.body) {
                bodies.found(place, body);
            }
            match cursor.seek(place.0) {
                // A place that cannot be read is one all the same: it must not be used again.
                Some(session) => {
                    let crashed = session.record.disconnected_at.is_none();
                    let may_be_sent = if crashed { self.inflight_max } else { 0 };
                    add_place(&mut session.outbox, place.1, facts, may_be_sent);
                }
                None => self.add_leftover(place.0),
            }
        }
        Ok(bodies)
    }

    fn wills(&mut self) -> Result<Vec<RecoveredWill>, DatabaseError> {
        let mut wills = Vec::new();
        for found in self.database.scan(Tree::Meta, encode::WILL_PREFIX, encode::WILL_PREFIX) {
            let (key, value) = found?;
            let Some((session, number)) = self.readable(encode::decode_will_key(&key)) else {
                continue;
            };
            let decoded = encode::decode_message(&value, self.clocks);
            let Some(message) = self.readable(decoded) else { continue };
            if self.memory.wills.take(will_weight_bytes(&message)) {
                wills.push(RecoveredWill { session, number, message: Arc::new(message) });
            } else {
                self.wills_left_out += 1;
            }
        }
        Ok(wills)
    }

    /// Takes up what has not expired, as far as there is room for it. Topics that begin with `$` are
    /// the server's own: what a client of an earlier version has put there is removed.
    fn retained(&mut self, retained: &Retained) -> Result<(), DatabaseError> {
        let (mut refused, mut reserved) = (0_u64, 0_u64);
        for found in self.database.scan(Tree::Retained, &[], &[]) {
            let (_, value) = found?;
            let decoded = encode::decode_retained(&value, self.clocks);
            let Some(Kept { message, publisher }) = self.readable(decoded) else { continue };
            if message.is_expired(self.clocks.monotonic) {
                self.leftovers.records.push(Key::Retained(message.topic.clone()));
            } else if message.topic.is_hidden() {
                reserved += 1;
                self.leftovers.records.push(Key::Retained(message.topic.clone()));
            } else if retained.set_by(&message, publisher.as_deref()).is_err() {
                refused += 1;
            }
        }
        if reserved > 0 {
            counters::add(self.reserved, reserved);
            tracing::warn!(
                reserved,
                "retained messages on topics that begin with $ are removed: clients may no longer \
                 publish to them"
            );
        }
        if refused > 0 {
            tracing::warn!(
                refused,
                "retained messages on disk exceed the limits, and are left out"
            );
        }
        Ok(())
    }

    fn unused_bodies(&mut self, bodies: &mut Bodies) -> Result<(), DatabaseError> {
        for key in self.database.keys(Tree::Bodies, &[]) {
            let Some(number) = self.readable(encode::decode_body_key(&key?)) else { continue };
            bodies.reserve(number);
            if !bodies.is_known(number) {
                self.leftovers.records.push(Key::Body(number));
            }
        }
        Ok(())
    }

    /// Has what is on disk of a session removed that is not there, and was not left out.
    fn add_leftover(&mut self, number: SessionNumber) {
        if !self.left_out.has_number(number) {
            self.leftovers.add_session(number);
        }
    }

    fn readable<D>(&mut self, decoded: Result<D, DecodeError>) -> Option<D> {
        decoded
            .map_err(|error| {
                if self.unreadable == 0 {
                    tracing::warn!(%error, "a stored record cannot be read and is left out; \
                        others are counted only");
                }
                self.unreadable += 1;
            })
            .ok()
    }
}

/// Finds sessions in order.
struct Cursor<'a> {
    sessions: &'a mut [RecoveredSession],
    at: usize,
}

impl Cursor<'_> {
    fn seek(&mut self, number: SessionNumber) -> Option<&mut RecoveredSession> {
        while self.sessions.get(self.at)?.number < number {
            self.at += 1;
        }
        self.sessions.get_mut(self.at).filter(|session| session.number == number)
    }
}

/// What is to be removed.
#[derive(Default)]
struct Leftovers {
    sessions: Vec<SessionNumber>,
    records: Vec<Key>,
}

impl Leftovers {
    fn add_session(&mut self, number: SessionNumber) {
        if self.sessions.last() != Some(&number) {
            self.sessions.push(number);
        }
    }

    fn remove(
        &mut self,
        mut group: Group,
        database: &Database,
        bodies: &mut Bodies,
    ) -> Result<(), DatabaseError> {
        self.sessions.sort_unstable();
        self.sessions.dedup();
        for numbers in self.sessions.chunks(REMOVED_AT_A_TIME) {
            for &number in numbers {
                group.add(Write::RemoveSession { number }, bodies);
            }
            group.write(database)?;
        }
        while !self.records.is_empty() {
            let rest = self.records.len().saturating_sub(REMOVED_AT_A_TIME);
            for key in self.records.drain(rest..) {
                group.remove(key);
            }
            group.write(database)?;
        }
        Ok(())
    }
}

/// The place among sessions that this one takes: one that has ended takes none.
fn place_taken(record: &SessionRecord) -> u32 {
    u32::from(record.expiry_secs != 0)
}

/// What a session itself takes of memory, and its will. One that has ended is kept for its will and
/// what it gives away only.
fn record_bytes(record: &SessionRecord) -> (u64, u64) {
    let session_bytes = match record.expiry_secs {
        0 => 0,
        _ => session_weight_bytes(&record.client_id, record.user.as_deref()),
    };
    let will_bytes = record.will.as_ref().map_or(0, |will| will_weight_bytes(&will.message));
    (session_bytes, will_bytes)
}

/// The numbers of sessions whose client identifier a younger one has, in order. Those that have ended
/// (expiry 0) are no sessions any more, but still have something to give away.
fn older_twins(sessions: &[RecoveredSession]) -> Vec<SessionNumber> {
    let mut youngest = HashMap::<&str, &RecoveredSession, foldhash::fast::RandomState>::default();
    let mut older: Vec<_> = sessions
        .iter()
        .filter_map(|session| youngest.insert(&session.record.client_id, session))
        .filter(|older| older.record.expiry_secs != 0)
        .map(|older| older.number)
        .collect();
    older.sort_unstable();
    older
}

/// Messages are sent in order. So what lies before an owed release was sent, and up to `inflight`
/// others may have been, the first of them.
fn add_place(
    outbox: &mut OutboxSummary,
    position: Position,
    facts: Option<PlaceFacts>,
    inflight: u32,
) {
    if outbox.messages == 0 {
        outbox.first = position;
    }
    let is_released = facts.is_some_and(|facts| facts.queued_at.is_none());
    if is_released || outbox.messages - outbox.released < inflight {
        outbox.sent_to = outbox.sent_to.max(position.next());
    }
    outbox.next = outbox.next.max(position.next());
    outbox.messages = outbox.messages.saturating_add(1);
    let Some(facts) = facts else { return };
    outbox.bytes = outbox.bytes.saturating_add(facts.weight_bytes);
    match facts.queued_at {
        Some(at) => outbox.oldest_at = Some(outbox.oldest_at.map_or(at, |oldest| oldest.min(at))),
        None => outbox.released += 1,
    }
}
