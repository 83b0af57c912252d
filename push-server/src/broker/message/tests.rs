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
