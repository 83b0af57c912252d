//! One message that a session is owed: its position, its packet id, and how far its write to disk
//! has come.

use std::collections::VecDeque;
use std::sync::Arc;

use super::delivery::Delivery;
use crate::broker::{MemoryBudget, QoS};

/// How many packet ids there are: 1 to 65,535 [MQTT-2.3.1-1].
const PACKET_IDS: u64 = u16::MAX as u64;

/// The packet id of the message at `position`, the same whenever it is sent [MQTT-4.4.0-1]. It
/// follows from the position, so nothing stores it.
pub(super) const fn packet_id(position: u64) -> u16 {
    (position % PACKET_IDS) as u16 + 1
}

/// How far the write of a durable session's message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filing {
    /// No write: QoS 0, or the session ends with its connection, or the write failed after the
    /// message had left.
    Never,
    /// No write either, but the message waits until the promise to its publisher is on disk.
    Held,
    /// The write is being put together; other changes may reach the disk before it.
    Pending,
    /// The write is queued; later changes reach the disk after it.
    Queued,
    /// It is on disk.
    Written,
}

/// A change to a session that the disk has to make. Only the answers that report a change wait for
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionChange {
    /// The session owes the message at this position no longer.
    Settle(u64),
    /// The client received the message at this position (PUBREC), and is owed PUBREL.
    Release(u64),
    /// The client's QoS 2 publish with this packet id has ended.
    EndExactlyOnce(u16),
}

/// A message at its position. From `new` until it is dropped it counts as held by an outbox.
#[derive(Debug)]
pub(super) struct Owed {
    /// Ascending; a QoS 0 message has that of the message before.
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

    /// A message published with QoS 2 waits until it is on disk, whatever QoS it is delivered with.
    /// Otherwise its publisher would send it again after a crash, and the server would take it for
    /// new. And its packet id would then stand for another message, which a QoS 2 client would take
    /// for this one.
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

/// Takes out the message at `position` if it is not on disk yet.
pub(super) fn remove_unsafe(queue: &mut VecDeque<Owed>, position: u64) -> Option<Owed> {
    let index = queue.iter().position(|owed| owed.position == position && owed.is_unsafe())?;
    queue.remove(index)
}

/// The message at `position`. The queue is nearly always in order of positions; a QoS 0 message
/// that is held may stand before an earlier one.
pub(super) fn find(queue: &mut VecDeque<Owed>, position: u64) -> Option<&mut Owed> {
    let is_it = |owed: &Owed| owed.position == position && owed.filing != Filing::Never;
    let guess = queue.partition_point(|owed| owed.position < position);
    let index = match queue.get(guess) {
        Some(owed) if is_it(owed) => guess,
        // QoS 0 messages share the position of the one before.
        _ => queue.iter().position(is_it)?,
    };
    queue.get_mut(index)
}
