//! The interface of a store: requests, what comes back, and the values in both. No type here knows of
//! an engine or a file system.
//!
//! Requests go in and never wait, each with a token of the caller's; the token comes back through the
//! caller's [`Sink`] when what it stands for is safe, read, or failed. A store keeps order: requests of
//! one caller take effect, and complete, in the order they were made, and several of them become one
//! atomic write (group commit).
//!
//! Nothing is promised in a session whose own record has failed: what puts something into it fails as
//! well, until its record is written, whether or not the caller has heard of that (`rules/unsaved.rs`).
//!
//! A failure never loses what was reported as [`Outcome::Committed`]. What was reported as
//! [`Outcome::Failed`] may or may not be found after a restart.

mod clocks;
pub(super) mod counters;
mod left_out;
mod numbers;
mod records;
pub(super) mod recovered;
mod write;

use std::fmt;

pub use clocks::{Clocks, WallMillis};
pub use counters::StoreCounters;
pub use left_out::LeftOut;
pub use numbers::{Position, SessionNumber, WillNumber};
pub use records::{OutboxEntry, SessionRecord, Stored, StoredSubscription, StoredWill};
pub use recovered::{Opening, OutboxSummary, Recovered, RecoveredSession, RecoveredWill};
pub use write::Write;

/// How much of an outbox to read at once. The first message comes whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// At most so many messages.
    pub messages: u32,
    /// At most so many bytes of them ([`OutboxEntry::weight_bytes`]).
    pub bytes: u64,
}

/// A piece of an outbox, in order of position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What was found. Messages past their expiry are among them.
    pub entries: Vec<(Position, Stored)>,
    /// Where to read on; `None` when nothing lies behind.
    pub next: Option<Position>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// All changes up to and with this request's are as safe as the durability promises.
    Committed,
    /// What was asked for.
    Page(Page),
    /// Nothing is promised.
    Failed(StoreFailure),
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFailure {
    /// The disk or the database failed; the log has the cause. The store tries to open it again,
    /// and until that works everything fails at once. [`Store::is_serving`] tells.
    #[error("the store cannot write to its disk")]
    Disk,
    /// More was waiting than [`StoreOptions::backlog_bytes_max`]. Only this request is lost.
    #[error("too much waits to be stored")]
    Backlog,
    /// It puts something into a session whose own record has failed, and does not write that.
    #[error("the record of the session is not stored")]
    Unsaved,
}

/// Durable state behind a queue. `T` is the caller's token.
pub trait Store<T>: Send + Sync + fmt::Debug {
    /// Queues changes, which take effect together. `Committed` or `Failed` comes back. Without
    /// changes it is a barrier: `Committed` when everything queued before is safe.
    fn commit(&self, writes: Vec<Write>, token: T);

    /// Queues a read of what lies in an outbox at `from` and behind. It sees every change queued
    /// before, and may see later ones. `Page` or `Failed` comes back.
    fn read_outbox(&self, number: SessionNumber, from: Position, limit: PageLimit, token: T);

    /// What has been queued and not come back, in bytes. Callers pause their publishers above a
    /// limit of theirs.
    fn backlog_bytes(&self) -> u64;

    /// Whether the disk works, as far as is known.
    fn is_serving(&self) -> bool;

    /// What happened so far.
    fn counters(&self) -> &StoreCounters;

    /// The wall clock was set, or may have been: what it says now is noted at once.
    fn clock_was_set(&self);
}

/// Takes completions, on the store's thread: it must not wait.
pub trait Sink<T>: Send {
    /// `token` came to this.
    fn complete(&mut self, token: T, outcome: Outcome);

    /// All completions of a group have been handed over: the time to wake their owners.
    fn flush(&mut self);
}
