//! The changes that a store can make.

use std::sync::Arc;

use super::numbers::{Position, SessionNumber, WillNumber};
use super::records::{OutboxEntry, SessionRecord};
use crate::broker::{Message, RetainedChange, SubscriptionOptions, TopicFilter};

/// One change. All changes of a request take effect together or not at all.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds or replaces a session's own record.
    PutSession {
        /// The session.
        number: SessionNumber,
        /// Its record.
        record: Box<SessionRecord>,
    },
    /// Removes a session with its subscriptions, outbox and exactly-once ids.
    RemoveSession {
        /// The session.
        number: SessionNumber,
    },
    /// Removes only a session's own record; the session must have nothing else on disk.
    RemoveRecord {
        /// The session.
        number: SessionNumber,
    },
    /// Adds or replaces a subscription.
    PutSubscription {
        /// The session.
        number: SessionNumber,
        /// The filter.
        filter: TopicFilter,
        /// Its options.
        options: SubscriptionOptions,
    },
    /// Removes a subscription.
    RemoveSubscription {
        /// The session.
        number: SessionNumber,
        /// The filter.
        filter: TopicFilter,
    },
    /// Puts a message into an outbox.
    PutOutbox {
        /// The session.
        number: SessionNumber,
        /// Its position, after every earlier one.
        position: Position,
        /// The message.
        entry: OutboxEntry,
    },
    /// Replaces a message by an owed release: PUBREC came.
    ReleaseOutbox {
        /// The session.
        number: SessionNumber,
        /// Its position in the outbox.
        position: Position,
    },
    /// Removes a message or an owed release: PUBACK or PUBCOMP came, or a limit dropped it. It is
    /// no error if nothing is there.
    RemoveOutbox {
        /// The session.
        number: SessionNumber,
        /// Its position in the outbox.
        position: Position,
    },
    /// Notes that the server took a client's QoS 2 message, until its PUBREL.
    PutExactlyOnce {
        /// The session.
        number: SessionNumber,
        /// The client's packet id.
        packet_id: u16,
    },
    /// Removes that note: PUBREL came.
    RemoveExactlyOnce {
        /// The session.
        number: SessionNumber,
        /// The client's packet id.
        packet_id: u16,
    },
    /// Stores a will that is being published, by itself, whatever happens to its session.
    PutWill {
        /// The session that it came from.
        session: SessionNumber,
        /// The will.
        number: WillNumber,
        /// The message to publish.
        message: Arc<Message>,
    },
    /// Removes a will that has been published. This fails if the session's own record has failed,
    /// like a promise in the session: that record may still have the will.
    RemoveWill {
        /// The session that it came from.
        session: SessionNumber,
        /// The will.
        number: WillNumber,
    },
    /// Makes a change to a topic's retained message. `Committed` means that this or a later change
    /// of the topic is written, in whatever order they came. If the request is refused, for the
    /// backlog or another of its changes, this change is made all the same.
    SaveRetained {
        /// The topic, and its message from now on.
        change: RetainedChange,
    },
}
