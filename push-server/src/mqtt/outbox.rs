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

mod followed;
mod left;
mod overrun;
pub(super) mod room;

use std::collections::VecDeque;
use std::sync::Arc;

use super::delivery::Delivery;
use super::inflight::{EndedDelivery, Exactly, Inflight};
use super::owed::{Filing, Owed, SessionChange, find, remove_unsafe};
use crate::broker::{Charge, Fate, Holder, MemoryBudget, QoS, Slip};
use followed::Followed;
pub use left::{Left, LeftMessage};
pub(super) use room::{Load, Room};

/// Messages of a durable session that the head takes from the disk at a time, and holds before
/// further ones stay on disk.
pub const HEAD_MESSAGES_MAX: usize = 64;

/// Without memory for so many bytes no page is read for an outbox that has something in memory.
const PAGE_BYTES_MIN: u64 = 16 << 10;

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

    /// The message in this place is on disk. `filed`: how it was on its way when it came here.
    pub(super) fn written(&mut self, position: u64, filed: Filing, connected: bool) {
        let found = match find(&mut self.tail, position).or_else(|| find(&mut self.head, position))
        {
            Some(owed) => Some(owed),
            None => self.inflight.owed_mut(position),
        };
        match found {
            Some(owed) if owed.filing == Filing::Held => owed.filing = Filing::Never,
            Some(owed) => owed.filing = Filing::Written,
            None if self.left.as_deref_mut().is_some_and(|left| left.written(position, false)) => {}
            // Acknowledged meanwhile, when its removal could not be asked for.
            None if filed == Filing::Pending => self.changes.push(SessionChange::Settle(position)),
            None => {}
        }
        if connected {
            self.spill();
        } else {
            self.store_away();
        }
    }

    /// The message in this place is not going to be on disk: its publisher has been told so. What
    /// has not left is dropped. Returns whether it was.
    pub(super) fn not_written(&mut self, position: u64) -> bool {
        let dropped = remove_unsafe(&mut self.head, position)
            .or_else(|| remove_unsafe(&mut self.tail, position));
        if let Some(owed) = dropped {
            self.no_longer_waits(&owed);
            self.release_bytes(&owed);
            self.unfollow(&owed);
            self.spill();
            return true;
        }
        if self.left.as_deref_mut().is_some_and(|left| left.written(position, true)) {
            return true;
        }
        if let Some(owed) = self.inflight.owed_mut(position) {
            owed.filing = Filing::Never;
        }
        false
    }

    /// Messages that have left and whose write failed: their write is queued once more.
    pub(super) fn take_unwritten(&mut self) -> Vec<(u64, Delivery)> {
        let unwritten = self.inflight.owed_iter_mut().filter(|owed| owed.filing == Filing::Never);
        let queue = |owed: &mut Owed| {
            owed.filing = Filing::Queued;
            (owed.position, owed.delivery.clone())
        };
        unwritten.map(queue).collect()
    }

    /// Lets the front of the tail join what lies on disk, unless the head can take it.
    fn spill(&mut self) {
        if self.disk.is_none() && !self.is_short && self.head.len() < HEAD_MESSAGES_MAX {
            return;
        }
        while let Some(owed) = self.tail.pop_front_if(|owed| owed.filing == Filing::Written) {
            self.put_on_disk(&owed);
        }
    }

    fn put_on_disk(&mut self, owed: &Owed) {
        self.release_bytes(owed);
        let position = owed.position;
        let disk =
            self.disk.get_or_insert(Extent { from: position, next: position, ..Extent::default() });
        disk.next = position + 1;
        disk.messages += 1;
        disk.bytes += owed.delivery.size();
    }

    /// The client is away: memory holds nothing that is on disk, once all that comes first is.
    pub(super) fn store_away(&mut self) {
        if self.loading != Loading::No || !self.is_safe_before_tail() {
            return;
        }
        if let Some(disk) = self.extent_before_tail() {
            self.disk = Some(disk);
            self.bytes = self.tail.iter().map(|owed| owed.delivery.size()).sum();
            self.head = VecDeque::new();
            self.inflight = Inflight::default();
        }
        while let Some(owed) = self.tail.pop_front_if(|owed| owed.filing == Filing::Written) {
            self.put_on_disk(&owed);
        }
        if self.tail.is_empty() {
            // A slow disk may have made it long, and what is on disk may wait for years.
            self.tail = VecDeque::new();
        }
    }

    fn is_safe_before_tail(&self) -> bool {
        let inflight = self.inflight.iter().filter_map(|entry| entry.owed.as_ref());
        inflight.chain(&self.head).all(|owed| owed.filing == Filing::Written)
    }

    /// Inflight, head and disk as one piece.
    fn extent_before_tail(&self) -> Option<Extent> {
        let mut whole = Extent::default();
        let inflight = self.inflight.iter().map(|entry| {
            (entry.position, entry.owed.as_ref().map_or(0, |owed| owed.delivery.size()))
        });
        let head = self.head.iter().map(|owed| (owed.position, owed.delivery.size()));
        for (position, size) in inflight.chain(head) {
            if whole.messages == 0 {
                whole.from = position;
            }
            whole.next = position + 1;
            whole.messages += 1;
            whole.bytes += size;
        }
        if let Some(disk) = self.disk {
            if whole.messages == 0 {
                whole.from = disk.from;
            }
            whole.next = disk.next;
            whole.messages += disk.messages;
            whole.bytes += disk.bytes;
        }
        (whole.messages > 0).then_some(whole)
    }

    /// Whether a page is being read, or it has left something to others that may not be safe yet.
    pub(super) fn awaits_disk(&self) -> bool {
        self.loading != Loading::No || self.left.is_some()
    }

    /// Where the part on disk begins.
    pub(super) fn on_disk(&self) -> Option<u64> {
        Some(self.disk?.from)
    }

    /// Where a page is to be read from, for the client that is here; `page_loaded` brings it.
    pub(super) fn begin_page(&mut self, memory: &MemoryBudget) -> Option<u64> {
        let disk = self.disk?;
        let is_low = self.head.len() < HEAD_MESSAGES_MAX / 4 && !self.inflight.has_retries();
        // Where it holds nothing a page has to come all the same: of that one message is taken at least.
        let held = self.in_memory();
        let has_room = held.messages == 0 || held.takes(PAGE_BYTES_MIN, Room::in_memory(memory));
        if self.loading != Loading::No || self.is_leaving() || !is_low || !has_room {
            return None;
        }
        self.loading = Loading::Page;
        Some(disk.from)
    }

    /// A page from disk: what was found in order, and where to read on. What there is no memory for
    /// stays there, but for the first message. Returns how many messages that should be there are not.
    pub(super) fn page_loaded(
        &mut self,
        found: Vec<(u64, Fetched)>,
        mut next: Option<u64>,
        connected: bool,
        memory: &Arc<MemoryBudget>,
    ) -> u32 {
        self.loading = Loading::No;
        let Some(disk) = self.disk else { return 0 };
        if !connected {
            self.store_away();
            return 0;
        }
        let mut is_first = true;
        for (position, fetched) in found {
            if !(disk.from..disk.next).contains(&position) {
                continue;
            }
            let room = Room::in_memory(memory);
            if !is_first && !self.in_memory().takes(fetched.size(), room) {
                next = Some(position);
                break;
            }
            is_first = false;
            self.take_from_disk(position, fetched, memory);
        }
        let left = self.disk.take().unwrap_or_default();
        match next {
            Some(next) if next < disk.next => {
                self.disk = Some(Extent { from: next, ..left });
                0
            }
            _ => {
                if left.messages > 0 {
                    self.unfollow_lost();
                }
                left.messages
            }
        }
    }

    /// All that is owed is in memory now, and not all that should be: slips of the rest say that it was dropped.
    fn unfollow_lost(&mut self) {
        let Self { head, tail, inflight, followed, .. } = self;
        if let Some(followed) = followed {
            let is_in = |queue: &VecDeque<Owed>, position| {
                queue.iter().any(|owed| owed.position == position)
            };
            followed.retain(|position| {
                is_in(head, position)
                    || is_in(tail, position)
                    || inflight.iter().any(|entry| entry.position == position)
            });
        }
    }

    fn take_from_disk(&mut self, position: u64, fetched: Fetched, memory: &Arc<MemoryBudget>) {
        let size = fetched.size();
        if let Some(disk) = &mut self.disk {
            disk.messages = disk.messages.saturating_sub(1);
            disk.bytes = disk.bytes.saturating_sub(size);
        }
        let was_sent = position < self.sent_to;
        match fetched {
            Fetched::Release => self.inflight.push_retry(position, None),
            Fetched::Stale(_) if !was_sent => {
                drop(self.take_slip(position));
                self.changes.push(SessionChange::Settle(position));
            }
            Fetched::Message(mut delivery) | Fetched::Stale(mut delivery) => {
                self.bytes += size;
                self.share_ids(&mut delivery);
                let owed = Owed::new(position, Filing::Written, delivery, memory);
                if was_sent {
                    self.inflight.push_retry(position, Some(owed));
                } else {
                    self.head.push_back(owed);
                }
            }
        }
    }

    /// The read failed; the next `begin_page` or `begin_trim` tries again.
    pub(super) fn page_failed(&mut self, connected: bool) {
        self.loading = Loading::No;
        if !connected {
            self.store_away();
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
