//! A client's output: whether a send is under way, whether one may begin, and which of the shard's lists of clients
//! the client is in for that.

use std::num::NonZeroU16;

/// A send is under way in the ring.
const SENDING: u8 = 1;

/// A send has failed: nothing more is sent, but what came before the end is still read.
const FAILED: u8 = 1 << 1;

/// It is in the list of clients to close because their outbox is full.
const OVERFLOWED: u8 = 1 << 2;

/// One client's.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// The tag of the flow on whose account it was put last into the list of clients to flush at the
    /// end of the turn.
    dirty_for: Option<NonZeroU16>,
    /// How many things CONNACK, and all that follows it, waits for: the store, groups that have to hear of the
    /// client.
    holds: u8,
    /// In one byte: an idle client is to stay small.
    flags: u8,
}

impl Output {
    /// Whether a send is under way in the ring.
    pub(crate) fn is_sending(&self) -> bool {
        self.flags & SENDING != 0
    }

    /// A send begins.
    pub(crate) fn begin_send(&mut self) {
        self.flags |= SENDING;
    }

    /// The send has ended.
    pub(crate) fn end_send(&mut self) {
        self.flags &= !SENDING;
    }

    /// Whether a send has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.flags & FAILED != 0
    }

    /// A send has failed: nothing more is sent.
    pub(crate) fn fail(&mut self) {
        self.flags |= FAILED;
    }

    /// Whether CONNACK waits for something.
    pub(crate) fn is_held(&self) -> bool {
        self.holds > 0
    }

    /// CONNACK waits for one more thing.
    pub(crate) fn hold(&mut self) {
        self.holds += 1;
    }

    /// One of the things that CONNACK waits for is done.
    pub(crate) fn release(&mut self) {
        self.holds = self.holds.saturating_sub(1);
    }

    /// It is to be flushed at the end of the turn, on account of the flow with this tag. Returns whether that
    /// is new.
    pub(crate) fn mark_dirty(&mut self, tag: NonZeroU16) -> bool {
        self.dirty_for.replace(tag) != Some(tag)
    }

    /// It is flushed now. Returns whether it was to be.
    pub(crate) fn take_dirty(&mut self) -> bool {
        self.dirty_for.take().is_some()
    }

    /// Its outbox is full. Returns whether that is new.
    pub(crate) fn mark_overflowed(&mut self) -> bool {
        let is_new = !self.is_overflowed();
        self.flags |= OVERFLOWED;
        is_new
    }

    /// Whether it is to be closed because its outbox is full.
    pub(crate) fn is_overflowed(&self) -> bool {
        self.flags & OVERFLOWED != 0
    }

    /// It is closed now. Returns whether it was to be.
    pub(crate) fn take_overflowed(&mut self) -> bool {
        let was = self.is_overflowed();
        self.flags &= !OVERFLOWED;
        was
    }
}

#[cfg(test)]
mod tests;
