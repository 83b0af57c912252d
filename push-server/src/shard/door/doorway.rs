//! What a door and its shard share: messages on their way in, replies on their way out, and how much of both
//! there may be.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::reply::{Refusal, Reply};
use crate::broker::{Fate, Message, Slip, Slips};
use crate::mqtt::codec::Reason;

/// Messages under way through one door: from `publish` until their reply is taken (`limit="door"`).
pub(crate) const DOOR_MESSAGES_MAX: usize = 1_024;

/// Bytes of these messages; one message of any size always goes.
const DOOR_BYTES_MAX: usize = 4 << 20;

/// Receivers of one door's messages that are followed at a time, until their reply is taken. What becomes of a
/// message at further ones is not told (`limit="door_followed"`).
pub(crate) const DOOR_FOLLOWED_MAX: usize = 65_536;

/// How many places an empty queue keeps.
const SPARE_CAPACITY_MAX: usize = 64;

/// How often limits of doors were reached.
#[derive(Debug, Default)]
pub struct DoorCounts {
    full: AtomicU64,
    unfollowed: AtomicU64,
}

impl DoorCounts {
    /// Messages refused because too much was under way.
    pub fn full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    /// Receivers that were not followed because too many were.
    pub fn unfollowed(&self) -> u64 {
        self.unfollowed.load(Ordering::Relaxed)
    }
}

/// A message that waits for its door's turn.
#[derive(Debug)]
pub(crate) struct WaitingMessage {
    pub(crate) message: Message,
    /// Begins when the message goes out.
    pub(crate) expiry: Option<Duration>,
    pub(crate) entered: Arc<Entered>,
}

/// What `publish` learns of a message that was taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryPass {
    pub(super) number: u64,
    /// The shard does not know yet that messages wait.
    pub(super) has_to_knock: bool,
}

/// A door as its shard knows it.
#[derive(Debug)]
pub(crate) struct Doorway {
    number: u32,
    home: u16,
    counts: Arc<DoorCounts>,
    state: Mutex<State>,
    replied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next_number: u64,
    waiting: VecDeque<WaitingMessage>,
    /// The shard knows that messages wait.
    has_knocked: bool,
    /// Each with the bytes of room that it gives back.
    replies: VecDeque<(Reply, usize)>,
    messages: usize,
    bytes: usize,
    followed: usize,
    /// Threads that wait for a reply.
    listeners: usize,
    /// The shards have stopped.
    is_closed: bool,
    /// The door was dropped, and no thread takes replies.
    is_abandoned: bool,
}

impl Doorway {
    pub(super) fn new(number: u32, home: u16, counts: Arc<DoorCounts>) -> Self {
        Self { number, home, counts, state: Mutex::default(), replied: Condvar::new() }
    }

    /// Which door.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The shard that its messages go by.
    pub(super) fn home(&self) -> u16 {
        self.home
    }

    /// Takes the message that `make` returns, with its bytes, for a number, if there is room.
    pub(super) fn enter(
        &self,
        make: impl FnOnce(u64) -> (usize, WaitingMessage),
    ) -> Result<EntryPass, Refusal> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refusal::Stopping);
        }
        let number = state.next_number;
        let (bytes, waiting) = make(number);
        let is_full = state.messages >= DOOR_MESSAGES_MAX
            || (state.messages > 0 && state.bytes + bytes > DOOR_BYTES_MAX);
        if is_full {
            self.counts.full.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::Full);
        }
        state.next_number += 1;
        state.messages += 1;
        state.bytes += bytes;
        state.waiting.push_back(waiting);
        let has_to_knock = !std::mem::replace(&mut state.has_knocked, true);
        Ok(EntryPass { number, has_to_knock })
    }

    /// The next message that waits. `None`: the next one that comes has to knock.
    pub(crate) fn next(&self) -> Option<WaitingMessage> {
        let mut state = self.lock();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.has_knocked = false;
            tidy(&mut state.waiting);
        }
        next
    }

    /// Whether one more receiver may be followed.
    pub(super) fn begin_following(&self) -> bool {
        let mut state = self.lock();
        let has_room = state.followed < DOOR_FOLLOWED_MAX;
        state.followed += usize::from(has_room);
        if !has_room {
            self.counts.unfollowed.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    fn reply(&self, reply: Reply, bytes: usize) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        if state.is_abandoned {
            state.give_back(&reply, bytes);
            return;
        }
        state.replies.push_back((reply, bytes));
        let is_awaited = state.listeners > 0;
        drop(state);
        // Without a listener this would be a system call for nothing.
        if is_awaited {
            self.replied.notify_one();
        }
    }

    /// The next reply, which gives its room back.
    pub(super) fn take_reply(&self) -> Option<Reply> {
        self.lock().take_reply()
    }

    /// The same; waits for it for at most `timeout`.
    pub(super) fn wait_reply(&self, timeout: Duration) -> Option<Reply> {
        let mut state = self.lock();
        state.listeners += 1;
        let is_silent = |state: &mut State| state.replies.is_empty();
        let waited = self.replied.wait_timeout_while(state, timeout, is_silent);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.listeners -= 1;
        state.take_reply()
    }

    /// The shards have stopped: nothing is taken any more, and the last reply says so.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        for WaitingMessage { entered, .. } in std::mem::take(&mut state.waiting) {
            let Entered { number, bytes, .. } = *entered;
            state.replies.push_back((Reply::Refused { number, why: Refusal::Stopping }, bytes));
        }
        state.replies.push_back((Reply::Closed, 0));
        drop(state);
        self.replied.notify_all();
    }

    /// The door was dropped, and no thread takes replies any more.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.is_abandoned = true;
        while state.take_reply().is_some() {}
    }

    /// A panic elsewhere leaves whole values behind.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_reply(&mut self) -> Option<Reply> {
        let (reply, bytes) = self.replies.pop_front()?;
        self.give_back(&reply, bytes);
        tidy(&mut self.replies);
        Some(reply)
    }

    fn give_back(&mut self, reply: &Reply, bytes: usize) {
        match reply {
            Reply::Taken { .. } | Reply::Refused { .. } => {
                self.messages -= 1;
                self.bytes -= bytes;
            }
            Reply::Receiver { .. } => self.followed -= 1,
            Reply::Closed => {}
        }
    }
}

/// A message under way. Each shard that delivers it takes a slip of it for each receiver.
#[derive(Debug)]
pub(crate) struct Entered {
    doorway: Arc<Doorway>,
    number: u64,
    /// Bytes of the door's room that it takes.
    bytes: usize,
    is_followed: bool,
    receivers: AtomicU32,
    followed: AtomicU32,
}

impl Entered {
    pub(super) fn new(doorway: Arc<Doorway>, number: u64, bytes: usize, is_followed: bool) -> Self {
        let (receivers, followed) = Default::default();
        Self { doorway, number, bytes, is_followed, receivers, followed }
    }

    /// It goes to one more receiver: a slip goes along, where acknowledgements are followed and there is room
    /// for one.
    pub(crate) fn slip(self: &Arc<Self>) -> Option<Slip> {
        // The shard that settles it comes behind all that deliver it: the ticket's lock is between them.
        self.receivers.fetch_add(1, Ordering::Relaxed);
        if !self.is_followed || !self.doorway.begin_following() {
            return None;
        }
        self.followed.fetch_add(1, Ordering::Relaxed);
        let slips: Arc<Self> = Arc::clone(self);
        Some(Slip::new(slips))
    }

    /// It is safe, or has failed, as `reason` says. To be called once, when every shard has delivered it.
    pub(crate) fn settle(&self, reason: Reason) {
        let number = self.number;
        let reply = match reason {
            Reason::QuotaExceeded => Reply::Refused { number, why: Refusal::OutboxFull },
            _ if reason.is_error() => Reply::Refused { number, why: Refusal::Store },
            _ => Reply::Taken {
                number,
                reason,
                receivers: self.receivers.load(Ordering::Relaxed),
                followed: self.followed.load(Ordering::Relaxed),
            },
        };
        self.doorway.reply(reply, self.bytes);
    }

    /// The server stops before it has gone out.
    pub(crate) fn turn_away(&self) {
        let reply = Reply::Refused { number: self.number, why: Refusal::Stopping };
        self.doorway.reply(reply, self.bytes);
    }
}

impl Slips for Entered {
    fn came_back(&self, client_id: Option<&str>, fate: Fate) {
        let (number, client_id) = (self.number, client_id.map(Into::into));
        self.doorway.reply(Reply::Receiver { number, client_id, fate }, 0);
    }
}

/// Gives back the memory that a burst has left.
fn tidy<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > SPARE_CAPACITY_MAX {
        *queue = VecDeque::new();
    }
}
