//! The store in memory: what it has committed outlives the process, what it has not is lost with it.
//!
//! Requests wait in a queue until the simulation has a group of them written. A group reaches the disk whole,
//! as the embedded store's does, or fails whole. From a failure until the disk works again everything fails,
//! and the group that failed is in doubt: after a crash all of it is found or nothing, as the simulation says;
//! where the disk works again first, what the group has made is undone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use push_common::clock::Monotonic;

use super::super::ticket::{StoreSink, Waiting};
use crate::broker::{
    Kept, Message, Retained, SessionMemory, TopicName, session_weight_bytes,
    subscription_weight_bytes, will_weight_bytes,
};
use crate::store::unsaved::Unsaved;
use crate::store::{
    Clocks, LeftOut, OutboxSummary, Outcome, Page, PageLimit, Position, Recovered,
    RecoveredSession, RecoveredWill, SessionNumber, SessionRecord, Sink, Store, StoreCounters,
    StoreFailure, Stored, StoredSubscription, WillNumber, Write,
};

/// What a request counts against the backlog, beside what it puts into outboxes.
const REQUEST_BYTES: u64 = 64;

/// The store of one process.
#[derive(Debug)]
pub(super) struct MemoryStore {
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
    Commit { writes: Vec<Write>, token: Waiting },
    Read { number: SessionNumber, from: Position, limit: PageLimit, token: Waiting },
}

/// What outlives the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    sessions: BTreeMap<SessionNumber, Session>,
    wills: BTreeMap<(SessionNumber, WillNumber), Arc<Message>>,
    retained: BTreeMap<String, Kept>,
}

#[derive(Clone, Debug, Default)]
struct Session {
    record: Option<SessionRecord>,
    subscriptions: BTreeMap<String, StoredSubscription>,
    outbox: BTreeMap<Position, Stored>,
    exactly_once: BTreeSet<u16>,
}

impl MemoryStore {
    pub(super) fn new(disk: Disk, sink: StoreSink, retained: Arc<Retained>) -> Self {
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
                        state.disk.apply(write, &state.retained);
                    }
                    done.push((token, Ok(None)));
                }
                Request::Commit { writes, token } => {
                    state.unsaved.fail(&writes);
                    for write in writes.into_iter().filter(is_save_retained) {
                        state.disk.apply(write, &state.retained);
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
                        with_group.apply(write.clone(), &state.retained);
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
        let all = state.retained.all().into_iter();
        state.disk.retained =
            all.map(|kept| (kept.message.topic.as_str().to_owned(), kept)).collect();
    }

    pub(super) fn is_failing(&self) -> bool {
        self.state().failing.is_some()
    }

    /// The process has ended: what is on disk. Of what waited the first `written` requests got there, and
    /// nobody was told.
    pub(super) fn left_on_disk(&self, written: usize) -> Disk {
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
                    state.disk.apply(write, &state.retained);
                }
            }
        }
        std::mem::take(&mut state.disk)
    }

    /// Sessions, messages in outboxes and wills on disk.
    pub(super) fn kept(&self) -> [usize; 3] {
        let state = self.state();
        let sessions = &state.disk.sessions;
        let messages = sessions.values().map(|session| session.outbox.len()).sum();
        [sessions.len(), messages, state.disk.wills.len()]
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
                    token
                }
                Request::Read { token, .. } => token,
            };
            self.sink.complete(token, Outcome::Failed(StoreFailure::Disk));
        }
        self.sink.flush();
    }
}

impl Store<Waiting> for MemoryStore {
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

impl Disk {
    fn apply(&mut self, write: Write, retained: &Retained) {
        match write {
            Write::PutSession { number, record } => {
                self.sessions.entry(number).or_default().record = Some(*record);
            }
            Write::RemoveSession { number } => {
                self.sessions.remove(&number);
            }
            Write::RemoveRecord { number } => self.change(number, |session| session.record = None),
            Write::PutSubscription { number, filter, options } => {
                let key = filter.as_str().to_owned();
                let kept = StoredSubscription { filter, options };
                self.sessions.entry(number).or_default().subscriptions.insert(key, kept);
            }
            Write::RemoveSubscription { number, filter } => self.change(number, |session| {
                session.subscriptions.remove(filter.as_str());
            }),
            Write::PutOutbox { number, position, entry } => {
                let outbox = &mut self.sessions.entry(number).or_default().outbox;
                outbox.insert(position, Stored::Entry(entry));
            }
            Write::ReleaseOutbox { number, position } => {
                let outbox = &mut self.sessions.entry(number).or_default().outbox;
                outbox.insert(position, Stored::Released);
            }
            Write::RemoveOutbox { number, position } => self.change(number, |session| {
                session.outbox.remove(&position);
            }),
            Write::PutExactlyOnce { number, packet_id } => {
                self.sessions.entry(number).or_default().exactly_once.insert(packet_id);
            }
            Write::RemoveExactlyOnce { number, packet_id } => self.change(number, |session| {
                session.exactly_once.remove(&packet_id);
            }),
            Write::PutWill { session, number, message } => {
                self.wills.insert((session, number), message);
            }
            Write::RemoveWill { session, number } => {
                self.wills.remove(&(session, number));
            }
            Write::SaveRetained { change } => self.save_retained(&change),
        }
    }

    /// Changes what there is of a session; a session without anything is none.
    fn change(&mut self, number: SessionNumber, change: impl FnOnce(&mut Session)) {
        if let Some(session) = self.sessions.get_mut(&number) {
            change(session);
            if session.is_empty() {
                self.sessions.remove(&number);
            }
        }
    }

    fn save_retained(&mut self, change: &RetainedChange) {
        if !change.take() {
            return;
        }
        let key = change.topic().as_str().to_owned();
        match change.kept() {
            Some(kept) => self.retained.insert(key, kept.clone()),
            None => self.retained.remove(&key),
        };
    }

    fn page(&self, number: SessionNumber, from: Position, limit: PageLimit) -> Page {
        let mut page = Page::default();
        let mut bytes = 0;
        let Some(session) = self.sessions.get(&number) else { return page };
        for (&position, stored) in session.outbox.range(from..) {
            if page.entries.len() >= limit.messages as usize || bytes >= limit.bytes {
                page.next = Some(position);
                break;
            }
            if let Stored::Entry(entry) = stored {
                bytes += entry.weight_bytes();
            }
            page.entries.push((position, stored.clone()));
        }
        page
    }

    /// Removes what was not there `before`.
    fn undo_made(&mut self, before: &Self) {
        let none = Session::default();
        for (number, session) in &mut self.sessions {
            let before = before.sessions.get(number).unwrap_or(&none);
            if before.record.is_none() {
                session.record = None;
            }
            session.subscriptions.retain(|filter, _| before.subscriptions.contains_key(filter));
            session.outbox.retain(|position, _| before.outbox.contains_key(position));
            session.exactly_once.retain(|packet_id| before.exactly_once.contains(packet_id));
        }
        self.sessions.retain(|_, session| !session.is_empty());
        self.wills.retain(|key, _| before.wills.contains_key(key));
    }

    /// What a start finds, as the embedded store's does: it counts what it takes of memory.
    pub(super) fn recover(
        &mut self,
        (clocks, next_number): (Clocks, SessionNumber),
        inflight_max: u16,
        memory: &SessionMemory,
        retained: &Retained,
        now: Monotonic,
    ) -> Recovered {
        self.remove_leftovers();
        let sessions: Vec<_> = self
            .sessions
            .iter()
            .filter_map(|(&number, session)| session.recovered(number, inflight_max))
            .collect();
        for RecoveredSession { record, subscriptions, .. } in &sessions {
            let will_bytes =
                record.will.as_ref().map_or(0, |will| will_weight_bytes(&will.message));
            assert!(memory.wills.take(will_bytes), "there is memory for all wills");
            if record.expiry_secs == 0 {
                continue;
            }
            let bytes = session_weight_bytes(&record.client_id, record.user.as_deref());
            assert!(memory.sessions.take(bytes), "there is memory for all sessions");
            let filters = subscriptions.iter().map(|kept| &kept.filter);
            let bytes = filters.map(|filter| subscription_weight_bytes(filter) as u64).sum();
            assert!(memory.subscriptions.take(bytes), "there is memory for all subscriptions");
        }
        let wills = self.wills.iter().map(|(&(session, number), message)| {
            assert!(memory.wills.take(will_weight_bytes(message)), "there is memory for all wills");
            RecoveredWill { session, number, message: Arc::clone(message) }
        });
        let wills = wills.collect();
        for Kept { message, publisher } in self.retained.values() {
            if !message.is_expired(now) {
                // What finds no room is left out, as ever.
                let _ = retained.set_by(message, publisher.as_deref());
            }
        }
        Recovered {
            sessions,
            left_out: LeftOut::default(),
            wills,
            wills_left_out: 0,
            next_number,
            clocks,
        }
    }

    /// Removes what belongs to no session, and of two sessions of a client the older one.
    fn remove_leftovers(&mut self) {
        self.sessions.retain(|_, session| session.record.is_some());
        let mut youngest = BTreeMap::new();
        for (number, session) in &self.sessions {
            if let Some(record) = session.record.as_ref().filter(|record| record.expiry_secs > 0) {
                youngest.insert(record.client_id.clone(), *number);
            }
        }
        self.sessions.retain(|number, session| match &session.record {
            Some(record) if record.expiry_secs > 0 => {
                youngest.get(&record.client_id) == Some(number)
            }
            _ => true,
        });
    }
}

impl Session {
    fn is_empty(&self) -> bool {
        let Self { record, subscriptions, outbox, exactly_once } = self;
        record.is_none() && subscriptions.is_empty() && outbox.is_empty() && exactly_once.is_empty()
    }

    fn recovered(&self, number: SessionNumber, inflight_max: u16) -> Option<RecoveredSession> {
        let record = self.record.clone()?;
        let may_be_sent = if record.disconnected_at.is_none() { inflight_max } else { 0 };
        let mut outbox = OutboxSummary {
            first: record.sent_to,
            next: record.sent_to,
            sent_to: record.sent_to,
            ..OutboxSummary::default()
        };
        for (&position, stored) in &self.outbox {
            if outbox.messages == 0 {
                outbox.first = position;
            }
            let is_released = *stored == Stored::Released;
            if is_released || outbox.messages - outbox.released < may_be_sent.into() {
                outbox.sent_to = outbox.sent_to.max(position.next());
            }
            outbox.next = outbox.next.max(position.next());
            outbox.messages += 1;
            match stored {
                Stored::Entry(entry) => {
                    outbox.bytes += entry.weight_bytes();
                    let oldest = outbox.oldest_at.unwrap_or(entry.queued_at);
                    outbox.oldest_at = Some(oldest.min(entry.queued_at));
                }
                Stored::Released => outbox.released += 1,
            }
        }
        Some(RecoveredSession {
            number,
            record,
            subscriptions: self.subscriptions.values().cloned().collect(),
            exactly_once: self.exactly_once.iter().copied().collect(),
            outbox,
        })
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
