//! A store that fails as the simulation says. What it has written is in memory, and outlives the process that
//! is simulated; what it has not is lost with it.
//!
//! Requests wait in a queue until the simulation has a group of them written. A group reaches the disk whole,
//! as the embedded store's does, or fails whole. From a failure until the disk works again everything fails,
//! and the group that failed is in doubt: after a crash all of it is found or nothing, as the simulation says;
//! where the disk works again first, what the group has made is undone.
//!
//! The disk also has marks of the wall clock, by which a start knows how long there was no server: by the same
//! code as the embedded store's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use push_common::clock::Monotonic;

use super::clock::VirtualClock;
use crate::broker::{Retained, SessionMemory};
use crate::shard::journal::{StoreSink, Waiters};
use crate::store::memory::Contents;
use crate::store::rules::clock_watch::{ClockMark, ClockReading, ClockWatch};
use crate::store::rules::unsaved::Unsaved;
use crate::store::{
    Clocks, Opening, Outcome, PageLimit, Position, Recovered, SessionNumber, Sink, Store,
    StoreCounters, StoreFailure, Write,
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
    disk: Disk,
    /// The disk as it would be with the group that has failed; `None`: it works.
    failing: Option<Failing>,
    queue: VecDeque<Request>,
    unsaved: Unsaved,
    sink: StoreSink,
    retained: Arc<Retained>,
    timing: Timing,
}

/// The machine's clocks, and what is noted of them.
#[derive(Debug)]
pub(super) struct Timing {
    pub(super) clock: VirtualClock,
    pub(super) watch: ClockWatch,
}

/// How much of what waits for the disk gets there before the process ends.
#[derive(Clone, Copy, Debug)]
pub enum Written {
    /// So many requests.
    Requests(usize),
    /// So many bytes. A request that is cut is torn: no start finds a part of it.
    Bytes(u64),
}

#[derive(Debug)]
struct Failing {
    /// The disk with the group that has failed.
    with_group: Disk,
    /// Whether that is what is on it.
    is_written: bool,
}

#[derive(Debug)]
enum Request {
    Commit { writes: Vec<Write>, token: Waiters },
    Read { number: SessionNumber, from: Position, limit: PageLimit, token: Waiters },
}

/// What outlives the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    contents: Contents,
    mark: Option<ClockMark>,
    /// By what instants of messages are to be read.
    clocks: Clocks,
}

impl SimulatedStore {
    pub(super) fn new(
        disk: Disk,
        sink: StoreSink,
        retained: Arc<Retained>,
        timing: Timing,
    ) -> Self {
        let mut state = State {
            disk,
            failing: None,
            queue: VecDeque::new(),
            unsaved: Unsaved::default(),
            sink,
            retained,
            timing,
        };
        state.mark_clock();
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
        state.mark_clock();
        let mut done = Vec::new();
        for request in group {
            match request {
                Request::Commit { writes, token } if state.unsaved.admits(&writes) => {
                    for write in writes {
                        state.disk.contents.apply(write);
                    }
                    done.push((token, Ok(None)));
                }
                Request::Commit { writes, token } => {
                    state.unsaved.fail(&writes);
                    for write in writes.into_iter().filter(is_save_retained) {
                        state.disk.contents.apply(write);
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
                    Outcome::Page(state.disk.contents.page(number, from, limit))
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
                        with_group.contents.apply(write.clone());
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
            with_group.contents.undo_made(&state.disk.contents);
            state.disk = with_group;
        }
        state.timing.watch.forget_mark();
        state.disk.contents.catch_up(&state.retained);
    }

    pub(super) fn is_failing(&self) -> bool {
        self.state().failing.is_some()
    }

    /// The process has ended: what is on disk. Of what waited a part got there, and nobody was told.
    pub(super) fn left_on_disk(&self, written: Written) -> Disk {
        let mut state = self.state();
        let state = &mut *state;
        if let Some(Failing { with_group, is_written }) = state.failing.take() {
            return if is_written { with_group } else { std::mem::take(&mut state.disk) };
        }
        let count = match written {
            Written::Requests(count) => count.min(state.queue.len()),
            Written::Bytes(bytes) => {
                let ends = state.queue.iter().scan(0, |end, request| {
                    *end += request.weight_bytes();
                    Some(*end)
                });
                ends.take_while(|end| *end <= bytes).count()
            }
        };
        for request in state.queue.drain(..count) {
            if let Request::Commit { writes, .. } = request
                && state.unsaved.admits(&writes)
            {
                for write in writes {
                    state.disk.contents.apply(write);
                }
            }
        }
        std::mem::take(&mut state.disk)
    }

    /// Sessions, messages in outboxes and wills on disk.
    pub(super) fn kept(&self) -> [usize; 3] {
        self.state().disk.contents.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    fn weight_bytes(&self) -> u64 {
        let bytes = match self {
            Self::Commit { writes, .. } => writes.iter().map(weight_bytes).sum(),
            Self::Read { .. } => 0,
        };
        REQUEST_BYTES + bytes
    }
}

impl State {
    /// Notes what the wall clock says, where that is due.
    fn mark_clock(&mut self) {
        let Timing { clock, watch } = &mut self.timing;
        let seen = watch.look(clock.reading());
        if self.failing.is_none() && watch.due_in(seen).is_zero() {
            self.disk.mark = Some(watch.mark(seen));
            watch.marked(seen);
        }
    }

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

impl Store<Waiters> for SimulatedStore {
    fn commit(&self, writes: Vec<Write>, token: Waiters) {
        self.state().queue.push_back(Request::Commit { writes, token });
    }

    fn read_outbox(&self, number: SessionNumber, from: Position, limit: PageLimit, token: Waiters) {
        self.state().queue.push_back(Request::Read { number, from, limit, token });
    }

    fn backlog_bytes(&self) -> u64 {
        self.state().queue.iter().map(Request::weight_bytes).sum()
    }

    fn is_serving(&self) -> bool {
        !self.is_failing()
    }

    fn counters(&self) -> &StoreCounters {
        &self.counters
    }

    fn clock_was_set(&self) {
        self.state().mark_clock();
    }
}

impl Disk {
    /// The machine's clocks say this at a start: reads by them what there is.
    pub(super) fn resume_clock(&mut self, reading: ClockReading) -> ClockWatch {
        let (watch, clocks) = ClockWatch::resumed(reading, self.mark);
        let before = std::mem::replace(&mut self.clocks, clocks);
        self.contents.convert_expiries(|at| clocks.to_monotonic(before.to_wall_before(at)));
        watch
    }

    /// What a start finds, as the embedded store's does: it counts what it takes of memory.
    pub(super) fn recover(
        &mut self,
        next_number: SessionNumber,
        inflight_max: u16,
        memory: &Arc<SessionMemory>,
        retained: &Retained,
        now: Monotonic,
    ) -> Recovered {
        // A start reads what there is by this instant.
        let at_now = Clocks { monotonic: now, wall: self.clocks.to_wall(now) };
        let opening =
            Opening { inflight_max, memory: Arc::clone(memory), ..Opening::unlimited(at_now) };
        let recovered = self.contents.recover(&opening, retained);
        assert_eq!(recovered.left_out.sessions(), 0, "there is memory for all sessions");
        assert_eq!(recovered.wills_left_out, 0, "there is memory for all wills");
        Recovered { clocks: self.clocks, next_number, ..recovered }
    }
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
