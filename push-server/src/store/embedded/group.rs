//! A group of requests that becomes one write: each record at most once, in its last state. A
//! record that is put and removed within the group is not written at all; at full load, with
//! subscribers that acknowledge at once, that is most of it.

use std::hash::{BuildHasher as _, Hash};
use std::time::Duration;

use hashbrown::hash_table::Entry;
use hashbrown::{HashSet, HashTable};

use super::bodies::Bodies;
use super::database::{Batch, Database, DatabaseError, Slice, Tree};
use super::encode::{self, BodyNumber};
use crate::broker::{Kept, TopicFilter, TopicName};
use crate::store::rules::clock_watch::ClockMark;
use crate::store::{Clocks, OutboxEntry, Position, SessionNumber, WillNumber, Write};

/// Bytes at which a group is closed. 4 MiB, to bound the time of one write.
pub(super) const GROUP_BYTES_MAX: u64 = 4 << 20;

/// Numbers of sessions reserved at a time. The reservation outlasts the sessions, so no number is
/// used twice.
const NUMBERS_AHEAD: u64 = 1_024;

/// The key of the first number not reserved, in `Meta`.
pub(super) const NEXT_NUMBER_KEY: &[u8] = b"next-number";

/// The key of the last [`ClockMark`], in `Meta`.
pub(super) const CLOCK_KEY: &[u8] = b"clock";

/// The key of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum RecordKey {
    NextNumber,
    Clock,
    Session(SessionNumber),
    Subscription(SessionNumber, TopicFilter),
    Outbox(SessionNumber, Position),
    ExactlyOnce(SessionNumber, u16),
    Body(BodyNumber),
    Will(SessionNumber, WillNumber),
    Retained(TopicName),
}

#[derive(Debug)]
struct GroupedRecord {
    key: RecordKey,
    /// Whether this group made the record; then removing it leaves nothing to write.
    is_new: bool,
    effect: NetEffect,
}

#[derive(Debug)]
enum NetEffect {
    Nothing,
    Put(Slice),
    Remove,
}

/// The changes of the group so far.
pub(super) struct CommitGroup {
    clocks: Clocks,
    next_number: SessionNumber,
    records: Vec<GroupedRecord>,
    /// Indices of `records`.
    by_key: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    removed: HashSet<SessionNumber, foldhash::fast::RandomState>,
    changes: u64,
    scratch: Vec<u8>,
}

/// What writing a group did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Records written, removals included.
    pub(super) records: u64,
    /// Changes that needed no record of their own.
    pub(super) coalesced: u64,
    /// Bytes of keys and values.
    pub(super) bytes: u64,
    /// How long it waited for the disk, if it did.
    pub(super) fsync: Option<Duration>,
}

impl CommitGroup {
    /// An empty group. Numbers below `next_number` are reserved already.
    pub(super) fn new(clocks: Clocks, next_number: SessionNumber) -> Self {
        Self {
            clocks,
            next_number,
            records: Vec::new(),
            by_key: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
            removed: HashSet::default(),
            changes: 0,
            scratch: Vec::new(),
        }
    }

    /// Adds a note of the wall clock.
    pub(super) fn mark_clock(&mut self, mark: ClockMark) {
        let value = self.encoded(|_, out| encode::encode_clock_mark(mark, out));
        self.put(RecordKey::Clock, value);
    }

    /// Adds a change.
    pub(super) fn add(&mut self, write: Write, bodies: &mut Bodies) {
        self.changes += 1;
        match write {
            Write::PutSession { number, record } => {
                self.set_aside(number);
                let value = self.encoded(|clocks, out| {
                    encode::encode_session(&record, clocks, out);
                });
                self.put(RecordKey::Session(number), value);
            }
            Write::RemoveSession { number } => {
                for place in bodies.places_of(number) {
                    self.forget_body(bodies.drop_place(place));
                }
                self.removed.insert(number);
            }
            Write::RemoveRecord { number } => self.remove(RecordKey::Session(number)),
            Write::PutSubscription { number, filter, options } => {
                let value = self.encoded(|_, out| {
                    encode::encode_subscription(&filter, options, out);
                });
                self.put(RecordKey::Subscription(number, filter), value);
            }
            Write::RemoveSubscription { number, filter } => {
                self.remove(RecordKey::Subscription(number, filter));
            }
            Write::PutOutbox { number, position, entry } => {
                self.put_outbox(number, position, &entry, bodies);
            }
            Write::ReleaseOutbox { number, position } => {
                self.forget_body(bodies.drop_place((number, position)));
                let value = self.encoded(|_, out| encode::encode_released(out));
                self.put(RecordKey::Outbox(number, position), value);
            }
            Write::RemoveOutbox { number, position } => {
                self.forget_body(bodies.drop_place((number, position)));
                self.remove(RecordKey::Outbox(number, position));
            }
            Write::PutExactlyOnce { number, packet_id } => {
                self.put_new(RecordKey::ExactlyOnce(number, packet_id), Slice::from([]));
            }
            Write::RemoveExactlyOnce { number, packet_id } => {
                self.remove(RecordKey::ExactlyOnce(number, packet_id));
            }
            Write::PutWill { session, number, message } => {
                self.set_aside(SessionNumber(number.0));
                let value = self.encoded(|clocks, out| {
                    encode::encode_message(&message, clocks, out);
                });
                self.put(RecordKey::Will(session, number), value);
            }
            Write::RemoveWill { session, number } => self.remove(RecordKey::Will(session, number)),
            Write::SaveRetained { change } => {
                if change.take() {
                    self.save_retained(change.topic(), change.kept());
                }
            }
        }
    }

    /// Stores what the topic keeps as its record. Returns the bytes.
    pub(super) fn save_retained(&mut self, topic: &TopicName, kept: Option<&Kept>) -> u64 {
        let key = RecordKey::Retained(topic.clone());
        let Some(kept) = kept else {
            self.remove(key);
            return 0;
        };
        let value = self.encoded(|clocks, out| encode::encode_retained(kept, clocks, out));
        let bytes = value.len() as u64;
        self.put(key, value);
        bytes
    }

    /// Whether `value` is the encoding of this retained message.
    pub(super) fn is_record_of(&mut self, kept: &Kept, value: &[u8]) -> bool {
        *self.encoded(|clocks, out| encode::encode_retained(kept, clocks, out)) == *value
    }

    /// Removes a record, whether or not it is there.
    pub(super) fn remove(&mut self, key: RecordKey) {
        // A "new" id may be on disk all the same, if its removal failed and its client began anew.
        let may_be_there = matches!(key, RecordKey::ExactlyOnce(..));
        let record = self.record(key, false);
        let leaves_nothing = record.is_new && !may_be_there;
        record.effect = if leaves_nothing { NetEffect::Nothing } else { NetEffect::Remove };
    }

    /// Writes all changes as one batch, and begins a new group. After an error,
    /// [`CommitGroup::made`] tells what may have to be undone.
    pub(super) fn write(&mut self, database: &Database) -> Result<Written, DatabaseError> {
        let mut batch = database.batch(self.records.len());
        let mut records = 0;
        let mut key = Vec::with_capacity(64);
        for record in &self.records {
            if record.key.session().is_some_and(|number| self.removed.contains(&number)) {
                continue;
            }
            let value = match &record.effect {
                NetEffect::Nothing => continue,
                NetEffect::Put(value) => Some(value.clone()),
                NetEffect::Remove => None,
            };
            key.clear();
            let tree = record.key.encode(&mut key);
            database.change(&mut batch, tree, &key, value);
            records += 1;
        }
        for &number in &self.removed {
            records += remove_session(database, &mut batch, number)?;
        }
        let coalesced = self.changes.saturating_sub(records);
        let bytes = batch.bytes();
        let fsync = if records == 0 { None } else { database.commit(batch)? };
        self.clear();
        Ok(Written { records, coalesced, bytes, fsync })
    }

    /// Records that this group makes and that did not exist before.
    pub(super) fn made(&self) -> Vec<RecordKey> {
        let is_made =
            |record: &&GroupedRecord| record.is_new && matches!(record.effect, NetEffect::Put(_));
        self.records.iter().filter(is_made).map(|record| record.key.clone()).collect()
    }

    /// Sessions whose own record this group writes.
    pub(super) fn saved(&self) -> impl Iterator<Item = SessionNumber> {
        self.records.iter().filter_map(|record| match (&record.key, &record.effect) {
            (RecordKey::Session(number), NetEffect::Put(_)) if !self.removed.contains(number) => {
                Some(*number)
            }
            _ => None,
        })
    }

    fn clear(&mut self) {
        self.records.clear();
        self.by_key.clear();
        self.removed.clear();
        self.changes = 0;
    }

    fn put_outbox(
        &mut self,
        number: SessionNumber,
        position: Position,
        entry: &OutboxEntry,
        bodies: &mut Bodies,
    ) {
        if self.removed.contains(&number) {
            return;
        }
        let place = (number, position);
        let body = if !bodies.has_to_share(&entry.message) {
            self.forget_body(bodies.drop_place(place));
            None
        } else {
            let taken = bodies.take(place, &entry.message);
            self.forget_body(taken.orphan);
            if taken.is_new {
                let value = self.encoded(|clocks, out| {
                    encode::encode_message(&entry.message, clocks, out);
                });
                self.put_new(RecordKey::Body(taken.number), value);
            }
            Some(taken.number)
        };
        let value = self.encoded(|clocks, out| encode::encode_entry(entry, body, clocks, out));
        self.put_new(RecordKey::Outbox(number, position), value);
    }

    fn forget_body(&mut self, orphan: Option<BodyNumber>) {
        if let Some(number) = orphan {
            self.remove(RecordKey::Body(number));
        }
    }

    /// Reserves this number, so that no session or will ever gets it again.
    fn set_aside(&mut self, number: SessionNumber) {
        if number < self.next_number {
            return;
        }
        self.next_number = SessionNumber(number.0.saturating_add(NUMBERS_AHEAD));
        let value = Slice::from(self.next_number.0.to_be_bytes());
        self.put(RecordKey::NextNumber, value);
    }

    /// Writes a record that may be on disk.
    fn put(&mut self, key: RecordKey, value: Slice) {
        self.record(key, false).effect = NetEffect::Put(value);
    }

    /// Writes a record that is not on disk, unless this group has touched it.
    fn put_new(&mut self, key: RecordKey, value: Slice) {
        self.record(key, true).effect = NetEffect::Put(value);
    }

    fn encoded(&mut self, encode: impl FnOnce(&Clocks, &mut Vec<u8>)) -> Slice {
        self.scratch.clear();
        encode(&self.clocks, &mut self.scratch);
        Slice::from(&self.scratch[..])
    }

    /// The record of a key. `is_new` only matters at the record's first change.
    fn record(&mut self, key: RecordKey, is_new: bool) -> &mut GroupedRecord {
        let Self { records, by_key, hasher, .. } = self;
        let hash = hasher.hash_one(&key);
        let same = |&index: &u32| records[index as usize].key == key;
        let index = match by_key.entry(hash, same, |&i| hasher.hash_one(&records[i as usize].key)) {
            Entry::Occupied(entry) => *entry.get() as usize,
            Entry::Vacant(entry) => {
                let index = records.len();
                // A group has far fewer records.
                entry.insert(index as u32);
                records.push(GroupedRecord { key, is_new, effect: NetEffect::Nothing });
                index
            }
        };
        &mut records[index]
    }
}

impl RecordKey {
    fn session(&self) -> Option<SessionNumber> {
        match self {
            Self::Session(number)
            | Self::Subscription(number, _)
            | Self::Outbox(number, _)
            | Self::ExactlyOnce(number, _) => Some(*number),
            Self::NextNumber | Self::Clock | Self::Body(_) | Self::Will(..) | Self::Retained(_) => {
                None
            }
        }
    }

    /// Appends the key's bytes, and returns its tree.
    fn encode(&self, out: &mut Vec<u8>) -> Tree {
        match self {
            Self::NextNumber => {
                out.extend_from_slice(NEXT_NUMBER_KEY);
                Tree::Meta
            }
            Self::Clock => {
                out.extend_from_slice(CLOCK_KEY);
                Tree::Meta
            }
            Self::Session(number) => {
                out.extend_from_slice(&encode::number_key(*number));
                Tree::Sessions
            }
            Self::Subscription(number, filter) => {
                out.extend_from_slice(&encode::subscription_key(*number, filter));
                Tree::Subscriptions
            }
            Self::Outbox(number, position) => {
                out.extend_from_slice(&encode::outbox_key(*number, *position));
                Tree::Outbox
            }
            Self::ExactlyOnce(number, packet_id) => {
                out.extend_from_slice(&encode::exactly_once_key(*number, *packet_id));
                Tree::ExactlyOnce
            }
            Self::Body(number) => {
                out.extend_from_slice(&number.0.to_be_bytes());
                Tree::Bodies
            }
            Self::Will(session, number) => {
                out.extend_from_slice(&encode::will_key(*session, *number));
                Tree::Meta
            }
            Self::Retained(topic) => {
                out.extend_from_slice(topic.as_str().as_bytes());
                Tree::Retained
            }
        }
    }
}

/// Removes everything of a session on disk, except bodies, which the caller has handled.
fn remove_session(
    database: &Database,
    batch: &mut Batch,
    number: SessionNumber,
) -> Result<u64, DatabaseError> {
    let prefix = encode::number_key(number);
    let mut records = 0;
    for tree in [Tree::Sessions, Tree::Subscriptions, Tree::Outbox, Tree::ExactlyOnce] {
        for key in database.keys(tree, &prefix) {
            database.change(batch, tree, &key?, None);
            records += 1;
        }
    }
    Ok(records)
}
