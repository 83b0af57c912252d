//! The interface of a store: requests, results, and the values in both. No type here depends on an
//! engine or a file system.
//!
//! Requests go in and never wait, each with a token of the caller's. The token comes back through
//! the caller's [`Sink`] when the request is safe, read, or failed. A store keeps order: requests
//! of one caller take effect and complete in the order they were made; several become one atomic
//! write (group commit).
//!
//! If a session's own record could not be written, everything put into that session fails until the
//! record is written, whether or not the caller knows yet (`rules/unsaved.rs`).
//!
//! A failure never loses what was reported as [`Outcome::Committed`]. What was reported as
//! [`Outcome::Failed`] may or may not be there after a restart.

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

/// How much of an outbox to read at once. The first message comes even if it is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Most messages.
    pub messages: u32,
    /// Most bytes of messages ([`OutboxEntry::weight_bytes`]).
    pub bytes: u64,
}

/// A part of an outbox, in order of position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The records found, messages past their expiry included.
    pub entries: Vec<(Position, Stored)>,
    /// Where to read on; `None`: this was the end.
    pub next: Option<Position>,
}

/// The result of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// All changes up to and including this request's are as safe as the durability promises.
    Committed,
    /// The page that was asked for.
    Page(Page),
    /// The store promises nothing about the request.
    Failed(StoreFailure),
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFailure {
    /// The disk or the database failed; the log has the cause. The store tries to open it again,
    /// and fails every request at once until that works. [`Store::is_serving`] tells.
    #[error("the store cannot write to its disk")]
    Disk,
    /// More than [`StoreOptions::backlog_bytes_max`] was waiting. Only this request is lost.
    #[error("too much waits to be stored")]
    Backlog,
    /// The request puts something into a session whose own record has failed, without writing that.
    #[error("the record of the session is not stored")]
    Unsaved,
}

/// A store behind a queue. `T` is the caller's token.
pub trait Store<T>: Send + Sync + fmt::Debug {
    /// Queues changes that take effect together. The result is `Committed` or `Failed`. Without
    /// changes it is a barrier: `Committed` once everything queued before is safe.
    fn commit(&self, writes: Vec<Write>, token: T);

    /// Queues a read of an outbox from `from` on. It sees every change queued before, and may see
    /// later ones. The result is `Page` or `Failed`.
    fn read_outbox(&self, number: SessionNumber, from: Position, limit: PageLimit, token: T);

    /// Bytes of requests that have not completed. Callers pause their publishers above a limit of
    /// their own.
    fn backlog_bytes(&self) -> u64;

    /// Whether the disk works, as far as the store knows.
    fn is_serving(&self) -> bool;

    /// The store's counters.
    fn counters(&self) -> &StoreCounters;

    /// The wall clock was set, or may have been: the store notes the new time at once.
    fn clock_was_set(&self);
}

/// Takes completions on the store's thread, so it must not wait.
pub trait Sink<T>: Send {
    /// The request of `token` has this result.
    fn complete(&mut self, token: T, outcome: Outcome);

    /// All completions of a group have been handed over: wake their owners.
    fn flush(&mut self);
}
