//! An application message, as it travels between sessions: shared, never changed.

use std::sync::Arc;

use bytes::Bytes;
use push_common::clock::Monotonic;

use super::held::Held;
use super::topic::TopicName;
use super::user_properties::UserProperties;

/// What an allocation may take beside the bytes that were asked for: glibc keeps 8 of its own, rounds
/// to 16, and gives no less than 32.
pub(super) const ALLOCATION_BYTES: usize = 31;

/// The two counts of an `Arc`.
pub(super) const COUNTS_BYTES: usize = 2 * size_of::<usize>();

/// What `Bytes` allocate the first time that they are shared: where they are, and a count.
const SHARED_BYTES: usize = 3 * size_of::<usize>();

/// What a will takes beside its message.
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
    /// Where it was published to.
    pub topic: TopicName,
    /// The application's bytes.
    pub payload: Bytes,
    /// The quality of service it was published with; an upper bound for every delivery.
    pub qos: QoS,
    /// Whether it was published with RETAIN.
    pub retain: bool,
    /// What MQTT 5 passes on with a message; `None` when there is nothing (every 3.1.1 publish).
    pub properties: Option<Arc<MessageProperties>>,
    /// When it ceases to be worth delivering (message expiry interval), if ever.
    pub expires_at: Option<Monotonic>,
    /// By how many outboxes it is held, for the total of all.
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
    /// What it weighs beside its topic, its payload and its properties: itself, and the allocations
    /// that these are in.
    pub const OWN_BYTES: usize =
        COUNTS_BYTES + size_of::<Self>() + COUNTS_BYTES + SHARED_BYTES + 4 * ALLOCATION_BYTES;

    /// What it weighs in a queue or store, in bytes: all the memory it takes, whoever else holds it
    /// too. Not the wire length, though near it where topic, payload and properties are large.
    pub fn weight_bytes(&self) -> usize {
        let properties = self.properties.as_deref().map_or(0, MessageProperties::weight_bytes);
        Self::OWN_BYTES + self.topic.as_str().len() + self.payload.len() + properties
    }

    /// Its payload, to be handed to a socket and not copied: the message counts against what outboxes may
    /// hold until that is dropped.
    pub fn sent_payload(self: &Arc<Self>) -> Bytes {
        self.held.enter_socket(|| self.weight_bytes());
        Bytes::from_owner(SentPayload(Arc::clone(self)))
    }

    /// Whether it is no longer worth delivering at `now` [MQTT-3.3.2-5].
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
    /// What they weigh beside the bytes of text and data: themselves, and five allocations.
    pub const OWN_BYTES: usize =
        COUNTS_BYTES + size_of::<Self>() + SHARED_BYTES + 6 * ALLOCATION_BYTES;

    /// What they weigh, in bytes: all the memory that they take.
    pub fn weight_bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        Self::OWN_BYTES
            + text(&self.content_type)
            + text(&self.response_topic)
            + self.correlation_data.as_ref().map_or(0, Bytes::len)
            + self.user_properties.encoded().len()
    }
}

/// What a will with this message takes.
pub fn will_weight_bytes(message: &Message) -> u64 {
    (WILL_BYTES + message.weight_bytes()) as u64
}

#[cfg(test)]
mod tests {
    use bytes::Buf as _;

    use super::*;
    use crate::broker::MemoryBudget;

    #[test]
    fn a_payload_counts_until_the_last_socket_has_taken_it() {
        let memory = MemoryBudget::new(100_000);
        let message = Arc::new(Message {
            topic: TopicName::parse("a/b", 8).unwrap(),
            payload: Bytes::from_static(&[7; 5_000]),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            expires_at: None,
            held: Held::default(),
        });
        let weight = message.weight_bytes() as u64;
        message.held.enter(|| message.weight_bytes(), &memory);
        let sent = [message.sent_payload(), message.sent_payload()];
        message.held.leave(|| message.weight_bytes());
        assert_eq!(memory.used_bytes(), weight, "once, whoever has it");
        let [first, mut second] = sent;
        assert_eq!(first.as_ptr(), message.payload.as_ptr(), "shared, not copied");
        drop(first);
        second.advance(4_999);
        assert_eq!(memory.used_bytes(), weight, "all of it, though most is sent");
        drop(second);
        assert_eq!(memory.used_bytes(), 0);
    }

    #[test]
    fn weight_counts_topic_payload_properties_and_what_they_lie_in() {
        let mut message = Message {
            topic: TopicName::parse("a/b", 8).unwrap(),
            payload: Bytes::from_static(b"12345"),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            expires_at: None,
            held: Held::default(),
        };
        assert_eq!(message.weight_bytes(), Message::OWN_BYTES + 8);
        message.properties = Some(Arc::new(MessageProperties {
            payload_format: Some(1),
            content_type: Some("ab".into()),
            response_topic: Some("r".into()),
            correlation_data: Some(Bytes::from_static(b"xyz")),
            user_properties: UserProperties::collect([("k", "vv"), ("k", "")]).unwrap(),
        }));
        let own_bytes = Message::OWN_BYTES + MessageProperties::OWN_BYTES;
        let pairs_bytes = (5 + 3) + (5 + 1);
        assert_eq!(message.weight_bytes(), own_bytes + 8 + 2 + 1 + 3 + pairs_bytes);
    }

    #[test]
    fn expires_at_the_instant_and_not_before() {
        let message = Message {
            topic: TopicName::parse("a", 8).unwrap(),
            payload: Bytes::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            expires_at: Some(Monotonic(10)),
            held: Held::default(),
        };
        assert!(!message.is_expired(Monotonic(9)));
        assert!(message.is_expired(Monotonic(10)));
        assert!(!Message { expires_at: None, ..message }.is_expired(Monotonic(u64::MAX)));
    }
}
