//! Records as bytes. Keys are fixed and big-endian, so that a session's records lie together and in
//! order. Values are postcard of the private types below, whose fields may only change together
//! with [`LAYOUT`].
//!
//! Decoding checks everything, as for bytes from a peer: it never panics, and never allocates more
//! than a small multiple of the bytes that are there.

mod error;
mod runs;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

pub(super) use error::DecodeError;

use crate::broker::{
    Held, Kept, Message, MessageProperties, QoS, SubscriptionId, SubscriptionOptions, TopicFilter,
    TopicName, UserProperties, subscription_ids_weight_bytes,
};
use crate::store::api::recovered::Occupant;
use crate::store::rules::clock_watch::ClockMark;
use crate::store::{
    Clocks, OutboxEntry, Position, SessionNumber, SessionRecord, Stored, StoredSubscription,
    StoredWill, WallMillis, WillNumber,
};

/// The version of keys, values and trees. A start refuses an unknown one.
pub(super) const LAYOUT: u32 = 2;
/// The version before, whose records are all valid in this one, but have no users. A start turns it
/// into this one, since an older server would not understand sessions with users.
pub(super) const LAYOUT_BEFORE: u32 = 1;

/// Any number: levels are limited when a topic comes in, and stored topics stay valid.
const LEVELS_ANY: u16 = u16::MAX;

/// Bytes of a session's number in a key.
pub(super) const NUMBER_BYTES: usize = 8;

/// Prefix of a will's key in `Meta`; no other key there begins with it.
pub(super) const WILL_PREFIX: &[u8] = b"will";
/// Bytes of a will's key.
const WILL_KEY_BYTES: usize = WILL_PREFIX.len() + 2 * NUMBER_BYTES;

/// The number of a body that is stored apart from the outboxes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BodyNumber(pub(super) u64);

#[derive(Serialize, Deserialize)]
struct MessageRecord<'a> {
    #[serde(borrow)]
    topic: &'a str,
    #[serde(borrow, with = "serde_bytes")]
    payload: &'a [u8],
    qos: u8,
    retain: bool,
    expires_at: Option<u64>,
    #[serde(borrow)]
    properties: Option<PropertiesRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
struct PropertiesRecord<'a> {
    payload_format: Option<u8>,
    #[serde(borrow)]
    content_type: Option<&'a str>,
    #[serde(borrow)]
    response_topic: Option<&'a str>,
    #[serde(borrow, with = "serde_bytes")]
    correlation_data: Option<&'a [u8]>,
    #[serde(borrow)]
    user_properties: Vec<(&'a str, &'a str)>,
}

/// The session's user follows, if it has one.
#[derive(Serialize, Deserialize)]
struct SessionValue<'a> {
    #[serde(borrow)]
    client_id: &'a str,
    expiry_secs: u32,
    disconnected_at: Option<u64>,
    sent_to: u64,
    #[serde(borrow)]
    will: Option<WillRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WillRecord<'a> {
    #[serde(borrow)]
    message: MessageRecord<'a>,
    delay_secs: u32,
    message_expiry_secs: Option<u32>,
    due_at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct SubscriptionValue<'a> {
    #[serde(borrow)]
    filter: &'a str,
    qos: u8,
    no_local: bool,
    retain_as_published: bool,
    retain_handling: u8,
    subscription_id: Option<u32>,
}

#[derive(Serialize, Deserialize)]
enum OutboxValue<'a> {
    Inline(DeliveryRecord, #[serde(borrow)] MessageRecord<'a>),
    Shared(DeliveryRecord, SharedRecord),
    Released,
}

#[derive(Serialize, Deserialize)]
struct DeliveryRecord {
    qos: u8,
    retain: bool,
    /// As [`runs`] encodes them.
    subscription_ids: Vec<u32>,
    share: Option<String>,
    queued_at: u64,
}

/// A message whose body lies in the tree of bodies.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct SharedRecord {
    number: u64,
    weight_bytes: u64,
}

/// A session's part of a key.
pub(super) fn number_key(number: SessionNumber) -> [u8; NUMBER_BYTES] {
    number.0.to_be_bytes()
}

/// The key of a position in an outbox.
pub(super) fn outbox_key(number: SessionNumber, position: Position) -> [u8; 16] {
    let mut key = [0; 16];
    key[..NUMBER_BYTES].copy_from_slice(&number.0.to_be_bytes());
    key[NUMBER_BYTES..].copy_from_slice(&position.0.to_be_bytes());
    key
}

/// The key of a packet id.
pub(super) fn exactly_once_key(number: SessionNumber, packet_id: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..NUMBER_BYTES].copy_from_slice(&number.0.to_be_bytes());
    key[NUMBER_BYTES..].copy_from_slice(&packet_id.to_be_bytes());
    key
}

/// The key of a subscription. It has a hash of the filter, which may be longer than a key.
pub(super) fn subscription_key(number: SessionNumber, filter: &TopicFilter) -> [u8; 24] {
    let mut key = [0; 24];
    key[..NUMBER_BYTES].copy_from_slice(&number.0.to_be_bytes());
    let digest = xxh3_128(filter.as_str().as_bytes());
    key[NUMBER_BYTES..].copy_from_slice(&digest.to_be_bytes());
    key
}

/// The key of a will that is being published.
pub(super) fn will_key(session: SessionNumber, number: WillNumber) -> [u8; WILL_KEY_BYTES] {
    let mut key = [0; WILL_KEY_BYTES];
    let (prefix, numbers) = key.split_at_mut(WILL_PREFIX.len());
    prefix.copy_from_slice(WILL_PREFIX);
    numbers[..NUMBER_BYTES].copy_from_slice(&session.0.to_be_bytes());
    numbers[NUMBER_BYTES..].copy_from_slice(&number.0.to_be_bytes());
    key
}

/// The number at the front of a key, and the rest.
pub(super) fn split_key(key: &[u8]) -> Result<(SessionNumber, &[u8]), DecodeError> {
    let (number, rest) = key.split_first_chunk().ok_or(DecodeError::KeyLength(key.len()))?;
    Ok((SessionNumber(u64::from_be_bytes(*number)), rest))
}

/// The session and position of an outbox key.
pub(super) fn decode_outbox_key(key: &[u8]) -> Result<(SessionNumber, Position), DecodeError> {
    let (number, rest) = split_key(key)?;
    let position = rest.try_into().map_err(|_| DecodeError::KeyLength(key.len()))?;
    Ok((number, Position(u64::from_be_bytes(position))))
}

/// The session and packet id of a key.
pub(super) fn decode_exactly_once_key(key: &[u8]) -> Result<(SessionNumber, u16), DecodeError> {
    let (number, rest) = split_key(key)?;
    let packet_id = rest.try_into().map_err(|_| DecodeError::KeyLength(key.len()))?;
    Ok((number, u16::from_be_bytes(packet_id)))
}

/// The body of a key.
pub(super) fn decode_body_key(key: &[u8]) -> Result<BodyNumber, DecodeError> {
    let number = key.try_into().map_err(|_| DecodeError::KeyLength(key.len()))?;
    Ok(BodyNumber(u64::from_be_bytes(number)))
}

/// The session and will of a key.
pub(super) fn decode_will_key(key: &[u8]) -> Result<(SessionNumber, WillNumber), DecodeError> {
    let numbers = key.strip_prefix(WILL_PREFIX).ok_or(DecodeError::KeyLength(key.len()))?;
    let (session, rest) = split_key(numbers)?;
    let number = rest.try_into().map_err(|_| DecodeError::KeyLength(key.len()))?;
    Ok((session, WillNumber(u64::from_be_bytes(number))))
}

/// The topic of a key.
pub(super) fn decode_retained_key(key: &[u8]) -> Result<TopicName, DecodeError> {
    Ok(TopicName::parse(std::str::from_utf8(key)?, LEVELS_ANY)?)
}

/// Encodes a note of the wall clock as two numbers of milliseconds: the store's time and the wall
/// clock.
pub(super) fn encode_clock_mark(mark: ClockMark, out: &mut Vec<u8>) {
    out.extend_from_slice(&mark.stored.0.to_be_bytes());
    out.extend_from_slice(&mark.wall.0.to_be_bytes());
}

/// Decodes such a note.
pub(super) fn decode_clock_mark(value: &[u8]) -> Result<ClockMark, DecodeError> {
    let bytes: [u8; 2 * NUMBER_BYTES] =
        value.try_into().map_err(|_| DecodeError::KeyLength(value.len()))?;
    let both = u128::from_be_bytes(bytes);
    // Each half fits 64 bits.
    let (stored, wall) = ((both >> 64) as u64, both as u64);
    Ok(ClockMark { stored: WallMillis(stored), wall: WallMillis(wall) })
}

/// Encodes a session's own record.
pub(super) fn encode_session(record: &SessionRecord, clocks: &Clocks, out: &mut Vec<u8>) {
    let value = SessionValue {
        client_id: &record.client_id,
        expiry_secs: record.expiry_secs,
        disconnected_at: record.disconnected_at.map(|at| at.0),
        sent_to: record.sent_to.0,
        will: record.will.as_ref().map(|will| WillRecord {
            message: message_record(&will.message, clocks),
            delay_secs: will.delay_secs,
            message_expiry_secs: will.message_expiry_secs,
            due_at: will.due_at.map(|at| at.0),
        }),
    };
    encode_with_text(&value, record.user.as_deref(), out);
}

/// Decodes a session's own record.
pub(super) fn decode_session(value: &[u8], clocks: &Clocks) -> Result<SessionRecord, DecodeError> {
    let (value, user): (SessionValue<'_>, _) = decode_with_text(value)?;
    let will = value.will.map(|will| {
        Ok::<_, DecodeError>(StoredWill {
            message: Arc::new(message(&will.message, clocks)?),
            delay_secs: will.delay_secs,
            message_expiry_secs: will.message_expiry_secs,
            due_at: will.due_at.map(WallMillis),
        })
    });
    Ok(SessionRecord {
        client_id: value.client_id.into(),
        user: user.map(Into::into),
        expiry_secs: value.expiry_secs,
        disconnected_at: value.disconnected_at.map(WallMillis),
        sent_to: Position(value.sent_to),
        will: will.transpose()?,
    })
}

/// Encodes a subscription.
pub(super) fn encode_subscription(
    filter: &TopicFilter,
    options: SubscriptionOptions,
    out: &mut Vec<u8>,
) {
    let value = SubscriptionValue {
        filter: filter.as_str(),
        qos: options.qos as u8,
        no_local: options.no_local,
        retain_as_published: options.retain_as_published,
        retain_handling: options.retain_handling,
        subscription_id: options.id.map(SubscriptionId::value),
    };
    encode(&value, out);
}

/// Decodes a subscription.
pub(super) fn decode_subscription(value: &[u8]) -> Result<StoredSubscription, DecodeError> {
    let value: SubscriptionValue<'_> = decode(value)?;
    Ok(StoredSubscription {
        filter: TopicFilter::parse(value.filter, LEVELS_ANY)?,
        options: SubscriptionOptions {
            qos: qos(value.qos)?,
            no_local: value.no_local,
            retain_as_published: value.retain_as_published,
            retain_handling: value.retain_handling,
            id: value.subscription_id.and_then(SubscriptionId::new),
        },
    })
}

/// Encodes a retained message.
pub(super) fn encode_retained(kept: &Kept, clocks: &Clocks, out: &mut Vec<u8>) {
    encode_with_text(&message_record(&kept.message, clocks), kept.publisher.as_deref(), out);
}

/// Decodes a retained message.
pub(super) fn decode_retained(value: &[u8], clocks: &Clocks) -> Result<Kept, DecodeError> {
    let (record, publisher) = decode_with_text(value)?;
    let message = Arc::new(message(&record, clocks)?);
    Ok(Kept { message, publisher: publisher.map(Arc::from) })
}

/// Encodes a message alone: a will, or a shared body.
pub(super) fn encode_message(message: &Message, clocks: &Clocks, out: &mut Vec<u8>) {
    encode(&message_record(message, clocks), out);
}

/// Decodes a message alone.
pub(super) fn decode_message(value: &[u8], clocks: &Clocks) -> Result<Message, DecodeError> {
    message(&decode(value)?, clocks)
}

/// Encodes an outbox entry, with its message, or with the number of its body.
pub(super) fn encode_entry(
    entry: &OutboxEntry,
    body: Option<BodyNumber>,
    clocks: &Clocks,
    out: &mut Vec<u8>,
) {
    let delivery = DeliveryRecord {
        qos: entry.qos as u8,
        retain: entry.retain,
        subscription_ids: runs::of(&entry.subscription_ids),
        share: entry.share.as_ref().map(|filter| filter.as_str().to_owned()),
        queued_at: entry.queued_at.0,
    };
    let value = match body {
        None => OutboxValue::Inline(delivery, message_record(&entry.message, clocks)),
        Some(number) => {
            let weight_bytes = entry.message.weight_bytes() as u64;
            OutboxValue::Shared(delivery, SharedRecord { number: number.0, weight_bytes })
        }
    };
    encode(&value, out);
}

/// Encodes an owed release.
pub(super) fn encode_released(out: &mut Vec<u8>) {
    encode(&OutboxValue::Released, out);
}

/// Decodes the record at a position of an outbox. `body` finds a message that is stored apart.
pub(super) fn decode_stored<E: From<DecodeError>>(
    value: &[u8],
    clocks: &Clocks,
    body: impl FnOnce(BodyNumber) -> Result<Arc<Message>, E>,
) -> Result<Stored, E> {
    let (record, message) = match decode(value)? {
        OutboxValue::Inline(record, inline) => (record, Arc::new(message(&inline, clocks)?)),
        OutboxValue::Shared(record, shared) => (record, body(BodyNumber(shared.number))?),
        OutboxValue::Released => return Ok(Stored::Released),
    };
    Ok(Stored::Entry(entry(record, message)?))
}

fn entry(record: DeliveryRecord, message: Arc<Message>) -> Result<OutboxEntry, DecodeError> {
    Ok(OutboxEntry {
        message,
        qos: qos(record.qos)?,
        retain: record.retain,
        subscription_ids: runs::ids(&record.subscription_ids)?,
        share: record.share.map(|text| TopicFilter::parse(&text, LEVELS_ANY)).transpose()?,
        queued_at: WallMillis(record.queued_at),
    })
}

/// What a start needs to know of a record in an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlaceFacts {
    pub(super) occupant: Occupant,
    pub(super) body: Option<BodyNumber>,
}

/// Decodes a record as far as a start needs it, without copying the message.
pub(super) fn decode_place_facts(value: &[u8]) -> Result<PlaceFacts, DecodeError> {
    let facts = |record: &DeliveryRecord, message_bytes: u64, body| {
        let weight_bytes = message_bytes.saturating_add(ids_weight_bytes(record)?);
        let queued_at = WallMillis(record.queued_at);
        Ok(PlaceFacts { occupant: Occupant::Message { weight_bytes, queued_at }, body })
    };
    match decode(value)? {
        OutboxValue::Inline(record, body) => facts(&record, body.weight_bytes(), None),
        OutboxValue::Shared(record, shared) => {
            facts(&record, shared.weight_bytes, Some(BodyNumber(shared.number)))
        }
        OutboxValue::Released => Ok(PlaceFacts { occupant: Occupant::Released, body: None }),
    }
}

fn ids_weight_bytes(record: &DeliveryRecord) -> Result<u64, DecodeError> {
    Ok(subscription_ids_weight_bytes(runs::len(&record.subscription_ids)?) as u64)
}

impl MessageRecord<'_> {
    /// Like [`Message::weight_bytes`].
    fn weight_bytes(&self) -> u64 {
        let properties = self.properties.as_ref().map_or(0, |properties| {
            let text = |text: Option<&str>| text.map_or(0, str::len);
            let pairs = properties.user_properties.iter();
            let pair =
                |&(key, value): &(&str, &str)| UserProperties::PAIR_BYTES + key.len() + value.len();
            MessageProperties::OWN_BYTES
                + text(properties.content_type)
                + text(properties.response_topic)
                + properties.correlation_data.map_or(0, <[u8]>::len)
                + pairs.map(pair).sum::<usize>()
        });
        (Message::OWN_BYTES + self.topic.len() + self.payload.len() + properties) as u64
    }
}

fn message_record<'a>(message: &'a Message, clocks: &Clocks) -> MessageRecord<'a> {
    MessageRecord {
        topic: message.topic.as_str(),
        payload: &message.payload,
        qos: message.qos as u8,
        retain: message.retain,
        expires_at: message.expires_at.map(|at| clocks.to_wall_before(at).0),
        properties: message.properties.as_deref().map(|properties| PropertiesRecord {
            payload_format: properties.payload_format,
            content_type: properties.content_type.as_deref(),
            response_topic: properties.response_topic.as_deref(),
            correlation_data: properties.correlation_data.as_deref(),
            user_properties: properties.user_properties.iter().collect(),
        }),
    }
}

fn message(record: &MessageRecord<'_>, clocks: &Clocks) -> Result<Message, DecodeError> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let properties = record.properties.as_ref().map(|properties| {
        let pairs = properties.user_properties.iter().copied();
        Ok::<_, DecodeError>(Arc::new(MessageProperties {
            payload_format: properties.payload_format,
            content_type: owned(properties.content_type),
            response_topic: owned(properties.response_topic),
            correlation_data: properties.correlation_data.map(Bytes::copy_from_slice),
            user_properties: UserProperties::collect(pairs)?,
        }))
    });
    Ok(Message {
        topic: TopicName::parse(record.topic, LEVELS_ANY)?,
        payload: Bytes::copy_from_slice(record.payload),
        qos: qos(record.qos)?,
        retain: record.retain,
        properties: properties.transpose()?,
        expires_at: record.expires_at.map(|at| clocks.to_monotonic(WallMillis(at))),
        held: Held::default(),
    })
}

fn qos(byte: u8) -> Result<QoS, DecodeError> {
    match byte {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        other => Err(DecodeError::QoS(other)),
    }
}

/// Appends to `out`: the record, and after it the text, if there is one. So a record without text
/// looks as it did before texts existed.
fn encode_with_text(value: &impl Serialize, text: Option<&str>, out: &mut Vec<u8>) {
    encode(value, out);
    if let Some(text) = text {
        encode(&text, out);
    }
}

fn decode_with_text<'a, T: Deserialize<'a>>(
    value: &'a [u8],
) -> Result<(T, Option<&'a str>), DecodeError> {
    let (record, rest) = postcard::take_from_bytes(value)?;
    let text = if rest.is_empty() { None } else { Some(decode(rest)?) };
    Ok((record, text))
}

fn encode(value: &impl Serialize, out: &mut Vec<u8>) {
    // A vector can always grow, and every type here knows its length.
    match postcard::to_extend(value, std::mem::take(out)) {
        Ok(bytes) => *out = bytes,
        Err(error) => unreachable!("a record that cannot be encoded: {error}"),
    }
}

fn decode<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Result<T, DecodeError> {
    let (record, rest) = postcard::take_from_bytes(value)?;
    if rest.is_empty() { Ok(record) } else { Err(DecodeError::TooLong(rest.len())) }
}

#[cfg(test)]
mod tests;
