//! The records that a store keeps: sessions, subscriptions, wills, and the contents of outboxes.

use std::sync::Arc;

use super::clocks::WallMillis;
use super::numbers::Position;
use crate::broker::{
    Message, QoS, SubscriptionOptions, TopicFilter, subscription_ids_weight_bytes,
};

/// A session's own record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The client identifier.
    pub client_id: Box<str>,
    /// The user that it belongs to; `None`: its client had not authenticated, or the record is from
    /// before users were stored.
    pub user: Option<Box<str>>,
    /// The session expiry interval in seconds; `u32::MAX`: never [MQTT5 3.1.2.11.2].
    pub expiry_secs: u32,
    /// When its connection ended; `None` while it is connected, which after a crash means "until
    /// the crash".
    pub disconnected_at: Option<WallMillis>,
    /// Everything in its outbox before this position was sent, or may have been. Exact after an
    /// orderly stop; after a crash use [`OutboxSummary::sent_to`].
    pub sent_to: Position,
    /// The will of its connection.
    pub will: Option<StoredWill>,
}

/// A will, with or without its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWill {
    /// The message to publish.
    pub message: Arc<Message>,
    /// Seconds between the connection's end and the publish.
    pub delay_secs: u32,
    /// The message expiry interval in seconds; it begins when the will is published.
    pub message_expiry_secs: Option<u32>,
    /// When to publish it; `None` while its client is connected.
    pub due_at: Option<WallMillis>,
}

/// A subscription of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSubscription {
    /// The filter, `$share/...` included.
    pub filter: TopicFilter,
    /// Its options.
    pub options: SubscriptionOptions,
}

/// A message that a session is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The message. Outboxes that were given the same `Arc` share one stored body if it is large.
    pub message: Arc<Message>,
    /// The QoS of this delivery.
    pub qos: QoS,
    /// The RETAIN flag of this delivery.
    pub retain: bool,
    /// The subscription identifiers of this delivery [MQTT5 3.3.2.3.8]. Empty costs no allocation.
    pub subscription_ids: Box<[u32]>,
    /// The shared subscription that it came by, if it came by one.
    pub share: Option<TopicFilter>,
    /// When it was queued, for limits of age.
    pub queued_at: WallMillis,
}

impl OutboxEntry {
    /// Bytes that it weighs in its outbox: its message and its identifiers.
    pub fn weight_bytes(&self) -> u64 {
        let ids_bytes = subscription_ids_weight_bytes(self.subscription_ids.len());
        (self.message.weight_bytes() + ids_bytes) as u64
    }
}

/// A record at a position of an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A message that the client may not have received.
    Entry(OutboxEntry),
    /// A message that the client has received (PUBREC): its body is gone, and PUBREL is owed.
    Released,
}
