//! What a store needs when it opens, and what a start finds in it.

use std::sync::Arc;

use super::clocks::{Clocks, WallMillis};
use super::left_out::LeftOut;
use super::numbers::{Position, SessionNumber, WillNumber};
use super::records::{SessionRecord, StoredSubscription};
use crate::broker::{Message, SessionMemory, SessionMemoryMax};

/// What a store needs to know when it opens.
#[derive(Clone, Debug)]
pub struct Opening {
    /// One instant on both clocks, to convert stored times.
    pub clocks: Clocks,
    /// Most messages of a connected session that may have been sent without being received for
    /// certain.
    pub inflight_max: u16,
    /// The totals of memory. The store charges the sessions it returns; the caller gives the bytes
    /// back.
    pub memory: Arc<SessionMemory>,
    /// Most sessions to return.
    pub sessions_max: u32,
}

impl Opening {
    /// Without limits, with these clocks.
    pub fn unlimited(clocks: Clocks) -> Self {
        let memory = SessionMemory::new(SessionMemoryMax::UNLIMITED);
        Self { clocks, inflight_max: 0, memory, sessions_max: u32::MAX }
    }
}

/// What a start found. Message bodies stay in the outboxes on disk, and retained messages are in
/// memory's table already.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The sessions that there is room for, by number. If two have the same client identifier, only
    /// the younger.
    pub sessions: Vec<RecoveredSession>,
    /// The sessions that there is no room for.
    pub left_out: LeftOut,
    /// The wills under way that there is room for.
    pub wills: Vec<RecoveredWill>,
    /// Wills under way without room: they stay on disk for a later start.
    pub wills_left_out: u64,
    /// Higher than every number ever used.
    pub next_number: SessionNumber,
    /// The clocks that stored times were converted by; the wall clock may differ.
    pub clocks: Clocks,
}

/// A session found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredSession {
    /// Its number.
    pub number: SessionNumber,
    /// Its own record.
    pub record: SessionRecord,
    /// Its subscriptions.
    pub subscriptions: Vec<StoredSubscription>,
    /// Packet ids of its client's QoS 2 messages that were taken and not released.
    pub exactly_once: Vec<u16>,
    /// Its outbox in figures.
    pub outbox: OutboxSummary,
}

/// A will that was being published and is in no outbox yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredWill {
    /// The session that it came from, which may be gone.
    pub session: SessionNumber,
    /// Its number; remove the will by it.
    pub number: WillNumber,
    /// The message to publish.
    pub message: Arc<Message>,
}

/// The size and extent of an outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxSummary {
    /// The first occupied position; equal to `next` if the outbox is empty.
    pub first: Position,
    /// The position after the last occupied one, and not before the record's `sent_to`.
    pub next: Position,
    /// Messages and owed releases. There may be gaps between them.
    pub messages: u32,
    /// Owed releases among them.
    pub released: u32,
    /// Everything before this was sent, or may have been. The record says so; or, if the session
    /// was connected until a crash, it is the position after the last owed release and after the
    /// first [`Opening::inflight_max`] messages.
    pub sent_to: Position,
    /// Bytes of the messages ([`Message::weight_bytes`]).
    pub bytes: u64,
    /// When the oldest message was queued.
    pub oldest_at: Option<WallMillis>,
}

/// The record at a position, as far as a start needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Occupant {
    /// A message that the client may not have received.
    Message { weight_bytes: u64, queued_at: WallMillis },
    /// An owed release.
    Released,
    /// The record cannot be read. Its position must not be used again all the same.
    Unreadable,
}

impl RecoveredSession {
    /// A session of which only the record is known so far.
    pub(in crate::store) fn of(number: SessionNumber, record: SessionRecord) -> Self {
        let sent_to = record.sent_to;
        let outbox =
            OutboxSummary { first: sent_to, next: sent_to, sent_to, ..OutboxSummary::default() };
        Self { number, record, subscriptions: Vec::new(), exactly_once: Vec::new(), outbox }
    }

    /// Adds a position of its outbox; they come in order.
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
    /// Messages are sent in order, so everything before an owed release was sent, and the first
    /// `inflight` others may have been.
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
