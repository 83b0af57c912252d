//! What a start finds in a store.

use std::sync::Arc;

use super::clocks::{Clocks, WallMillis};
use super::left_out::LeftOut;
use super::numbers::{Position, SessionNumber, WillNumber};
use super::records::{SessionRecord, StoredSubscription};
use crate::broker::{Message, SessionMemory, SessionMemoryMax};

/// What a store is told when it is opened, to take up what it finds.
#[derive(Clone, Debug)]
pub struct Opening {
    /// One instant on both clocks: monotonic times are stored as wall clock times.
    pub clocks: Clocks,
    /// Messages of a connected session that may be sent and not received for certain.
    pub inflight_max: u16,
    /// What sessions may take of memory. What is taken up is counted; the caller gives it back.
    pub memory: Arc<SessionMemory>,
    /// How many sessions are taken up.
    pub sessions_max: u32,
}

impl Opening {
    /// Without limits, by these clocks.
    pub fn unlimited(clocks: Clocks) -> Self {
        let memory = SessionMemory::new(SessionMemoryMax::UNLIMITED);
        Self { clocks, inflight_max: 0, memory, sessions_max: u32::MAX }
    }
}

/// What was found. Bodies of messages in outboxes stay there, and retained messages have
/// gone where memory keeps them.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Every session that there is room for, in the order of their numbers. Of two with the same client
    /// identifier only the younger.
    pub sessions: Vec<RecoveredSession>,
    /// Those that there is no room for.
    pub left_out: LeftOut,
    /// Wills that were being published, and that there is room for.
    pub wills: Vec<RecoveredWill>,
    /// How many there is no room for: they stay on disk, until a start finds room for them.
    pub wills_left_out: u64,
    /// Above every number ever used.
    pub next_number: SessionNumber,
    /// What monotonic times are stored by; the wall clock may say something else.
    pub clocks: Clocks,
}

/// A session that was found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredSession {
    /// Its number.
    pub number: SessionNumber,
    /// Its own record.
    pub record: SessionRecord,
    /// Its subscriptions.
    pub subscriptions: Vec<StoredSubscription>,
    /// Packet ids of its client's messages of QoS 2 that were taken and not released.
    pub exactly_once: Vec<u16>,
    /// What lies in its outbox.
    pub outbox: OutboxSummary,
}

/// A will that was being published, in no outbox yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredWill {
    /// Whose it was. The session need not be there any more.
    pub session: SessionNumber,
    /// Its number, to remove it by.
    pub number: WillNumber,
    /// What to publish.
    pub message: Arc<Message>,
}

/// An outbox in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxSummary {
    /// The first occupied place; with `next` equal to it the outbox is empty.
    pub first: Position,
    /// The place behind the last occupied one, and not before `sent_to` of the record.
    pub next: Position,
    /// Messages in it, owed releases included. There may be gaps between them.
    pub messages: u32,
    /// Of which owed releases.
    pub released: u32,
    /// What lies before this was sent, or may have been: as the record says, or, of a session that
    /// was connected until a crash, what is owed a release, all before that, and the first
    /// [`Opening::inflight_max`] messages.
    pub sent_to: Position,
    /// Their bytes ([`Message::weight_bytes`]).
    pub bytes: u64,
    /// When the oldest message was queued.
    pub oldest_at: Option<WallMillis>,
}

/// What is found in a place of an outbox, as far as a start needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Occupant {
    /// A message that has not been received for certain.
    Message { weight_bytes: u64, queued_at: WallMillis },
    /// An owed release.
    Released,
    /// Nobody knows. The place must not be used again all the same.
    Unreadable,
}

impl RecoveredSession {
    /// One whose record was found, and nothing else yet.
    pub(in crate::store) fn of(number: SessionNumber, record: SessionRecord) -> Self {
        let sent_to = record.sent_to;
        let outbox =
            OutboxSummary { first: sent_to, next: sent_to, sent_to, ..OutboxSummary::default() };
        Self { number, record, subscriptions: Vec::new(), exactly_once: Vec::new(), outbox }
    }

    /// Adds a place of its outbox, behind those that were added before.
    pub(in crate::store) fn add_place(
        &mut self,
        position: Position,
        occupant: Occupant,
        inflight_max: u16,
    ) {
        let crashed = self.record.disconnected_at.is_none();
        self.outbox.add(position, occupant, if crashed { inflight_max.into() } else { 0 });
    }
}

impl OutboxSummary {
    /// Messages are sent in order. So what lies before an owed release was sent, and up to `inflight`
    /// others may have been, the first of them.
    fn add(&mut self, position: Position, occupant: Occupant, inflight: u32) {
        if self.messages == 0 {
            self.first = position;
        }
        let is_released = occupant == Occupant::Released;
        if is_released || self.messages - self.released < inflight {
            self.sent_to = self.sent_to.max(position.next());
        }
        self.next = self.next.max(position.next());
        self.messages = self.messages.saturating_add(1);
        match occupant {
            Occupant::Message { weight_bytes, queued_at } => {
                self.bytes = self.bytes.saturating_add(weight_bytes);
                let oldest = self.oldest_at.unwrap_or(queued_at);
                self.oldest_at = Some(oldest.min(queued_at));
            }
            Occupant::Released => self.released += 1,
            Occupant::Unreadable => {}
        }
    }
}
