//! What a door says of its messages.

use crate::broker::{Fate, TopicError};
use crate::mqtt::codec::Reason;

/// What a door says. For each message it says once that it is taken or refused, and for each followed receiver once
/// what became of the message there. A receiver's reply may come before the message's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The message is as safe as it will be: on disk in every outbox that is kept there.
    Taken {
        /// Which message.
        number: u64,
        /// `Success`, or `NoMatchingSubscribers`.
        reason: Reason,
        /// How many outboxes it was for. A group that shares a subscription counts as one.
        receivers: u32,
        /// For how many of them a `Receiver` follows.
        followed: u32,
    },
    /// It is not safe: some receivers may have it, others never will.
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
        /// The receiver. `None`: the message was dropped where the receiver was no longer known.
        client_id: Option<Box<str>>,
        /// What became of it.
        fate: Fate,
    },
    /// The shards have stopped. This is the last reply: messages without one by now get none, and may be safe or
    /// not.
    Closed,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The door has as many messages, or bytes, as it may: under way, or with replies that were not taken.
    #[error("too much is under way through this door")]
    Full,
    /// Its topic is not a valid one.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Its topic begins with `$`.
    #[error("topics that begin with $ are the server's own")]
    TopicReserved,
    /// Its topic is longer than a client's may be.
    #[error("a topic must not have more than {bytes_max} bytes")]
    TopicTooLong {
        /// The most that it may have.
        bytes_max: u16,
    },
    /// A PUBLISH cannot have one of its properties.
    #[error("a property is too long, or is not what MQTT allows it to be")]
    Properties,
    /// It is larger than a client's may be.
    #[error("a message must not have more than {bytes_max} bytes")]
    TooLarge {
        /// The most that it may have.
        bytes_max: u32,
    },
    /// An outbox had no room, with `--outbox-full refuse`.
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
            Self::Topic(_) | Self::TopicTooLong { .. } => Reason::TopicNameInvalid,
            Self::TopicReserved => Reason::NotAuthorized,
            Self::Properties => Reason::ProtocolError,
            Self::TooLarge { .. } => Reason::PacketTooLarge,
            Self::Store => Reason::ImplementationSpecificError,
            Self::Stopping => Reason::ServerShuttingDown,
        }
    }
}
