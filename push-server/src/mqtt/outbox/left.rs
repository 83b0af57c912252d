//! What a session leaves to other members of its groups, in order, until it has been offered to them.
//!
//! The session owes it no longer: it is neither sent nor counted against the outbox's own limits. It does
//! count against the totals of all outboxes, and what comes to be known of it on disk is noted here. While
//! the disk may still have some of it in this outbox, nothing is read from there.

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
    /// Slips of these, and of those that are still to be read from disk.
    followed: Followed,
    /// Writes that are not safe yet, of messages that have gone.
    writes: u32,
    /// One of these has failed: the disk still has its message in this outbox.
    has_failed: bool,
    /// The next message was asked for, and is not safe yet.
    is_held: bool,
    /// What it counts against the total of all sessions, where there is no session any more to do so.
    charge: Option<Charge>,
}

/// One of them, taken out to be offered.
#[derive(Debug)]
pub struct LeftMessage {
    position: u64,
    filing: Filing,
    /// The message, as the session was owed it.
    pub delivery: Delivery,
    /// Its slip, which goes with it.
    pub slip: Option<Slip>,
}

impl LeftMessage {
    /// The same message to be offered once more, should the first offer fail. Its slip went with that.
    pub fn for_another_try(&self) -> Self {
        let Self { position, filing, delivery, .. } = self;
        Self { position: *position, filing: *filing, delivery: delivery.clone(), slip: None }
    }

    /// What is to be done on disk in one write with what others do to have it. A write still being put
    /// together would come behind the removal: `Session::written` removes it then.
    pub fn change(&self) -> Option<SessionChange> {
        let is_filed = matches!(self.filing, Filing::Queued | Filing::Written);
        is_filed.then_some(SessionChange::Settle(self.position))
    }
}

impl Left {
    /// A message that the session owed is left.
    pub(super) fn push(&mut self, owed: Owed, slip: Option<Slip>) {
        if let Some(slip) = slip {
            self.followed.insert(owed.position, slip);
        }
        self.queue.push_back(owed);
    }

    /// Slips of what the session owes on disk.
    pub(super) fn follow(&mut self, followed: Followed) {
        self.followed.append(followed);
    }

    /// So is one that is on disk alone.
    pub fn push_read(&mut self, position: u64, delivery: Delivery, memory: &Arc<MemoryBudget>) {
        self.queue.push_back(Owed::new(position, Filing::Written, delivery, memory));
    }

    /// Takes out the next message, unless it may not leave before it is safe: should its write fail, its publisher
    /// sends it again, and at QoS 2 nobody may have had it. While it is offered it counts nowhere, so that it is not
    /// in its own way.
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

    /// It could not be offered now, or who was given it has it not on disk: it is the next one again.
    pub fn put_back(&mut self, message: LeftMessage, memory: &Arc<MemoryBudget>) {
        let LeftMessage { position, filing, delivery, slip } = message;
        if let Some(slip) = slip {
            self.followed.insert(position, slip);
        }
        self.queue.push_front(Owed::new(position, filing, delivery, memory));
    }

    /// Whether a message was asked for in vain since this was asked last: what has become safe, or has failed, may let
    /// it go on.
    pub fn take_held(&mut self) -> bool {
        std::mem::take(&mut self.is_held)
    }

    /// Whether no message waits to be offered.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether some of it is not safe elsewhere yet.
    pub fn is_busy(&self) -> bool {
        !self.is_empty() || self.writes > 0
    }

    /// A write begins that takes a message out of this outbox.
    pub fn begin_write(&mut self) {
        self.writes += 1;
    }

    /// It is safe, or has failed.
    pub fn end_write(&mut self, failed: bool) {
        self.writes = self.writes.saturating_sub(1);
        self.has_failed |= failed;
    }

    /// Whether a write has failed since this was asked last.
    pub fn take_failed(&mut self) -> bool {
        std::mem::take(&mut self.has_failed)
    }

    /// The message in this place is on disk, or could not be written, as its publisher is told; then it
    /// goes to nobody. Returns whether it was here.
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

    /// Counts what it takes, messages not counted, against `memory`, now that its session has ended; for
    /// nobody, as what else of that session is on its way out.
    pub fn charge(&mut self, memory: &Arc<MemoryBudget>) {
        let bytes = self.bytes() as u64;
        match &mut self.charge {
            Some(charge) => charge.resize(bytes),
            None => self.charge = Some(memory.charge_anyway(Holder::NOBODY, bytes)),
        }
    }

    /// What it takes in memory, messages not counted.
    pub(super) fn bytes(&self) -> usize {
        self.queue.capacity() * size_of::<Owed>() + self.followed.bytes()
    }

    /// Whether it holds nothing any more.
    pub(super) fn is_over(&self) -> bool {
        !self.is_busy() && !self.has_failed
    }
}
