//! The queue of requests from all shards; the store's thread takes all of them at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::store::rules::unsaved;
use crate::store::{PageLimit, Position, SessionNumber, StoreFailure, Write};

/// Bytes of backlog that a change counts beside its message.
const CHANGE_BYTES: u64 = 64;
/// Bytes of backlog that a request counts by itself.
const REQUEST_BYTES: u64 = 64;

/// A request without its token.
#[derive(Debug)]
pub(super) enum Ask {
    /// Changes to be made together.
    Commit(Vec<Write>),
    /// Changes of a refused request.
    Dropped(DroppedWrites),
    /// A read of an outbox.
    Read(SessionNumber, Position, PageLimit),
}

/// The parts of a refused request that still matter.
#[derive(Debug)]
pub(super) struct DroppedWrites {
    pub(super) failure: StoreFailure,
    /// Changes to retained messages: memory has made them, so the disk must too.
    pub(super) retained: Vec<Write>,
    /// Sessions whose own records were among the changes.
    pub(super) unsaved: Vec<SessionNumber>,
}

impl DroppedWrites {
    pub(super) fn new(mut writes: Vec<Write>, failure: StoreFailure) -> Self {
        let unsaved = writes.iter().filter_map(unsaved::saves).collect();
        writes.retain(|write| matches!(write, Write::SaveRetained { .. }));
        Self { failure, retained: writes, unsaved }
    }
}

/// A request with its token.
#[derive(Debug)]
pub(super) struct QueuedRequest<T> {
    pub(super) ask: Ask,
    pub(super) token: T,
    pub(super) bytes: u64,
}

/// The requests that wait for the store's thread.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: Mutex<QueueState<T>>,
    wake: Condvar,
    /// Bytes of requests that are queued or under way.
    backlog_bytes: AtomicU64,
    backlog_bytes_max: u64,
}

#[derive(Debug)]
struct QueueState<T> {
    requests: VecDeque<QueuedRequest<T>>,
    is_closed: bool,
    /// Whether the store's thread sleeps and must be woken.
    is_awaited: bool,
    /// The wall clock was set, and the store's thread does not know yet.
    clock_was_set: bool,
}

/// Why `take` returned.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wakeup {
    /// Requests to write.
    Requests,
    /// No request came in time, or the wall clock was set.
    Nothing,
    /// No request, and none will come.
    Closed,
}

impl<T> Queue<T> {
    pub(super) fn new(backlog_bytes_max: u64) -> Self {
        let waiting = QueueState {
            requests: VecDeque::new(),
            is_closed: false,
            is_awaited: false,
            clock_was_set: false,
        };
        Self {
            waiting: Mutex::new(waiting),
            wake: Condvar::new(),
            backlog_bytes: AtomicU64::new(0),
            backlog_bytes_max,
        }
    }

    /// Queues changes. Above the limit, queues only the parts that matter of a refused request.
    pub(super) fn commit(&self, writes: Vec<Write>, token: T) {
        // The request that passes the limit is still accepted, so the limit is exceeded by one
        // request at most.
        let refused = self.backlog_bytes() > self.backlog_bytes_max && !writes.is_empty();
        let ask = if refused {
            Ask::Dropped(DroppedWrites::new(writes, StoreFailure::Backlog))
        } else {
            Ask::Commit(writes)
        };
        let bytes = match &ask {
            Ask::Commit(writes) => writes.iter().map(weight_bytes).sum(),
            Ask::Dropped(refused) => refused.retained.iter().map(weight_bytes).sum(),
            Ask::Read(..) => 0,
        };
        self.push(QueuedRequest { ask, token, bytes: REQUEST_BYTES + bytes });
    }

    /// Queues a read.
    pub(super) fn read(&self, number: SessionNumber, from: Position, limit: PageLimit, token: T) {
        let ask = Ask::Read(number, from, limit);
        self.push(QueuedRequest { ask, token, bytes: REQUEST_BYTES });
    }

    /// No more requests are coming.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_one();
    }

    /// The wall clock was set. Wakes the thread, now or at its next wait.
    pub(super) fn clock_was_set(&self) {
        self.lock().clock_was_set = true;
        self.wake.notify_one();
    }

    /// Whether the wall clock was set since the last call.
    pub(super) fn take_clock_was_set(&self) -> bool {
        std::mem::take(&mut self.lock().clock_was_set)
    }

    pub(super) fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes.load(Ordering::Relaxed)
    }

    /// Moves all waiting requests to the end of `taken`. If there are none, waits for one until
    /// `until` (`None`: without end) or until the wall clock is set. Does not wait while
    /// [`Self::take_clock_was_set`] would return true.
    pub(super) fn take(
        &self,
        taken: &mut VecDeque<QueuedRequest<T>>,
        until: Option<Instant>,
    ) -> Wakeup {
        let mut waiting = self.lock();
        while waiting.requests.is_empty() {
            if waiting.is_closed {
                return Wakeup::Closed;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) || waiting.clock_was_set {
                return Wakeup::Nothing;
            }
            waiting.is_awaited = true;
            waiting = match left {
                None => self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let woken = self.wake.wait_timeout(waiting, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            waiting.is_awaited = false;
        }
        if taken.is_empty() {
            std::mem::swap(taken, &mut waiting.requests);
        } else {
            taken.append(&mut waiting.requests);
        }
        Wakeup::Requests
    }

    /// Requests of this many bytes have completed.
    pub(super) fn done(&self, bytes: u64) {
        self.backlog_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn push(&self, request: QueuedRequest<T>) {
        self.backlog_bytes.fetch_add(request.bytes, Ordering::Relaxed);
        let mut waiting = self.lock();
        waiting.requests.push_back(request);
        let wakes = std::mem::take(&mut waiting.is_awaited);
        drop(waiting);
        if wakes {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState<T>> {
        // No holder of the lock can panic half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that a change counts in the backlog.
fn weight_bytes(write: &Write) -> u64 {
    let carried = match write {
        Write::PutSession { record, .. } => {
            let will = record.will.as_ref().map_or(0, |will| will.message.weight_bytes());
            record.client_id.len() + will
        }
        Write::PutOutbox { entry, .. } => {
            let share = entry.share.as_ref().map_or(0, |share| share.as_str().len());
            entry.weight_bytes() as usize + share
        }
        Write::PutWill { message, .. } => message.weight_bytes(),
        Write::SaveRetained { change } => change.weight_bytes(),
        Write::PutSubscription { filter, .. } | Write::RemoveSubscription { filter, .. } => {
            filter.as_str().len()
        }
        Write::RemoveSession { .. }
        | Write::RemoveRecord { .. }
        | Write::ReleaseOutbox { .. }
        | Write::RemoveOutbox { .. }
        | Write::PutExactlyOnce { .. }
        | Write::RemoveExactlyOnce { .. }
        | Write::RemoveWill { .. } => 0,
    };
    CHANGE_BYTES + carried as u64
}

#[cfg(test)]
mod tests;
