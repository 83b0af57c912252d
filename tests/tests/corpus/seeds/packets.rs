//! A client's packets of every type, alone and as conversations.

use push_server::fuzzing::outcome::Outcome::{self, Partial, Refused, Taken};
use push_tests::wire::{self, Login, Properties, Publish, Value, Version, Will, property};

use super::Seed;

/// The versions, with what chooses each in an input of `codec`.
const VERSIONS: [(Version, u8, &str); 3] =
    [(Version::V31, 0, "v31"), (Version::V311, 1, "v311"), (Version::V5, 2, "v5")];

/// Chooses MQTT 5 without retained messages, wildcards and shared subscriptions.
const V5_WITHOUT_FEATURES: u8 = 4;

pub(super) fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (version, choice, name) in VERSIONS {
        for (kind, bytes) in packets(version) {
            let bytes = [&[choice], &bytes[..]].concat();
            seeds.push(Seed::new("codec", format!("{name}-{kind}"), Taken, bytes));
        }
        for (kind, outcome, bytes) in broken(version) {
            let bytes = [&[choice], &bytes[..]].concat();
            seeds.push(Seed::new("codec", format!("{name}-{kind}"), outcome, bytes));
        }
        for (kind, outcome, packets) in conversations(version) {
            let bytes = [&[3], &packets.concat()[..]].concat();
            seeds.push(Seed::new("connection", format!("{name}-{kind}"), outcome, bytes));
        }
    }
    let retained = Publish { retain: true, ..publish(0) };
    for (kind, bytes) in [
        ("retained-without-feature", wire::publish(Version::V5, &retained)),
        ("wildcard-without-feature", wire::subscribe(Version::V5, 1, &[("a/#", 1)])),
        ("shared-without-feature", wire::subscribe(Version::V5, 1, &[("$share/g/a", 1)])),
    ] {
        let bytes = [&[V5_WITHOUT_FEATURES], &bytes[..]].concat();
        seeds.push(Seed::new("codec", kind, Refused, bytes));
    }
    seeds
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn pair(name: &str, value: &str) -> (u8, Value) {
    (property::USER_PROPERTY, Value::Pair(name.to_owned(), value.to_owned()))
}

/// Properties that go on with a message.
fn passing() -> Properties {
    Properties(vec![
        (property::PAYLOAD_FORMAT_INDICATOR, Value::Number(1)),
        (property::MESSAGE_EXPIRY_INTERVAL, Value::Number(60)),
        (property::CONTENT_TYPE, text("text/plain")),
        (property::RESPONSE_TOPIC, text("answers/me")),
        (property::CORRELATION_DATA, Value::Bytes(vec![0, 1, 2])),
        pair("k", "v"),
        pair("k", ""),
    ])
}

fn publish(qos: u8) -> Publish {
    let packet_id = if qos == 0 { 0 } else { 7 };
    Publish {
        topic: "devices/alice/up".to_owned(),
        payload: b"21.5".to_vec(),
        qos,
        packet_id,
        ..Publish::default()
    }
}

fn connect(version: Version, client_id: &str) -> Vec<u8> {
    wire::connect(version, client_id, 60, true, None, &Properties::default())
}

/// With all that a CONNECT may have.
fn full_connect(version: Version) -> Vec<u8> {
    let login = Login { user_name: Some("alice".to_owned()), password: Some(Vec::new()) };
    let mut properties = passing();
    properties.0.push((property::WILL_DELAY_INTERVAL, Value::Number(5)));
    let will = Will {
        topic: "gone/alice".to_owned(),
        payload: b"bye".to_vec(),
        qos: 2,
        retain: true,
        properties,
    };
    let wishes = Properties(vec![
        (property::SESSION_EXPIRY_INTERVAL, Value::Number(3_600)),
        (property::RECEIVE_MAXIMUM, Value::Number(10)),
        (property::MAXIMUM_PACKET_SIZE, Value::Number(2_000)),
        (property::TOPIC_ALIAS_MAXIMUM, Value::Number(4)),
        (property::REQUEST_RESPONSE_INFORMATION, Value::Number(1)),
        (property::REQUEST_PROBLEM_INFORMATION, Value::Number(0)),
        pair("app", "seed"),
    ]);
    wire::connect_as(&login, version, "phone", 30, false, Some(&will), &wishes)
}

fn scram(message: &str) -> Properties {
    Properties(vec![
        (property::AUTHENTICATION_METHOD, text("SCRAM-SHA-256")),
        (property::AUTHENTICATION_DATA, Value::Bytes(message.as_bytes().to_vec())),
    ])
}

/// Valid packets of every type, by name.
fn packets(version: Version) -> Vec<(String, Vec<u8>)> {
    let mut packets = vec![
        ("connect".to_owned(), connect(version, "phone")),
        ("connect-full".to_owned(), full_connect(version)),
        ("pingreq".to_owned(), wire::PINGREQ.to_vec()),
        ("disconnect".to_owned(), wire::disconnect()),
        ("unsubscribe".to_owned(), wire::unsubscribe(version, 3, &["a/b", "c/#"])),
        (
            "subscribe".to_owned(),
            wire::subscribe(version, 2, &[("a/+", 0), ("c/#", 1), ("$share/g/d", 2)]),
        ),
    ];
    for qos in 0..3 {
        packets.push((format!("publish-{qos}"), wire::publish(version, &publish(qos))));
        let full = Publish { retain: true, properties: passing(), ..publish(qos) };
        packets.push((format!("publish-full-{qos}"), wire::publish(version, &full)));
    }
    for (name, kind) in [
        ("puback", wire::PUBACK),
        ("pubrec", wire::PUBREC),
        ("pubrel", wire::PUBREL),
        ("pubcomp", wire::PUBCOMP),
    ] {
        packets.push((name.to_owned(), wire::ack(kind, 7)));
    }
    let large = Publish { payload: vec![7; 5_000], ..publish(1) };
    packets.push(("publish-large".to_owned(), wire::publish(version, &large)));
    if version == Version::V5 {
        packets.extend(packets_of_v5());
    }
    packets
}

fn packets_of_v5() -> Vec<(String, Vec<u8>)> {
    let alias = |topic: &str| {
        let properties = Properties(vec![(property::TOPIC_ALIAS, Value::Number(2))]);
        wire::publish(Version::V5, &Publish { topic: topic.to_owned(), properties, ..publish(0) })
    };
    let expiry = Properties(vec![
        (property::SESSION_EXPIRY_INTERVAL, Value::Number(9)),
        (property::REASON_STRING, text("tired")),
    ]);
    let numbered = Properties(vec![(property::SUBSCRIPTION_IDENTIFIER, Value::Number(300))]);
    let named = |name: &str, bytes| (name.to_owned(), bytes);
    vec![
        named("publish-alias", alias("devices/alice/up")),
        named("publish-aliased", alias("")),
        named("disconnect-full", wire::disconnect_with(0x04, &expiry)),
        named("auth", wire::auth(0x18, &scram("c=biws,r=abc,p=AAAA"))),
        named("auth-again", wire::auth(0x19, &scram("n,,n=user,r=rOprNGf"))),
        named(
            "subscribe-numbered",
            wire::subscribe_with(Version::V5, 2, &numbered, &[("a/b", 0x2D)]),
        ),
        named("puback-refused", wire::frame(0x40, &[0, 7, 0x97])),
        named("pubrec-refused", wire::frame(0x50, &[0, 7, 0x80, 0])),
        named("pubrel-unknown", wire::frame(0x62, &[0, 7, 0x92, 0])),
    ]
}

/// Packets that have come in part, or break a rule.
fn broken(version: Version) -> Vec<(&'static str, Outcome, Vec<u8>)> {
    let whole = wire::publish(version, &publish(1));
    vec![
        ("half-a-publish", Partial, whole[..whole.len() / 2].to_vec()),
        ("no-packet-id", Refused, wire::subscribe(version, 0, &[("a", 0)])),
        ("qos-3", Refused, wire::frame(0x36, b"\0\x01a\0\x01\0")),
        ("too-long", Refused, b"\x30\xFF\xFF\xFF\x7F".to_vec()),
        ("length-without-end", Refused, b"\x30\xFF\xFF\xFF\xFF\x7F".to_vec()),
        ("no-filter", Refused, wire::subscribe(version, 1, &[])),
        ("no-text", Refused, wire::frame(0x30, b"\0\x02\xC3\x28")),
        ("a-servers-packet", Refused, wire::frame(0x20, &[0, 0])),
    ]
}

/// What a client says from CONNECT to the end.
fn conversations(version: Version) -> Vec<(&'static str, Outcome, Vec<Vec<u8>>)> {
    let first = || connect(version, "phone");
    let subscribe = wire::subscribe(version, 1, &[("a/#", 2), ("$share/g/b", 1)]);
    let talk = vec![
        first(),
        subscribe,
        wire::publish(version, &publish(0)),
        wire::publish(version, &publish(1)),
        wire::publish(version, &publish(2)),
        wire::ack(wire::PUBREL, 7),
        wire::PINGREQ.to_vec(),
        wire::unsubscribe(version, 2, &["a/#"]),
        wire::disconnect(),
    ];
    let receives = vec![
        first(),
        wire::ack(wire::PUBACK, 1),
        wire::ack(wire::PUBREC, 2),
        wire::ack(wire::PUBCOMP, 2),
        wire::ack(wire::PUBACK, 3),
    ];
    let mut conversations = vec![
        ("talk", Taken, talk),
        ("receives", Taken, receives),
        ("half-a-connect", Partial, vec![first()[..9].to_vec()]),
        ("half-a-publish", Partial, vec![first(), b"\x32\x20\0\x01a".to_vec()]),
        ("connects-twice", Refused, vec![first(), first()]),
        ("too-large", Refused, vec![first(), b"\x30\xFF\x7F".to_vec()]),
        ("no-connect", Refused, vec![wire::PINGREQ.to_vec()]),
        ("acknowledges-nothing", Taken, vec![first(), wire::ack(wire::PUBACK, 99)]),
        ("pings-without-end", Refused, vec![first(), wire::PINGREQ.repeat(60)]),
    ];
    if version == Version::V5 {
        conversations.extend(conversations_of_v5());
    }
    conversations
}

fn conversations_of_v5() -> Vec<(&'static str, Outcome, Vec<Vec<u8>>)> {
    let version = Version::V5;
    let aliased = |topic: &str, alias: u32| {
        let properties = Properties(vec![(property::TOPIC_ALIAS, Value::Number(alias))]);
        wire::publish(version, &Publish { topic: topic.to_owned(), properties, ..publish(0) })
    };
    let authenticates =
        |message: &str| wire::connect(version, "phone", 60, true, None, &scram(message));
    let many: Vec<_> = (1..=6)
        .map(|packet_id| wire::publish(version, &Publish { packet_id, ..publish(2) }))
        .collect();
    vec![
        (
            "aliases",
            Taken,
            vec![connect(version, "phone"), aliased("a/b", 1), aliased("", 1), aliased("c", 1)],
        ),
        ("an-alias-too-high", Refused, vec![connect(version, "phone"), aliased("a", 4)]),
        ("an-unknown-alias", Refused, vec![connect(version, "phone"), aliased("", 2)]),
        (
            "scram",
            Refused,
            vec![
                authenticates("n,,n=user,r=rOprNGf"),
                wire::auth(0x18, &scram("c=biws,r=rOprNGf,p=AAAA")),
            ],
        ),
        (
            "an-unknown-method",
            Refused,
            vec![{
                let method = Properties(vec![(property::AUTHENTICATION_METHOD, text("OTHER"))]);
                wire::connect(version, "phone", 60, true, None, &method)
            }],
        ),
        (
            "never-released",
            Taken,
            std::iter::once(connect(version, "phone")).chain(many[..4].to_vec()).collect(),
        ),
    ]
}
