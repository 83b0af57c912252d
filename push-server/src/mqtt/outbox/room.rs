//! How much an outbox may hold: by its own limits, and by what all outboxes together may take in memory.
//!
//! Of memory a session may hold as much as it leaves for all others. So a few that hoard leave each other
//! and everybody else an equal part. The more hoard, the smaller it is; a session that fetches its messages
//! hardly needs any.

use super::super::Limits;
use crate::broker::MemoryBudget;

/// What a session may always hold in memory: a few small messages.
pub(in super::super) const HELD_ANYWAY_BYTES: u64 = 2 << 10;

/// So many messages and so many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Load {
    pub(in super::super) messages: u64,
    pub(in super::super) bytes: u64,
}

impl Load {
    /// Whether a message of `size` bytes may come on top.
    pub(in super::super) fn takes(self, size: u64, room: Room) -> bool {
        let bytes = self.bytes + size;
        let fits_memory =
            bytes <= HELD_ANYWAY_BYTES || bytes.saturating_add(size) <= room.left_bytes;
        let fits = bytes <= room.bytes_max && fits_memory;
        if self.messages == 0 {
            fits || room.takes_any_first
        } else {
            fits && self.messages < room.messages_max
        }
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self { messages: self.messages - other.messages, bytes: self.bytes - other.bytes }
    }

    pub(super) fn add(&mut self, size: u64) {
        self.messages += 1;
        self.bytes += size;
    }

    pub(super) fn remove(&mut self, size: u64) {
        *self = self.without(Self { messages: 1, bytes: size });
    }
}

/// What an outbox, or the part of it that is in memory, may hold now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Room {
    messages_max: u64,
    bytes_max: u64,
    /// What is left for all before the message comes.
    left_bytes: u64,
    /// Whether one that holds nothing takes a message of any size.
    takes_any_first: bool,
}

impl Room {
    /// By its own limits.
    pub(in super::super) fn own(limits: &Limits) -> Self {
        Self {
            messages_max: limits.outbox_messages_max.into(),
            bytes_max: limits.outbox_bytes_max,
            left_bytes: u64::MAX,
            takes_any_first: true,
        }
    }

    /// In memory, by what is left for all outboxes.
    pub(in super::super) fn in_memory(memory: &MemoryBudget) -> Self {
        Self {
            messages_max: u64::MAX,
            bytes_max: u64::MAX,
            left_bytes: memory.left_bytes(),
            takes_any_first: memory.used_bytes() == 0,
        }
    }

    /// By both.
    pub(in super::super) fn and(self, other: Self) -> Self {
        Self {
            messages_max: self.messages_max.min(other.messages_max),
            bytes_max: self.bytes_max.min(other.bytes_max),
            left_bytes: self.left_bytes.min(other.left_bytes),
            takes_any_first: self.takes_any_first && other.takes_any_first,
        }
    }
}

#[cfg(test)]
mod tests;
