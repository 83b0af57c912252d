//! The messages that a session is owed, in order. A durable session keeps the further part on disk.
//!
//! ```text
//!   inflight | head | disk | tail
//! ```
//! The head is sent next. The disk part is known only by its extent, and comes back into the head
//! page by page. The tail holds messages that are not safe yet; once safe, they join the disk part.
//! A session that is not durable has only a head. QoS 0 messages are never written and always in
//! the head: only messages of one QoS keep their order [MQTT-4.6.0-6].
//!
//! This file moves and counts messages. The shard makes the changes on disk, which it takes as
//! `SessionChange`s.

mod disk;
mod followed;
mod left;
mod overrun;
pub(super) mod room;

use std::collections::VecDeque;
use std::sync::Arc;

use super::delivery::Delivery;
use super::inflight::{EndedDelivery, Exactly, Inflight};
use super::owed::{Filing, Owed, SessionChange};
use crate::broker::{Charge, Fate, Holder, MemoryBudget, QoS, Slip};
use followed::Followed;
pub use left::{Left, LeftMessage};
pub(super) use room::{Load, Room};

/// Messages that a page brings from disk, and that the head holds before further ones stay on disk.
/// 64: twice the default `Limits::inflight_max`.
pub const HEAD_MESSAGES_MAX: usize = 64;

/// A record found at a position on disk.
#[derive(Debug)]
pub enum Fetched {
    /// A message.
    Message(Delivery),
    /// The client received the message already (PUBREC): PUBREL is owed.
    Release,
    /// A message that has waited on disk for longer than `--outbox-age-max-secs`.
    Stale(Delivery),
}

impl Fetched {
    /// Bytes that it takes once it is in memory.
    fn size(&self) -> u64 {
        match self {
            Self::Message(delivery) | Self::Stale(delivery) => delivery.size(),
            Self::Release => 0,
        }
    }
}

/// The part of an outbox that lies on disk: positions from `from` up to, not including, `next`,
/// with gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The first position.
    pub from: u64,
    /// The position after the last.
    pub next: u64,
    /// Messages and releases in it.
    pub messages: u32,
    /// Bytes of the messages, as `Message::weight_bytes` counts them.
    pub bytes: u64,
}

impl Extent {
    /// One that begins with the next message pushed to it, at this position.
    fn beginning_at(position: u64) -> Self {
        Self { from: position, next: position, messages: 0, bytes: 0 }
    }

    /// A message or release comes to its end.
    fn push(&mut self, position: u64, bytes: u64) {
        self.next = position + 1;
        self.messages += 1;
        self.bytes += bytes;
    }

    /// One of its messages or releases is gone.
    fn remove(&mut self, bytes: u64) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// What lies behind it becomes part of it.
    fn extend(&mut self, behind: Self) {
        self.next = behind.next;
        self.messages += behind.messages;
        self.bytes += behind.bytes;
    }
}

/// The read from disk that is under way. One at a time, so that what it finds is still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Loading {
    /// None.
    #[default]
    No,
    /// A page, for the connected client.
    Page,
    /// The oldest messages, to drop them.
    Trim,
}

/// A session's outbox and its unacknowledged messages.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    head: VecDeque<Owed>,
    disk: Option<Extent>,
    tail: VecDeque<Owed>,
    pub(super) inflight: Inflight,
    pub(super) exactly: Exactly,
    pub(super) changes: Vec<SessionChange>,
    /// Messages for other members of the session's groups.
    left: Option<Box<Left>>,
    /// Slips of messages whose acknowledgement a door waits for.
    followed: Option<Box<Followed>>,
    /// Bytes of all messages, except those on disk and those left to others.
    bytes: u64,
    /// The QoS 0 messages in the head.
    at_most_once: Load,
    /// Messages before this position were sent, or may have been, before a crash.
    pub(super) sent_to: u64,
    /// The read from disk that is under way.
    loading: Loading,
    /// What this counts against the total of all sessions.
    charge: Option<Charge>,
    /// Memory was short when the last durable message came: those after it wait on disk.
    is_short: bool,
}

/// Bytes by which the charge of an outbox grows. The outbox itself counts with its session. The
/// step is large enough that a message which comes and goes does not touch the total, which all
/// shards share.
const CHARGED_STEP_BYTES: u64 = 512;

impl Outbox {
    /// The outbox that a restart of the server found on disk.
    pub(super) fn recovered(disk: Option<Extent>, sent_to: u64) -> Self {
        Self { disk, sent_to, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty()
            && self.disk.is_none()
            && self.tail.is_empty()
            && self.inflight.is_empty()
            && self.exactly.is_empty()
            && self.changes.is_empty()
            && self.left.is_none()
    }

    /// Charges what this takes to `memory`, messages and the first step excepted. `holder` is asked
    /// at the first charge.
    pub(super) fn charge(&mut self, memory: &Arc<MemoryBudget>, holder: impl FnOnce() -> Holder) {
        let bytes = self.places_bytes() / CHARGED_STEP_BYTES * CHARGED_STEP_BYTES;
        match &mut self.charge {
            Some(charge) if charge.bytes() == bytes => {}
            Some(charge) => charge.resize(bytes),
            None if bytes == 0 => {}
            None => self.charge = Some(memory.charge_anyway(holder(), bytes)),
        }
    }

    /// Charges what this takes to `holder` from now on.
    pub(super) fn hand_over(&mut self, holder: Holder) {
        if let Some(charge) = &mut self.charge {
            charge.hand_over(holder);
        }
    }

    /// Whether it takes more than the step that every session may have.
    pub(super) fn is_charged(&self) -> bool {
        self.charge.as_ref().is_some_and(|charge| charge.bytes() > 0)
    }

    fn places_bytes(&self) -> u64 {
        let queued = (self.head.capacity() + self.tail.capacity()) * size_of::<Owed>();
        let changes = self.changes.capacity() * size_of::<SessionChange>();
        let left = self.left.as_deref().map_or(0, Left::bytes);
        let followed = self.followed.as_deref().map_or(0, Followed::bytes);
        (queued + changes + left + followed + self.inflight.bytes() + self.exactly.bytes()) as u64
    }

    /// Everything that counts against the outbox's limits.
    pub(super) fn total(&self) -> Load {
        let disk = self.disk.unwrap_or_default();
        let Load { messages, bytes } = self.in_memory();
        Load { messages: messages + u64::from(disk.messages), bytes: bytes + disk.bytes }
    }

    /// The part of the total that is in memory.
    pub(super) fn in_memory(&self) -> Load {
        let messages = self.head.len() + self.tail.len() + self.inflight.len();
        Load { messages: messages as u64, bytes: self.bytes }
    }

    /// The total without the QoS 0 messages, which give way to others.
    pub(super) fn total_to_keep(&self) -> Load {
        self.total().without(self.at_most_once)
    }

    /// Whether any message waits, in memory or on disk.
    pub(super) fn has_waiting(&self) -> bool {
        !self.head.is_empty() || self.disk.is_some() || !self.tail.is_empty()
    }

    /// Lets the new message share subscription ids with the last one in memory, if they are the
    /// same.
    pub(super) fn share_ids(&self, delivery: &mut Delivery) {
        let queued = self.tail.back().or(self.head.back());
        let sent = || self.inflight.iter().next_back()?.owed.as_ref();
        if let Some(last) = queued.or_else(sent) {
            delivery.via.share_ids(&last.delivery.via);
        }
    }

    /// Adds a message at the end. `is_short`: memory is short, so the message should wait on disk
    /// if it can.
    pub(super) fn push(&mut self, mut owed: Owed, connected: bool, is_short: bool) {
        let size = owed.delivery.size();
        self.bytes += size;
        if owed.delivery.qos == QoS::AtMostOnce {
            self.at_most_once.add(size);
            if owed.filing == Filing::Never {
                owed.position = self.head.back().map_or(0, |before| before.position);
            }
        }
        let follows_head = self.disk.is_none()
            && self.tail.is_empty()
            && connected
            && !is_short
            && self.head.len() < HEAD_MESSAGES_MAX;
        self.is_short = is_short;
        if matches!(owed.filing, Filing::Never | Filing::Held) || follows_head {
            self.head.push_back(owed);
        } else {
            self.tail.push_back(owed);
        }
    }

    /// The next message, if it is in memory and may leave.
    pub(super) fn front(&mut self) -> Option<&Owed> {
        self.refill();
        self.head.front().filter(|owed| owed.may_leave())
    }

    /// Like `front`, without fetching anything into the head.
    pub(super) fn peek(&self) -> Option<&Owed> {
        let behind = if self.may_refill() { self.tail.front() } else { None };
        self.head.front().or(behind).filter(|owed| owed.may_leave())
    }

    /// Takes out the next message. Then either put it into `inflight` or `settle` it.
    pub(super) fn pop(&mut self) -> Option<Owed> {
        let owed = self.head.pop_front()?;
        self.no_longer_waits(&owed);
        Some(owed)
    }

    /// A message has left the head or the tail.
    fn no_longer_waits(&mut self, owed: &Owed) {
        if owed.delivery.qos == QoS::AtMostOnce {
            self.at_most_once.remove(owed.delivery.size());
        }
    }

    /// The session owes the message no longer.
    pub(super) fn settle(&mut self, owed: &Owed) {
        self.release_bytes(owed);
        self.unfollow(owed);
        self.settle_on_disk(owed.position, owed.filing);
    }

    /// Another member of its group gets the message instead.
    pub(super) fn leave(&mut self, owed: Owed) {
        self.release_bytes(&owed);
        let slip = self.take_slip(owed.position);
        self.left.get_or_insert_default().push(owed, slip);
    }

    /// Keeps the slip of the message at this position.
    pub(super) fn follow(&mut self, position: u64, slip: Slip) {
        self.followed.get_or_insert_default().insert(position, slip);
    }

    /// The client has acknowledged or refused the message at this position.
    pub(super) fn send_slip_back(&mut self, position: u64, client_id: &str, fate: Fate) {
        if let Some(slip) = self.take_slip(position) {
            slip.send_back(client_id, fate);
        }
    }

    /// The session owes the message no longer. Its slip, if it still has one, reports it dropped.
    fn unfollow(&mut self, owed: &Owed) {
        // QoS 0 has no slip, and may share the position of a message that has one.
        if owed.delivery.qos != QoS::AtMostOnce {
            drop(self.take_slip(owed.position));
        }
    }

    fn take_slip(&mut self, position: u64) -> Option<Slip> {
        let slip = self.followed.as_deref_mut()?.take(position);
        self.followed.take_if(|followed| followed.is_empty());
        slip
    }

    /// Messages left to other members, if any.
    pub(super) fn left_mut(&mut self) -> Option<&mut Left> {
        self.left.as_deref_mut()
    }

    /// Takes these out, with the slips of the messages on disk, when the session ends.
    pub(super) fn take_left(&mut self) -> Option<Box<Left>> {
        let followed = self.followed.take();
        if let Some(followed) = followed {
            self.left.get_or_insert_default().follow(*followed);
        }
        self.left.take()
    }

    /// Drops the list of messages left to others once all are safe elsewhere.
    pub(super) fn tidy_left(&mut self) {
        self.left.take_if(|left| left.is_over());
    }

    /// Whether the disk may still have, in this outbox, messages that went to other members.
    fn is_leaving(&self) -> bool {
        self.left.as_deref().is_some_and(Left::is_busy)
    }

    /// A flow has ended.
    pub(super) fn end(&mut self, ended: &EndedDelivery, durable: bool) {
        match &ended.owed {
            Some(owed) => self.settle(owed),
            None if durable => self.changes.push(SessionChange::Settle(ended.position)),
            None => {}
        }
    }

    /// The first PUBREC came for a message.
    pub(super) fn received(&mut self, owed: &Owed) {
        self.release_bytes(owed);
        if matches!(owed.filing, Filing::Queued | Filing::Written) {
            self.inflight.release_begins(owed.position);
            self.changes.push(SessionChange::Release(owed.position));
        }
    }

    /// Asks the disk once more to note which messages were received: it has not confirmed that yet.
    pub(super) fn release_again(&mut self) {
        self.changes.extend(self.inflight.unreleased().map(SessionChange::Release));
    }

    fn release_bytes(&mut self, owed: &Owed) {
        self.bytes -= owed.delivery.size();
    }

    /// A `Pending` write would come after the removal; `written` removes the message in that case.
    fn settle_on_disk(&mut self, position: u64, filing: Filing) {
        if matches!(filing, Filing::Queued | Filing::Written) {
            self.changes.push(SessionChange::Settle(position));
        }
    }

    fn refill(&mut self) {
        while self.head.len() < HEAD_MESSAGES_MAX
            && self.may_refill()
            && let Some(owed) = self.tail.pop_front()
        {
            self.head.push_back(owed);
        }
    }

    /// Whether the tail's front may join the head. If memory is short it waits to go to disk,
    /// unless it is the only message that the client can get next.
    fn may_refill(&self) -> bool {
        let is_next = self.head.is_empty() && self.inflight.is_empty();
        self.disk.is_none() && (!self.is_short || is_next)
    }

    /// Drops QoS 0 messages, the oldest first, until `size` bytes have room; none at all if
    /// dropping every one would not suffice. Returns how many, or `None` if there is no room.
    pub(super) fn make_room(&mut self, size: u64, room: Room) -> Option<u32> {
        if !self.total_to_keep().takes(size, room) {
            return None;
        }
        let mut total = self.total();
        Some(self.discard(|delivery| {
            let drop = delivery.qos == QoS::AtMostOnce && !total.takes(size, room);
            if drop {
                total.remove(delivery.size());
            }
            drop
        }))
    }

    /// Drops the unsent messages in memory that `which` selects. Returns how many.
    pub(super) fn discard(&mut self, which: impl FnMut(&Delivery) -> bool) -> u32 {
        let dropped = self.take_unsent(which);
        for owed in &dropped {
            self.settle(owed);
        }
        dropped.len() as u32
    }

    /// Takes out the unsent messages in memory that `which` selects, in order. The caller settles
    /// or leaves each.
    pub(super) fn take_unsent(&mut self, mut which: impl FnMut(&Delivery) -> bool) -> Vec<Owed> {
        let mut taken = Vec::new();
        for queue in [&mut self.head, &mut self.tail] {
            for owed in std::mem::take(queue) {
                if which(&owed.delivery) {
                    taken.push(owed);
                } else {
                    queue.push_back(owed);
                }
            }
        }
        for owed in &taken {
            self.no_longer_waits(owed);
        }
        taken
    }

    #[cfg(test)]
    pub(super) fn queued(&self) -> impl Iterator<Item = &Owed> {
        self.head.iter().chain(&self.tail)
    }

    #[cfg(test)]
    pub(super) fn counted_bytes(&self) -> (u64, u64) {
        (self.bytes, self.at_most_once.bytes)
    }
}

#[cfg(test)]
mod tests;
