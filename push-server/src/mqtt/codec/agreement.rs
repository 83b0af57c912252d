//! Holds the codec and mqttbytes against each other: each must read what the other writes, to the
//! same values. Only packets that mqttbytes gets right take part.

use std::sync::Arc;

use bytes::BytesMut;
use mqttbytes::{v4, v5};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::broker::{Held, Message, MessageProperties, QoS, TopicName, UserProperties, Via};
use crate::mqtt::topic_alias::TopicForm;
use crate::mqtt::{Delivery, Features, Limits};

const NOW: Monotonic = Monotonic(5_000_000_000);

fn topic() -> impl Strategy<Value = String> {
    "[a-zäß€😀/$ ]{1,30}".prop_filter("not a share", |topic| !topic.starts_with("$share/"))
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn their_qos(qos: QoS) -> mqttbytes::QoS {
    mqttbytes::qos(qos as u8).expect("0 to 2")
}

fn pairs(pairs: &[(String, String)]) -> UserProperties {
    let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    UserProperties::collect(pairs).expect("short")
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn message_properties() -> impl Strategy<Value = MessageProperties> {
    (
        proptest::option::of(0..2u8),
        proptest::option::of("[a-z/é]{0,20}"),
        proptest::option::of("[a-z/é]{1,20}"),
        proptest::option::of(vec(any::<u8>(), 0..20)),
        vec(("[a-zé]{0,200}", "[a-zé]{0,5}"), 0..4),
    )
        .prop_map(|(payload_format, content_type, response_topic, data, user_properties)| {
            MessageProperties {
                payload_format,
                content_type,
                response_topic,
                correlation_data: data.map(Into::into),
                user_properties: pairs(&user_properties),
            }
        })
}

fn message() -> impl Strategy<Value = Message> {
    let payload = prop_oneof![vec(any::<u8>(), 0..300), Just(vec![7; 20_000])];
    let expiry_secs = proptest::option::of(1..u32::MAX);
    (topic(), payload, qos(), any::<bool>(), message_properties(), expiry_secs).prop_map(
        |(topic, payload, qos, retain, properties, expiry_secs)| Message {
            topic: TopicName::parse(&topic, u16::MAX).expect("valid"),
            payload: payload.into(),
            qos,
            retain,
            properties: (properties != MessageProperties::default()).then(|| Arc::new(properties)),
            expires_at: expiry_secs.map(|secs| NOW.after_millis(u64::from(secs) * 1_000)),
            held: Held::default(),
        },
    )
}

/// The message's properties as mqttbytes has them.
fn their_properties(message: &Message, properties: &MessageProperties) -> v5::PublishProperties {
    let expiry_secs = message.expires_at.map(|expires_at| expires_at.since(NOW).as_secs() as u32);
    v5::PublishProperties {
        payload_format_indicator: properties.payload_format,
        message_expiry_interval: expiry_secs,
        topic_alias: None,
        response_topic: properties.response_topic.clone(),
        correlation_data: properties.correlation_data.clone(),
        user_properties: properties.user_properties.iter().map(owned).collect(),
        subscription_identifiers: Vec::new(),
        content_type: properties.content_type.clone(),
    }
}

fn their_publish(message: &Message, packet_id: u16, dup: bool) -> v5::Publish {
    let topic = message.topic.as_str();
    let mut publish =
        v5::Publish::from_bytes(topic, their_qos(message.qos), message.payload.clone());
    publish.pkid = if message.qos == QoS::AtMostOnce { 0 } else { packet_id };
    publish.dup = dup && message.qos != QoS::AtMostOnce;
    publish.retain = message.retain;
    let has_any = message.properties.is_some() || message.expires_at.is_some();
    publish.properties = has_any.then(|| {
        let none = MessageProperties::default();
        their_properties(message, message.properties.as_deref().unwrap_or(&none))
    });
    publish
}

fn delivery(message: Message) -> Delivery {
    Delivery {
        qos: message.qos,
        retain: message.retain,
        message: Arc::new(message),
        via: Via::default(),
    }
}

fn parse(version: Version, bytes: &[u8]) -> Packet {
    let context = Context {
        version,
        packet_bytes_max: 1 << 20,
        topic_levels_max: 128,
        features: Features::default(),
        now: NOW,
    };
    let header = Header::parse(bytes, version).expect("a header").expect("all of it");
    assert_eq!(header.packet_len(), bytes.len());
    check_header(header, &context).expect("a good header");
    packet(header.first, &bytes[header.len..], None, &context).expect("a good packet")
}

/// The message of a PUBLISH with its topic in full.
fn whole(publish: Publish) -> Message {
    let topic = publish.topic.clone().expect("a topic");
    publish.into_message(topic)
}

fn write(encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode(&mut bytes);
    bytes
}

fn their_bytes(encode: impl FnOnce(&mut BytesMut) -> Result<usize, mqttbytes::Error>) -> BytesMut {
    write(|out| {
        encode(out).expect("encodable");
    })
}

proptest! {
    #[test]
    fn publish_v5_is_written_and_read_alike(message in message(), packet_id in 1..=u16::MAX,
                                            dup in any::<bool>()) {
        let theirs = their_publish(&message, packet_id, dup);
        let Packet::Publish(read) = parse(Version::V5, &their_bytes(|out| theirs.write(out)))
        else { panic!("a PUBLISH") };
        prop_assert_eq!(read.packet_id, theirs.pkid);
        prop_assert_eq!(&whole(read), &message);

        let delivery = delivery(message);
        let publish = OutgoingPublish {
            delivery: &delivery,
            topic: TopicForm::Whole,
            packet_id: theirs.pkid,
            dup: theirs.dup,
            version: Version::V5,
            now: NOW,
        };
        let mut ours = write(|out| publish.write_head(out));
        ours.extend_from_slice(&delivery.message.payload);
        prop_assert_eq!(Some(ours.len()), publish.packet_len());
        let read = v5::read(&mut ours, usize::MAX).expect("readable");
        prop_assert_eq!(read, v5::Packet::Publish(theirs));
    }

    #[test]
    fn publish_v311_is_written_and_read_alike(message in message(), packet_id in 1..=u16::MAX) {
        let message = Message { properties: None, expires_at: None, ..message };
        let mut theirs = v4::Publish::from_bytes(
            message.topic.as_str(), their_qos(message.qos), message.payload.clone());
        theirs.retain = message.retain;
        theirs.pkid = if message.qos == QoS::AtMostOnce { 0 } else { packet_id };
        let Packet::Publish(read) = parse(Version::V311, &their_bytes(|out| theirs.write(out)))
        else { panic!("a PUBLISH") };
        prop_assert_eq!(&whole(read), &message);

        let delivery = delivery(message);
        let (packet_id, version) = (theirs.pkid, Version::V311);
        let (topic, dup) = (TopicForm::Whole, false);
        let publish = OutgoingPublish { delivery: &delivery, topic, packet_id, dup, version, now: NOW };
        let mut ours = write(|out| publish.write_head(out));
        ours.extend_from_slice(&delivery.message.payload);
        let read = v4::read(&mut ours, usize::MAX).expect("readable");
        prop_assert_eq!(read, v4::Packet::Publish(theirs));
    }

    #[test]
    fn subscribe_is_read_as_written(
        packet_id in 1..=u16::MAX,
        filters in vec((topic(), qos(), any::<bool>(), any::<bool>(), 0..3u8), 1..6),
    ) {
        let rules = [
            v5::RetainForwardRule::OnEverySubscribe,
            v5::RetainForwardRule::OnNewSubscribe,
            v5::RetainForwardRule::Never,
        ];
        let theirs = filters.iter().map(|(path, qos, nolocal, preserve_retain, rule)| {
            v5::SubscribeFilter {
                path: path.clone(),
                qos: their_qos(*qos),
                nolocal: *nolocal,
                preserve_retain: *preserve_retain,
                retain_forward_rule: rules[usize::from(*rule)].clone(),
            }
        });
        let mut theirs = v5::Subscribe::new_many(theirs);
        theirs.pkid = packet_id;
        theirs.properties = Some(v5::SubscribeProperties {
            id: None,
            user_properties: vec![("k".into(), "v".into())],
        });
        let Packet::Subscribe(read) = parse(Version::V5, &their_bytes(|out| theirs.write(out)))
        else { panic!("a SUBSCRIBE") };
        prop_assert_eq!(read.packet_id, packet_id);
        prop_assert_eq!(read.entries.len(), filters.len());
        for (entry, (path, qos, no_local, retain_as_published, retain_handling)) in
            read.entries.iter().zip(filters)
        {
            let entry = entry.as_ref().expect("valid");
            prop_assert_eq!(entry.filter.as_str(), path);
            prop_assert_eq!(entry.options.qos, qos);
            prop_assert_eq!(entry.options.no_local, no_local);
            prop_assert_eq!(entry.options.retain_as_published, retain_as_published);
            prop_assert_eq!(entry.options.retain_handling, retain_handling);
        }
    }

    #[test]
    fn unsubscribe_is_read_as_written(packet_id in 1..=u16::MAX, filters in vec(topic(), 1..6)) {
        let theirs = v4::Unsubscribe { pkid: packet_id, topics: filters.clone() };
        let v311 = parse(Version::V311, &their_bytes(|out| theirs.write(out)));
        let mut theirs = v5::Unsubscribe::new("");
        (theirs.pkid, theirs.filters) = (packet_id, filters.clone());
        let v5 = parse(Version::V5, &their_bytes(|out| theirs.write(out)));
        for read in [v311, v5] {
            let Packet::Unsubscribe(read) = read else { panic!("an UNSUBSCRIBE") };
            prop_assert_eq!(read.packet_id, packet_id);
            let read: Vec<_> = read.filters.iter().flatten().map(|f| f.as_str()).collect();
            prop_assert_eq!(&read, &filters);
        }
    }

    #[test]
    fn connect_v5_is_read_as_written(
        keep_alive in any::<u16>(),
        session_expiry in proptest::option::of(any::<u32>()),
        receive_max in proptest::option::of(1..=u16::MAX),
        packet_bytes_max in proptest::option::of(1..=u32::MAX),
        will in proptest::option::of(
            message().prop_filter("nobody may have such a will", |will| !will.topic.is_hidden())
        ),
        // mqttbytes takes an empty user name for none.
        login in proptest::option::of(("[a-z]{1,9}", "[a-z]{1,9}")),
    ) {
        let limits = Limits { session_expiry_max_secs: 1_000_000, ..Limits::default() };
        let mut theirs = v5::Connect::new("id");
        theirs.keep_alive = keep_alive;
        theirs.login = login.clone().map(|(username, password)| v5::Login { username, password });
        theirs.properties = Some(v5::ConnectProperties {
            session_expiry_interval: session_expiry,
            receive_maximum: receive_max,
            max_packet_size: packet_bytes_max,
            topic_alias_max: Some(7),
            request_response_info: Some(1),
            request_problem_info: Some(0),
            user_properties: vec![("k".into(), "v".into())],
            authentication_method: None,
            authentication_data: None,
        });
        theirs.last_will = will.clone().map(|will| v5::LastWill {
            topic: will.topic.as_str().to_owned(),
            message: will.payload.slice(..will.payload.len().min(1_000)),
            qos: their_qos(will.qos),
            retain: will.retain,
            properties: None,
        });
        let bytes = their_bytes(|out| theirs.write(out));
        let header = Header::parse(&bytes, Version::V5).expect("a header").expect("all of it");
        let read = connect(&bytes[header.len..], &limits).expect("valid");
        prop_assert_eq!(read.keep_alive_secs, keep_alive);
        let wish = session_expiry.unwrap_or(0);
        prop_assert_eq!(read.session_expiry_secs, wish.min(1_000_000));
        prop_assert_eq!(read.session_expiry_capped, wish > 1_000_000);
        prop_assert_eq!(read.receive_max, receive_max.unwrap_or(u16::MAX));
        prop_assert_eq!(read.packet_bytes_max, packet_bytes_max);
        prop_assert!(!read.request_problem_information);
        let password = read.password.map(|password| password.bytes().to_vec());
        prop_assert_eq!(read.user_name.zip(password),
                        login.map(|(name, password)| (name, password.into_bytes())));
        prop_assert_eq!(read.will.is_some(), will.is_some());
        if let (Some(read), Some(will)) = (read.will, will) {
            prop_assert_eq!(&read.message.topic, &will.topic);
            prop_assert_eq!(&read.message.payload[..], &will.payload[..read.message.payload.len()]);
            prop_assert_eq!((read.message.qos, read.message.retain), (will.qos, will.retain));
        }
    }
}

#[test]
fn acknowledgements_are_written_so_that_mqttbytes_reads_them() {
    let reasons = [Reason::Success, Reason::NoMatchingSubscribers, Reason::QuotaExceeded];
    for reason in reasons {
        let mut bytes = write(|out| ack(out, Version::V5, AckKind::Ack, 9, reason));
        let v5::Packet::PubAck(read) = v5::read(&mut bytes, 100).expect("readable") else {
            panic!("a PUBACK")
        };
        assert_eq!((read.pkid, read.reason as u8), (9, reason as u8));
    }
    // A reason that a PUBACK has no code for.
    let mut bytes = write(|out| ack(out, Version::V5, AckKind::Ack, 9, Reason::ServerShuttingDown));
    assert_eq!(&bytes.split()[..], [0x40, 3, 0, 9, 0x80]);
}

#[test]
fn disconnect_is_written_for_every_reason_that_ends_a_connection() {
    for reason in [
        Reason::MalformedPacket,
        Reason::ProtocolError,
        Reason::ServerShuttingDown,
        Reason::KeepAliveTimeout,
        Reason::SessionTakenOver,
        Reason::TopicNameInvalid,
        Reason::ReceiveMaximumExceeded,
        Reason::TopicAliasInvalid,
        Reason::PacketTooLarge,
        Reason::MessageRateTooHigh,
        Reason::QuotaExceeded,
        Reason::RetainNotSupported,
        Reason::SharedSubscriptionsNotSupported,
        Reason::WildcardSubscriptionsNotSupported,
    ] {
        let words = reason.to_string();
        let len = words.len() as u8;
        let mut told = vec![0xE0, 5 + len, reason as u8, 3 + len, 0x1F, 0, len];
        told.extend(words.as_bytes());
        let to = |version, len: usize| Audience::new(version, Some(len as u32), false);
        assert_eq!(write(|out| disconnect(out, to(Version::V5, told.len()), reason)), told);
        let bare = write(|out| disconnect(out, to(Version::V5, told.len() - 1), reason));
        assert_eq!(&bare[..], [0xE0, 1, reason as u8], "words that do not fit are left out");
        assert!(write(|out| disconnect(out, to(Version::V311, 1_000), reason)).is_empty());
    }
}
