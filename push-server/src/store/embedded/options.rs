//! The settings of the embedded store.

use std::path::PathBuf;
use std::time::Duration;

use crate::store::rules::clock_watch::ClockReading;
use crate::store::{Clocks, Opening};

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The disk: survives the loss of power.
    #[default]
    Fsync,
    /// The operating system: survives a crash of the process, not of the machine.
    Os,
}

/// The settings of the embedded store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The directory, made if it is missing. One server for each.
    pub dir: PathBuf,
    /// What a commit waits for.
    pub durability: Durability,
    /// What the store needs to know when it opens.
    pub opening: Opening,
    /// How to read the clocks while the store is open: now and then, and when the wall clock was
    /// set ([`Store::clock_was_set`](crate::store::Store::clock_was_set)). The start works out its
    /// time from the notes of an earlier one: see
    /// [`Recovered::clocks`](crate::store::Recovered::clocks). `None`: the store notes nothing, and
    /// trusts the clocks of `opening`.
    pub clock: Option<fn() -> ClockReading>,
    /// Most bytes of waiting requests; beyond it requests fail.
    pub backlog_bytes_max: u64,
    /// Bytes of memory for blocks read from disk.
    pub cache_bytes: u64,
    /// Pause between attempts to open again after a failure.
    pub reopen_every: Duration,
}

/// Default of [`StoreOptions::backlog_bytes_max`]: some seconds of full load.
const BACKLOG_BYTES_MAX: u64 = 256 << 20;
/// Default of [`StoreOptions::cache_bytes`].
const CACHE_BYTES: u64 = 32 << 20;
/// Default of [`StoreOptions::reopen_every`].
const REOPEN_EVERY: Duration = Duration::from_secs(2);

impl StoreOptions {
    /// Defaults for a store in `dir`, with the current clocks.
    pub fn new(dir: impl Into<PathBuf>, durability: Durability) -> Self {
        Self {
            dir: dir.into(),
            durability,
            opening: Opening::unlimited(Clocks::now()),
            clock: None,
            backlog_bytes_max: BACKLOG_BYTES_MAX,
            cache_bytes: CACHE_BYTES,
            reopen_every: REOPEN_EVERY,
        }
    }
}
