//! A full outbox that drops its oldest messages (`OutboxFull::DropOldest`).
//!
//! What was sent stays: its client may have it, and its packet id is taken. Of the rest the oldest go
//! first. In memory they go at once. How large a message on disk is, only the disk knows, so the new
//! message is taken first, and the outbox is over its limits until a page with the oldest ones has been
//! read (`begin_trim`, `trimmed`). Until then no message joins those on disk, and those behind it keep to
//! the limits by themselves, so an outbox never grows to more than twice its limits.

use super::super::owed::SessionChange;
use super::super::{Limits, OutboxFull};
use super::{Load, Loading, Outbox, Room};

impl Outbox {
    /// Whether more is owed than the limits allow, and older messages are to be dropped for it.
    pub(in super::super) fn is_over(&self, limits: &Limits) -> bool {
        let total = self.total();
        limits.outbox_full == OutboxFull::DropOldest
            && total.messages > 1
            && (total.messages > u64::from(limits.outbox_messages_max)
                || total.bytes > limits.outbox_bytes_max)
    }

    /// Drops the oldest messages that were never sent, and are in memory, until one of `size` bytes
    /// finds room, if need be beside what is to be dropped from disk. Returns how many; `None`: what
    /// was sent leaves no room for it.
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
        // The head is empty by now, so the tail has all bytes that are not inflight.
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

    /// Where the oldest messages on disk are to be read from, to be dropped; `trimmed` brings them.
    pub(in super::super) fn begin_trim(&mut self, limits: &Limits) -> Option<u64> {
        let from = self.disk?.from.max(self.sent_to);
        let is_idle = self.loading == Loading::No && !self.is_leaving();
        if !is_idle || !self.is_over(limits) || !self.has_unsent_on_disk() {
            return None;
        }
        self.loading = Loading::Trim;
        Some(from)
    }

    /// The oldest messages on disk with their sizes, and where to read on. Drops as many as are over
    /// the limits, and returns how many.
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
                    disk.messages = disk.messages.saturating_sub(1);
                    disk.bytes = disk.bytes.saturating_sub(size);
                }
                drop(self.take_slip(position));
                self.changes.push(SessionChange::Settle(position));
                // All that is left before it was sent.
                self.sent_to = position + 1;
                dropped += 1;
            }
            if behind.is_none_or(|behind| behind >= next) && self.is_over(limits) {
                // Nothing unsent is left there.
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
