//! What a door says of a message.

use crate::broker::{Fate, TopicError};
use crate::mqtt::codec::Reason;

/// What a door says. Of each message it says once that it is taken or refused, and of each receiver that is
/// followed once what became of the message there; a receiver may be faster than the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The message is as safe as it will be: on disk in every outbox that is kept there.
    Taken {
        /// Which message.
        number: u64,
        /// `Success`, or `NoMatchingSubscribers`.
        reason: Reason,
        /// Outboxes that it was for, a group that shares a subscription counting as one.
        receivers: u32,
        /// How many of them tell what becomes of it, by `Receiver`.
        followed: u32,
    },
    /// It is not safe: some receivers may have it, and others never will.
    Refused {
        /// Which message.
        number: u64,
        /// Why.
        why: Refusal,
    },
    /// What became of it at one receiver.
    Receiver {
        /// Which message.
        number: u64,
        /// The receiver, where it is known; that it was dropped may be known later than by whom.
        client_id: Option<Box<str>>,
        /// What became of it.
        fate: Fate,
    },
    /// The shards have stopped. This is the last reply: what has none by now will have none, and may be safe
    /// or not.
    Closed,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// As many messages, or bytes, are under way as may be, or wait for their replies to be taken.
    #[error("too much is under way through this door")]
    Full,
    /// Its topic is none.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Its topic begins with `$`.
    #[error("topics that begin with $ are the server's own")]
    TopicReserved,
    /// A property is none that a PUBLISH can have.
    #[error("a property is too long, or is not what MQTT allows it to be")]
    Properties,
    /// It is larger than a client's could be.
    #[error("a message must not have more than {bytes_max} bytes")]
    TooLarge {
        /// What it may have.
        bytes_max: u32,
    },
    /// An outbox had no room, and `--outbox-full refuse` has it told.
    #[error("a receiver's outbox is full")]
    OutboxFull,
    /// It could not be written.
    #[error("it could not be stored")]
    Store,
    /// The server stops.
    #[error("the server stops")]
    Stopping,
}

impl Refusal {
    /// The reason code that says so in MQTT 5.
    pub fn reason(self) -> Reason {
        match self {
            Self::Full | Self::OutboxFull => Reason::QuotaExceeded,
            Self::Topic(_) => Reason::TopicNameInvalid,
            Self::TopicReserved => Reason::NotAuthorized,
            Self::Properties => Reason::ProtocolError,
            Self::TooLarge { .. } => Reason::PacketTooLarge,
            Self::Store => Reason::ImplementationSpecificError,
            Self::Stopping => Reason::ServerShuttingDown,
        }
    }
}
