//! Whose message a fan-out carries, and who hears what became of it.

use std::sync::Arc;

use crate::broker::Charge;
use crate::mqtt::PublishReceipt;
use crate::shard::door::Entered;
use crate::shard::ports::Token;
use crate::shard::post::Stamp;
use crate::store::SessionNumber;

/// Whose a message is.
#[derive(Debug)]
pub(crate) enum Author {
    /// A client's. `key`: of its session, which is this shard's. `publisher`: who hears of it, unless it has QoS 0.
    Client { key: u32, publisher: Option<Publisher> },
    /// A client's will. `key`: of its session, unless that has ended. `_charge`: holds the will's part of the total
    /// of all wills while it waits for its turn.
    Will { key: Option<u32>, _charge: Option<Charge> },
    /// A door's.
    Door(Arc<Entered>),
    /// Another shard's: the message has come by a letter.
    Letter { _stamp: Stamp },
}

/// The client that hears what became of its publish.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) client: Token,
    pub(crate) key: u32,
    pub(crate) number: SessionNumber,
    pub(crate) receipt: PublishReceipt,
}

impl Author {
    /// The key of the session of this shard that published it, or whose will it was. The session may have
    /// ended since, and its key may be another's.
    pub(crate) fn key(&self) -> Option<u32> {
        match self {
            Self::Client { key, .. } => Some(*key),
            Self::Will { key, .. } => *key,
            Self::Door(_) | Self::Letter { .. } => None,
        }
    }
}
