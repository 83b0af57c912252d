//! The embedded store: one thread over a database in a directory. This file is its handle: a queue,
//! and the thread behind it.
//!
//! All retained messages are in memory, which decides their order; the disk follows (`retained`).

mod bodies;
mod database;
mod encode;
mod error;
mod group;
mod journal;
mod options;
mod private;
mod queue;
mod recover;
mod retained;
mod shared;
mod thread;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

pub(crate) use bodies::SHARED_MESSAGES_MAX;
pub use database::{DESCRIPTORS_MAX, DirectoryLock, lock_directory};
pub use error::StoreError;
pub use options::{Durability, StoreOptions};

pub use super::rules::clock_watch::ClockReading;

use self::database::Database;
use self::queue::Queue;
use self::shared::Shared;
use self::thread::StoreThread;
use super::{
    Clocks, PageLimit, Position, Recovered, SessionNumber, Sink, Store, StoreCounters, Write,
};
use crate::broker::Retained;
use crate::store::rules::clock_watch::ClockWatch;

/// The name of the store's thread.
const THREAD_NAME: &str = "store";

/// A store in a directory. Dropping it writes what is queued, and waits until that is done.
#[derive(Debug)]
pub struct EmbeddedStore<T> {
    shared: Arc<Shared<T>>,
    thread: Option<JoinHandle<()>>,
}

/// Locks `options.dir`, and opens the store in it ([`open_locked`]).
///
/// # Errors
/// Another process has the directory, or its contents cannot be read.
pub fn open<T, S>(
    options: StoreOptions,
    retained: Arc<Retained>,
    sink: S,
) -> Result<(EmbeddedStore<T>, Recovered), StoreError>
where
    T: Send + 'static,
    S: Sink<T> + 'static,
{
    let lock = database::lock_directory(&options.dir)?;
    open_locked(lock, options, retained, sink)
}

/// Opens the store in `options.dir`, which the caller has locked; makes it if it is missing, and
/// reads its contents.
///
/// Puts retained messages into `retained`, which must be empty; from then on the disk follows
/// `retained`.
///
/// Completions go to `sink`, on the store's own thread. A start takes about a microsecond for each
/// record, plus the time to read the database's journals, of at most some 200 MiB.
///
/// # Errors
/// The contents cannot be read.
pub fn open_locked<T, S>(
    lock: DirectoryLock,
    mut options: StoreOptions,
    retained: Arc<Retained>,
    sink: S,
) -> Result<(EmbeddedStore<T>, Recovered), StoreError>
where
    T: Send + 'static,
    S: Sink<T> + 'static,
{
    let database = Database::open(&options)?;
    let (watch, clocks) = watch_clock(&options, &database)?;
    options.opening.clocks = clocks;
    let shared = Arc::new(Shared {
        queue: Queue::new(options.backlog_bytes_max),
        counters: StoreCounters::default(),
        is_serving: AtomicBool::new(true),
        retained,
    });
    let (recovered, index) =
        recover::recover(&database, &options.opening, &shared.counters, &shared.retained)
            .map_err(|error| error.at_start(&options.dir))?;
    let dir = options.dir.clone();
    let thread = StoreThread::new(Arc::clone(&shared), sink, options, watch, lock, database, index);
    let thread = std::thread::Builder::new()
        .name(THREAD_NAME.to_owned())
        .spawn(move || thread.run())
        .map_err(|source| StoreError::Io { dir, source })?;
    Ok((EmbeddedStore { shared, thread: Some(thread) }, recovered))
}

/// Works out the store's time from the last note of an earlier start.
fn watch_clock(
    options: &StoreOptions,
    database: &Database,
) -> Result<(ClockWatch, Clocks), StoreError> {
    let Some(clock) = options.clock else {
        let now = ClockReading { clocks: options.opening.clocks, is_synchronised: true };
        return Ok(ClockWatch::resumed(now, None));
    };
    let noted = recover::clock_mark(database).map_err(|error| error.at_start(&options.dir))?;
    let now = ClockReading { clocks: options.opening.clocks, ..clock() };
    let (watch, clocks) = ClockWatch::resumed(now, noted);
    if let Some(behind) = watch.behind_at_start(now) {
        tracing::warn!(
            ?behind,
            "the wall clock is behind what it was when this server ran last: what it was down is not \
             counted, and what is stored lasts longer by that, until the clock is set"
        );
    }
    Ok((watch, clocks))
}

impl<T: Send + fmt::Debug> Store<T> for EmbeddedStore<T> {
    fn commit(&self, writes: Vec<Write>, token: T) {
        self.shared.queue.commit(writes, token);
    }

    fn read_outbox(&self, number: SessionNumber, from: Position, limit: PageLimit, token: T) {
        self.shared.queue.read(number, from, limit, token);
    }

    fn backlog_bytes(&self) -> u64 {
        self.shared.queue.backlog_bytes()
    }

    fn is_serving(&self) -> bool {
        self.shared.is_serving.load(Ordering::Relaxed)
    }

    fn counters(&self) -> &StoreCounters {
        &self.shared.counters
    }

    fn clock_was_set(&self) {
        self.shared.queue.clock_was_set();
    }
}

impl<T> Drop for EmbeddedStore<T> {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's thread panicked");
        }
    }
}
