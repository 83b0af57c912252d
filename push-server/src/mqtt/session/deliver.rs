//! A message comes to a session: whether its outbox has room, and what gives way where it has none.

use std::sync::Arc;

use super::super::delivery::Delivery;
use super::super::outbox::{Outbox, Room};
use super::super::owed::{Filing, Owed};
use super::super::{Limits, OutboxFull};
use super::Session;
use crate::broker::{Holder, MemoryBudget, QoS, Slip};

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It is in the outbox.
    Queued,
    /// In the outbox, and that many messages were dropped for it: queued ones of QoS 0, or the
    /// oldest.
    QueuedDropping(u32),
    /// Dropped, the outbox being full: a QoS 0 message, or any for a session without connection.
    /// Without connection QoS 0 messages are never queued.
    Dropped,
    /// The same, and its publisher is to be told (0x97).
    Refused,
    /// Not taken: QoS 1 or 2 for a connected client that does not keep up. Close with 0x97.
    Overflow,
}

impl Delivered {
    /// Whether the message is in the outbox.
    pub fn is_queued(self) -> bool {
        matches!(self, Self::Queued | Self::QueuedDropping(_))
    }
}

impl Session {
    /// Puts a message into the outbox. `filing`: how it is on its way to the disk, if the session is
    /// durable.
    ///
    /// Messages unacknowledged count against its limits. A session that is owed nothing takes any
    /// message, even one larger than `outbox_bytes_max`. Where room is missing, queued QoS 0
    /// messages make it for the others, the oldest first, if that is enough. If it is not,
    /// `Limits::outbox_full` decides for a client that is away; one that is here does not keep up.
    ///
    /// `memory`: what all outboxes together may hold. Where it is short, room is missing just so, but for
    /// messages that are kept on disk: these need not stay in memory.
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
        // Without a durable part all of it is in memory.
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
                // A client that reconnects before the oldest were dropped has done nothing wrong, nor has
                // one that is owed nothing while others hold all the memory.
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

    /// Whether a message finds room without another, or the client, being dropped for it.
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

    /// The same, whatever other sessions hold.
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

    /// The message that was put into the outbox last, of QoS 1 or 2, has this slip. It comes back when the
    /// client has acknowledged the message, on whatever connection, or the session owes it no longer.
    pub fn follow(&mut self, slip: Slip) {
        let position = self.last_position();
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.follow(position, slip);
        }
    }

    /// Counts what it has unacknowledged and queued, messages not counted, against `memory`, for its
    /// `holder`. To be called when that has changed.
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

    /// Counts it for this holder from now on: its client has connected from another network.
    pub fn hand_over(&mut self, holder: Holder) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.hand_over(holder);
        }
    }

    /// Whether that is more than a session may have where the total of all is reached.
    pub fn is_charged(&self) -> bool {
        self.outbox.as_deref().is_some_and(Outbox::is_charged)
    }
}
