use proptest::prelude::*;
use push_common::clock::Monotonic;

use super::*;
use crate::broker::SUBSCRIPTION_ID_MAX;

const CLOCKS: Clocks =
    Clocks { monotonic: Monotonic(9_000_000_000), wall: WallMillis(1_700_000_000_000) };

fn text() -> impl Strategy<Value = String> {
    "[a-z]{0,20}"
}

fn qualities() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn properties() -> impl Strategy<Value = MessageProperties> {
    let data = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    let pairs = proptest::collection::vec((text(), text()), 0..4);
    let texts = (proptest::option::of(text()), proptest::option::of(text()));
    (proptest::option::of(any::<u8>()), texts, data, pairs).prop_map(
        |(payload_format, (content_type, response_topic), data, user_properties)| {
            MessageProperties {
                payload_format,
                content_type,
                response_topic,
                correlation_data: data.map(Bytes::from),
                user_properties: UserProperties::collect(
                    user_properties.iter().map(|(name, value)| (&**name, &**value)),
                )
                .unwrap(),
            }
        },
    )
}

fn messages() -> impl Strategy<Value = Message> {
    let payload = proptest::collection::vec(any::<u8>(), 0..200);
    // Whole milliseconds: that is what the disk keeps.
    let expires_at = proptest::option::of(0_u64..100_000);
    let properties = proptest::option::of(properties());
    ("[a-z/]{1,30}", payload, qualities(), any::<bool>(), expires_at, properties).prop_map(
        |(topic, payload, qos, retain, expires_at, properties)| Message {
            topic: TopicName::parse(&topic, 128).unwrap(),
            payload: Bytes::from(payload),
            qos,
            retain,
            properties: properties.map(Arc::new),
            expires_at: expires_at.map(|millis| Monotonic(millis * 1_000_000)),
            held: Held::default(),
        },
    )
}

fn entries() -> impl Strategy<Value = OutboxEntry> {
    let few = prop_oneof![1..4_u32, 1..=SUBSCRIPTION_ID_MAX];
    let ids = proptest::collection::vec(few, 0..9);
    let share = proptest::option::of(Just("$share/g/a/#"));
    (messages(), qualities(), any::<bool>(), ids, share, any::<u64>()).prop_map(
        |(message, qos, retain, ids, share, queued_at)| OutboxEntry {
            message: Arc::new(message),
            qos,
            retain,
            subscription_ids: ids.into(),
            share: share.map(|text| TopicFilter::parse(text, 128).unwrap()),
            queued_at: WallMillis(queued_at),
        },
    )
}

fn records() -> impl Strategy<Value = SessionRecord> {
    let moment = || proptest::option::of(any::<u64>().prop_map(WallMillis));
    let will = (messages(), any::<u32>(), proptest::option::of(any::<u32>()), moment()).prop_map(
        |(message, delay_secs, message_expiry_secs, due_at)| StoredWill {
            message: Arc::new(message),
            delay_secs,
            message_expiry_secs,
            due_at,
        },
    );
    let names = (text(), proptest::option::of(text().prop_map(Into::into)));
    (names, any::<u32>(), moment(), any::<u64>(), proptest::option::of(will)).prop_map(
        |((client_id, user), expiry_secs, disconnected_at, sent_to, will)| SessionRecord {
            client_id: client_id.into(),
            user,
            expiry_secs,
            disconnected_at,
            sent_to: Position(sent_to),
            will,
        },
    )
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

/// Decodes a place whose message does not lie elsewhere.
fn decode_inline(bytes: &[u8]) -> Result<Stored, DecodeError> {
    decode_stored(bytes, &CLOCKS, |_| Err(DecodeError::KeyLength(0)))
}

fn occupant(entry: &OutboxEntry) -> Occupant {
    Occupant::Message { weight_bytes: entry.weight_bytes(), queued_at: entry.queued_at }
}

proptest! {
    #[test]
    fn entries_come_back_as_they_were(entry in entries()) {
        let bytes = encoded(|out| encode_entry(&entry, None, &CLOCKS, out));
        let facts = decode_place_facts(&bytes).unwrap();
        prop_assert_eq!(facts, PlaceFacts { occupant: occupant(&entry), body: None });
        prop_assert_eq!(decode_inline(&bytes).unwrap(), Stored::Entry(entry));
    }

    #[test]
    fn entries_without_their_message_are_completed_by_it(entry in entries(), number: u64) {
        let body = Some(BodyNumber(number));
        let bytes = encoded(|out| encode_entry(&entry, body, &CLOCKS, out));
        let facts = decode_place_facts(&bytes).unwrap();
        prop_assert_eq!(facts, PlaceFacts { occupant: occupant(&entry), body });
        let body = encoded(|out| encode_message(&entry.message, &CLOCKS, out));
        let found = decode_stored::<DecodeError>(&bytes, &CLOCKS, |found| {
            assert_eq!(found, BodyNumber(number));
            Ok(Arc::new(decode_message(&body, &CLOCKS)?))
        });
        prop_assert_eq!(found.unwrap(), Stored::Entry(entry));
    }

    #[test]
    fn retained_messages_come_back_with_their_publisher_if_it_was_written(
        entry in entries(),
        publisher in proptest::option::of("[a-z]{1,30}"),
    ) {
        let publisher = publisher.map(Arc::from);
        let kept = Kept { message: Arc::clone(&entry.message), publisher };
        let bytes = encoded(|out| encode_retained(&kept, &CLOCKS, out));
        let decoded = decode_retained(&bytes, &CLOCKS).unwrap();
        prop_assert_eq!((&decoded.message, decoded.publisher), (&kept.message, kept.publisher));
        let before = encoded(|out| encode_message(&entry.message, &CLOCKS, out));
        let decoded = decode_retained(&before, &CLOCKS).unwrap();
        prop_assert_eq!((decoded.message, decoded.publisher), (kept.message, None));
    }

    #[test]
    fn sessions_come_back_as_they_were(record in records()) {
        let bytes = encoded(|out| encode_session(&record, &CLOCKS, out));
        prop_assert_eq!(decode_session(&bytes, &CLOCKS).unwrap(), record);
    }

    #[test]
    fn subscriptions_come_back_as_they_were(
        qos in qualities(),
        no_local: bool,
        retain_as_published: bool,
        retain_handling in 0_u8..3,
        id in 0_u32..300_000_000,
    ) {
        let id = SubscriptionId::new(id);
        let options =
            SubscriptionOptions { qos, no_local, retain_as_published, retain_handling, id };
        let filter = TopicFilter::parse("$share/g/a/#", 128).unwrap();
        let bytes = encoded(|out| encode_subscription(&filter, options, out));
        let stored = decode_subscription(&bytes).unwrap();
        prop_assert_eq!(stored.options, options);
        prop_assert_eq!(stored.filter, filter);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode_inline(&bytes);
        let _ = decode_place_facts(&bytes);
        let _ = decode_session(&bytes, &CLOCKS);
        let _ = decode_message(&bytes, &CLOCKS);
        let _ = decode_retained(&bytes, &CLOCKS);
        let _ = decode_subscription(&bytes);
        let _ = decode_outbox_key(&bytes);
        let _ = decode_exactly_once_key(&bytes);
        let _ = decode_body_key(&bytes);
    }

    #[test]
    fn changed_bytes_panic_nobody(record in records(), at: prop::sample::Index, flip in 1_u8..) {
        let mut bytes = encoded(|out| encode_session(&record, &CLOCKS, out));
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let _ = decode_session(&bytes, &CLOCKS);
    }

    #[test]
    fn cut_bytes_are_refused(entry in entries(), at: prop::sample::Index) {
        let bytes = encoded(|out| encode_entry(&entry, None, &CLOCKS, out));
        let at = at.index(bytes.len());
        prop_assert!(decode_inline(&bytes[..at]).is_err());
    }
}

#[test]
fn bytes_behind_a_record_are_refused() {
    let mut bytes = encoded(encode_released);
    assert!(matches!(decode_inline(&bytes), Ok(Stored::Released)));
    bytes.push(0);
    assert!(matches!(decode_inline(&bytes), Err(DecodeError::TooLong(1))));
}

#[test]
fn a_session_of_the_layout_before_is_nobodys() {
    let value = SessionValue {
        client_id: "old",
        expiry_secs: 60,
        disconnected_at: Some(7),
        sent_to: 8,
        will: None,
    };
    let record = decode_session(&encoded(|out| encode(&value, out)), &CLOCKS).unwrap();
    assert_eq!((&*record.client_id, record.user, record.sent_to), ("old", None, Position(8)));
}

#[test]
fn a_length_without_its_bytes_allocates_nothing() {
    // A message whose topic says it has 2^62 bytes, and one with as many user properties.
    let mut topic = vec![0xff; 8];
    topic.push(0x3f);
    assert!(decode_message(&topic, &CLOCKS).is_err());
    let mut pairs = vec![1, b'a', 0, 0, 0, 0, 1, 0, 0, 0, 0];
    pairs.extend_from_slice(&topic);
    assert!(decode_message(&pairs, &CLOCKS).is_err());
    pairs.truncate(11);
    pairs.push(0);
    assert!(decode_message(&pairs, &CLOCKS).is_ok());
}

#[test]
fn keys_sort_as_their_numbers() {
    let mut keys = vec![];
    for number in [0, 1, 255, 256, u64::MAX] {
        for position in [0, 255, 256, u64::MAX] {
            keys.push(outbox_key(SessionNumber(number), Position(position)));
        }
    }
    assert!(keys.is_sorted());
    for key in keys {
        let (number, position) = decode_outbox_key(&key).unwrap();
        assert_eq!(outbox_key(number, position), key);
    }
    let key = exactly_once_key(SessionNumber(7), 513);
    assert_eq!(decode_exactly_once_key(&key).unwrap(), (SessionNumber(7), 513));
    assert!(decode_exactly_once_key(&key[1..]).is_err());
}

/// [MQTT5 3.3.4]: every filter that matches adds its identifier, the same one or not.
#[test]
fn an_identifier_that_many_filters_share_is_stored_once() {
    let message = Message {
        topic: TopicName::parse("a", 8).unwrap(),
        payload: Bytes::from_static(b"x"),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        expires_at: None,
        held: Held::default(),
    };
    let entry = OutboxEntry {
        message: Arc::new(message),
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: vec![SUBSCRIPTION_ID_MAX; 1_000].into(),
        share: None,
        queued_at: WallMillis(1),
    };
    let bytes = encoded(|out| encode_entry(&entry, None, &CLOCKS, out));
    assert!(bytes.len() < 50, "{} bytes", bytes.len());
    let Stored::Entry(decoded) = decode_inline(&bytes).unwrap() else { panic!() };
    assert_eq!(decoded, entry);
}

/// Whoever changes one of these changes [`LAYOUT`], and what a start makes of the one before.
#[test]
fn records_have_the_bytes_of_this_layout() {
    assert_eq!(LAYOUT, 2);
    let record = SessionRecord {
        client_id: "c".into(),
        user: Some("alice".into()),
        expiry_secs: 60,
        disconnected_at: Some(WallMillis(99)),
        sent_to: Position(2),
        will: None,
    };
    let bytes = encoded(|out| encode_session(&record, &CLOCKS, out));
    assert_eq!(bytes, b"\x01c\x3c\x01\x63\x02\x00\x05alice");
    let options = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        retain_handling: 2,
        id: SubscriptionId::new(7),
        ..SubscriptionOptions::default()
    };
    let filter = TopicFilter::parse("a/+", 8).unwrap();
    let bytes = encoded(|out| encode_subscription(&filter, options, out));
    assert_eq!(bytes, b"\x03a/+\x01\x00\x00\x02\x01\x07");
    let message = Message {
        topic: TopicName::parse("a/b", 8).unwrap(),
        payload: Bytes::from_static(b"x"),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        expires_at: None,
        held: Held::default(),
    };
    let entry = OutboxEntry {
        message: Arc::new(message),
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: Box::default(),
        share: None,
        queued_at: WallMillis(1_000),
    };
    let bytes = encoded(|out| encode_entry(&entry, None, &CLOCKS, out));
    assert_eq!(bytes, b"\x00\x01\x00\x00\x00\xe8\x07\x03a/b\x01x\x01\x00\x00\x00");
    assert_eq!(encoded(encode_released), b"\x02");
    assert_eq!(outbox_key(SessionNumber(1), Position(2)), *b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02");
}
