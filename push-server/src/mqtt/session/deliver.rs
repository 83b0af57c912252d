//! Puts messages into a session's outbox: whether there is room, and which messages give way if
//! there is not.

use std::sync::Arc;

use super::super::delivery::Delivery;
use super::super::outbox::{Outbox, Room};
use super::super::owed::{Filing, Owed};
use super::super::{Limits, OutboxFull};
use super::Session;
use crate::broker::{Holder, MemoryBudget, QoS, Slip};

/// What `Session::deliver` did with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It is in the outbox.
    Queued,
    /// It is in the outbox, and this many were dropped for it: queued QoS 0 messages, or the
    /// oldest.
    QueuedDropping(u32),
    /// The outbox was full, and the message dropped: QoS 0, or any QoS while the client is away. An
    /// absent client gets no QoS 0 message at all.
    Dropped,
    /// Dropped like this, and the publisher must be told (0x97).
    Refused,
    /// Not taken: QoS 1 or 2, and the connected client reads too slowly. Close with 0x97.
    Overflow,
}

impl Delivered {
    /// Whether the message is in the outbox.
    pub fn is_queued(self) -> bool {
        matches!(self, Self::Queued | Self::QueuedDropping(_))
    }
}

impl Session {
    /// Puts a message into the outbox. `filing`: how far its write has come, if the session is
    /// durable.
    ///
    /// Unacknowledged messages count against the limits. A session that is owed nothing takes any
    /// message, even one larger than `outbox_bytes_max`. If room is short, queued QoS 0 messages
    /// are dropped for a QoS 1 or 2 message, the oldest first, if that suffices. If not,
    /// `Limits::outbox_full` decides for an absent client; for a connected one the answer is
    /// `Overflow`.
    ///
    /// `memory`: what all outboxes together may hold. If it is short, room is short in the same
    /// way, but not for messages that the store keeps: they need not stay in memory.
    pub fn deliver(
        &mut self,
        mut delivery: Delivery,
        connected: bool,
        filing: Filing,
        limits: &Limits,
        memory: &Arc<MemoryBudget>,
    ) -> Delivered {
        let at_most_once = delivery.qos == QoS::AtMostOnce;
        if !connected && at_most_once {
            return Delivered::Dropped;
        }
        let is_written = self.is_durable && !at_most_once;
        let filing = if is_written || filing == Filing::Held { filing } else { Filing::Never };
        let size = delivery.size();
        let in_memory = Room::in_memory(memory);
        // Without a disk part all messages are in memory.
        let room = Room::own(limits);
        let room = if self.is_durable { room } else { room.and(in_memory) };
        let outbox = self.outbox.get_or_insert_default();
        let is_short = !outbox.in_memory().takes(size, in_memory);
        let mut delivered = Delivered::Queued;
        if !outbox.total().takes(size, room) || (is_short && at_most_once) {
            let dropped = if at_most_once { None } else { outbox.make_room(size, room) };
            delivered = match dropped {
                Some(dropped) => Delivered::QueuedDropping(dropped),
                None if at_most_once => Delivered::Dropped,
                // A client that reconnects before its oldest messages were dropped has done nothing
                // wrong. Nor has a client that is owed nothing while others hold all the memory.
                None if connected && outbox.total().messages > 0 && !outbox.is_over(limits) => {
                    Delivered::Overflow
                }
                None => match limits.outbox_full {
                    OutboxFull::DropOldest => match outbox.drop_oldest(size, room) {
                        Some(dropped) => Delivered::QueuedDropping(dropped),
                        None => Delivered::Dropped,
                    },
                    OutboxFull::DropNewest => Delivered::Dropped,
                    OutboxFull::Refuse => Delivered::Refused,
                },
            };
        }
        if !delivered.is_queued() {
            self.tidy();
            return delivered;
        }
        outbox.share_ids(&mut delivery);
        let owed = Owed::new(self.next_position, filing, delivery, memory);
        outbox.push(owed, connected, is_short);
        self.next_position += u64::from(!at_most_once || filing == Filing::Held);
        delivered
    }

    /// Whether a message finds room without dropping another one, or the client.
    pub fn has_room(
        &self,
        delivery: &Delivery,
        connected: bool,
        limits: &Limits,
        memory: &MemoryBudget,
    ) -> bool {
        let at_most_once = delivery.qos == QoS::AtMostOnce;
        if at_most_once && !connected {
            return false;
        }
        let own = Room::own(limits);
        let in_memory = Room::in_memory(memory);
        let room = if self.is_durable && !at_most_once { own } else { own.and(in_memory) };
        self.takes(delivery, room)
    }

    /// The same by the session's own limits, whatever other sessions hold.
    pub fn has_room_of_its_own(&self, delivery: &Delivery, limits: &Limits) -> bool {
        self.takes(delivery, Room::own(limits))
    }

    fn takes(&self, delivery: &Delivery, room: Room) -> bool {
        let in_the_way = self.outbox.as_deref().map(|outbox| match delivery.qos {
            QoS::AtMostOnce => outbox.total(),
            QoS::AtLeastOnce | QoS::ExactlyOnce => outbox.total_to_keep(),
        });
        in_the_way.unwrap_or_default().takes(delivery.size(), room)
    }

    /// Attaches a slip to the QoS 1 or 2 message that was put into the outbox last. The slip goes
    /// back when the client acknowledges the message, on any connection, or the session stops owing
    /// it.
    pub fn follow(&mut self, slip: Slip) {
        let position = self.last_position();
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.follow(position, slip);
        }
    }

    /// Charges the places of unacknowledged and queued messages, without the messages themselves,
    /// to `memory` for `holder`. Call this when they have changed.
    pub fn charge_inflight(
        &mut self,
        memory: &Arc<MemoryBudget>,
        holder: impl FnOnce(Option<&str>) -> Holder,
    ) {
        let Self { outbox, name, .. } = self;
        if let Some(outbox) = outbox.as_deref_mut() {
            outbox.charge(memory, || holder(name.user()));
        }
    }

    /// Charges them to this holder from now on: the client has connected from another network.
    pub fn hand_over(&mut self, holder: Holder) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.hand_over(holder);
        }
    }

    /// Whether it charges more than every session may have when the total is reached.
    pub fn is_charged(&self) -> bool {
        self.outbox.as_deref().is_some_and(Outbox::is_charged)
    }
}
