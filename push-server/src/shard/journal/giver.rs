//! Sessions that hand on messages to other members of their groups, as work under way names them.

use crate::store::SessionNumber;

/// A session that hands on messages. Plain data: it may go on, or have ended since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Giver {
    /// The key that it has or had in its shard's table. `None`: it has ended, and this is its own errand, or a
    /// start has found it.
    pub(crate) key: Option<u32>,
    pub(crate) number: SessionNumber,
}

/// A place in the outbox that an ended session has on disk: where a page of it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandOnCursor {
    number: SessionNumber,
    /// Messages before this position were sent, or may have been.
    sent_to: u64,
    from: u64,
}

impl HandOnCursor {
    /// The page of the session `number` that begins at the position `from`.
    pub(crate) fn new(number: SessionNumber, sent_to: u64, from: u64) -> Self {
        Self { number, sent_to, from }
    }

    /// The page of the same outbox that begins at another position.
    pub(crate) fn at(self, from: u64) -> Self {
        Self { from, ..self }
    }

    pub(crate) fn number(self) -> SessionNumber {
        self.number
    }

    /// The position where the page begins.
    pub(crate) fn from(self) -> u64 {
        self.from
    }

    /// Whether the message in this position was sent to the session's client, or may have been.
    pub(crate) fn was_sent(self, position: u64) -> bool {
        position < self.sent_to
    }
}
