//! What a store keeps, as values: sessions, their subscriptions, wills, and what lies in an outbox.

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
    /// Whose it is; `None`: nobody was authenticated for it, or it was written before users were kept.
    pub user: Option<Box<str>>,
    /// The session expiry interval, in seconds; `u32::MAX` for never [MQTT5 3.1.2.11.2].
    pub expiry_secs: u32,
    /// When its connection ended; `None` while it is connected, which after a crash means "until
    /// the crash".
    pub disconnected_at: Option<WallMillis>,
    /// Everything in its outbox before this was sent at least once, or may have been. A watermark
    /// for orderly stops: after a crash [`OutboxSummary::sent_to`] is what counts.
    pub sent_to: Position,
    /// What to publish when the client is gone.
    pub will: Option<StoredWill>,
}

/// A will, pending or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWill {
    /// What to publish.
    pub message: Arc<Message>,
    /// How long after the connection's end, in seconds.
    pub delay_secs: u32,
    /// The message expiry interval, in seconds, which begins when the will is published.
    pub message_expiry_secs: Option<u32>,
    /// When it is to be published; `None` while its client is connected.
    pub due_at: Option<WallMillis>,
}

/// A subscription of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSubscription {
    /// The filter, `$share/...` included.
    pub filter: TopicFilter,
    /// What was asked for with it.
    pub options: SubscriptionOptions,
}

/// A message that a session is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The message. Large bodies are kept once for all outboxes that were given the same `Arc`.
    pub message: Arc<Message>,
    /// The quality of service of this delivery.
    pub qos: QoS,
    /// The RETAIN flag of this delivery.
    pub retain: bool,
    /// The subscription identifiers of this delivery [MQTT5 3.3.2.3.8]; empty costs no allocation.
    pub subscription_ids: Box<[u32]>,
    /// The shared subscription that it came by, if it did.
    pub share: Option<TopicFilter>,
    /// When it was queued; for limits of age.
    pub queued_at: WallMillis,
}

impl OutboxEntry {
    /// What it weighs in its outbox, in bytes: its message, and the identifiers that come with it.
    pub fn weight_bytes(&self) -> u64 {
        let ids_bytes = subscription_ids_weight_bytes(self.subscription_ids.len());
        (self.message.weight_bytes() + ids_bytes) as u64
    }
}

/// What is found in a place of an outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A message that has not been received for certain.
    Entry(OutboxEntry),
    /// A message that was received (PUBREC): its body is gone, its release (PUBREL) is owed.
    Released,
}
