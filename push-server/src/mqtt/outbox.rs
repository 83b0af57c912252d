//! What a session is owed, in order: in memory, and for a durable session's further part on disk.
//!
//! ```text
//!   inflight | head | disk | tail
//! ```
//! The head goes out next. What lies on disk is known by its extent alone and comes back into the
//! head page by page. The tail holds what is not safe yet; once it is, it joins what lies on disk.
//! A session that is not durable has nothing but a head. QoS 0 is never written, and always in the
//! head: only messages of one QoS keep their order [MQTT-4.6.0-6].
//!
//! This file moves messages and counts them. What is to be done on disk it leaves as `SessionChange`s for
//! the shard.

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

/// Messages of a durable session that the head takes from the disk at a time, and holds before
/// further ones stay on disk.
pub const HEAD_MESSAGES_MAX: usize = 64;

/// What was found in a place on disk.
#[derive(Debug)]
pub enum Fetched {
    /// A message.
    Message(Delivery),
    /// A message that was received already (PUBREC): its release is owed.
    Release,
    /// A message that has waited too long, and is owed no longer.
    Stale(Delivery),
}

impl Fetched {
    /// What it takes as soon as it is in memory.
    fn size(&self) -> u64 {
        match self {
            Self::Message(delivery) | Self::Stale(delivery) => delivery.size(),
            Self::Release => 0,
        }
    }
}

/// The part of an outbox that lies on disk: `from` up to but without `next`, with gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The first place.
    pub from: u64,
    /// The place behind the last.
    pub next: u64,
    /// Messages and releases in it.
    pub messages: u32,
    /// Bytes of the messages, as `Message::weight_bytes` counts them.
    pub bytes: u64,
}

/// What an outbox has asked the disk for. One thing at a time, so that what is found is what is still
/// there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Loading {
    /// Nothing is under way.
    #[default]
    No,
    /// The next messages, for the client that is here.
    Page,
    /// The oldest messages, to be dropped.
    Trim,
}

/// A session's outbox, and what is unacknowledged.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    head: VecDeque<Owed>,
    disk: Option<Extent>,
    tail: VecDeque<Owed>,
    pub(super) inflight: Inflight,
    pub(super) exactly: Exactly,
    pub(super) changes: Vec<SessionChange>,
    /// What goes to other members of its groups.
    left: Option<Box<Left>>,
    /// Slips of messages that somebody outside the shards wants to know acknowledged.
    followed: Option<Box<Followed>>,
    /// Bytes of all messages but those on disk and those left to others.
    bytes: u64,
    /// The QoS 0 messages in the head.
    at_most_once: Load,
    /// Messages before this position were sent, or may have been, before a crash.
    pub(super) sent_to: u64,
    /// What is being read from disk.
    loading: Loading,
    /// What it counts against the total of all sessions.
    charge: Option<Charge>,
    /// There was no memory for the last message that the store keeps: those behind it wait on disk.
    is_short: bool,
}

/// The outbox itself counts with its session. Beyond that it
/// is counted in steps of so many bytes, so that a message that comes and goes costs no look at what all
/// shards share.
const CHARGED_STEP_BYTES: u64 = 512;

impl Outbox {
    /// What a restart of the server found.
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

    /// Counts what it takes, messages and a first step not counted, against `memory`, for the holder that it
    /// has from then on.
    pub(super) fn charge(&mut self, memory: &Arc<MemoryBudget>, holder: impl FnOnce() -> Holder) {
        let bytes = self.places_bytes() / CHARGED_STEP_BYTES * CHARGED_STEP_BYTES;
        match &mut self.charge {
            Some(charge) if charge.bytes() == bytes => {}
            Some(charge) => charge.resize(bytes),
            None if bytes == 0 => {}
            None => self.charge = Some(memory.charge_anyway(holder(), bytes)),
        }
    }

    /// What it takes counts for this holder from now on.
    pub(super) fn hand_over(&mut self, holder: Holder) {
        if let Some(charge) = &mut self.charge {
            charge.hand_over(holder);
        }
    }

    /// Whether it takes more than every session may.
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

    /// The part of it that takes memory.
    pub(super) fn in_memory(&self) -> Load {
        let messages = self.head.len() + self.tail.len() + self.inflight.len();
        Load { messages: messages as u64, bytes: self.bytes }
    }

    /// The same without what would make room for others.
    pub(super) fn total_to_keep(&self) -> Load {
        self.total().without(self.at_most_once)
    }

    /// Whether any message waits, for room or for the disk.
    pub(super) fn has_waiting(&self) -> bool {
        !self.head.is_empty() || self.disk.is_some() || !self.tail.is_empty()
    }

    /// Lets a message that comes behind the others share what it has in common with the last of them in
    /// memory.
    pub(super) fn share_ids(&self, delivery: &mut Delivery) {
        let queued = self.tail.back().or(self.head.back());
        let sent = || self.inflight.iter().next_back()?.owed.as_ref();
        if let Some(last) = queued.or_else(sent) {
            delivery.via.share_ids(&last.delivery.via);
        }
    }

    /// Adds a message at the end. `is_short`: memory is short, so it should wait on disk if it can.
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

    /// The same, without looking where it would have to be fetched from.
    pub(super) fn peek(&self) -> Option<&Owed> {
        let behind = if self.may_refill() { self.tail.front() } else { None };
        self.head.front().or(behind).filter(|owed| owed.may_leave())
    }

    /// Takes the next message out; `settle` it unless it is inflight from now on.
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

    /// A message is owed no longer.
    pub(super) fn settle(&mut self, owed: &Owed) {
        self.release_bytes(owed);
        self.unfollow(owed);
        self.settle_on_disk(owed.position, owed.filing);
    }

    /// A message is no longer owed here: another member of its group is to have it.
    pub(super) fn leave(&mut self, owed: Owed) {
        self.release_bytes(&owed);
        let slip = self.take_slip(owed.position);
        self.left.get_or_insert_default().push(owed, slip);
    }

    /// The message in this place has a slip from now on.
    pub(super) fn follow(&mut self, position: u64, slip: Slip) {
        self.followed.get_or_insert_default().insert(position, slip);
    }

    /// The client has acknowledged or refused the message in this place.
    pub(super) fn send_slip_back(&mut self, position: u64, client_id: &str, fate: Fate) {
        if let Some(slip) = self.take_slip(position) {
            slip.send_back(client_id, fate);
        }
    }

    /// A message is owed no longer: its slip, if it has one that has not been sent back, says that it was
    /// dropped.
    fn unfollow(&mut self, owed: &Owed) {
        // QoS 0 has no slip, and may have another's place.
        if owed.delivery.qos != QoS::AtMostOnce {
            drop(self.take_slip(owed.position));
        }
    }

    fn take_slip(&mut self, position: u64) -> Option<Slip> {
        let slip = self.followed.as_deref_mut()?.take(position);
        self.followed.take_if(|followed| followed.is_empty());
        slip
    }

    /// What it leaves to others, if anything.
    pub(super) fn left_mut(&mut self) -> Option<&mut Left> {
        self.left.as_deref_mut()
    }

    /// The same, to outlive the session, with the slips of all that is on disk.
    pub(super) fn take_left(&mut self) -> Option<Box<Left>> {
        let followed = self.followed.take();
        if let Some(followed) = followed {
            self.left.get_or_insert_default().follow(*followed);
        }
        self.left.take()
    }

    /// Forgets what it left if all of that is safe elsewhere.
    pub(super) fn tidy_left(&mut self) {
        self.left.take_if(|left| left.is_over());
    }

    /// Whether the disk may still have, in this outbox, what others have or will.
    fn is_leaving(&self) -> bool {
        self.left.as_deref().is_some_and(Left::is_busy)
    }

    /// A flow is over.
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

    /// Asks the disk once more to note what was received: nobody has said yet that it has.
    pub(super) fn release_again(&mut self) {
        self.changes.extend(self.inflight.unreleased().map(SessionChange::Release));
    }

    fn release_bytes(&mut self, owed: &Owed) {
        self.bytes -= owed.delivery.size();
    }

    /// A write still being put together would come behind the removal: `written` removes it then.
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

    /// Whether the tail's front may join the head. Where memory is short it waits to go to the disk, unless
    /// it is the only one that the client may have next.
    fn may_refill(&self) -> bool {
        let is_next = self.head.is_empty() && self.inflight.is_empty();
        self.disk.is_none() && (!self.is_short || is_next)
    }

    /// Drops as many QoS 0 messages as make room for `size` bytes, the oldest first; none, if all
    /// of them would not. Returns how many, or `None` when there is no room.
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

    /// Drops the messages not sent yet, and in memory, that `which` points at. Returns how many.
    pub(super) fn discard(&mut self, which: impl FnMut(&Delivery) -> bool) -> u32 {
        let dropped = self.take_unsent(which);
        for owed in &dropped {
            self.settle(owed);
        }
        dropped.len() as u32
    }

    /// Takes them out, in their order; each is to be settled, or left.
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
