//! Wills on their way: from a record of their own into every outbox. Wills whose write has failed wait here to be
//! published again.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::broker::{Charge, Holder, MemoryBudget, Message, will_weight_bytes};
use crate::store::{RecoveredWill, SessionNumber, WillNumber, Write};

/// Bytes of wills of a shard that could not be published safely, and are published again. Further
/// ones are not (`limit="wills"`); a restart may find them on disk.
pub(crate) const UNPUBLISHED_WILL_BYTES_MAX: usize = 16 << 20;

/// A will that is being published.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) number: WillNumber,
    /// The session whose will it is, and the key of that session if the shard has had it: for No Local
    /// [MQTT-3.8.3-3], and because the will's turn comes behind the session's own publishes.
    pub(crate) session: SessionNumber,
    pub(crate) key: Option<u32>,
    pub(crate) message: Arc<Message>,
    /// What it counts against the total of all wills until it is published.
    pub(crate) charge: Option<Charge>,
}

/// Wills to be published again.
#[derive(Debug, Default)]
pub(crate) struct Unpublished {
    wills: VecDeque<Outgoing>,
    bytes: usize,
}

impl Unpublished {
    pub(crate) fn len(&self) -> usize {
        self.wills.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.wills.is_empty()
    }

    /// Whether a session has any.
    pub(crate) fn has(&self, session: SessionNumber) -> bool {
        self.wills.iter().any(|will| will.session == session)
    }

    /// Returns whether there was room.
    pub(crate) fn push(&mut self, will: Outgoing) -> bool {
        let bytes = self.bytes + will.weight_bytes();
        if bytes > UNPUBLISHED_WILL_BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        self.wills.push_back(will);
        true
    }

    /// Takes the will that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let will = self.wills.pop_front()?;
        self.bytes -= will.weight_bytes();
        Some(will)
    }
}

impl Outgoing {
    fn weight_bytes(&self) -> usize {
        size_of::<Self>() + self.message.weight_bytes()
    }

    /// A will that a start has found on disk. Its memory has been taken, and counts for no holder.
    pub(crate) fn found(will: RecoveredWill, key: Option<u32>, memory: &Arc<MemoryBudget>) -> Self {
        let RecoveredWill { session, number, message } = will;
        let charge = Some(memory.adopt(Holder::NOBODY, will_weight_bytes(&message)));
        Self { number, session, key, message, charge }
    }

    pub(crate) fn removal(&self) -> Write {
        Write::RemoveWill { session: self.session, number: self.number }
    }
}
