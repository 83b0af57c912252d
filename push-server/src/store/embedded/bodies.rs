//! Bodies that are kept once for all outboxes that hold them, because they are large or because several
//! do: which entry refers to which body, and how many do. Of the bodies themselves nothing is kept here.
//!
//! Memory: some 50 bytes an entry that refers to a body, and 100 a body; `SHARED_MESSAGES_MAX` bounds it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use hashbrown::HashMap;

use super::encode::BodyNumber;
use crate::broker::Message;
use crate::store::{Position, SessionNumber};

/// Weight from which a message is kept beside the outboxes even for one of them: a start reads all
/// outboxes, and no body.
const LARGE_BYTES: usize = 4 << 10;

/// So many outboxes that hold a message when it is written share its body, however small it is. For
/// fewer a second record and a second removal cost more than copies.
const SHARED_BY_MIN: u32 = 4;

/// Entries that refer to bodies, 50 MB or so of memory. Beyond that each has a copy.
pub(crate) const SHARED_MESSAGES_MAX: usize = 1 << 20;

/// Identities known before the first look at which messages are still alive.
const SWEEP_FROM: usize = 1_024;

type EntryKey = (SessionNumber, Position);
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The index.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    body_of: BTreeMap<EntryKey, BodyNumber>,
    bodies: Map<BodyNumber, Body>,
    /// Bodies of messages that may be alive, by address. The `Weak` keeps the address from being
    /// used again.
    by_address: Map<usize, (Weak<Message>, BodyNumber)>,
    next: BodyNumber,
    sweep_at: usize,
    copied: u64,
}

#[derive(Debug, Default)]
struct Body {
    entries: u64,
    /// The message as it was last seen in memory.
    seen: Weak<Message>,
}

/// What taking a reference came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// The body's number.
    pub(super) number: BodyNumber,
    /// Whether it is new, and has to be written.
    pub(super) is_new: bool,
    /// A body that the place referred to before, and nothing does any more.
    pub(super) orphan: Option<BodyNumber>,
}

impl Bodies {
    /// Notes an entry found on disk.
    pub(super) fn found(&mut self, place: EntryKey, number: BodyNumber) {
        self.body_of.insert(place, number);
        self.bodies.entry(number).or_default().entries += 1;
        self.reserve(number);
    }

    /// Numbers up to this one are in use.
    pub(super) fn reserve(&mut self, number: BodyNumber) {
        self.next = self.next.max(BodyNumber(number.0.saturating_add(1)));
    }

    /// Whether any entry refers to it.
    pub(super) fn is_known(&self, number: BodyNumber) -> bool {
        self.bodies.contains_key(&number)
    }

    /// Whether an entry that is written now is to refer to the body of `message`, which costs memory, or to
    /// have a copy.
    pub(super) fn has_to_share(&mut self, message: &Message) -> bool {
        let is_worth_it =
            message.held.outboxes() >= SHARED_BY_MIN || message.weight_bytes() >= LARGE_BYTES;
        let has_room = self.body_of.len() < SHARED_MESSAGES_MAX;
        self.copied += u64::from(is_worth_it && !has_room);
        is_worth_it && has_room
    }

    /// Takes the number of entries that have copies for want of room.
    pub(super) fn take_copied(&mut self) -> u64 {
        std::mem::take(&mut self.copied)
    }

    /// The body of `message` is wanted in `place`.
    pub(super) fn take(&mut self, place: EntryKey, message: &Arc<Message>) -> Taken {
        let address = Arc::as_ptr(message) as usize;
        let known = self.by_address.get(&address).map(|&(_, number)| number);
        let known = known.filter(|number| self.bodies.contains_key(number));
        let number = known.unwrap_or_else(|| {
            let number = self.next;
            self.next.0 += 1;
            self.remember(number, message);
            number
        });
        // The reference is counted before the place's old one is let go: it may be the same body.
        let body = self.bodies.entry(number).or_default();
        body.entries += 1;
        body.seen = Arc::downgrade(message);
        let orphan = self.body_of.insert(place, number).and_then(|replaced| self.release(replaced));
        Taken { number, is_new: known.is_none(), orphan }
    }

    /// Nothing refers to a body from `place` any more. Returns the body if nothing refers to it at
    /// all.
    pub(super) fn drop_place(&mut self, place: EntryKey) -> Option<BodyNumber> {
        // Many stores have none at all.
        if self.body_of.is_empty() {
            return None;
        }
        let number = self.body_of.remove(&place)?;
        self.release(number)
    }

    /// The places of a session that refer to bodies.
    pub(super) fn places_of(&self, number: SessionNumber) -> Vec<EntryKey> {
        let (first, last) = ((number, Position(0)), (number, Position(u64::MAX)));
        self.body_of.range(first..=last).map(|(&place, _)| place).collect()
    }

    /// The message of a body, if it is in memory.
    pub(super) fn in_memory(&self, number: BodyNumber) -> Option<Arc<Message>> {
        self.bodies.get(&number)?.seen.upgrade()
    }

    /// The message of a body was read from disk: who reads it next, or stores it again, shares it.
    pub(super) fn was_read(&mut self, number: BodyNumber, message: &Arc<Message>) {
        if let Some(body) = self.bodies.get_mut(&number) {
            body.seen = Arc::downgrade(message);
            self.remember(number, message);
        }
    }

    /// How many there are.
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
