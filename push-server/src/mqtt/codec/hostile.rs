//! Hostile bytes: nothing panics, nothing grows beyond what arrived, and it makes no difference how
//! the bytes were cut.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::access::{Access, Users};
use crate::broker::MessageProperties;
use crate::mqtt::allowing::allow;
use crate::mqtt::{Connection, Features, Handshake, HandshakeProgress, Limits, Session};

/// Valid packets of every type, for 3.1.1 and MQTT 5, that the tests damage.
const SAMPLES: &[(&[u8], &[u8])] = &[
    (
        b"\x10\x24\0\x04MQTT\x04\xCE\0\x0A\0\x02id\0\x04will\0\x04gone\0\x02me\0\x02pw",
        b"\x10\x31\0\x04MQTT\x05\xCE\0\x0A\x08\x11\0\0\0\x09\x21\0\x05\0\x02id\
          \x02\x01\x01\0\x04will\0\x04gone\0\x02me\0\x02pw",
    ),
    (
        b"\x32\x09\0\x03a/b\0\x01hi",
        b"\x32\x29\0\x03a/b\0\x01\x1F\x01\x01\x02\0\0\0\x09\x03\0\x01c\x08\0\x01r\x09\0\x01d\
          \x26\0\x01k\0\x01v\x26\0\0\0\0hi",
    ),
    (
        b"\x10\x0E\0\x04MQTT\x04\0\0\x0A\0\x02id",
        b"\x10\x35\0\x04MQTT\x05\0\0\x0A\x26\x15\0\x0DSCRAM-SHA-256\
          \x16\0\x13n,,n=user,r=rOprNGf\0\x02id",
    ),
    (b"\xF0\0", b"\xF0\x16\x18\x14\x15\0\x0DSCRAM-SHA-256\x16\0\x01c"),
    (b"\x30\x03\0\x01a", b"\x30\x07\0\x01a\x03\x23\0\x01"),
    (b"\x30\x03\0\x01a", b"\x30\x06\0\0\x03\x23\0\x01"),
    (b"\x40\x02\0\x01", b"\x40\x08\0\x01\x10\x04\x1F\0\x01w"),
    (b"\x50\x02\0\x01", b"\x50\x03\0\x01\x80"),
    (b"\x62\x02\0\x01", b"\x62\x04\0\x01\x92\0"),
    (b"\x70\x02\0\x01", b"\x70\x03\0\x01\x92"),
    (
        b"\x82\x0E\0\x01\0\x03a/b\x01\0\x03c/#\x02",
        b"\x82\x12\0\x01\x03\x0B\x80\x01\0\x03a/b\x01\0\x03c/#\x2C",
    ),
    (b"\xA2\x0B\0\x01\0\x03a/b\0\x02c/", b"\xA2\x0B\0\x01\0\0\x03a/b\0\x01c"),
    (b"\xC0\0", b"\xC0\0"),
    (b"\xE0\0", b"\xE0\x0B\x04\x09\x11\0\0\0\x09\x1F\0\x01w"),
    (b"\xF0\0", b"\xF0\x06\x18\x04\x15\0\x01m"),
];

fn sample(version: Version) -> impl Strategy<Value = Vec<u8>> {
    (0..SAMPLES.len()).prop_map(move |index| match version {
        Version::V31 | Version::V311 => SAMPLES[index].0.to_vec(),
        Version::V5 => SAMPLES[index].1.to_vec(),
    })
}

/// A valid packet with up to four bytes changed, inserted or removed.
fn spoilt(version: Version) -> impl Strategy<Value = Vec<u8>> {
    let edits = vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 0..4);
    (sample(version), edits).prop_map(|(mut bytes, edits)| {
        for (index, byte, edit) in edits {
            let at = index.index(bytes.len().max(1));
            match edit {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 if !bytes.is_empty() => bytes[at] ^= 1 << (byte & 7),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

/// The same, with a fixed header that fits the length, so that the fields are reached.
fn spoilt_in_a_frame(version: Version) -> impl Strategy<Value = Vec<u8>> {
    spoilt(version).prop_map(|bytes| {
        let body = bytes.get(2..).unwrap_or_default();
        let mut framed = vec![bytes.first().copied().unwrap_or(0)];
        let mut len = body.len();
        while len > 0x7F {
            framed.push((len & 0x7F) as u8 | 0x80);
            len >>= 7;
        }
        framed.push(len as u8);
        framed.extend(body);
        framed
    })
}

fn stream(version: Version) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => sample(version),
        1 => spoilt(version),
        2 => spoilt_in_a_frame(version),
        1 => vec(any::<u8>(), 0..40),
    ];
    vec(piece, 1..8).prop_map(|pieces| pieces.concat())
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V31), Just(Version::V311), Just(Version::V5)]
}

/// Has a user that the samples' CONNECT names.
fn access() -> Access {
    let line = "user SCRAM-SHA-256$4096:AAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\
                AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let users = Users::parse(line, [7; 32]).expect("a valid line");
    Access { users: Some(users), ..Access::default() }
}

fn limits() -> Limits {
    Limits { packet_bytes_max: 200, answers_bytes_max: 100, ..Limits::default() }
}

/// Serves `bytes` cut into pieces of `cut` bytes. Returns all events and frames.
fn serve(version: Version, bytes: &[u8], cut: usize) -> String {
    let limits = limits();
    let now = Monotonic(1);
    let connect: &[u8] = match version {
        Version::V31 => b"\x10\x10\0\x06MQIsdp\x03\0\0\x0A\0\x02id",
        Version::V311 => b"\x10\x0E\0\x04MQTT\x04\0\0\x0A\0\x02id",
        Version::V5 => b"\x10\x0F\0\x04MQTT\x05\0\0\x0A\0\0\x02id",
    };
    let HandshakeProgress::Connect(connecting) =
        Handshake::new([0; 18]).handle_bytes_judged(&limits, &Access::default(), connect)
    else {
        panic!("a valid CONNECT")
    };
    let mut session = Session::new("id", 60);
    let mut connection = Connection::accept(*connecting, &mut session, false, &limits, now);
    let mut told = String::new();
    let mut arrived = connection.parsed_bytes();
    for piece in bytes.chunks(cut) {
        connection.handle_bytes(piece, now);
        arrived += piece.len() as u64;
        while let Some(event) = connection.poll_event(&mut session, &limits, now) {
            told += &format!("{event:?}\n");
            allow(&mut connection, &mut session, event);
        }
        assert!(connection.input_len() <= limits.packet_bytes_max as usize);
        assert!(connection.parsed_bytes() + connection.input_len() as u64 <= arrived);
    }
    let mut out = crate::mqtt::Transmit::default();
    connection.poll_transmit(&mut session, &mut out, usize::MAX, &limits, now);
    let sent = out.chunks.concat();
    assert!(sent.len() <= limits.answers_bytes_max as usize + limits.packet_bytes_max as usize);
    told + &format!("{sent:02x?}")
}

/// An upper bound of the memory that a parsed packet holds, heap included.
fn weight(packet: &Packet) -> usize {
    match packet {
        Packet::Publish(publish) => {
            let properties = publish.properties.as_deref();
            publish.topic.as_ref().map_or(0, |topic| topic.as_str().len())
                + publish.payload.len()
                + properties.map_or(0, MessageProperties::weight_bytes)
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

fn context(version: Version) -> Context {
    Context {
        version,
        packet_bytes_max: u32::MAX,
        topic_levels_max: 8,
        features: Features::default(),
        now: Monotonic(1),
    }
}

/// Parses one packet as the connection does.
fn parse(version: Version, bytes: &[u8]) -> Result<Option<Packet>, Reason> {
    let context = context(version);
    let Some(header) = Header::parse(bytes, version)? else { return Ok(None) };
    check_header(header, &context)?;
    let Some(body) = bytes.get(header.len..header.packet_len()) else { return Ok(None) };
    packet(header.first, body, None, &context).map(Some)
}

#[test]
fn samples_are_valid_before_they_are_spoilt() {
    for (index, (v311, v5)) in SAMPLES.iter().enumerate() {
        for (version, bytes) in [(Version::V31, v311), (Version::V311, v311), (Version::V5, v5)] {
            match bytes[0] >> 4 {
                packet_type::CONNECT => {
                    connect(&bytes[2..], &Limits::default()).expect("a valid CONNECT");
                }
                0x0F => {}
                _ => assert!(matches!(parse(version, bytes), Ok(Some(_))), "{index} {version:?}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn spoilt_packets_do_not_panic_and_weigh_little_more_than_their_bytes(
        (version, bytes) in version().prop_flat_map(|version| {
            (Just(version), prop_oneof![spoilt(version), spoilt_in_a_frame(version)])
        })
    ) {
        if let Ok(Some(packet)) = parse(version, &bytes) {
            // Vectors begin with room for four.
            prop_assert!(weight(&packet) <= 16 * bytes.len() + 4 * 64);
        }
    }

    #[test]
    fn arbitrary_bodies_do_not_panic(first in any::<u8>(), version in version(),
                                     body in vec(any::<u8>(), 0..300)) {
        let context = context(version);
        let _ = packet(first, &body, None, &context);
        let _ = connect(&body, &Limits::default());
    }

    #[test]
    fn handshake_takes_anything_in_any_pieces(
        bytes in prop_oneof![stream(Version::V311), stream(Version::V5), vec(any::<u8>(), 0..600)],
        cut in 1..50usize,
    ) {
        let access = access();
        let run = |cut: usize| {
            let mut handshake = Handshake::new([0; 18]);
            let mut said = Vec::new();
            for piece in bytes.chunks(cut) {
                match handshake.handle_bytes_judged(&limits(), &access, piece) {
                    HandshakeProgress::More | HandshakeProgress::Asks => {}
                    HandshakeProgress::Reply(frame) => said.extend_from_slice(&frame),
                    HandshakeProgress::Connect(connecting) => {
                        let client_id = connecting.connect.client_id;
                        return (Some(Ok(client_id)), connecting.wire_bytes, said);
                    }
                    HandshakeProgress::Refused(refusal) => {
                        said.extend_from_slice(&refusal.frame);
                        return (Some(Err(refusal.reason)), 0, said);
                    }
                }
            }
            (None, 0, said)
        };
        prop_assert_eq!(run(cut), run(usize::MAX));
    }

    #[test]
    fn connection_takes_anything_and_how_it_is_cut_makes_no_difference(
        (version, bytes) in version().prop_flat_map(|version| (Just(version), stream(version))),
        cut in 1..20usize,
    ) {
        let whole = serve(version, &bytes, bytes.len().max(1));
        prop_assert_eq!(serve(version, &bytes, cut), whole);
    }
}
