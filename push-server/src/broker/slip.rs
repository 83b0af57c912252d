//! A slip goes with a message to one receiver, and comes back once: with what became of the message there.
//! That is how whoever publishes from outside the shards learns who has acknowledged. A message that a client
//! publishes has none.
//!
//! A slip that is dropped comes back as well, so none is lost, whatever way a message leaves an outbox.

use std::fmt::Debug;
use std::sync::Arc;

/// What became of a message at one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The receiver has acknowledged it, to the end: PUBACK, or PUBCOMP at QoS 2.
    Acknowledged,
    /// The receiver has answered with an error (reason code 0x80 or above).
    Refused,
    /// It was handed on at QoS 0, which nobody acknowledges.
    Unconfirmed,
    /// The receiver is owed it no longer, and has not acknowledged it: its outbox is full, the message has
    /// expired or is too large for it, the disk has failed, or its session has ended.
    Dropped,
}

/// Where the slips of a message come back to.
pub trait Slips: Debug + Send + Sync {
    /// One has come back. `client_id`: whose it was, where that is known.
    fn came_back(&self, client_id: Option<&str>, fate: Fate);
}

/// A slip.
#[derive(Debug)]
pub struct Slip(Option<Arc<dyn Slips>>);

impl Slip {
    /// One that comes back to `slips`.
    pub fn new(slips: Arc<dyn Slips>) -> Self {
        Self(Some(slips))
    }

    /// Sends it back: what became of the message at this client.
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
