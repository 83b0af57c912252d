//! What must outlive the process: persistent sessions with their subscriptions, outboxes and
//! exactly-once ids, retained messages and pending wills.
//!
//! [`api`] is the interface, whose names stand here as well. [`embedded`] keeps it in a database in a
//! directory, by a thread of its own; [`memory`] keeps it as long as the process lives. `rules` is what
//! both keep to. What uses a store names the interface only; who opens one names
//! which.
//!
//! A store knows topics and messages, and no protocol: what an acknowledgement means, which limits an
//! outbox has, and what to do while the disk fails is its caller's to say.

pub mod api;
pub mod embedded;
pub mod memory;
pub(crate) mod rules;

pub use api::{
    Clocks, LeftOut, Opening, OutboxEntry, OutboxSummary, Outcome, Page, PageLimit, Position,
    Recovered, RecoveredSession, RecoveredWill, SessionNumber, SessionRecord, Sink, Store,
    StoreCounters, StoreFailure, Stored, StoredSubscription, StoredWill, WallMillis, WillNumber,
    Write,
};
