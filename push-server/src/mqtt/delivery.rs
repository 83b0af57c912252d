//! A message on its way to one session.

use std::sync::Arc;

use crate::broker::{MemoryBudget, Message, QoS, Via};

/// A message for one session, and how that session gets it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Arc<Message>,
    /// The lower of the message's QoS and the subscription's.
    pub qos: QoS,
    /// The RETAIN flag to send.
    pub retain: bool,
    /// The subscriptions that matched.
    pub via: Via,
}

impl Delivery {
    /// Bytes that it counts against `Limits::outbox_bytes_max`.
    pub(super) fn size(&self) -> u64 {
        (self.message.weight_bytes() + self.via.weight_bytes()) as u64
    }

    /// An outbox holds the message from now on: it counts against the total of all outboxes.
    pub(super) fn enter_outbox(&self, memory: &Arc<MemoryBudget>) {
        self.message.held.enter(|| self.message.weight_bytes(), memory);
        self.via.enter_outbox(memory);
    }

    /// The outbox holds the message no longer.
    pub(super) fn leave_outbox(&self) {
        self.message.held.leave(|| self.message.weight_bytes());
        self.via.leave_outbox();
    }
}
