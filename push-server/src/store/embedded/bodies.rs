//! Which outbox entries refer to which shared body, and how many entries a body has. A body is
//! stored once for all outboxes if it is large, or if several hold it. The bodies themselves are
//! not here.
//!
//! Memory: some 50 bytes for an entry that refers to a body, and 100 for a body;
//! `SHARED_MESSAGES_MAX` bounds it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use hashbrown::HashMap;

use super::encode::BodyNumber;
use crate::broker::Message;
use crate::store::{Position, SessionNumber};

/// Weight in bytes from which a message's body is stored apart, even for one outbox. 4 KiB, since a
/// start reads all outboxes, but no bodies.
const LARGE_BYTES: usize = 4 << 10;

/// How many outboxes must hold a message at its write to share its body, however small. For fewer,
/// a second record and a second removal cost more than copies.
const SHARED_BY_MIN: u32 = 4;

/// Most entries that refer to bodies: about 50 MB of memory. Further ones get copies.
pub(crate) const SHARED_MESSAGES_MAX: usize = 1 << 20;

/// How many bodies may be noted before the first sweep for those whose messages are gone.
const SWEEP_FROM: usize = 1_024;

type EntryKey = (SessionNumber, Position);
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The references from entries to bodies.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    body_of: BTreeMap<EntryKey, BodyNumber>,
    bodies: Map<BodyNumber, Body>,
    /// Bodies whose messages may still be in memory, by address. The `Weak` keeps the address from
    /// being used again.
    by_address: Map<usize, (Weak<Message>, BodyNumber)>,
    next: BodyNumber,
    sweep_at: usize,
    copied: u64,
}

#[derive(Debug, Default)]
struct Body {
    entries: u64,
    /// The message when last seen in memory.
    seen: Weak<Message>,
}

/// The result of `Bodies::take`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TakenBody {
    /// The body's number.
    pub(super) number: BodyNumber,
    /// Whether the body is new and must be written.
    pub(super) is_new: bool,
    /// The body that the entry referred to before, if no entry refers to it now.
    pub(super) orphan: Option<BodyNumber>,
}

impl Bodies {
    /// Notes the reference of an entry found on disk.
    pub(super) fn found(&mut self, place: EntryKey, number: BodyNumber) {
        self.body_of.insert(place, number);
        self.bodies.entry(number).or_default().entries += 1;
        self.reserve(number);
    }

    /// Marks the numbers up to this one as used.
    pub(super) fn reserve(&mut self, number: BodyNumber) {
        self.next = self.next.max(BodyNumber(number.0.saturating_add(1)));
    }

    /// Whether any entry refers to it.
    pub(super) fn is_known(&self, number: BodyNumber) -> bool {
        self.bodies.contains_key(&number)
    }

    /// Whether a new entry should refer to the body of `message`, which costs memory, rather than
    /// have a copy.
    pub(super) fn has_to_share(&mut self, message: &Message) -> bool {
        let is_worth_it =
            message.held.outboxes() >= SHARED_BY_MIN || message.weight_bytes() >= LARGE_BYTES;
        let has_room = self.body_of.len() < SHARED_MESSAGES_MAX;
        self.copied += u64::from(is_worth_it && !has_room);
        is_worth_it && has_room
    }

    /// Returns how many entries got copies for want of room, and resets the count.
    pub(super) fn take_copied(&mut self) -> u64 {
        std::mem::take(&mut self.copied)
    }

    /// Makes the entry at `place` refer to the body of `message`.
    pub(super) fn take(&mut self, place: EntryKey, message: &Arc<Message>) -> TakenBody {
        let address = Arc::as_ptr(message) as usize;
        let known = self.by_address.get(&address).map(|&(_, number)| number);
        let known = known.filter(|number| self.bodies.contains_key(number));
        let number = known.unwrap_or_else(|| {
            let number = self.next;
            self.next.0 += 1;
            self.remember(number, message);
            number
        });
        // Count the new reference before dropping the old one: it may be the same body.
        let body = self.bodies.entry(number).or_default();
        body.entries += 1;
        body.seen = Arc::downgrade(message);
        let orphan = self.body_of.insert(place, number).and_then(|replaced| self.release(replaced));
        TakenBody { number, is_new: known.is_none(), orphan }
    }

    /// The entry at `place` refers to no body any more. Returns its body if no other entry refers
    /// to that.
    pub(super) fn drop_place(&mut self, place: EntryKey) -> Option<BodyNumber> {
        // Many stores have no bodies at all.
        if self.body_of.is_empty() {
            return None;
        }
        let number = self.body_of.remove(&place)?;
        self.release(number)
    }

    /// Entries of a session that refer to bodies.
    pub(super) fn places_of(&self, number: SessionNumber) -> Vec<EntryKey> {
        let (first, last) = ((number, Position(0)), (number, Position(u64::MAX)));
        self.body_of.range(first..=last).map(|(&place, _)| place).collect()
    }

    /// The message of a body, if it is in memory.
    pub(super) fn in_memory(&self, number: BodyNumber) -> Option<Arc<Message>> {
        self.bodies.get(&number)?.seen.upgrade()
    }

    /// A body was read from disk: later readers and writers of the message share it.
    pub(super) fn was_read(&mut self, number: BodyNumber, message: &Arc<Message>) {
        if let Some(body) = self.bodies.get_mut(&number) {
            body.seen = Arc::downgrade(message);
            self.remember(number, message);
        }
    }

    /// How many bodies there are.
    pub(super) fn len(&self) -> usize {
        self.bodies.len()
    }

    fn remember(&mut self, number: BodyNumber, message: &Arc<Message>) {
        if self.by_address.len() >= self.sweep_at.max(SWEEP_FROM) {
            self.by_address.retain(|_, (message, _)| message.strong_count() > 0);
            self.sweep_at = 2 * self.by_address.len();
        }
        let address = Arc::as_ptr(message) as usize;
        self.by_address.insert(address, (Arc::downgrade(message), number));
    }

    fn release(&mut self, number: BodyNumber) -> Option<BodyNumber> {
        let body = self.bodies.get_mut(&number)?;
        body.entries -= 1;
        (body.entries == 0).then(|| {
            self.bodies.remove(&number);
            number
        })
    }
}

#[cfg(test)]
mod tests;
