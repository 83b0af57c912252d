//! The part of an outbox that lies on disk: pages come from there, and messages go there once they
//! are safe.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::delivery::Delivery;
use super::super::inflight::Inflight;
use super::super::owed::{Filing, Owed, SessionChange, find, remove_unsafe};
use super::{Extent, Fetched, HEAD_MESSAGES_MAX, Loading, Outbox, Room};
use crate::broker::MemoryBudget;

/// Bytes of memory that must be free before an outbox with something in memory reads a page: 16
/// KiB, a few dozen small messages.
const PAGE_BYTES_MIN: u64 = 16 << 10;

impl Outbox {
    /// Whether a page is being read, or messages that the session hands on may not be safe yet.
    pub(in super::super) fn awaits_disk(&self) -> bool {
        self.loading != Loading::No || self.left.is_some()
    }

    /// The position where the part on disk begins.
    pub(in super::super) fn on_disk(&self) -> Option<u64> {
        Some(self.disk?.from)
    }

    /// Where to read a page for the connected client, if one is due; pass the page to
    /// `page_loaded`.
    pub(in super::super) fn begin_page(&mut self, memory: &MemoryBudget) -> Option<u64> {
        let disk = self.disk?;
        let is_low = self.head.len() < HEAD_MESSAGES_MAX / 4 && !self.inflight.has_retries();
        // An outbox that holds nothing in memory reads a page all the same, and takes at least one
        // message.
        let held = self.in_memory();
        let has_room = held.messages == 0 || held.takes(PAGE_BYTES_MIN, Room::in_memory(memory));
        if self.loading != Loading::No || self.is_leaving() || !is_low || !has_room {
            return None;
        }
        self.loading = Loading::Page;
        Some(disk.from)
    }

    /// Takes a page from disk: what was found, in order, and where to read on. Messages without
    /// room in memory stay on disk, except the first. Returns how many messages are missing that
    /// should be there.
    pub(in super::super) fn page_loaded(
        &mut self,
        found: Vec<(u64, Fetched)>,
        mut next: Option<u64>,
        connected: bool,
        memory: &Arc<MemoryBudget>,
    ) -> u32 {
        self.loading = Loading::No;
        let Some(disk) = self.disk else { return 0 };
        if !connected {
            self.store_away();
            return 0;
        }
        let mut is_first = true;
        for (position, fetched) in found {
            if !(disk.from..disk.next).contains(&position) {
                continue;
            }
            let room = Room::in_memory(memory);
            if !is_first && !self.in_memory().takes(fetched.size(), room) {
                next = Some(position);
                break;
            }
            is_first = false;
            self.take_from_disk(position, fetched, memory);
        }
        let left = self.disk.take().unwrap_or_default();
        match next {
            Some(next) if next < disk.next => {
                self.disk = Some(Extent { from: next, ..left });
                0
            }
            _ => {
                if left.messages > 0 {
                    self.unfollow_lost();
                }
                left.messages
            }
        }
    }

    fn take_from_disk(&mut self, position: u64, fetched: Fetched, memory: &Arc<MemoryBudget>) {
        let size = fetched.size();
        if let Some(disk) = &mut self.disk {
            disk.remove(size);
        }
        let was_sent = position < self.sent_to;
        match fetched {
            Fetched::Release => self.inflight.push_retry(position, None),
            Fetched::Stale(_) if !was_sent => {
                drop(self.take_slip(position));
                self.changes.push(SessionChange::Settle(position));
            }
            Fetched::Message(mut delivery) | Fetched::Stale(mut delivery) => {
                self.bytes += size;
                self.share_ids(&mut delivery);
                let owed = Owed::new(position, Filing::Written, delivery, memory);
                if was_sent {
                    self.inflight.push_retry(position, Some(owed));
                } else {
                    self.head.push_back(owed);
                }
            }
        }
    }

    /// The disk has nothing more, and fewer messages than it should: slips of the missing ones
    /// report them dropped.
    fn unfollow_lost(&mut self) {
        let Self { head, tail, inflight, followed, .. } = self;
        if let Some(followed) = followed {
            let is_in = |queue: &VecDeque<Owed>, position| {
                queue.iter().any(|owed| owed.position == position)
            };
            followed.retain(|position| {
                is_in(head, position)
                    || is_in(tail, position)
                    || inflight.iter().any(|entry| entry.position == position)
            });
        }
    }

    /// The read failed; the next `begin_page` or `begin_trim` tries again.
    pub(in super::super) fn page_failed(&mut self, connected: bool) {
        self.loading = Loading::No;
        if !connected {
            self.store_away();
        }
    }

    /// The message at this position is on disk. `filed`: its `Filing` when it was delivered.
    pub(in super::super) fn written(&mut self, position: u64, filed: Filing, connected: bool) {
        let found = match find(&mut self.tail, position).or_else(|| find(&mut self.head, position))
        {
            Some(owed) => Some(owed),
            None => self.inflight.owed_mut(position),
        };
        match found {
            Some(owed) if owed.filing == Filing::Held => owed.filing = Filing::Never,
            Some(owed) => owed.filing = Filing::Written,
            None if self.left.as_deref_mut().is_some_and(|left| left.written(position, false)) => {}
            // The client acknowledged it before its removal could be queued.
            None if filed == Filing::Pending => self.changes.push(SessionChange::Settle(position)),
            None => {}
        }
        if connected {
            self.spill();
        } else {
            self.store_away();
        }
    }

    /// The message at this position will not be on disk, and its publisher knows. Drops it unless
    /// it has left. Returns whether it dropped it.
    pub(in super::super) fn not_written(&mut self, position: u64) -> bool {
        let dropped = remove_unsafe(&mut self.head, position)
            .or_else(|| remove_unsafe(&mut self.tail, position));
        if let Some(owed) = dropped {
            self.no_longer_waits(&owed);
            self.release_bytes(&owed);
            self.unfollow(&owed);
            self.spill();
            return true;
        }
        if self.left.as_deref_mut().is_some_and(|left| left.written(position, true)) {
            return true;
        }
        if let Some(owed) = self.inflight.owed_mut(position) {
            owed.filing = Filing::Never;
        }
        false
    }

    /// Queues once more the writes of messages that had left when their write failed.
    pub(in super::super) fn take_unwritten(&mut self) -> Vec<(u64, Delivery)> {
        let unwritten = self.inflight.owed_iter_mut().filter(|owed| owed.filing == Filing::Never);
        let queue = |owed: &mut Owed| {
            owed.filing = Filing::Queued;
            (owed.position, owed.delivery.clone())
        };
        unwritten.map(queue).collect()
    }

    /// Moves written messages from the front of the tail to the disk part, unless the head has room
    /// for them.
    fn spill(&mut self) {
        if self.disk.is_none() && !self.is_short && self.head.len() < HEAD_MESSAGES_MAX {
            return;
        }
        self.put_written_tail_on_disk();
    }

    fn put_written_tail_on_disk(&mut self) {
        while let Some(owed) = self.tail.pop_front_if(|owed| owed.filing == Filing::Written) {
            self.release_bytes(&owed);
            let disk = self.disk.get_or_insert(Extent::beginning_at(owed.position));
            disk.push(owed.position, owed.delivery.size());
        }
    }

    /// The client is away: frees every message in memory that is on disk, once all before it are on
    /// disk too.
    pub(in super::super) fn store_away(&mut self) {
        if self.loading != Loading::No || !self.is_safe_before_tail() {
            return;
        }
        if let Some(disk) = self.extent_before_tail() {
            self.disk = Some(disk);
            self.bytes = self.tail.iter().map(|owed| owed.delivery.size()).sum();
            self.head = VecDeque::new();
            self.inflight = Inflight::default();
        }
        self.put_written_tail_on_disk();
        if self.tail.is_empty() {
            // A slow disk may have made the tail long, and its messages may stay on disk for years.
            self.tail = VecDeque::new();
        }
    }

    fn is_safe_before_tail(&self) -> bool {
        let inflight = self.inflight.iter().filter_map(|entry| entry.owed.as_ref());
        inflight.chain(&self.head).all(|owed| owed.filing == Filing::Written)
    }

    /// Inflight, head and the disk part as one extent.
    fn extent_before_tail(&self) -> Option<Extent> {
        let mut whole: Option<Extent> = None;
        let inflight = self.inflight.iter().map(|entry| {
            (entry.position, entry.owed.as_ref().map_or(0, |owed| owed.delivery.size()))
        });
        let head = self.head.iter().map(|owed| (owed.position, owed.delivery.size()));
        for (position, size) in inflight.chain(head) {
            whole.get_or_insert(Extent::beginning_at(position)).push(position, size);
        }
        match (&mut whole, self.disk) {
            (Some(whole), Some(disk)) => whole.extend(disk),
            (None, disk) => whole = disk,
            (Some(_), None) => {}
        }
        whole.filter(|whole| whole.messages > 0)
    }
}
