//! How far an ended session has come with handing on its messages to other members of its groups: first what
//! is in memory, then what is on disk, a page at a time; then its records go. `turn/hand_on` offers the
//! messages, reads the pages and removes the records, as `next` says.

use crate::broker::SessionMemory;
use crate::mqtt::{Delivery, Left};
use crate::shard::journal::HandOnCursor;
use crate::store::SessionRecord;

/// An ended session that hands on its messages.
#[derive(Debug)]
pub(crate) struct HandOn {
    /// Its messages in memory, and the writes under way.
    left: Left,
    /// Its errand waits for a turn, or the store reads a page for it: nothing else begins the next step.
    is_waiting: bool,
    /// Where in its outbox on disk it is. `None`: the session was never on disk.
    on_disk: Option<OnDisk>,
    /// The record that marks it as ended, where its will leaves the record with that.
    mark: Option<Box<SessionRecord>>,
}

/// Where a session is in its outbox on disk.
#[derive(Debug)]
struct OnDisk {
    /// The page whose messages are under way: it is read again if one of their writes fails.
    page: HandOnCursor,
    /// The page behind that, if there is one.
    next: Option<HandOnCursor>,
}

/// What an ended session needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// A write has failed: this page is to be read again when the store works.
    ReadAgain(HandOnCursor),
    /// This page is to be read.
    Read(HandOnCursor),
    /// All its messages are safe elsewhere: its records are to be removed from the disk.
    RemoveRecords,
    /// All its messages have been offered, and it has no records.
    Forget,
}

impl HandOn {
    /// Of a session that was never on disk. Its errand is to be queued.
    pub(crate) fn in_memory(left: Left) -> Self {
        Self { left, is_waiting: true, on_disk: None, mark: None }
    }

    /// Of a session with records. `has_messages`: from `begin` on, messages for groups are to be read from
    /// disk. Its errand is to be queued.
    pub(crate) fn on_disk(left: Left, begin: HandOnCursor, has_messages: bool) -> Self {
        let on_disk = OnDisk { page: begin.at(0), next: has_messages.then_some(begin) };
        Self { left, is_waiting: true, on_disk: Some(on_disk), mark: None }
    }

    /// Its will leaves its record with this one, which has to be written again with the will if that fails.
    pub(crate) fn keep_mark(&mut self, mark: Box<SessionRecord>) {
        self.mark = Some(mark);
    }

    pub(crate) fn mark(&self) -> Option<Box<SessionRecord>> {
        self.mark.clone()
    }

    /// Whether the session has records on disk.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.on_disk.is_some()
    }

    /// Its messages in memory, to be offered.
    pub(crate) fn left_mut(&mut self) -> &mut Left {
        &mut self.left
    }

    /// Its errand has offered all that is in memory.
    pub(crate) fn end_errand(&mut self) {
        self.is_waiting = false;
    }

    /// Decides the next step, once nothing is under way. The caller does it: until `end_errand` there is no
    /// other.
    pub(crate) fn next(&mut self) -> Option<NextStep> {
        if self.is_waiting || self.left.is_busy() {
            return None;
        }
        self.is_waiting = true;
        let failed = self.left.take_failed();
        Some(match &self.on_disk {
            None => NextStep::Forget,
            Some(on_disk) if failed => NextStep::ReadAgain(on_disk.page),
            Some(OnDisk { next: Some(next), .. }) => NextStep::Read(*next),
            Some(_) => NextStep::RemoveRecords,
        })
    }

    /// The page that begins at `page` has come, with these messages for others, by their positions; behind it
    /// the outbox goes on at `next`. Its errand is to be queued.
    pub(crate) fn page_read(
        &mut self,
        page: HandOnCursor,
        next: Option<u64>,
        messages: impl Iterator<Item = (u64, Delivery)>,
        memory: &SessionMemory,
    ) {
        self.on_disk = Some(OnDisk { page, next: next.map(|from| page.at(from)) });
        for (position, delivery) in messages {
            self.left.push_read(position, delivery, &memory.outboxes);
        }
        self.left.charge(&memory.inflight);
    }
}

#[cfg(test)]
mod tests;
