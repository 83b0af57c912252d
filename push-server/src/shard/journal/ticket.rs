//! What a shard has to write, what it does when that is safe, and how it hears of that.
//!
//! A message may have subscribers on several shards. All its changes on all of them, and what its publisher's
//! session notes of it, are one write: after a crash there is all of it or nothing, so that a publish sent again is
//! neither lost nor doubled. Each shard adds its part to the message's `Ticket`; the last one hands in the whole,
//! and the shard whose turn ends next files it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::giver::{Giver, HandOnCursor};
use super::outgoing::Outgoing;
use super::subscribed::{Subscribed, Unsubscribed};
use crate::access::Verdict;
use crate::broker::{Slip, TopicFilter};
use crate::mqtt::codec::Reason;
use crate::mqtt::{Answer, Filing, LeftMessage, PublishReceipt, SessionChange};
use crate::shard::door::{Doorway, Entered};
use crate::shard::ports::{Token, Waker};
use crate::store::{Outcome, SessionNumber, Sink, Write};

/// What a shard does when a write that it waits for is safe, or has failed. Plain data.
#[derive(Debug)]
pub(crate) enum Done {
    /// Acknowledge a publish of this client, the one with this number among those that wait. The
    /// session and the receipt are for the case that the client is gone.
    Publish {
        client: Token,
        number: u64,
        reason: Reason,
        session: (u32, SessionNumber),
        receipt: PublishReceipt,
    },
    /// Let a client have its CONNACK.
    Connect { client: Token },
    /// Send a client a PUBREL or PUBCOMP.
    Answer { client: Token, answer: Answer },
    /// Answer a SUBSCRIBE.
    Subscribe(Box<Subscribed>),
    /// Answer an UNSUBSCRIBE.
    Unsubscribe(Box<Unsubscribed>),
    /// A filter that was unsubscribed from is removed, after that had failed before.
    FilterRemoved { session: u32, number: SessionNumber, filter: TopicFilter },
    /// These changes of a session are made. `again`: they had failed before.
    Changed { session: u32, number: SessionNumber, changes: Vec<SessionChange>, again: bool },
    /// A message is in an outbox.
    Written { session: u32, number: SessionNumber, position: u64, filed: Filing },
    /// A session's own record is written.
    Session { session: u32, number: SessionNumber },
    /// An ended session is removed. `again`: that had failed before.
    Removed { number: SessionNumber, again: bool },
    /// A page of an outbox is here.
    Page { session: u32, number: SessionNumber },
    /// The oldest messages of an outbox that is over its limits are here.
    Trim { session: u32, number: SessionNumber },
    /// A will is published.
    Will(Outgoing),
    /// A write is safe that the end of a session waits for: a message that it has handed on, say.
    EndWritten(Giver),
    /// A message that a session handed on is safe with another member of its group, or its write has failed: then
    /// this copy is for another try.
    HandedOn(Giver, Box<LeftMessage>),
    /// A page of the outbox of an ended session is here: other members of its groups get its messages.
    HandOnPage(HandOnCursor),
    /// Another client's input needs the room of this one's.
    EndInput { client: Token },
    /// Messages wait in a door.
    Knock(Arc<Doorway>),
    /// A message that came in by a door is safe.
    Entered { entered: Arc<Entered>, reason: Reason },
    /// The question who a client is has its answer.
    Answered { client: Token, number: u32, verdict: Box<Verdict> },
    /// A test has a session move to another shard.
    #[cfg(any(test, feature = "simulation"))]
    Move { client_id: Box<str>, to: u16 },
}

impl Done {
    /// Whether the shard has to hear of it. Of changes that went well at once, as nearly all do, it only has to
    /// hear of releases.
    fn is_news(&self, outcome: &Outcome) -> bool {
        match self {
            Self::Changed { changes, again, .. } => {
                let is_release =
                    |change: &SessionChange| matches!(change, SessionChange::Release(_));
                *again || matches!(outcome, Outcome::Failed(_)) || changes.iter().any(is_release)
            }
            _ => true,
        }
    }
}

/// Who waits: shards, and what for. The token of a request to the store.
pub(crate) type Waiters = Vec<(u16, Done)>;

/// Changes to be made together, and what shards do when they are made.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    writes: Vec<Write>,
    waiting: Waiters,
}

impl Draft {
    /// Adds a change.
    pub(crate) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// A shard waits for all of it, to do something.
    pub(crate) fn wait(&mut self, shard: u16, done: Done) {
        self.waiting.push((shard, done));
    }

    /// The same draft, with one more that waits.
    pub(crate) fn then(mut self, shard: u16, done: Done) -> Self {
        self.wait(shard, done);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.waiting.is_empty()
    }

    /// Whether it changes anything on disk. If not, nothing has to be waited for.
    pub(crate) fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.writes.append(&mut other.writes);
        self.waiting.append(&mut other.waiting);
    }

    /// Its changes and what waits for them.
    pub(crate) fn into_parts(self) -> (Vec<Write>, Waiters) {
        (self.writes, self.waiting)
    }

    /// The publisher is told that an outbox had no room.
    fn refuse(&mut self) {
        for (_, done) in &mut self.waiting {
            if let Done::Publish { reason, .. } | Done::Entered { reason, .. } = done {
                *reason = Reason::QuotaExceeded;
            }
        }
    }
}

impl From<Write> for Draft {
    fn from(write: Write) -> Self {
        Self::from_iter([write])
    }
}

impl FromIterator<Write> for Draft {
    fn from_iter<T: IntoIterator<Item = Write>>(writes: T) -> Self {
        Self { writes: writes.into_iter().collect(), waiting: Vec::new() }
    }
}

impl Extend<Write> for Draft {
    fn extend<T: IntoIterator<Item = Write>>(&mut self, writes: T) {
        self.writes.extend(writes);
    }
}

/// One message's changes on several shards.
#[derive(Debug)]
pub(crate) struct Ticket {
    parts: AtomicU32,
    /// An outbox has refused the message.
    is_refused: AtomicBool,
    draft: Mutex<Draft>,
    /// The message, where it came in by a door.
    entered: Option<Arc<Entered>>,
}

impl Ticket {
    /// One part is missing: the publishing shard's.
    fn new(entered: Option<Arc<Entered>>) -> Arc<Self> {
        Arc::new(Self {
            parts: AtomicU32::new(1),
            is_refused: AtomicBool::new(false),
            draft: Mutex::default(),
            entered,
        })
    }

    /// One more part will come. To be called by a shard that has not finished its own.
    fn add_part(&self) {
        self.parts.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether only the caller's part is missing.
    fn is_last(&self) -> bool {
        self.parts.load(Ordering::Acquire) == 1
    }

    /// Adds a shard's part. Returns the whole to the last one.
    fn finish(&self, part: Draft) -> Option<Draft> {
        let mut draft = lock(&self.draft);
        draft.append(part);
        let last = self.parts.fetch_sub(1, Ordering::AcqRel) == 1;
        last.then(|| {
            let mut whole = std::mem::take(&mut *draft);
            if self.is_refused.load(Ordering::Relaxed) {
                whole.refuse();
            }
            whole
        })
    }
}

/// Complete writes of several shards; the shard whose turn ends next files them. Of two messages for the same
/// shards the earlier one is complete first, perhaps by another shard. It has to be filed first, too: otherwise a
/// crash in between would leave only the later one, and the earlier one, sent again, would come behind it
/// [MQTT-4.6.0-6].
#[derive(Debug, Default)]
pub(crate) struct CompleteWrites(Mutex<Draft>);

impl CompleteWrites {
    pub(crate) fn push(&self, whole: Draft) {
        lock(&self.0).append(whole);
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// Files all of them by `commit`, before any shard files later ones.
    pub(crate) fn file(&self, commit: impl FnOnce(Draft)) {
        let mut complete_writes = lock(&self.0);
        if !complete_writes.is_empty() {
            commit(std::mem::take(&mut *complete_writes));
        }
    }
}

/// What one shard adds to a message's write.
#[derive(Debug)]
pub(crate) struct Part {
    draft: Draft,
    ticket: Option<Arc<Ticket>>,
    is_refused: bool,
    /// How far on its way to the disk a message is that goes into an outbox now.
    filing: Filing,
    /// The message, where it came in by a door.
    entered: Option<Arc<Entered>>,
}

/// The whole of a write that concerns this shard alone.
impl Default for Part {
    fn default() -> Self {
        Self {
            draft: Draft::default(),
            ticket: None,
            is_refused: false,
            filing: Filing::Queued,
            entered: None,
        }
    }
}

impl Part {
    /// The publishing shard's part. `shared`: other shards have parts of the same write.
    pub(crate) fn of_publisher(draft: Draft, shared: bool) -> Self {
        Self::of(draft, shared, None)
    }

    /// The same, for a message that came in by a door.
    pub(crate) fn of_door(draft: Draft, shared: bool, entered: Arc<Entered>) -> Self {
        Self::of(draft, shared, Some(entered))
    }

    fn of(draft: Draft, shared: bool, entered: Option<Arc<Entered>>) -> Self {
        let ticket = shared.then(|| Ticket::new(entered.clone()));
        let filing = if shared { Filing::Pending } else { Filing::Queued };
        Self { draft, ticket, is_refused: false, filing, entered }
    }

    /// The part of a shard that a letter has come to.
    pub(crate) fn of_receiver(ticket: Option<Arc<Ticket>>) -> Self {
        let is_last = ticket.as_ref().is_none_or(|ticket| ticket.is_last());
        let filing = if is_last { Filing::Queued } else { Filing::Pending };
        let entered = ticket.as_ref().and_then(|ticket| ticket.entered.clone());
        Self { draft: Draft::default(), ticket, is_refused: false, filing, entered }
    }

    /// The message goes to one more receiver. Returns the slip that goes along, if it came in by a door.
    pub(crate) fn slip(&self) -> Option<Slip> {
        self.entered.as_ref()?.slip()
    }

    /// Whether there may be slips: the message came in by a door.
    pub(crate) fn has_slips(&self) -> bool {
        self.entered.is_some()
    }

    /// How far on its way to the disk a message is that goes into an outbox now.
    pub(crate) fn filing(&self) -> Filing {
        self.filing
    }

    /// Adds a change that is written with the message.
    pub(crate) fn write(&mut self, write: Write) {
        self.draft.write(write);
    }

    /// A shard waits for the message's write, to do something.
    pub(crate) fn wait(&mut self, shard: u16, done: Done) {
        self.draft.wait(shard, done);
    }

    /// It is not finished in this turn: requests that go to the disk meanwhile come before it.
    pub(crate) fn wait_for_more(&mut self) {
        self.filing = Filing::Pending;
    }

    /// The ticket for one more shard's part, if other shards have any.
    pub(crate) fn another(&self) -> Option<Arc<Ticket>> {
        let ticket = self.ticket.as_ref()?;
        ticket.add_part();
        Some(Arc::clone(ticket))
    }

    /// Whether other shards have parts of it.
    pub(crate) fn is_shared(&self) -> bool {
        self.ticket.is_some()
    }

    /// Whether there is something to write, here or perhaps elsewhere.
    pub(crate) fn has_to_wait(&self) -> bool {
        self.ticket.is_some() || self.draft.has_writes()
    }

    /// An outbox had no room, and the publisher is to be told.
    pub(crate) fn refuse(&mut self) {
        self.is_refused = true;
        if let Some(ticket) = &self.ticket {
            // The lock of the ticket orders it before the last part.
            ticket.is_refused.store(true, Ordering::Relaxed);
        }
    }

    /// Whether an outbox of this shard had no room.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// The shard has added all its changes. Returns those to be filed now: of all shards, from the last of them.
    pub(crate) fn finish(self) -> Draft {
        match self.ticket {
            Some(ticket) => ticket.finish(self.draft).unwrap_or_default(),
            None => self.draft,
        }
    }
}

/// What the store and other shards have done for one shard: filled by their threads.
#[derive(Debug)]
pub(crate) struct Completions {
    queue: Mutex<Vec<(Done, Outcome)>>,
    waker: Box<dyn Waker>,
}

impl Completions {
    /// `waker`: the shard's.
    pub(crate) fn new(waker: Box<dyn Waker>) -> Self {
        Self { queue: Mutex::new(Vec::new()), waker }
    }

    /// Hands completions over, and wakes the shard unless others were waiting already.
    pub(crate) fn push(&self, done: &mut Vec<(Done, Outcome)>) {
        let mut queue = lock(&self.queue);
        let was_empty = queue.is_empty();
        queue.append(done);
        drop(queue);
        if was_empty {
            self.waker.wake();
        }
    }

    /// Takes all completions into `out`, which is empty.
    pub(crate) fn take(&self, out: &mut Vec<(Done, Outcome)>) {
        std::mem::swap(&mut *lock(&self.queue), out);
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.queue).is_empty()
    }
}

/// How many requests of all shards the store has not told of yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenRequests(Arc<AtomicU64>);

impl OpenRequests {
    /// The store is given one.
    pub(crate) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// It has told of so many, and shards have what it told.
    fn end(&self, requests: u64) {
        self.0.fetch_sub(requests, Ordering::Release);
    }

    pub(crate) fn are_none(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// Sorts the store's completions by shard.
#[derive(Debug)]
pub(crate) struct StoreSink {
    shards: Arc<Vec<Completions>>,
    batches: Vec<Vec<(Done, Outcome)>>,
    open_requests: OpenRequests,
    /// Requests that are told of with these batches.
    told: u64,
}

impl StoreSink {
    pub(crate) fn new(shards: Arc<Vec<Completions>>, open_requests: OpenRequests) -> Self {
        let batches = shards.iter().map(|_| Vec::new()).collect();
        Self { shards, batches, open_requests, told: 0 }
    }
}

impl Sink<Waiters> for StoreSink {
    fn complete(&mut self, waiting: Waiters, outcome: Outcome) {
        self.told += 1;
        for (shard, done) in waiting {
            if !done.is_news(&outcome) {
                continue;
            }
            self.batches[usize::from(shard)].push((done, outcome.clone()));
        }
    }

    fn flush(&mut self) {
        for (shard, batch) in self.shards.iter().zip(&mut self.batches) {
            if !batch.is_empty() {
                shard.push(batch);
            }
        }
        self.open_requests.end(std::mem::take(&mut self.told));
    }
}

/// A panic elsewhere leaves whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
