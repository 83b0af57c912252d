//! One message that a session is owed: its place, its packet id, and how far it is on its way to the
//! disk.

use std::collections::VecDeque;
use std::sync::Arc;

use super::delivery::Delivery;
use crate::broker::{MemoryBudget, QoS};

/// Packet ids there are: 1 to 65,535 [MQTT-2.3.1-1].
const PACKET_IDS: u64 = u16::MAX as u64;

/// The packet id that a message is sent with, and sent again with [MQTT-4.4.0-1]: it follows from
/// its place, so that it needs no writing down.
pub(super) const fn packet_id(position: u64) -> u16 {
    (position % PACKET_IDS) as u16 + 1
}

/// How far a message of a durable session is on its way to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filing {
    /// Not to be written: QoS 0, or the session ends with its connection, or the write failed after
    /// the message had left.
    Never,
    /// Not to be written either, but held back until what its publisher is promised is on disk.
    Held,
    /// Its write is being put together; what is asked of the disk meanwhile may come before it.
    Pending,
    /// Its write is queued; what is asked of the disk from now on comes behind it.
    Queued,
    /// It is on disk.
    Written,
}

/// What is to be done on disk. Nothing waits for the removals but the answers that say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionChange {
    /// The message in this place is owed no longer.
    Settle(u64),
    /// The message in this place was received (PUBREC): its release is owed.
    Release(u64),
    /// The client's QoS 2 publish with this packet id is over.
    EndExactlyOnce(u16),
}

/// A message in its place. It counts as held by an outbox from `new` on until it is dropped.
#[derive(Debug)]
pub(super) struct Owed {
    /// Its place, given out in order; with QoS 0 that of the message before.
    pub(super) position: u64,
    pub(super) filing: Filing,
    pub(super) delivery: Delivery,
}

impl Owed {
    pub(super) fn new(
        position: u64,
        filing: Filing,
        delivery: Delivery,
        memory: &Arc<MemoryBudget>,
    ) -> Self {
        delivery.enter_outbox(memory);
        Self { position, filing, delivery }
    }

    /// A message published with QoS 2 does not leave before it is on disk, at whatever QoS: after a
    /// crash its publisher would send it again as one that nobody has had. And its packet id would
    /// mean another one, which a client at QoS 2 would take for this one.
    pub(super) fn may_leave(&self) -> bool {
        self.delivery.message.qos != QoS::ExactlyOnce
            || matches!(self.filing, Filing::Never | Filing::Written)
    }

    pub(super) fn is_unsafe(&self) -> bool {
        matches!(self.filing, Filing::Held | Filing::Pending | Filing::Queued)
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.delivery.leave_outbox();
    }
}

/// Takes out the message in a place, if it is not on disk yet.
pub(super) fn remove_unsafe(queue: &mut VecDeque<Owed>, position: u64) -> Option<Owed> {
    let index = queue.iter().position(|owed| owed.position == position && owed.is_unsafe())?;
    queue.remove(index)
}

/// The message in a place. Nearly always they are in order of their places; a QoS 0 message that is
/// held may stand before an earlier one.
pub(super) fn find(queue: &mut VecDeque<Owed>, position: u64) -> Option<&mut Owed> {
    let is_it = |owed: &Owed| owed.position == position && owed.filing != Filing::Never;
    let guess = queue.partition_point(|owed| owed.position < position);
    let index = match queue.get(guess) {
        Some(owed) if is_it(owed) => guess,
        // QoS 0 messages share the place of the one before.
        _ => queue.iter().position(is_it)?,
    };
    queue.get_mut(index)
}
