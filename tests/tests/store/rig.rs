//! A store with its completions, and short names for what goes into it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use push_server::broker::{
    Held, Message, QoS, Retained, SubscriptionOptions, TopicFilter, TopicName,
};
use push_server::store::embedded::{self, Durability, EmbeddedStore, StoreError, StoreOptions};
use push_server::store::memory::{Memory, MemoryStore};
use push_server::store::{
    Clocks, Opening, OutboxEntry, Outcome, Page, PageLimit, Position, Recovered, RecoveredSession,
    SessionNumber, SessionRecord, Sink, Store, StoreCounters, StoreFailure, Stored, WallMillis,
    Write,
};
use tempfile::TempDir;

/// Patience for whatever a store has to do.
const PATIENCE: Duration = Duration::from_secs(60);
/// More retained messages than any test has.
const RETAINED_MAX: usize = 1_000_000;
/// Pause between looks at something that takes its time.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(crate) type Token = u64;

/// A sink that passes everything on.
pub(crate) struct Forward(Sender<(Token, Outcome)>);

impl Sink<Token> for Forward {
    fn complete(&mut self, token: Token, outcome: Outcome) {
        // Tests may have ended before what they asked for last.
        let _ = self.0.send((token, outcome));
    }

    fn flush(&mut self) {}
}

pub(crate) struct Rig<S = EmbeddedStore<Token>> {
    pub(crate) store: S,
    completions: Receiver<(Token, Outcome)>,
    pub(crate) next_token: Token,
    pub(crate) recovered: Recovered,
    pub(crate) retained: Arc<Retained>,
}

/// What a store is opened in, again and again. Each is an implementation that `behaviour` holds to the
/// interface.
pub(crate) trait Place: Default {
    type Store: Store<Token>;

    fn open(
        &self,
        opening: Opening,
        retained: &Arc<Retained>,
        sink: Forward,
    ) -> (Self::Store, Recovered);
}

/// A directory.
pub(crate) struct OnDisk(TempDir);

/// The memory of this process.
#[derive(Default)]
pub(crate) struct InMemory(Memory);

impl Default for OnDisk {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Place for OnDisk {
    type Store = EmbeddedStore<Token>;

    fn open(
        &self,
        opening: Opening,
        retained: &Arc<Retained>,
        sink: Forward,
    ) -> (Self::Store, Recovered) {
        let options = StoreOptions { opening, ..options(self.0.path()) };
        embedded::open(options, Arc::clone(retained), sink).unwrap()
    }
}

impl Place for InMemory {
    type Store = MemoryStore<Forward>;

    fn open(
        &self,
        opening: Opening,
        retained: &Arc<Retained>,
        sink: Forward,
    ) -> (Self::Store, Recovered) {
        MemoryStore::open(&self.0, &opening, retained, sink)
    }
}

impl Rig {
    pub(crate) fn open(dir: &Path) -> Self {
        Self::try_open(options(dir)).unwrap()
    }

    /// One that refuses what comes while 10,000 bytes wait.
    pub(crate) fn limited(dir: &Path) -> Self {
        Self::try_open(StoreOptions { backlog_bytes_max: 10_000, ..options(dir) }).unwrap()
    }

    pub(crate) fn try_open(options: StoreOptions) -> Result<Self, StoreError> {
        let (sender, completions) = channel();
        let retained = no_retained();
        let (store, recovered) = embedded::open(options, Arc::clone(&retained), Forward(sender))?;
        Ok(Self { store, completions, next_token: 0, recovered, retained })
    }
}

impl<S: Store<Token>> Rig<S> {
    /// Opens the store that is in a place.
    pub(crate) fn at<P: Place<Store = S>>(place: &P) -> Self {
        Self::opened(place, unlimited())
    }

    /// The same, with limits and clocks.
    pub(crate) fn opened<P: Place<Store = S>>(place: &P, opening: Opening) -> Self {
        let (sender, completions) = channel();
        let retained = no_retained();
        let (store, recovered) = place.open(opening, &retained, Forward(sender));
        Self { store, completions, next_token: 0, recovered, retained }
    }

    /// Sets the retained message of a topic in memory, or removes it if it is empty; what is to be
    /// written for that.
    pub(crate) fn retain(&self, message: &Arc<Message>) -> Write {
        Write::SaveRetained { change: self.retained.change(message, None).unwrap() }
    }

    /// The retained messages in memory, in the order of their topics.
    pub(crate) fn retained(&self) -> Vec<Arc<Message>> {
        let all = self.retained.all().into_iter();
        let mut all: Vec<_> = all.map(|kept| kept.message).collect();
        all.sort_by(|one, other| one.topic.cmp(&other.topic));
        all
    }

    pub(crate) fn queue(&mut self, writes: Vec<Write>) -> Token {
        self.next_token += 1;
        self.store.commit(writes, self.next_token);
        self.next_token
    }

    pub(crate) fn wait(&mut self, token: Token) -> Outcome {
        let (done, outcome) = self.completions.recv_timeout(PATIENCE).unwrap();
        assert_eq!(done, token, "requests complete in order");
        outcome
    }

    /// Waits for requests of which some are refused for the backlog, which is empty then; how many.
    #[track_caller]
    pub(crate) fn wait_for_refusals(&mut self, tokens: Vec<Token>) -> u64 {
        let mut refused = 0;
        for token in tokens {
            match self.wait(token) {
                Outcome::Committed => {}
                Outcome::Failed(StoreFailure::Backlog) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(refused > 0);
        assert_eq!(self.store.backlog_bytes(), 0);
        refused
    }

    pub(crate) fn try_commit(&mut self, writes: Vec<Write>) -> Result<(), StoreFailure> {
        let token = self.queue(writes);
        match self.wait(token) {
            Outcome::Committed => Ok(()),
            Outcome::Failed(failure) => Err(failure),
            Outcome::Page(_) => panic!("a page of a commit"),
        }
    }

    pub(crate) fn commit(&mut self, writes: Vec<Write>) {
        self.try_commit(writes).unwrap();
    }

    pub(crate) fn page(&mut self, number: u64, from: u64, limit: PageLimit) -> Page {
        self.next_token += 1;
        let token = self.next_token;
        self.store.read_outbox(SessionNumber(number), Position(from), limit, token);
        match self.wait(token) {
            Outcome::Page(page) => page,
            other => panic!("{other:?}"),
        }
    }

    /// All of an outbox.
    pub(crate) fn outbox(&mut self, number: u64) -> Vec<(u64, Stored)> {
        let page = self.page(number, 0, PageLimit { messages: u32::MAX, bytes: u64::MAX });
        assert_eq!(page.next, None);
        page.entries.into_iter().map(|(position, stored)| (position.0, stored)).collect()
    }

    /// The occupied places of an outbox, as runs without gaps.
    pub(crate) fn places(&mut self, number: u64) -> Vec<Run> {
        runs(self.outbox(number).into_iter().map(|(position, _)| position))
    }

    pub(crate) fn session(&self, number: u64) -> &RecoveredSession {
        let of_number = |session: &&RecoveredSession| session.number == SessionNumber(number);
        self.recovered.sessions.iter().find(of_number).unwrap()
    }

    pub(crate) fn counter(&self, counter: impl Fn(&StoreCounters) -> &AtomicU64) -> u64 {
        counter(self.store.counters()).load(Ordering::Relaxed)
    }

    /// Waits until the store thinks of its disk as said.
    pub(crate) fn await_serving(&self, is_serving: bool) {
        let started = Instant::now();
        while self.store.is_serving() != is_serving {
            assert!(started.elapsed() < PATIENCE, "is_serving() is not {is_serving}");
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Makes a test of each claim for each implementation.
macro_rules! claims {
    ($($claim:ident)*) => {
        mod embedded {
            $(#[test] fn $claim() { super::$claim::<crate::rig::OnDisk>(); })*
        }

        mod memory {
            $(#[test] fn $claim() { super::$claim::<crate::rig::InMemory>(); })*
        }
    };
}

pub(crate) use claims;

/// The first of a run of numbers without gaps, and the one behind its last.
pub(crate) type Run = (u64, u64);

/// Rising numbers as runs without gaps.
pub(crate) fn runs(numbers: impl IntoIterator<Item = u64>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, behind)) if *behind == number => *behind += 1,
            _ => runs.push((number, number + 1)),
        }
    }
    runs
}

/// Takes up all that is found, by this moment's clocks.
pub(crate) fn unlimited() -> Opening {
    Opening::unlimited(Clocks::now())
}

/// What a store finds retained messages for.
pub(crate) fn no_retained() -> Arc<Retained> {
    Arc::new(Retained::new(RETAINED_MAX, usize::MAX))
}

pub(crate) fn options(dir: &Path) -> StoreOptions {
    StoreOptions {
        reopen_every: Duration::from_millis(100),
        ..StoreOptions::new(dir, Durability::Os)
    }
}

pub(crate) fn record(client_id: &str) -> SessionRecord {
    SessionRecord {
        client_id: client_id.into(),
        user: None,
        expiry_secs: 3_600,
        disconnected_at: None,
        sent_to: Position(0),
        will: None,
    }
}

pub(crate) fn put_session(number: u64, client_id: &str) -> Write {
    Write::PutSession { number: SessionNumber(number), record: Box::new(record(client_id)) }
}

pub(crate) fn message(topic: &str, payload: impl Into<Vec<u8>>) -> Arc<Message> {
    Arc::new(Message {
        topic: TopicName::parse(topic, 128).unwrap(),
        payload: payload.into().into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        expires_at: None,
        held: Held::default(),
    })
}

pub(crate) fn entry(message: &Arc<Message>) -> OutboxEntry {
    OutboxEntry {
        message: Arc::clone(message),
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: Box::default(),
        queued_at: WallMillis(1_000),
        share: None,
    }
}

pub(crate) fn put(number: u64, position: u64, message: &Arc<Message>) -> Write {
    Write::PutOutbox {
        number: SessionNumber(number),
        position: Position(position),
        entry: entry(message),
    }
}

pub(crate) fn release(number: u64, position: u64) -> Write {
    Write::ReleaseOutbox { number: SessionNumber(number), position: Position(position) }
}

pub(crate) fn remove(number: u64, position: u64) -> Write {
    Write::RemoveOutbox { number: SessionNumber(number), position: Position(position) }
}

pub(crate) fn subscribe(number: u64, filter: &str, options: SubscriptionOptions) -> Write {
    let filter = TopicFilter::parse(filter, 128).unwrap();
    Write::PutSubscription { number: SessionNumber(number), filter, options }
}

/// A copy to be opened. Tables are shared: nobody writes to them.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let path = found.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_tree(&path, &copy);
        } else if from.ends_with("tables") {
            fs::hard_link(&path, &copy).unwrap();
        } else {
            fs::copy(&path, &copy).unwrap();
        }
    }
}
