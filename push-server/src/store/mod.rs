//! What must outlive the process: persistent sessions with their subscriptions, outboxes and
//! exactly-once ids, retained messages and pending wills.
//!
//! [`api`] is the interface, whose names are re-exported here. [`embedded`] stores in a database in
//! a directory, with a thread of its own; [`memory`] stores as long as the process lives. `rules`
//! holds for both. Users of a store name the interface only; the code that opens one names the
//! implementation.
//!
//! A store knows topics and messages, and no protocol: its caller decides what an acknowledgement
//! means, which limits an outbox has, and what to do while the disk fails.

pub(crate) mod api;
pub mod embedded;
pub mod memory;
pub(crate) mod rules;

pub use api::{
    Clocks, LeftOut, Opening, OutboxEntry, OutboxSummary, Outcome, Page, PageLimit, Position,
    Recovered, RecoveredSession, RecoveredWill, SessionNumber, SessionRecord, Sink, Store,
    StoreCounters, StoreFailure, Stored, StoredSubscription, StoredWill, WallMillis, WillNumber,
    Write,
};
