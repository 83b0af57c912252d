use std::sync::Arc;

use push_common::clock::Monotonic;

use super::*;
use crate::broker::{Held, Message, QoS, TopicName, Via};
use crate::mqtt::Version;
use crate::mqtt::topic_alias::TopicForm;

fn delivery(payload_len: usize) -> Delivery {
    let message = Message {
        topic: TopicName::parse("t", 8).expect("valid"),
        payload: vec![7; payload_len].into(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: None,
        expires_at: None,
        held: Held::default(),
    };
    Delivery {
        message: Arc::new(message),
        qos: QoS::AtMostOnce,
        retain: false,
        via: Via::default(),
    }
}

fn write(deliveries: &[Delivery]) -> Transmit {
    let mut out = Transmit::default();
    let mut writer = Writer::new(&mut out, BytesMut::from(&[0xD0, 0][..]));
    for delivery in deliveries {
        let (version, now) = (Version::V311, Monotonic(0));
        let topic = TopicForm::Whole;
        let publish = OutgoingPublish { delivery, topic, packet_id: 0, dup: false, version, now };
        writer.publish(&publish, publish.packet_len().expect("short"));
    }
    writer.finish();
    out
}

#[test]
fn small_frames_become_one_chunk() {
    let out = write(&[delivery(0), delivery(10), delivery(SHARE_BYTES_MIN - 1)]);
    assert_eq!((out.chunks.len(), out.publishes), (1, 3));
    assert_eq!(out.len, 2 + 5 + 15 + (6 + SHARE_BYTES_MIN - 1));
    assert_eq!(out.chunks[0].len(), out.len);
    assert!((out.len..=2 * out.len).contains(&out.copied_bytes), "{}", out.copied_bytes);
}

#[test]
fn large_payload_is_the_message_itself() {
    let large = delivery(SHARE_BYTES_MIN);
    let out = write(&[delivery(1), large.clone(), delivery(1)]);
    assert_eq!(out.chunks.len(), 3);
    assert_eq!(out.chunks[1].as_ptr(), large.message.payload.as_ptr(), "shared, not copied");
    assert_eq!(out.len, out.chunks.iter().map(Bytes::len).sum::<usize>());
    assert!(out.copied_bytes < 256, "{}", out.copied_bytes);
}
