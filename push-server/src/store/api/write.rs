//! The changes that a store is asked for.

use std::sync::Arc;

use super::numbers::{Position, SessionNumber, WillNumber};
use super::records::{OutboxEntry, SessionRecord};
use crate::broker::{Message, RetainedChange, SubscriptionOptions, TopicFilter};

/// One change. All of a request's changes take effect together or not at all.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds or replaces a session's own record.
    PutSession {
        /// The session.
        number: SessionNumber,
        /// What is kept of it.
        record: Box<SessionRecord>,
    },
    /// Removes a session with its subscriptions, outbox and exactly-once ids.
    RemoveSession {
        /// The session.
        number: SessionNumber,
    },
    /// Removes a session's own record: that of a session that has nothing else on disk.
    RemoveRecord {
        /// The session.
        number: SessionNumber,
    },
    /// Adds or replaces a subscription.
    PutSubscription {
        /// The session.
        number: SessionNumber,
        /// To what.
        filter: TopicFilter,
        /// Its options.
        options: SubscriptionOptions,
    },
    /// Removes a subscription.
    RemoveSubscription {
        /// The session.
        number: SessionNumber,
        /// To what.
        filter: TopicFilter,
    },
    /// Puts a message into an outbox.
    PutOutbox {
        /// The session.
        number: SessionNumber,
        /// Where; behind every earlier one.
        position: Position,
        /// The message.
        entry: OutboxEntry,
    },
    /// Turns a message into an owed release: PUBREC came.
    ReleaseOutbox {
        /// The session.
        number: SessionNumber,
        /// Its place in the outbox.
        position: Position,
    },
    /// Removes a message or an owed release: PUBACK or PUBCOMP came, or a limit says so. What is
    /// not there is no error.
    RemoveOutbox {
        /// The session.
        number: SessionNumber,
        /// Its place in the outbox.
        position: Position,
    },
    /// Notes that a client's message of QoS 2 was taken, until its PUBREL.
    PutExactlyOnce {
        /// The session.
        number: SessionNumber,
        /// The client's packet id.
        packet_id: u16,
    },
    /// Forgets it: PUBREL came.
    RemoveExactlyOnce {
        /// The session.
        number: SessionNumber,
        /// The client's packet id.
        packet_id: u16,
    },
    /// Keeps a will that is being published by itself, whatever becomes of its session.
    PutWill {
        /// Whose it was.
        session: SessionNumber,
        /// The will.
        number: WillNumber,
        /// What is published.
        message: Arc<Message>,
    },
    /// Forgets it: it is published. Like a promise in its session, this fails where the session's own
    /// record has failed: that may still have the will.
    RemoveWill {
        /// Whose it was.
        session: SessionNumber,
        /// The will.
        number: WillNumber,
    },
    /// Keeps what a topic keeps from a moment on. Committed is this change or a later one of its topic,
    /// in whatever order they are asked for. One that is refused for the backlog, or for what else its
    /// request asks for, is made all the same.
    SaveRetained {
        /// Which topic, and what.
        change: RetainedChange,
    },
}
