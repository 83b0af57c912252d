//! What must outlive the process: persistent sessions with their subscriptions, outboxes and
//! exactly-once ids, retained messages and pending wills.
//!
//! [`Store`] is the narrow interface: requests go in and never wait, each with a token of the
//! caller's; the token comes back through the caller's [`Sink`] when what it stands for is on disk,
//! read, or failed. [`open`] gives the embedded store, one thread over a database in a directory. A
//! distributed one can stand behind the same trait.
//!
//! The store keeps order: requests of one caller take effect, and complete, in the order they were
//! made, and several of them become one atomic write (group commit). It knows topics and messages,
//! and no protocol: what an acknowledgement means, which limits an outbox has, and what to do while
//! the disk fails is the caller's to say. Retained messages are all in memory, where their order is
//! made, and the disk follows that: see `retained`.
//!
//! Nothing is promised in a session whose own record has failed: what puts something into it fails as
//! well, until its record is written, whether or not the caller has heard of that: see `unsaved`.
//!
//! A failure never loses what was reported as [`Outcome::Committed`]. What was reported as
//! [`Outcome::Failed`] may or may not be found after a restart.

mod bodies;
mod clocks;
mod counters;
mod database;
mod embedded;
mod encode;
mod group;
mod journal;
mod left_out;
mod numbers;
mod private;
mod queue;
mod recover;
mod retained;
mod shared;
mod thread;
pub(crate) mod unsaved;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::{
    Message, QoS, SessionMemory, SessionMemoryMax, SubscriptionOptions, TopicFilter,
    subscription_ids_weight_bytes,
};

pub(crate) use bodies::SHARED_MESSAGES_MAX;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use clocks::{ClockMark, ClockWatch};
pub use clocks::{ClockReading, Clocks, WallMillis};
pub use counters::StoreCounters;
pub use database::{Claim, DESCRIPTORS_MAX, claim};
pub use embedded::{EmbeddedStore, open, open_claimed};
pub use left_out::LeftOut;
pub use numbers::{Position, SessionNumber, WillNumber};

/// A session's own record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The client identifier.
    pub client_id: Box<str>,
    /// Whose it is; `None`: nobody was authenticated for it, or it was written before users were kept.
    pub user: Option<Box<str>>,
    /// The session expiry interval, in seconds; `u32::MAX` for never [MQTT5 3.1.2.11.2].
    pub expiry_secs: u32,
    /// When its connection ended; `None` while it is connected, which after a crash means "until
    /// the crash".
    pub disconnected_at: Option<WallMillis>,
    /// Everything in its outbox before this was sent at least once, or may have been. A watermark
    /// for orderly stops: after a crash [`OutboxSummary::sent_to`] is what counts.
    pub sent_to: Position,
    /// What to publish when the client is gone.
    pub will: Option<StoredWill>,
}

/// A will, pending or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWill {
    /// What to publish.
    pub message: Arc<Message>,
    /// How long after the connection's end, in seconds.
    pub delay_secs: u32,
    /// The message expiry interval, in seconds, which begins when the will is published.
    pub message_expiry_secs: Option<u32>,
    /// When it is to be published; `None` while its client is connected.
    pub due_at: Option<WallMillis>,
}

/// A subscription of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSubscription {
    /// The filter, `$share/...` included.
    pub filter: TopicFilter,
    /// What was asked for with it.
    pub options: SubscriptionOptions,
}

/// A message that a session is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The message. Large bodies are kept once for all outboxes that were given the same `Arc`.
    pub message: Arc<Message>,
    /// The quality of service of this delivery.
    pub qos: QoS,
    /// The RETAIN flag of this delivery.
    pub retain: bool,
    /// The subscription identifiers of this delivery [MQTT5 3.3.2.3.8]; empty costs no allocation.
    pub subscription_ids: Box<[u32]>,
    /// The shared subscription that it came by, if it did.
    pub share: Option<TopicFilter>,
    /// When it was queued; for limits of age.
    pub queued_at: WallMillis,
}

impl OutboxEntry {
    /// What it weighs in its outbox, in bytes: its message, and the identifiers that come with it.
    pub fn weight_bytes(&self) -> u64 {
        let ids_bytes = subscription_ids_weight_bytes(self.subscription_ids.len());
        (self.message.weight_bytes() + ids_bytes) as u64
    }
}

/// What is found in a place of an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A message that has not been received for certain.
    Entry(OutboxEntry),
    /// A message that was received (PUBREC): its body is gone, its release (PUBREL) is owed.
    Released,
}

/// One change. All of a request's changes take effect together or not at all.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds or replaces a session's own record.
    PutSession {
        /// Whose.
        number: SessionNumber,
        /// What.
        record: Box<SessionRecord>,
    },
    /// Removes a session with its subscriptions, outbox and exactly-once ids.
    RemoveSession {
        /// Whose.
        number: SessionNumber,
    },
    /// Removes a session's own record: that of a session that has nothing else on disk.
    RemoveRecord {
        /// Whose.
        number: SessionNumber,
    },
    /// Adds or replaces a subscription.
    PutSubscription {
        /// Whose.
        number: SessionNumber,
        /// To what.
        filter: TopicFilter,
        /// How.
        options: SubscriptionOptions,
    },
    /// Removes a subscription.
    RemoveSubscription {
        /// Whose.
        number: SessionNumber,
        /// To what.
        filter: TopicFilter,
    },
    /// Puts a message into an outbox.
    PutOutbox {
        /// Whose.
        number: SessionNumber,
        /// Where; behind every earlier one.
        position: Position,
        /// What.
        entry: OutboxEntry,
    },
    /// Turns a message into an owed release: PUBREC came.
    ReleaseOutbox {
        /// Whose.
        number: SessionNumber,
        /// Where.
        position: Position,
    },
    /// Removes a message or an owed release: PUBACK or PUBCOMP came, or a limit says so. What is
    /// not there is no error.
    RemoveOutbox {
        /// Whose.
        number: SessionNumber,
        /// Where.
        position: Position,
    },
    /// Notes that a client's message of QoS 2 was taken, until its PUBREL.
    PutExactlyOnce {
        /// Whose.
        number: SessionNumber,
        /// The client's packet id.
        packet_id: u16,
    },
    /// Forgets it: PUBREL came.
    RemoveExactlyOnce {
        /// Whose.
        number: SessionNumber,
        /// The client's packet id.
        packet_id: u16,
    },
    /// Keeps a will that is being published by itself, whatever becomes of its session.
    PutWill {
        /// Whose it was.
        session: SessionNumber,
        /// Which.
        number: WillNumber,
        /// What is published.
        message: Arc<Message>,
    },
    /// Forgets it: it is published. Like a promise in its session, this fails where the session's own
    /// record has failed: that may still have the will.
    RemoveWill {
        /// Whose it was.
        session: SessionNumber,
        /// Which.
        number: WillNumber,
    },
    /// Makes the retained message of a topic on disk the one in memory: what this change has made
    /// it, or a later one. To be queued when memory has changed, not before. A change that is
    /// refused for the backlog is made all the same.
    SaveRetained {
        /// What has changed it: what is retained now, what has removed it, or what was removed.
        cause: Arc<Message>,
    },
}

/// How much of an outbox to read at once. The first message comes whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// At most so many messages.
    pub messages: u32,
    /// At most so many bytes of them ([`OutboxEntry::weight_bytes`]).
    pub bytes: u64,
}

/// A piece of an outbox, in order of position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What was found. Messages past their expiry are among them.
    pub entries: Vec<(Position, Stored)>,
    /// Where to read on; `None` when nothing lies behind.
    pub next: Option<Position>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// All changes up to and with this request's are as safe as the durability promises.
    Committed,
    /// What was asked for.
    Page(Page),
    /// Nothing is promised.
    Failed(StoreFailure),
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFailure {
    /// The disk or the database failed; the log has the cause. The store tries to open it again,
    /// and until that works everything fails at once. [`Store::is_serving`] tells.
    #[error("the store cannot write to its disk")]
    Disk,
    /// More was waiting than [`StoreOptions::backlog_bytes_max`]. Only this request is lost.
    #[error("too much waits to be stored")]
    Backlog,
    /// It puts something into a session whose own record has failed, and does not write that.
    #[error("the record of the session is not stored")]
    Unsaved,
}

/// Durable state behind a queue. `T` is the caller's token.
pub trait Store<T>: Send + Sync + fmt::Debug {
    /// Queues changes, which take effect together. `Committed` or `Failed` comes back. Without
    /// changes it is a barrier: `Committed` when everything queued before is safe.
    fn commit(&self, writes: Vec<Write>, token: T);

    /// Queues a read of what lies in an outbox at `from` and behind. It sees every change queued
    /// before, and may see later ones. `Page` or `Failed` comes back.
    fn read_outbox(&self, number: SessionNumber, from: Position, limit: PageLimit, token: T);

    /// What has been queued and not come back, in bytes. Callers pause their publishers above a
    /// limit of theirs.
    fn backlog_bytes(&self) -> u64;

    /// Whether the disk works, as far as is known.
    fn is_serving(&self) -> bool;

    /// What happened so far.
    fn counters(&self) -> &StoreCounters;

    /// The wall clock was set, or may have been: what it says now is noted at once.
    fn clock_was_set(&self);
}

/// Takes completions, on the store's thread: it must not wait.
pub trait Sink<T>: Send {
    /// `token` came to this.
    fn complete(&mut self, token: T, outcome: Outcome);

    /// All completions of a group have been handed over: the time to wake their owners.
    fn flush(&mut self);
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The disk: survives the loss of power.
    #[default]
    Fsync,
    /// The operating system: survives a crash of the process, not of the machine.
    Os,
}

/// Where and how to store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The directory; made if it is not there. One server each.
    pub dir: PathBuf,
    /// What a commit waits for.
    pub durability: Durability,
    /// One instant on both clocks: monotonic times are stored as wall clock times.
    pub clocks: Clocks,
    /// Where to look at the clocks while the store is open: now and then, and when it is told that the
    /// wall clock was set ([`Store::clock_was_set`]). The start then reads from what an earlier one has
    /// noted what time it is: see [`Recovered::clocks`]. `None`: nothing is noted, and `clocks` are
    /// right.
    pub clock: Option<fn() -> ClockReading>,
    /// Messages of a connected session that may be sent and not received for certain.
    pub inflight_max: u16,
    /// Bytes that may wait to be stored, beyond which requests fail.
    pub backlog_bytes_max: u64,
    /// Memory for blocks that were read from disk, in bytes.
    pub cache_bytes: u64,
    /// Pause between attempts to open again after a failure.
    pub reopen_every: Duration,
    /// What sessions may take of memory. What a start takes up is counted; the caller gives it back.
    pub memory: Arc<SessionMemory>,
    /// How many sessions a start takes up.
    pub sessions_max: u32,
}

/// Default of [`StoreOptions::backlog_bytes_max`]: some seconds of full load.
pub const BACKLOG_BYTES_MAX: u64 = 256 << 20;
/// Default of [`StoreOptions::cache_bytes`].
pub const CACHE_BYTES: u64 = 32 << 20;
/// Default of [`StoreOptions::reopen_every`].
pub const REOPEN_EVERY: Duration = Duration::from_secs(2);

impl StoreOptions {
    /// A store in `dir` with the defaults, on this moment's clocks.
    pub fn new(dir: impl Into<PathBuf>, durability: Durability) -> Self {
        Self {
            dir: dir.into(),
            durability,
            clocks: Clocks::now(),
            clock: None,
            inflight_max: 0,
            backlog_bytes_max: BACKLOG_BYTES_MAX,
            cache_bytes: CACHE_BYTES,
            reopen_every: REOPEN_EVERY,
            memory: SessionMemory::new(SessionMemoryMax::UNLIMITED),
            sessions_max: u32::MAX,
        }
    }
}

/// What was found on disk. Bodies of messages in outboxes stay there, and retained messages have
/// gone where memory keeps them.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Every session that there is room for, in the order of their numbers. Of two with the same client
    /// identifier only the younger.
    pub sessions: Vec<RecoveredSession>,
    /// Those that there is no room for.
    pub left_out: LeftOut,
    /// Wills that were being published, and that there is room for.
    pub wills: Vec<RecoveredWill>,
    /// How many there is no room for: they stay on disk, until a start finds room for them.
    pub wills_left_out: u64,
    /// Above every number ever used.
    pub next_number: SessionNumber,
    /// What monotonic times are stored by; the wall clock may say something else.
    pub clocks: Clocks,
}

/// A session that was found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredSession {
    /// Its number.
    pub number: SessionNumber,
    /// Its own record.
    pub record: SessionRecord,
    /// Its subscriptions.
    pub subscriptions: Vec<StoredSubscription>,
    /// Packet ids of its client's messages of QoS 2 that were taken and not released.
    pub exactly_once: Vec<u16>,
    /// What lies in its outbox.
    pub outbox: OutboxSummary,
}

/// A will that was being published, in no outbox yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredWill {
    /// Whose it was. The session need not be there any more.
    pub session: SessionNumber,
    /// Its number, to remove it by.
    pub number: WillNumber,
    /// What to publish.
    pub message: Arc<Message>,
}

/// An outbox in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxSummary {
    /// The first occupied place; with `next` equal to it the outbox is empty.
    pub first: Position,
    /// The place behind the last occupied one, and not before `sent_to` of the record.
    pub next: Position,
    /// Messages in it, owed releases included. There may be gaps between them.
    pub messages: u32,
    /// Of which owed releases.
    pub released: u32,
    /// What lies before this was sent, or may have been: as the record says, or, of a session that
    /// was connected until a crash, what is owed a release, all before that, and the first
    /// [`StoreOptions::inflight_max`] messages.
    pub sent_to: Position,
    /// Their bytes ([`Message::weight_bytes`]).
    pub bytes: u64,
    /// When the oldest message was queued.
    pub oldest_at: Option<WallMillis>,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the directory.
    #[error(
        "another push-server keeps its sessions in {}: stop it, or name another --data-dir",
        .0.display()
    )]
    InUse(PathBuf),
    /// It was written by another version.
    #[error(
        "{} has layout {found}, this server knows layout {known} only: \
         run the version that wrote it, or begin anew in another --data-dir",
        dir.display()
    )]
    UnknownLayout {
        /// Where.
        dir: PathBuf,
        /// What was found.
        found: String,
        /// What is known.
        known: u32,
    },
    /// Files are missing or damaged beyond what can be recovered.
    #[error(
        "the database in {} is damaged ({detail}): restore it from a backup, \
         or begin anew, without its sessions, in another --data-dir",
        dir.display()
    )]
    Damaged {
        /// Where.
        dir: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The directory cannot be read or written.
    #[error("cannot use {} as --data-dir: {source}", dir.display())]
    Io {
        /// Where.
        dir: PathBuf,
        /// What.
        source: std::io::Error,
    },
}
