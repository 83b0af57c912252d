//! One packet, by the parsers alone. Whatever its bytes are:
//! - what is parsed, and written again, is parsed to the same;
//! - bytes behind a packet make no difference, and a packet that has come in part is awaited, unless
//!   its header says already that it is refused;
//! - it makes no difference whether the payload may share the input's memory;
//! - a parsed packet takes little more memory than its bytes.

mod written;

use bytes::Bytes;
use push_common::clock::Monotonic;

use super::{
    CONNECT_FIRST, Context, Header, Packet, Publish, Reason, check_header, connect, packet,
};
use crate::broker::MessageProperties;
use crate::fuzzing::outcome::Outcome;
use crate::mqtt::{Connect, Features, Limits, Version};

/// An arbitrary time: what it is makes no difference.
const NOW: Monotonic = Monotonic(5_000_000_000);

/// The first byte of the input chooses version and features; the rest is a packet, perhaps with
/// bytes behind it.
pub(crate) fn codec(input: &[u8]) -> Outcome {
    let Some((&choice, bytes)) = input.split_first() else { return Outcome::Partial };
    if bytes.first() == Some(&CONNECT_FIRST) {
        return check_connect(bytes);
    }
    let context = context(choice);
    let parsed = parse(bytes, false, &context);
    check_prefixes(bytes, &parsed, &context);
    match parsed {
        Ok(Some((packet, len))) => {
            let bytes = &bytes[..len];
            check_packet(&packet, bytes, &context);
            Outcome::Taken
        }
        Ok(None) => Outcome::Partial,
        Err(_) => Outcome::Refused,
    }
}

fn context(choice: u8) -> Context {
    let all = Features::default();
    let none =
        Features { wildcard_subscriptions: false, retain: false, shared_subscriptions: false };
    let (version, features) = match choice % 5 {
        0 => (Version::V31, all),
        1 => (Version::V311, all),
        2 => (Version::V5, all),
        3 => (Version::V311, none),
        _ => (Version::V5, none),
    };
    Context { version, packet_bytes_max: 1 << 20, topic_levels_max: 8, features, now: NOW }
}

/// Parses a packet as a connection does. Returns it with its length; `None`: more bytes are needed.
fn parse(
    bytes: &[u8],
    is_shared: bool,
    context: &Context,
) -> Result<Option<(Packet, usize)>, Reason> {
    let Some(header) = Header::parse(bytes, context.version)? else { return Ok(None) };
    check_header(header, context)?;
    let len = header.packet_len();
    let Some(whole) = bytes.get(..len) else { return Ok(None) };
    let shared = is_shared.then(|| Bytes::copy_from_slice(whole));
    let body = &shared.as_deref().unwrap_or(whole)[header.len..];
    Ok(Some((packet(header.first, body, shared.as_ref(), context)?, len)))
}

/// A packet that has come in part is awaited, or refused as the whole one is; with bytes behind it, it is the same.
fn check_prefixes(
    bytes: &[u8],
    parsed: &Result<Option<(Packet, usize)>, Reason>,
    context: &Context,
) {
    // A few cuts of long ones: all would take too long.
    let step = 1 + bytes.len() / 64;
    for end in (0..bytes.len()).step_by(step) {
        match (parse(&bytes[..end], false, context), parsed) {
            (Ok(None), _) => {}
            (Err(early), Err(late)) => assert_eq!(early, *late, "cut at {end}"),
            // What is behind the packet was cut.
            (Ok(Some((_, len))), Ok(Some((_, whole)))) => assert_eq!(len, *whole),
            (early, _) => panic!("cut at {end}: {early:?}, whole: {parsed:?}"),
        }
    }
    if let Ok(Some((packet, len))) = parsed {
        let longer = [&bytes[..*len], &[0xFF; 3]].concat();
        assert_eq!(shown(parse(&longer, false, context)), (format!("{packet:?}"), *len));
        assert_eq!(shown(parse(&longer, true, context)), (format!("{packet:?}"), *len));
    }
}

fn shown(parsed: Result<Option<(Packet, usize)>, Reason>) -> (String, usize) {
    let (packet, len) = parsed.expect("it was valid").expect("it was whole");
    (format!("{packet:?}"), len)
}

/// What is written from a packet is read as that packet, and it takes no more memory than it may.
fn check_packet(packet: &Packet, bytes: &[u8], context: &Context) {
    // Vectors begin with room for four.
    assert!(weight(packet) <= 16 * bytes.len() + 4 * 64, "{} bytes", weight(packet));
    let Some(again) = written::written(packet, context.version, context.now) else { return };
    let read = parse(&again, false, context).expect("what we write is valid");
    let (read, len) = read.expect("what we write is whole");
    assert_eq!(len, again.len());
    assert_eq!(format!("{read:?}"), format!("{packet:?}"), "{again:02x?}");
}

/// The memory that a parsed packet takes, but for its own struct.
fn weight(packet: &Packet) -> usize {
    match packet {
        Packet::Publish(Publish { topic, payload, properties, .. }) => {
            let properties = properties.as_deref();
            topic.as_ref().map_or(0, |topic| topic.as_str().len())
                + payload.len()
                + properties.map_or(0, |all| all.weight_bytes() - MessageProperties::OWN_BYTES)
        }
        Packet::Subscribe(subscribe) => {
            subscribe.entries.capacity() * size_of_val(&subscribe.entries[0])
        }
        Packet::Unsubscribe(unsubscribe) => {
            unsubscribe.filters.capacity() * size_of_val(&unsubscribe.filters[0])
        }
        _ => 0,
    }
}

/// Like the others, for a CONNECT. Its end is known, so a byte more is never taken.
fn check_connect(bytes: &[u8]) -> Outcome {
    // Nothing is cut to what the server grants.
    let limits = Limits { session_expiry_max_secs: u32::MAX, ..Limits::default() };
    // Versions agree on the length of what they call short.
    let Ok(header) = Header::parse(bytes, Version::V311) else { return Outcome::Refused };
    let Some(header) = header else { return Outcome::Partial };
    let Some(body) = bytes.get(header.len..header.packet_len()) else { return Outcome::Partial };
    let Ok(parsed) = connect(body, &limits) else { return Outcome::Refused };
    connect(&[body, &[0]].concat(), &limits).expect_err("a byte more is refused");
    assert!(names_bytes(&parsed) <= body.len());
    let again = written::connect_body(&parsed);
    let read = connect(&again, &limits).expect("what is written again is valid");
    assert_eq!(format!("{read:?}"), format!("{parsed:?}"), "{again:02x?}");
    assert_eq!(secret(&read), secret(&parsed));
    Outcome::Taken
}

/// `Debug` does not show it.
fn secret(connect: &Connect) -> Option<&[u8]> {
    connect.password.as_ref().map(|password| password.bytes())
}

/// Bytes of text and data that a CONNECT keeps.
fn names_bytes(connect: &Connect) -> usize {
    let Connect { client_id, user_name, will, authentication, .. } = connect;
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let of_will = will.as_ref().map_or(0, |will| {
        let properties = will.message.properties.as_deref();
        will.message.topic.as_str().len()
            + will.message.payload.len()
            + properties.map_or(0, |all| all.weight_bytes() - MessageProperties::OWN_BYTES)
    });
    let of_method = authentication
        .as_ref()
        .map_or(0, |asked| asked.method.len() + asked.data.as_ref().map_or(0, Bytes::len));
    client_id.len() + text(user_name) + secret(connect).map_or(0, <[u8]>::len) + of_will + of_method
}
