//! The store's thread: takes the queued requests, writes them as one, and reports the results. If
//! the disk fails it fails every request at once, and tries now and then to open the database
//! again.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::bodies::Bodies;
use super::database::{self, Database, DatabaseError, DirectoryLock, Tree};
use super::encode::{self, BodyNumber, DecodeError};
use super::group::{CommitGroup, GROUP_BYTES_MAX, RecordKey, Written};
use super::options::StoreOptions;
use super::queue::{Ask, DroppedWrites, QueuedRequest, Wakeup};
use super::recover::{self, Index};
use super::retained;
use super::shared::Shared;
use crate::broker::{Message, Retained};
use crate::store::api::counters;
use crate::store::rules::clock_watch::ClockWatch;
use crate::store::rules::unsaved::Unsaved;
use crate::store::{
    Clocks, Outcome, Page, PageLimit, Position, SessionNumber, Sink, StoreFailure, Stored, Write,
};

/// Requests at which a group is closed.
const GROUP_REQUESTS_MAX: usize = 16_384;
/// Requests from which a group counts as load, and the least time from the start of such a group to
/// that of the next: a larger group costs less for each request, and more of its changes cancel out.
const LOAD_REQUESTS_MIN: usize = 64;
const GATHER: Duration = Duration::from_millis(1);
/// Bytes that a page counts in a group, for the time it takes.
const PAGE_BYTES: u64 = 64 << 10;
/// Bytes that removing a session counts in a group, for the search of its records.
const REMOVE_SESSION_BYTES: u64 = 16 << 10;
/// Time between measurements of the size on disk.
const DISK_LOOK_EVERY: Duration = Duration::from_secs(10);
/// Time between log lines about unreadable records.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// The state of the store's thread.
pub(super) struct StoreThread<T, S> {
    shared: Arc<Shared<T>>,
    sink: S,
    options: StoreOptions,
    _lock: DirectoryLock,
    state: State,
    /// Requests taken from the queue that are not in a group yet.
    taken: VecDeque<QueuedRequest<T>>,
    /// Requests in the group.
    requests: Vec<QueuedRequest<T>>,
    /// Records of a failed group that may be on disk and must not be.
    doubtful: Vec<RecordKey>,
    /// Sessions that nothing may be promised in.
    unsaved: Unsaved,
    /// The earliest start of the next group.
    gather_until: Instant,
    clock: ClockWatch,
    clock_look_at: Instant,
    look_at: Instant,
    report_at: Instant,
}

enum State {
    Serving(Box<Serving>),
    Failing { since: Instant, retry_at: Instant },
}

/// State that exists while the disk works.
struct Serving {
    database: Database,
    bodies: Bodies,
    group: CommitGroup,
}

impl<T, S: Sink<T>> StoreThread<T, S> {
    pub(super) fn new(
        shared: Arc<Shared<T>>,
        sink: S,
        options: StoreOptions,
        clock: ClockWatch,
        lock: DirectoryLock,
        database: Database,
        index: Index,
    ) -> Self {
        let serving = Serving::new(database, index, &options);
        let now = Instant::now();
        Self {
            shared,
            sink,
            options,
            _lock: lock,
            state: State::Serving(Box::new(serving)),
            taken: VecDeque::new(),
            requests: Vec::new(),
            doubtful: Vec::new(),
            unsaved: Unsaved::default(),
            gather_until: now,
            clock,
            clock_look_at: now,
            look_at: now,
            report_at: now,
        }
    }

    /// Serves until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            let until = match self.state {
                _ if !self.taken.is_empty() => Some(Instant::now()),
                State::Serving { .. } => self.options.clock.map(|_| self.clock_look_at),
                State::Failing { retry_at, .. } => Some(retry_at),
            };
            let found = self.shared.queue.take(&mut self.taken, until);
            let is_over = found == Wakeup::Closed && self.taken.is_empty();
            // In every state: a failing store reads the clock again when it serves again.
            let was_set = self.shared.queue.take_clock_was_set();
            self.look_at_clock(was_set, is_over);
            if is_over {
                if let State::Serving(serving) = &self.state {
                    serving.database.note_journals();
                }
                return;
            }
            match self.state {
                State::Serving(_) => self.write_group(),
                State::Failing { .. } => {
                    self.requests.extend(self.taken.drain(..));
                    self.fail_requests();
                    self.try_again();
                }
            }
        }
    }

    /// Notes the wall clock if it is time, if the clock was set, or at the end. The group must be
    /// empty.
    fn look_at_clock(&mut self, was_set: bool, at_end: bool) {
        let (Some(clock), State::Serving(serving)) = (self.options.clock, &mut self.state) else {
            return;
        };
        let now = Instant::now();
        if now < self.clock_look_at && !was_set && !at_end {
            return;
        }
        let seen = self.clock.look(clock());
        let due_in = self.clock.due_in(seen);
        if !due_in.is_zero() && !at_end {
            self.clock_look_at = now + due_in;
            return;
        }
        if let Some(set_by_ms) = self.clock.set_by(seen) {
            tracing::info!(set_by_ms, "the wall clock was set; what is stored keeps its time");
        }
        serving.group.mark_clock(self.clock.mark(seen));
        match caught(|| serving.group.write(&serving.database)) {
            Ok(_) => {
                self.clock.marked(seen);
                self.clock_look_at = now + self.clock.due_in(seen);
            }
            Err(error) => {
                // The record may be removed when the disk is back.
                self.clock.forget_mark();
                self.stop_serving(&error);
            }
        }
    }

    /// Makes a group of the taken requests, writes it, and completes them.
    fn write_group(&mut self) {
        let wait = self.gather_until.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
            self.shared.queue.take(&mut self.taken, Some(Instant::now()));
        }
        let started = Instant::now();
        let mut bytes = 0;
        while bytes < GROUP_BYTES_MAX && self.requests.len() < GROUP_REQUESTS_MAX {
            let Some(request) = self.taken.pop_front() else { break };
            bytes += self.add_to_group(request);
        }
        if self.requests.is_empty() {
            return;
        }
        if self.requests.len() >= LOAD_REQUESTS_MIN {
            self.gather_until = started + GATHER;
        }
        let State::Serving(serving) = &mut self.state else { return };
        match caught(|| serving.group.write(&serving.database)) {
            Ok(written) => {
                // Count first, so that a caller that sees its completion finds it counted.
                self.count_group(written);
                self.complete_requests();
                counters::max(&self.shared.counters.group_us_max, micros(started.elapsed()));
            }
            Err(error) => self.stop_serving(&error),
        }
    }

    /// Adds a request to the group, or only its retained changes if it may not be promised. Returns
    /// the bytes that it counts.
    fn add_to_group(&mut self, mut request: QueuedRequest<T>) -> u64 {
        let State::Serving(serving) = &mut self.state else { return 0 };
        let mut bytes = request.bytes;
        if let Ask::Commit(writes) = &mut request.ask
            && !self.unsaved.admits(writes)
        {
            let writes = std::mem::take(writes);
            request.ask = Ask::Dropped(DroppedWrites::new(writes, StoreFailure::Unsaved));
        }
        let writes = match &mut request.ask {
            Ask::Commit(writes) => std::mem::take(writes),
            Ask::Dropped(refused) => {
                self.unsaved.extend(refused.unsaved.drain(..));
                std::mem::take(&mut refused.retained)
            }
            Ask::Read(..) => {
                bytes += PAGE_BYTES;
                Vec::new()
            }
        };
        for write in writes {
            if matches!(write, Write::RemoveSession { .. }) {
                bytes += REMOVE_SESSION_BYTES;
            }
            serving.group.add(write, &mut serving.bodies);
        }
        self.requests.push(request);
        bytes
    }

    fn complete_requests(&mut self) {
        let State::Serving(serving) = &mut self.state else { return };
        let counters = &self.shared.counters;
        self.shared.queue.done(self.requests.iter().map(|request| request.bytes).sum());
        for QueuedRequest { ask, token, .. } in self.requests.drain(..) {
            let outcome = match ask {
                Ask::Commit(_) => Outcome::Committed,
                Ask::Dropped(DroppedWrites { failure, .. }) => {
                    let for_backlog = u64::from(failure == StoreFailure::Backlog);
                    counters::add(&counters.refused_backlog, for_backlog);
                    counters::add(&counters.failed, 1);
                    Outcome::Failed(failure)
                }
                Ask::Read(number, from, limit) => {
                    match caught(|| serving.read_page(number, from, limit, &self.options)) {
                        Ok((page, unreadable)) => {
                            counters::add(&counters.pages, 1);
                            counters::add(&counters.unreadable, unreadable);
                            Outcome::Page(page)
                        }
                        Err(error) => {
                            counters::add(&counters.failed, 1);
                            if Instant::now() >= self.report_at {
                                self.report_at = Instant::now() + REPORT_EVERY;
                                tracing::error!(%error, "cannot read an outbox");
                            }
                            Outcome::Failed(StoreFailure::Disk)
                        }
                    }
                }
            };
            self.sink.complete(token, outcome);
        }
        self.sink.flush();
    }

    fn count_group(&mut self, written: Written) {
        let counters = &self.shared.counters;
        let is_commit = |request: &&QueuedRequest<T>| matches!(request.ask, Ask::Commit(_));
        let committed = self.requests.iter().filter(is_commit).count();
        counters::add(&counters.committed, committed as u64);
        counters::max(&counters.group_requests_max, self.requests.len() as u64);
        counters::add(&counters.groups, u64::from(written.records > 0));
        counters::add(&counters.records, written.records);
        counters::add(&counters.coalesced, written.coalesced);
        counters::add(&counters.bytes, written.bytes);
        if let Some(waited) = written.fsync {
            counters::add(&counters.fsyncs, 1);
            counters::max(&counters.fsync_us_max, micros(waited));
        }
        let State::Serving(serving) = &mut self.state else { return };
        counters::set(&counters.shared_bodies, serving.bodies.len() as u64);
        counters::add(&counters.bodies_copied, serving.bodies.take_copied());
        let now = Instant::now();
        if now < self.look_at {
            return;
        }
        self.look_at = now + DISK_LOOK_EVERY;
        serving.database.note_journals();
        if let Some(bytes) = serving.database.disk_bytes() {
            counters::set(&counters.disk_bytes, bytes);
        }
    }

    /// The disk or the database failed.
    fn stop_serving(&mut self, error: &DatabaseError) {
        let now = Instant::now();
        let failing = State::Failing { since: now, retry_at: now + self.options.reopen_every };
        if let State::Serving(serving) = std::mem::replace(&mut self.state, failing) {
            self.doubtful.extend(serving.group.made());
            self.unsaved.extend(serving.group.saved());
            // Closing tries to write once more, and may fail in its own way.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(serving)));
        }
        self.shared.is_serving.store(false, Ordering::Relaxed);
        counters::add(&self.shared.counters.failures, 1);
        tracing::error!(
            %error,
            dir = %self.options.dir.display(),
            "cannot store: nothing is acknowledged until it can be; look at the disk's space, \
             mount and health, it is tried again every {:?}",
            self.options.reopen_every
        );
        self.requests.extend(self.taken.drain(..));
        self.fail_requests();
    }

    fn fail_requests(&mut self) {
        if self.requests.is_empty() {
            return;
        }
        counters::add(&self.shared.counters.failed, self.requests.len() as u64);
        self.shared.queue.done(self.requests.iter().map(|request| request.bytes).sum());
        for request in self.requests.drain(..) {
            match &request.ask {
                // A grouped request no longer has its writes; the group has told which records it
                // was to save.
                Ask::Commit(writes) => {
                    self.unsaved.fail(writes);
                    retained::give_up(writes);
                }
                Ask::Dropped(refused) => {
                    self.unsaved.extend(refused.unsaved.iter().copied());
                    retained::give_up(&refused.retained);
                }
                Ask::Read(..) => {}
            }
            self.sink.complete(request.token, Outcome::Failed(StoreFailure::Disk));
        }
        self.sink.flush();
    }

    /// Opens the database again, if it is time and the disk can be written.
    fn try_again(&mut self) {
        let State::Failing { since, retry_at } = &mut self.state else { return };
        if Instant::now() < *retry_at {
            return;
        }
        match reopen(&self.options, &self.doubtful, &self.shared.retained) {
            Ok(serving) => {
                tracing::info!(after = ?since.elapsed(), "the store works again");
                self.state = State::Serving(Box::new(serving));
                self.clock_look_at = Instant::now();
                self.doubtful.clear();
                counters::add(&self.shared.counters.reopened, 1);
                self.shared.is_serving.store(true, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::debug!(error = error.as_ref(), "the store does not work yet");
                *retry_at = Instant::now() + self.options.reopen_every;
            }
        }
    }
}

/// Opens the database again, undoes changes that were reported as failed but reached the disk, and
/// reads what the thread needs.
///
/// Only records that a failed group made are undone, all at once. Those it replaced or removed have
/// no earlier state to return to, and their requests wanted that result anyway. Otherwise an outbox
/// could hold a message twice: from the publish that failed, and from its repetition. Retained
/// messages become what memory holds.
fn reopen(
    options: &StoreOptions,
    doubtful: &[RecordKey],
    in_memory: &Retained,
) -> Result<Serving, Box<dyn std::error::Error + Send + Sync>> {
    database::probe(&options.dir)?;
    let database = Database::open(options)?;
    let mut group = CommitGroup::new(options.opening.clocks, SessionNumber::default());
    for key in doubtful {
        group.remove(key.clone());
    }
    let index = caught(|| {
        group.write(&database)?;
        retained::catch_up(&database, &mut group, in_memory)?;
        recover::reindex(&database)
    })?;
    Ok(Serving::new(database, index, options))
}

impl Serving {
    fn new(database: Database, index: Index, options: &StoreOptions) -> Self {
        let Index { bodies, next_number } = index;
        Self { database, bodies, group: CommitGroup::new(options.opening.clocks, next_number) }
    }

    /// Reads a page of an outbox. Also returns how many of its records cannot be read.
    fn read_page(
        &mut self,
        number: SessionNumber,
        from: Position,
        limit: PageLimit,
        options: &StoreOptions,
    ) -> Result<(Page, u64), DatabaseError> {
        let mut page = Page::default();
        let (mut bytes, mut unreadable) = (0, 0);
        let prefix = encode::number_key(number);
        for found in self.database.scan(Tree::Outbox, &prefix, &encode::outbox_key(number, from)) {
            let (key, value) = found?;
            let Ok((_, position)) = encode::decode_outbox_key(&key) else {
                unreadable += 1;
                continue;
            };
            if page.entries.len() >= limit.messages as usize || bytes >= limit.bytes {
                page.next = Some(position);
                break;
            }
            match self.stored(&value, options)? {
                Some(stored) => {
                    if let Stored::Entry(entry) = &stored {
                        bytes += entry.weight_bytes();
                    }
                    page.entries.push((position, stored));
                }
                None => unreadable += 1,
            }
        }
        Ok((page, unreadable))
    }

    /// The record at a position; `None`: it cannot be read.
    fn stored(
        &mut self,
        value: &[u8],
        options: &StoreOptions,
    ) -> Result<Option<Stored>, DatabaseError> {
        let clocks = &options.opening.clocks;
        match encode::decode_stored(value, clocks, |number| self.body(number, clocks)) {
            Ok(stored) => Ok(Some(stored)),
            Err(PlaceError::Unreadable) => Ok(None),
            Err(PlaceError::Database(error)) => Err(error),
        }
    }

    fn body(&mut self, number: BodyNumber, clocks: &Clocks) -> Result<Arc<Message>, PlaceError> {
        if let Some(message) = self.bodies.in_memory(number) {
            return Ok(message);
        }
        let value = self.database.read(Tree::Bodies, &number.0.to_be_bytes());
        let value = value.map_err(PlaceError::Database)?.ok_or(PlaceError::Unreadable)?;
        let message = Arc::new(encode::decode_message(&value, clocks)?);
        self.bodies.was_read(number, &message);
        Ok(message)
    }
}

/// Why the record at a position cannot be told.
enum PlaceError {
    /// It, or its message, is not a valid record.
    Unreadable,
    Database(DatabaseError),
}

impl From<DecodeError> for PlaceError {
    fn from(_: DecodeError) -> Self {
        Self::Unreadable
    }
}

/// A damaged file can trigger an assertion in the database; that becomes an error like others.
fn caught<R>(act: impl FnOnce() -> Result<R, DatabaseError>) -> Result<R, DatabaseError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or(Err(DatabaseError::Panicked))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
