//! A store in memory. Its contents outlive it, and end with the process. For tests, and as the
//! interface's second implementation.
//!
//! It makes every change at once, on the caller's thread: nothing waits, and nothing fails.

mod contents;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use contents::Contents;

use super::{
    Opening, Outcome, PageLimit, Position, Recovered, SessionNumber, Sink, Store, StoreCounters,
    Write,
};
use crate::broker::Retained;

/// The contents of stores. Clones are the same memory; open one store on it at a time.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Contents>>);

/// A store on a `Memory`. `S` takes its completions.
pub struct MemoryStore<S> {
    memory: Memory,
    sink: Mutex<S>,
    counters: StoreCounters,
}

impl<S> MemoryStore<S> {
    /// Opens a store on the contents of earlier ones. Puts retained messages into `retained`, which
    /// must be empty. Completions go to `sink`, on the caller's thread.
    pub fn open(
        memory: &Memory,
        opening: &Opening,
        retained: &Retained,
        sink: S,
    ) -> (Self, Recovered) {
        let recovered = memory.contents().recover(opening, retained);
        let memory = memory.clone();
        (Self { memory, sink: Mutex::new(sink), counters: StoreCounters::default() }, recovered)
    }

    fn complete<T>(&self, act: impl FnOnce(&mut Contents) -> Outcome, token: T)
    where
        S: Sink<T>,
    {
        // Held until the completion is out, so that completions keep the order of requests.
        let mut sink = lock(&self.sink);
        let outcome = act(&mut self.memory.contents());
        let counter = match outcome {
            Outcome::Page(_) => &self.counters.pages,
            _ => &self.counters.committed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        sink.complete(token, outcome);
        sink.flush();
    }
}

impl<T, S: Sink<T>> Store<T> for MemoryStore<S> {
    fn commit(&self, writes: Vec<Write>, token: T) {
        let make = |contents: &mut Contents| {
            for write in writes {
                contents.apply(write);
            }
            Outcome::Committed
        };
        self.complete(make, token);
    }

    fn read_outbox(&self, number: SessionNumber, from: Position, limit: PageLimit, token: T) {
        self.complete(|contents| Outcome::Page(contents.page(number, from, limit)), token);
    }

    fn backlog_bytes(&self) -> u64 {
        0
    }

    fn is_serving(&self) -> bool {
        true
    }

    fn counters(&self) -> &StoreCounters {
        &self.counters
    }

    fn clock_was_set(&self) {
        // The contents end with the process, so they need no clock but the process's own.
    }
}

impl<S> fmt::Debug for MemoryStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl Memory {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        lock(&self.0)
    }
}

/// A panic elsewhere leaves whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
