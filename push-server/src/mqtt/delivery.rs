//! A message on its way to one session.

use std::sync::Arc;

use crate::broker::{MemoryBudget, Message, QoS, Via};

/// A message for a session.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Arc<Message>,
    /// The lower of the message's and the subscription's.
    pub qos: QoS,
    /// The RETAIN flag to send.
    pub retain: bool,
    /// By which subscriptions it came.
    pub via: Via,
}

impl Delivery {
    /// What it counts against `Limits::outbox_bytes_max`.
    pub(super) fn size(&self) -> u64 {
        (self.message.weight_bytes() + self.via.weight_bytes()) as u64
    }

    /// An outbox holds it: it counts against the total of all.
    pub(super) fn enter_outbox(&self, memory: &Arc<MemoryBudget>) {
        self.message.held.enter(|| self.message.weight_bytes(), memory);
        self.via.enter_outbox(memory);
    }

    /// The outbox holds it no longer.
    pub(super) fn leave_outbox(&self) {
        self.message.held.leave(|| self.message.weight_bytes());
        self.via.leave_outbox();
    }
}
