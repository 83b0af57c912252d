//! A store that fails as the simulation says. What it has written is in memory, and outlives the process that
//! is simulated; what it has not is lost with it.
//!
//! Requests wait in a queue until the simulation has a group of them written. A group reaches the disk whole,
//! as the embedded store's does, or fails whole. From a failure until the disk works again everything fails,
//! and the group that failed is in doubt: after a crash all of it is found or nothing, as the simulation says;
//! where the disk works again first, what the group has made is undone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::broker::Retained;
use crate::shard::journal::{StoreSink, Waiting};
use crate::store::memory::Contents;
use crate::store::rules::unsaved::Unsaved;
use crate::store::{
    Outcome, PageLimit, Position, SessionNumber, Sink, Store, StoreCounters, StoreFailure, Write,
};

/// What a request counts against the backlog, beside what it puts into outboxes.
const REQUEST_BYTES: u64 = 64;

/// The store of one process.
#[derive(Debug)]
pub(super) struct SimulatedStore {
    state: Mutex<State>,
    counters: StoreCounters,
}

#[derive(Debug)]
struct State {
    disk: Contents,
    /// The disk as it would be with the group that has failed; `None`: it works.
    failing: Option<Failing>,
    queue: VecDeque<Request>,
    unsaved: Unsaved,
    sink: StoreSink,
    retained: Arc<Retained>,
}

#[derive(Debug)]
struct Failing {
    /// The disk with the group that has failed.
    with_group: Contents,
    /// Whether that is what is on it.
    is_written: bool,
}

#[derive(Debug)]
enum Request {
    Commit { writes: Vec<Write>, token: Waiting },
    Read { number: SessionNumber, from: Position, limit: PageLimit, token: Waiting },
}

impl SimulatedStore {
    pub(super) fn new(disk: Contents, sink: StoreSink, retained: Arc<Retained>) -> Self {
        let state = State {
            disk,
            failing: None,
            queue: VecDeque::new(),
            unsaved: Unsaved::default(),
            sink,
            retained,
        };
        Self { state: Mutex::new(state), counters: StoreCounters::default() }
    }

    /// Requests that wait.
    pub(super) fn waiting(&self) -> usize {
        self.state().queue.len()
    }

    /// Writes a group of so many requests at most, and tells who waits for them; fails them while the disk
    /// does not work.
    pub(super) fn write_group(&self, requests_max: usize) {
        let mut state = self.state();
        let state = &mut *state;
        let count = requests_max.min(state.queue.len());
        let group: Vec<Request> = state.queue.drain(..count).collect();
        if state.failing.is_some() {
            state.fail(group);
            return;
        }
        let mut done = Vec::new();
        for request in group {
            match request {
                Request::Commit { writes, token } if state.unsaved.admits(&writes) => {
                    for write in writes {
                        state.disk.apply(write);
                    }
                    done.push((token, Ok(None)));
                }
                Request::Commit { writes, token } => {
                    state.unsaved.fail(&writes);
                    for write in writes.into_iter().filter(is_save_retained) {
                        state.disk.apply(write);
                    }
                    done.push((token, Err(StoreFailure::Unsaved)));
                }
                Request::Read { number, from, limit, token } => {
                    done.push((token, Ok(Some((number, from, limit)))));
                }
            }
        }
        for (token, result) in done {
            let outcome = match result {
                Ok(None) => Outcome::Committed,
                Ok(Some((number, from, limit))) => {
                    Outcome::Page(state.disk.page(number, from, limit))
                }
                Err(failure) => Outcome::Failed(failure),
            };
            state.sink.complete(token, outcome);
        }
        state.sink.flush();
    }

    /// The disk fails while it writes a group of so many requests, and with it all that waits.
    /// `is_written`: the group is on it all the same.
    pub(super) fn fail(&self, requests_max: usize, is_written: bool) {
        let mut state = self.state();
        let state = &mut *state;
        if state.failing.is_none() {
            let mut with_group = state.disk.clone();
            for request in state.queue.iter().take(requests_max) {
                if let Request::Commit { writes, .. } = request {
                    for write in writes {
                        with_group.apply(write.clone());
                    }
                }
            }
            state.failing = Some(Failing { with_group, is_written });
        }
        let requests: Vec<Request> = state.queue.drain(..).collect();
        state.fail(requests);
    }

    /// The disk works again.
    pub(super) fn heal(&self) {
        let mut state = self.state();
        let state = &mut *state;
        let Some(Failing { mut with_group, is_written }) = state.failing.take() else { return };
        if is_written {
            with_group.undo_made(&state.disk);
            state.disk = with_group;
        }
        state.disk.catch_up(&state.retained);
    }

    pub(super) fn is_failing(&self) -> bool {
        self.state().failing.is_some()
    }

    /// The process has ended: what is on disk. Of what waited the first `written` requests got there, and
    /// nobody was told.
    pub(super) fn left_on_disk(&self, written: usize) -> Contents {
        let mut state = self.state();
        let state = &mut *state;
        if let Some(Failing { with_group, is_written }) = state.failing.take() {
            return if is_written { with_group } else { std::mem::take(&mut state.disk) };
        }
        let count = written.min(state.queue.len());
        for request in state.queue.drain(..count) {
            if let Request::Commit { writes, .. } = request
                && state.unsaved.admits(&writes)
            {
                for write in writes {
                    state.disk.apply(write);
                }
            }
        }
        std::mem::take(&mut state.disk)
    }

    /// Sessions, messages in outboxes and wills on disk.
    pub(super) fn kept(&self) -> [usize; 3] {
        self.state().disk.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fail(&mut self, requests: Vec<Request>) {
        for request in requests {
            let token = match request {
                Request::Commit { writes, token } => {
                    self.unsaved.fail(&writes);
                    for write in &writes {
                        if let Write::SaveRetained { change } = write {
                            // What is older must not be made over what memory has had written.
                            change.take();
                        }
                    }
                    token
                }
                Request::Read { token, .. } => token,
            };
            self.sink.complete(token, Outcome::Failed(StoreFailure::Disk));
        }
        self.sink.flush();
    }
}

impl Store<Waiting> for SimulatedStore {
    fn commit(&self, writes: Vec<Write>, token: Waiting) {
        self.state().queue.push_back(Request::Commit { writes, token });
    }

    fn read_outbox(&self, number: SessionNumber, from: Position, limit: PageLimit, token: Waiting) {
        self.state().queue.push_back(Request::Read { number, from, limit, token });
    }

    fn backlog_bytes(&self) -> u64 {
        let bytes = |request: &Request| match request {
            Request::Commit { writes, .. } => writes.iter().map(weight_bytes).sum::<u64>(),
            Request::Read { .. } => 0,
        };
        self.state().queue.iter().map(|request| REQUEST_BYTES + bytes(request)).sum()
    }

    fn is_serving(&self) -> bool {
        !self.is_failing()
    }

    fn counters(&self) -> &StoreCounters {
        &self.counters
    }

    fn clock_was_set(&self) {}
}

fn is_save_retained(write: &Write) -> bool {
    matches!(write, Write::SaveRetained { .. })
}

fn weight_bytes(write: &Write) -> u64 {
    match write {
        Write::PutOutbox { entry, .. } => entry.weight_bytes(),
        _ => 0,
    }
}
