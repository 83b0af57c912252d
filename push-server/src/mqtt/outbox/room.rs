//! How much an outbox may hold: by its own limits, and by the memory that all outboxes share.
//!
//! In memory a session may hold as much as it leaves free for all others. So a few that hoard end
//! up with equal parts, and leave everybody else the same. The more sessions hoard, the smaller the
//! parts; a session whose client reads hardly needs any.

use super::super::Limits;
use crate::broker::MemoryBudget;

/// Bytes that every session may hold in memory, however short memory is: 2 KiB, a few small
/// messages.
pub(in super::super) const HELD_ANYWAY_BYTES: u64 = 2 << 10;

/// A number of messages and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Load {
    pub(in super::super) messages: u64,
    pub(in super::super) bytes: u64,
}

impl Load {
    /// Whether a message of `size` bytes may be added.
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

/// What an outbox may still hold, in all or in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Room {
    messages_max: u64,
    bytes_max: u64,
    /// Bytes free for all outboxes before the message comes.
    left_bytes: u64,
    /// Whether an empty outbox takes a message of any size.
    takes_any_first: bool,
}

impl Room {
    /// The outbox's own limits.
    pub(in super::super) fn own(limits: &Limits) -> Self {
        Self {
            messages_max: limits.outbox_messages_max.into(),
            bytes_max: limits.outbox_bytes_max,
            left_bytes: u64::MAX,
            takes_any_first: true,
        }
    }

    /// What memory is free for all outboxes.
    pub(in super::super) fn in_memory(memory: &MemoryBudget) -> Self {
        Self {
            messages_max: u64::MAX,
            bytes_max: u64::MAX,
            left_bytes: memory.left_bytes(),
            takes_any_first: memory.used_bytes() == 0,
        }
    }

    /// Both at once.
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
