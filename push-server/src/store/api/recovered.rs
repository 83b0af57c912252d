//! What a start finds in a store.

use std::sync::Arc;

use super::clocks::{Clocks, WallMillis};
use super::left_out::LeftOut;
use super::numbers::{Position, SessionNumber, WillNumber};
use super::records::{SessionRecord, StoredSubscription};
use crate::broker::Message;

/// What was found on disk. Bodies of messages in outboxes stay there, and retained messages have
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
    /// [`StoreOptions::inflight_max`] messages.
    pub sent_to: Position,
    /// Their bytes ([`Message::weight_bytes`]).
    pub bytes: u64,
    /// When the oldest message was queued.
    pub oldest_at: Option<WallMillis>,
}
