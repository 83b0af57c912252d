//! An application message as it travels between sessions: shared and never changed.

use std::sync::Arc;

use bytes::Bytes;
use push_common::clock::Monotonic;

use super::held::Held;
use super::topic::TopicName;
use super::user_properties::UserProperties;

/// Most bytes that an allocation takes beside those asked for: glibc keeps 8, rounds up to 16, and
/// gives at least 32.
pub(super) const ALLOCATION_BYTES: usize = 31;

/// Bytes of the two counts of an `Arc`.
pub(super) const COUNTS_BYTES: usize = 2 * size_of::<usize>();

/// Bytes that `Bytes` allocate when they are first shared: pointer, length and count.
const SHARED_BYTES: usize = 3 * size_of::<usize>();

/// Bytes that a will takes beside its message.
const WILL_BYTES: usize = 128;

/// Quality of service of a delivery [MQTT-4.3].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// At most once.
    #[default]
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

/// An application message. `Arc<Message>` is what queues hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic that it was published to.
    pub topic: TopicName,
    /// The application's bytes.
    pub payload: Bytes,
    /// The quality of service it was published with; an upper bound for every delivery.
    pub qos: QoS,
    /// Whether it was published with RETAIN.
    pub retain: bool,
    /// The properties that MQTT 5 passes on with a message; `None` if there are none (every 3.1.1
    /// publish).
    pub properties: Option<Arc<MessageProperties>>,
    /// When it expires (message expiry interval); `None`: never.
    pub expires_at: Option<Monotonic>,
    /// How many outboxes hold it, for their total.
    pub held: Held,
}

/// The properties of a PUBLISH that a server passes on unchanged and in order [MQTT-3.3.2-15..20].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageProperties {
    /// Payload format indicator: 0 bytes, 1 UTF-8.
    pub payload_format: Option<u8>,
    /// Content type.
    pub content_type: Option<String>,
    /// Response topic.
    pub response_topic: Option<String>,
    /// Correlation data.
    pub correlation_data: Option<Bytes>,
    /// User properties in the publisher's order.
    pub user_properties: UserProperties,
}

impl Message {
    /// Bytes that it weighs beside topic, payload and properties: the struct, and the allocations
    /// of these.
    pub const OWN_BYTES: usize =
        COUNTS_BYTES + size_of::<Self>() + COUNTS_BYTES + SHARED_BYTES + 4 * ALLOCATION_BYTES;

    /// Its weight in bytes: all the memory it takes, even if others share it. Near the wire length
    /// if topic, payload and properties are large.
    pub fn weight_bytes(&self) -> usize {
        let properties = self.properties.as_deref().map_or(0, MessageProperties::weight_bytes);
        Self::OWN_BYTES + self.topic.as_str().len() + self.payload.len() + properties
    }

    /// Its payload for a socket, without a copy: until the socket drops that, the message counts
    /// against the total of outboxes.
    pub fn sent_payload(self: &Arc<Self>) -> Bytes {
        self.held.enter_socket(|| self.weight_bytes());
        Bytes::from_owner(SentPayload(Arc::clone(self)))
    }

    /// Whether it has expired at `now` [MQTT-3.3.2-5].
    pub fn is_expired(&self, now: Monotonic) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// The payload of a message that a socket has not taken yet.
struct SentPayload(Arc<Message>);

impl AsRef<[u8]> for SentPayload {
    fn as_ref(&self) -> &[u8] {
        &self.0.payload
    }
}

impl Drop for SentPayload {
    fn drop(&mut self) {
        self.0.held.leave(|| self.0.weight_bytes());
    }
}

impl MessageProperties {
    /// Bytes that they weigh beside text and data: the struct, and five allocations.
    pub const OWN_BYTES: usize =
        COUNTS_BYTES + size_of::<Self>() + SHARED_BYTES + 6 * ALLOCATION_BYTES;

    /// Their weight in bytes: all the memory they take.
    pub fn weight_bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        Self::OWN_BYTES
            + text(&self.content_type)
            + text(&self.response_topic)
            + self.correlation_data.as_ref().map_or(0, Bytes::len)
            + self.user_properties.encoded().len()
    }
}

/// Bytes that a will with this message takes.
pub fn will_weight_bytes(message: &Message) -> u64 {
    (WILL_BYTES + message.weight_bytes()) as u64
}

#[cfg(test)]
mod tests;
