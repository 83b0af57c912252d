//! What a start reads: everything except message bodies in outboxes, of which it keeps figures. One
//! pass over each tree, in order. Memory grows with sessions and subscriptions, and with retained
//! messages up to their limits.
//!
//! On the way it removes records without a session, and the older of two sessions with one client
//! identifier. Sessions without room stay on disk: see [`Room`].

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::bodies::Bodies;
use super::database::{Database, DatabaseError, Tree};
use super::encode::{self, DecodeError, PlaceFacts};
use super::group::{CLOCK_KEY, CommitGroup, NEXT_NUMBER_KEY, RecordKey};
use crate::broker::{Kept, Retained};
use crate::store::api::counters;
use crate::store::api::recovered::Occupant;
use crate::store::rules::clock_watch::ClockMark;
use crate::store::rules::room::Room;
use crate::store::{
    Opening, Recovered, RecoveredSession, RecoveredWill, SessionNumber, StoreCounters, Write,
};

/// Leftover records that one write removes.
const REMOVED_AT_A_TIME: usize = 1_000;

/// The state that the store's thread starts with.
pub(super) struct Index {
    pub(super) bodies: Bodies,
    /// Higher than every reserved number.
    pub(super) next_number: SessionNumber,
}

/// The last note of the wall clock by an earlier start. An unreadable note counts as none.
pub(super) fn clock_mark(database: &Database) -> Result<Option<ClockMark>, DatabaseError> {
    let noted = database.read(Tree::Meta, CLOCK_KEY)?;
    Ok(noted.and_then(|value| encode::decode_clock_mark(&value).ok()))
}

/// Reads everything.
pub(super) fn recover(
    database: &Database,
    opening: &Opening,
    counters: &StoreCounters,
    retained: &Retained,
) -> Result<(Recovered, Index), DatabaseError> {
    let mut recovery = Recovery {
        database,
        opening,
        room: Room::new(opening),
        leftovers: Leftovers::default(),
        unreadable: 0,
        reserved: &counters.reserved_removed,
    };
    let (mut sessions, above) = recovery.sessions()?;
    recovery.subscriptions(&mut sessions)?;
    recovery.room.leave_out_namesakes(&mut sessions);
    recovery.exactly_once(&mut sessions)?;
    let mut bodies = recovery.outboxes(&mut sessions)?;
    let wills = recovery.wills()?;
    recovery.retained(retained)?;
    recovery.unused_bodies(&mut bodies)?;
    let next_number = set_aside(database)?.max(above);
    let clocks = opening.clocks;
    let group = CommitGroup::new(clocks, next_number);
    recovery.leftovers.remove(group, database, &mut bodies)?;
    counters::add(&counters.unreadable, recovery.unreadable);
    let Recovery { room, leftovers, .. } = recovery;
    let (left_out, wills_left_out) = room.into_left_out();
    counters::add(&counters.remains_removed, leftovers.sessions.len() as u64);
    counters::add(&counters.sessions_left_out, left_out.sessions() as u64);
    counters::add(&counters.wills_left_out, wills_left_out);
    let recovered = Recovered { sessions, left_out, wills, wills_left_out, next_number, clocks };
    Ok((recovered, Index { bodies, next_number }))
}

/// Reads what the store's thread needs to go on after a failure.
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

/// The first number that is not reserved.
fn set_aside(database: &Database) -> Result<SessionNumber, DatabaseError> {
    let value = database.read(Tree::Meta, NEXT_NUMBER_KEY)?;
    let number = value.and_then(|value| encode::split_key(&value).map(|(number, _)| number).ok());
    Ok(number.unwrap_or_default())
}

struct Recovery<'a> {
    database: &'a Database,
    opening: &'a Opening,
    room: Room<'a>,
    leftovers: Leftovers,
    unreadable: u64,
    /// Counts retained messages on the server's own topics.
    reserved: &'a AtomicU64,
}

impl Recovery<'_> {
    /// The sessions, and the number after the highest found.
    fn sessions(&mut self) -> Result<(Vec<RecoveredSession>, SessionNumber), DatabaseError> {
        let mut sessions = Vec::new();
        let mut above = SessionNumber(0);
        for found in self.database.scan(Tree::Sessions, &[], &[]) {
            let (key, value) = found?;
            let Some((number, _)) = self.readable(encode::split_key(&key)) else { continue };
            above = SessionNumber(number.0.saturating_add(1));
            match self.readable(encode::decode_session(&value, &self.opening.clocks)) {
                Some(record) if self.room.take_session(number, &record) => {
                    sessions.push(RecoveredSession::of(number, record));
                }
                Some(_) => {}
                None => self.room.leave_out_unreadable(number),
            }
        }
        self.leftovers.sessions.extend(self.room.take_older_twins(&mut sessions));
        Ok((sessions, above))
    }

    fn subscriptions(&mut self, sessions: &mut [RecoveredSession]) -> Result<(), DatabaseError> {
        let mut cursor = SessionCursor { sessions, at: 0 };
        for found in self.database.scan(Tree::Subscriptions, &[], &[]) {
            let (key, value) = found?;
            let Some((number, _)) = self.readable(encode::split_key(&key)) else { continue };
            let Some(session) = cursor.seek(number) else {
                self.add_leftover(number);
                continue;
            };
            if self.room.leaves_out(number) {
                continue;
            }
            let Some(stored) = self.readable(encode::decode_subscription(&value)) else { continue };
            if self.room.take_subscription(session, &stored.filter) {
                session.subscriptions.push(stored);
            }
        }
        Ok(())
    }

    fn exactly_once(&mut self, sessions: &mut [RecoveredSession]) -> Result<(), DatabaseError> {
        let mut cursor = SessionCursor { sessions, at: 0 };
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
        let mut cursor = SessionCursor { sessions, at: 0 };
        for found in self.database.scan(Tree::Outbox, &[], &[]) {
            let (key, value) = found?;
            let Some(place) = self.readable(encode::decode_outbox_key(&key)) else { continue };
            let facts = self.readable(encode::decode_place_facts(&value));
            if let Some(body) = facts.and_then(|facts| facts.body) {
                bodies.found(place, body);
            }
            match cursor.seek(place.0) {
                // An unreadable record still occupies its position, which must not be used again.
                Some(session) => {
                    let occupant = facts.map_or(Occupant::Unreadable, |facts| facts.occupant);
                    session.add_place(place.1, occupant, self.opening.inflight_max);
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
            let decoded = encode::decode_message(&value, &self.opening.clocks);
            let Some(message) = self.readable(decoded) else { continue };
            if self.room.take_will(&message) {
                wills.push(RecoveredWill { session, number, message: Arc::new(message) });
            }
        }
        Ok(wills)
    }

    /// Puts unexpired retained messages into memory, as far as there is room. Removes those on
    /// topics that begin with `$`: these are the server's own, and a client of an earlier version
    /// has published them.
    fn retained(&mut self, retained: &Retained) -> Result<(), DatabaseError> {
        let (mut refused, mut reserved) = (0_u64, 0_u64);
        for found in self.database.scan(Tree::Retained, &[], &[]) {
            let (_, value) = found?;
            let decoded = encode::decode_retained(&value, &self.opening.clocks);
            let Some(Kept { message, publisher }) = self.readable(decoded) else { continue };
            if message.is_expired(self.opening.clocks.monotonic) {
                self.leftovers.records.push(RecordKey::Retained(message.topic.clone()));
            } else if message.topic.is_hidden() {
                reserved += 1;
                self.leftovers.records.push(RecordKey::Retained(message.topic.clone()));
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
                self.leftovers.records.push(RecordKey::Body(number));
            }
        }
        Ok(())
    }

    /// Marks a session for removal whose own record is gone, but not one that was left out.
    fn add_leftover(&mut self, number: SessionNumber) {
        if !self.room.leaves_out(number) {
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

/// Finds sessions by ascending number.
struct SessionCursor<'a> {
    sessions: &'a mut [RecoveredSession],
    at: usize,
}

impl SessionCursor<'_> {
    fn seek(&mut self, number: SessionNumber) -> Option<&mut RecoveredSession> {
        while self.sessions.get(self.at)?.number < number {
            self.at += 1;
        }
        self.sessions.get_mut(self.at).filter(|session| session.number == number)
    }
}

/// Records to remove.
#[derive(Default)]
struct Leftovers {
    sessions: Vec<SessionNumber>,
    records: Vec<RecordKey>,
}

impl Leftovers {
    fn add_session(&mut self, number: SessionNumber) {
        if self.sessions.last() != Some(&number) {
            self.sessions.push(number);
        }
    }

    fn remove(
        &mut self,
        mut group: CommitGroup,
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
