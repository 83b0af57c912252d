//! Messages that a session leaves to other members of its groups, in order, until the shard has
//! offered them.
//!
//! The session owes them no longer: it does not send them, and they do not count against its
//! outbox's own limits. They do count against the total of all outboxes, and this file notes when
//! their writes end. While the disk may still have one of them in this outbox, the session reads
//! nothing from there.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::delivery::Delivery;
use super::super::owed::{Filing, Owed, SessionChange, find, remove_unsafe};
use super::followed::Followed;
use crate::broker::{Charge, Holder, MemoryBudget, Slip};

/// Messages that one session leaves.
#[derive(Debug, Default)]
pub struct Left {
    queue: VecDeque<Owed>,
    /// Slips of these messages, and of messages that are still on disk.
    followed: Followed,
    /// Writes under way that take messages out of this outbox.
    writes: u32,
    /// One of these writes has failed: the disk still has its message in this outbox.
    has_failed: bool,
    /// The next message was asked for, and may not leave yet.
    is_held: bool,
    /// What these messages count against the total of all sessions once their session has ended.
    charge: Option<Charge>,
}

/// A message taken out to be offered to another member.
#[derive(Debug)]
pub struct LeftMessage {
    position: u64,
    filing: Filing,
    /// The message, as the session was owed it.
    pub delivery: Delivery,
    /// Goes with the message.
    pub slip: Option<Slip>,
}

impl LeftMessage {
    /// A copy to offer once more if the first offer fails. The slip went with the first offer.
    pub fn for_another_try(&self) -> Self {
        let Self { position, filing, delivery, .. } = self;
        Self { position: *position, filing: *filing, delivery: delivery.clone(), slip: None }
    }

    /// Removes the message from this outbox, in the same write that puts it into another's. A write
    /// still being put together would come after the removal; in that case `Session::written`
    /// removes the message.
    pub fn change(&self) -> Option<SessionChange> {
        let is_filed = matches!(self.filing, Filing::Queued | Filing::Written);
        is_filed.then_some(SessionChange::Settle(self.position))
    }
}

impl Left {
    /// Adds a message that the session owed.
    pub(super) fn push(&mut self, owed: Owed, slip: Option<Slip>) {
        if let Some(slip) = slip {
            self.followed.insert(owed.position, slip);
        }
        self.queue.push_back(owed);
    }

    /// Adds the slips of messages on disk.
    pub(super) fn follow(&mut self, followed: Followed) {
        self.followed.append(followed);
    }

    /// Adds a message that was on disk alone.
    pub fn push_read(&mut self, position: u64, delivery: Delivery, memory: &Arc<MemoryBudget>) {
        self.queue.push_back(Owed::new(position, Filing::Written, delivery, memory));
    }

    /// Takes out the next message, unless it may not leave before it is safe: if its write fails,
    /// its publisher sends it again, and at QoS 2 no member may have had it. While it is offered it
    /// counts nowhere, so that it does not take its own room.
    pub fn take(&mut self) -> Option<LeftMessage> {
        if !self.queue.front()?.may_leave() {
            self.is_held = true;
            return None;
        }
        let owed = self.queue.pop_front()?;
        let (position, filing) = (owed.position, owed.filing);
        let slip = self.followed.take(position);
        Some(LeftMessage { position, filing, delivery: owed.delivery.clone(), slip })
    }

    /// Makes the message the next one again: nobody could take it now, or its new owner could not
    /// write it.
    pub fn put_back(&mut self, message: LeftMessage, memory: &Arc<MemoryBudget>) {
        let LeftMessage { position, filing, delivery, slip } = message;
        if let Some(slip) = slip {
            self.followed.insert(position, slip);
        }
        self.queue.push_front(Owed::new(position, filing, delivery, memory));
    }

    /// Whether `take` has held a message back since the last call. When a write of the session has
    /// ended, `take` may give it.
    pub fn take_held(&mut self) -> bool {
        std::mem::take(&mut self.is_held)
    }

    /// Whether no message waits to be offered.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether some of the messages are not safe elsewhere yet.
    pub fn is_busy(&self) -> bool {
        !self.is_empty() || self.writes > 0
    }

    /// A write begins that takes a message out of this outbox.
    pub fn begin_write(&mut self) {
        self.writes += 1;
    }

    /// The write is safe, or has failed.
    pub fn end_write(&mut self, failed: bool) {
        self.writes = self.writes.saturating_sub(1);
        self.has_failed |= failed;
    }

    /// Whether a write has failed since the last call.
    pub fn take_failed(&mut self) -> bool {
        std::mem::take(&mut self.has_failed)
    }

    /// The message at this position is on disk, or its write failed and its publisher knows; then
    /// nobody gets it. Returns whether it was here.
    pub fn written(&mut self, position: u64, failed: bool) -> bool {
        if failed {
            let dropped = remove_unsafe(&mut self.queue, position).is_some();
            if dropped {
                drop(self.followed.take(position));
            }
            return dropped;
        }
        let Some(owed) = find(&mut self.queue, position) else { return false };
        owed.filing = if owed.filing == Filing::Held { Filing::Never } else { Filing::Written };
        true
    }

    /// Counts what this takes, messages excepted, against `memory` under no holder, because the
    /// session has ended.
    pub fn charge(&mut self, memory: &Arc<MemoryBudget>) {
        let bytes = self.bytes() as u64;
        match &mut self.charge {
            Some(charge) => charge.resize(bytes),
            None => self.charge = Some(memory.charge_anyway(Holder::NOBODY, bytes)),
        }
    }

    /// Bytes that this takes in memory, messages excepted.
    pub(super) fn bytes(&self) -> usize {
        self.queue.capacity() * size_of::<Owed>() + self.followed.bytes()
    }

    /// Whether nothing is left to do here.
    pub(super) fn is_over(&self) -> bool {
        !self.is_busy() && !self.has_failed
    }
}
