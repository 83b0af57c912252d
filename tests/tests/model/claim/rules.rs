//! What a search explores: scripts for both ends, what the adversary may do how often, and what is done in
//! the wrong order.

use push_common::mutant::Part;

/// What an end does at any time of its own accord, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Ping,
    Data,
    KeyUpdate,
    KeyUpdateAsking,
    /// Of the server: close_notify, and nothing after it.
    Close,
}

/// What the adversary may still do, each so often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// Lose a segment of the client before the programs, of the server behind them.
    pub(super) lose_up: u8,
    pub(super) lose_down: u8,
    /// Lose a segment between program and stack.
    pub(super) lose_inside: u8,
    /// Deliver a segment of the client twice.
    pub(super) repeat: u8,
    /// Make either end send again before its time.
    pub(super) hurry: u8,
    /// Make TCP take only half of a record at once.
    pub(super) halve: u8,
    /// Send an old PINGREQ of the client in the place of what it sends next.
    pub(super) forge: u8,
    /// Have user space fill in requests alone, and no answers.
    pub(super) half_fill: u8,
    /// Kill user space.
    pub(super) crash: u8,
}

/// Two steps in the wrong order, or one that is missing; what a caller of push-common could do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The program reads `tx` before the word.
    TxFirst,
    /// The program copies the answer when it has taken the number.
    CopyLate,
    /// The program reads the receive word before `rx`.
    ReceiveWordFirst,
    /// User space seals with the number that it sees, and claims then.
    SealFirst,
    /// User space releases the word while TCP has half of a record.
    ReleaseAtHalf,
    /// User space releases the word while rustls holds a KeyUpdate that it has sealed.
    ReleaseBeforeReply,
    /// User space publishes `rx` before the receive word.
    RxFirst,
    /// User space releases the word after close_notify.
    ReleaseAfterClose,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) client: &'a [Item],
    pub(super) server: &'a [Item],
    pub(super) budget: Budget,
    pub(super) wrong: Option<Wrong>,
    /// What push-common leaves out.
    pub(super) left_out: Option<Part>,
    /// Faults are only what somebody sees: the wire, the client or user space. Otherwise also what is wrong
    /// inside, and has not shown yet.
    pub(super) only_outside: bool,
}
