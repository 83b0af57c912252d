//! A slip goes with a message to one receiver, and comes back once, with what happened to the
//! message there. So a publisher outside the shards learns who has acknowledged. Messages that
//! clients publish have none.
//!
//! A dropped slip comes back as well, so none is lost, however a message leaves an outbox.

use std::fmt::Debug;
use std::sync::Arc;

/// What happened to a message at one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The receiver has acknowledged it completely: PUBACK, or PUBCOMP at QoS 2.
    Acknowledged,
    /// The receiver has answered with an error (reason code 0x80 or above).
    Refused,
    /// It was sent at QoS 0, which nobody acknowledges.
    Unconfirmed,
    /// The session no longer owes it, and the receiver has not acknowledged it: the outbox was
    /// full, the message has expired or is too large, the disk has failed, or the session has
    /// ended.
    Dropped,
}

/// The place that the slips of a message come back to.
pub trait Slips: Debug + Send + Sync {
    /// One has come back. `client_id`: the receiver, if known.
    fn came_back(&self, client_id: Option<&str>, fate: Fate);
}

/// Goes with one message to one receiver.
#[derive(Debug)]
pub struct Slip(Option<Arc<dyn Slips>>);

impl Slip {
    /// A slip that comes back to `slips`.
    pub fn new(slips: Arc<dyn Slips>) -> Self {
        Self(Some(slips))
    }

    /// Sends it back with what happened to the message at this client.
    pub fn send_back(mut self, client_id: &str, fate: Fate) {
        if let Some(slips) = self.0.take() {
            slips.came_back(Some(client_id), fate);
        }
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        if let Some(slips) = self.0.take() {
            slips.came_back(None, Fate::Dropped);
        }
    }
}
