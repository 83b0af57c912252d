//! A shard's inbox: bounded, filled by every shard, woken once per batch. It does not know what the mail says.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;

/// Messages a mailbox holds; beyond it senders pause their publishers (`limit="mailbox"`).
pub(crate) const MAILBOX_MESSAGES_MAX: usize = 16_384;

/// A shard's inbox.
#[derive(Debug)]
pub(crate) struct Mailbox<M> {
    queue: ArrayQueue<M>,
    /// Whether a wake-up is on its way; spares one per message.
    notified: AtomicBool,
}

impl<M> Mailbox<M> {
    pub(crate) fn new() -> Self {
        Self::with_room(MAILBOX_MESSAGES_MAX)
    }

    /// Holds so many messages.
    pub(crate) fn with_room(messages_max: usize) -> Self {
        Self { queue: ArrayQueue::new(messages_max), notified: AtomicBool::new(false) }
    }

    /// Puts `mail` in. `Ok(true)`: the owner must be woken.
    pub(crate) fn push(&self, mail: M) -> Result<bool, M> {
        self.queue.push(mail)?;
        Ok(!self.notified.swap(true, Ordering::AcqRel))
    }

    /// The owner calls this before it drains: mail pushed afterwards wakes it again.
    pub(crate) fn begin_drain(&self) {
        self.notified.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn pop(&self) -> Option<M> {
        self.queue.pop()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests;
