//! A full outbox that drops its oldest messages (`OutboxFull::DropOldest`).
//!
//! Sent messages stay: the client may have them, and they hold packet ids. Of the others the oldest
//! go first, those in memory at once. Only the disk knows the size of a message on disk, so the
//! outbox takes the new message first, and is over its limits until the shard has read a page of
//! the oldest (`begin_trim`, `trimmed`). Until then no message joins those on disk, and the
//! messages behind keep to the limits by themselves, so an outbox never exceeds twice its limits.

use super::super::owed::SessionChange;
use super::super::{Limits, OutboxFull};
use super::{Load, Loading, Outbox, Room};

impl Outbox {
    /// Whether the outbox exceeds its limits and has to drop older messages.
    pub(in super::super) fn is_over(&self, limits: &Limits) -> bool {
        let total = self.total();
        limits.outbox_full == OutboxFull::DropOldest
            && total.messages > 1
            && (total.messages > u64::from(limits.outbox_messages_max)
                || total.bytes > limits.outbox_bytes_max)
    }

    /// Drops the oldest messages in memory that were never sent, until a message of `size` bytes
    /// has room, if need be beside what is about to be dropped from disk. Returns how many it
    /// dropped; `None`: the sent messages leave no room.
    pub(in super::super) fn drop_oldest(&mut self, size: u64, room: Room) -> Option<u32> {
        let mut sent = self.inflight_load();
        if !self.has_unsent_on_disk() {
            let disk = self.disk.unwrap_or_default();
            sent.messages += u64::from(disk.messages);
            sent.bytes += disk.bytes;
        }
        if !sent.takes(size, room) {
            return None;
        }
        let mut dropped = 0;
        while !self.total().takes(size, room)
            && let Some(owed) = self.pop()
        {
            self.settle(&owed);
            dropped += 1;
        }
        if self.total().takes(size, room) {
            return Some(dropped);
        }
        // The head is empty by now, so all bytes not inflight are the tail's.
        let mut behind = Load {
            messages: sent.messages + self.tail.len() as u64,
            bytes: sent.bytes + self.bytes - self.inflight_load().bytes,
        };
        while !behind.takes(size, room)
            && let Some(owed) = self.tail.pop_front()
        {
            behind.remove(owed.delivery.size());
            self.no_longer_waits(&owed);
            self.settle(&owed);
            dropped += 1;
        }
        Some(dropped)
    }

    /// Where to read the oldest messages on disk, if some must go; pass them to `trimmed`.
    pub(in super::super) fn begin_trim(&mut self, limits: &Limits) -> Option<u64> {
        let from = self.disk?.from.max(self.sent_to);
        let is_idle = self.loading == Loading::No && !self.is_leaving();
        if !is_idle || !self.is_over(limits) || !self.has_unsent_on_disk() {
            return None;
        }
        self.loading = Loading::Trim;
        Some(from)
    }

    /// Takes positions and sizes of the oldest messages on disk, and where to read on. Drops as
    /// many as exceed the limits, and returns how many.
    pub(in super::super) fn trimmed(
        &mut self,
        found: &[(u64, u64)],
        behind: Option<u64>,
        limits: &Limits,
        connected: bool,
    ) -> u32 {
        self.loading = Loading::No;
        let mut dropped = 0;
        if let Some(next) = self.disk.map(|disk| disk.next) {
            let holds_sent = self.disk.is_some_and(|disk| disk.from < self.sent_to);
            let unsent = self.sent_to;
            for &(position, size) in found.iter().filter(|(at, _)| (unsent..next).contains(at)) {
                if !self.is_over(limits) {
                    break;
                }
                if let Some(disk) = &mut self.disk {
                    disk.remove(size);
                }
                drop(self.take_slip(position));
                self.changes.push(SessionChange::Settle(position));
                // Every message before this one was sent or is gone.
                self.sent_to = position + 1;
                dropped += 1;
            }
            if behind.is_none_or(|behind| behind >= next) && self.is_over(limits) {
                // Nothing unsent is on disk.
                self.sent_to = self.sent_to.max(next);
            }
            let is_gone = self.disk.is_some_and(|disk| disk.messages == 0)
                || (!holds_sent && self.sent_to >= next);
            if is_gone {
                self.disk = None;
            } else if let Some(disk) = &mut self.disk
                && !holds_sent
            {
                disk.from = disk.from.max(self.sent_to);
            }
        }
        if !connected && !self.is_over(limits) {
            self.store_away();
        }
        dropped
    }

    fn has_unsent_on_disk(&self) -> bool {
        self.disk.is_some_and(|disk| disk.next > self.sent_to)
    }

    fn inflight_load(&self) -> Load {
        let owed = self.inflight.iter().filter_map(|entry| entry.owed.as_ref());
        Load {
            messages: self.inflight.len() as u64,
            bytes: owed.map(|owed| owed.delivery.size()).sum(),
        }
    }
}
