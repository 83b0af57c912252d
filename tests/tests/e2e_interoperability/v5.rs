//! The cases of MQTT 5 alone.

use std::time::{Duration, Instant};

use push_tests::claims;
use push_tests::clients::{Client, Connect, Gone};
use push_tests::expectations::{PATIENCE, SILENCE};
use push_tests::server::{PingPath, Server};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::Version::V5;
use push_tests::wire::{self, Packet, Properties, Publish, Value, property};

use crate::{TOPICS, client, client_with, message, pairs, publish_of, start};

/// Subscription options beside the QoS.
const NO_LOCAL: u8 = 0x04;
const RETAIN_AS_PUBLISHED: u8 = 0x08;

/// Property identifiers that `push_tests::wire` does not name.
const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const WILL_DELAY_INTERVAL: u8 = 0x18;
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
const TOPIC_ALIAS: u8 = 0x23;

claims! {
    unsubscribe,
    session_expiry,
    shared_subscriptions,
    user_properties,
    payload_format,
    publication_expiry,
    subscribe_options,
    assigned_clientid,
    subscribe_identifiers,
    request_response,
    client_topic_alias,
    server_topic_alias,
    maximum_packet_size,
    server_keep_alive,
    flow_control1,
    flow_control2,
    will_delay,
}

fn unsubscribe() -> TestResult {
    let server = start()?;
    let mut b = client(&server, V5, "b");
    for topic in &TOPICS[..3] {
        b.subscribe(&[(topic, 2)]);
    }
    assert_eq!(b.unsubscribe(&[TOPICS[0]]), [0]);
    let mut a = client(&server, V5, "a");
    for topic in &TOPICS[..3] {
        a.publish(topic, b"x", 1);
    }
    assert_eq!([b.message().topic, b.message().topic], TOPICS[1..3]);
    b.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn session_expiry() -> TestResult {
    stand_in::not_for("has no metrics to wait by")?;
    let server = start()?;
    // Connects, and says whether there was a session.
    let connect = |expiry_secs: u32| {
        let expiry = Value::Number(expiry_secs);
        let connect = Connect { clean: false, ..Connect::new(V5, "a") }
            .property(property::SESSION_EXPIRY_INTERVAL, expiry);
        let mut client = client_with(&server, &connect);
        client.subscribe(&[(TOPICS[0], 2)]);
        (client.connack.session_present, client)
    };
    // Never kept.
    for _ in 0..2 {
        let (present, client) = connect(0);
        assert!(!present);
        client.disconnect();
    }
    // Kept for a while, counted from the connection's end.
    for was_there in [false, true] {
        let (present, client) = connect(2);
        assert_eq!(present, was_there);
        client.disconnect();
    }
    server.wait_metric("push_sessions", |sessions| sessions == 0);
    // DISCONNECT says anew how long: longer, then not at all.
    for (was_there, expiry_secs, pause_secs) in [(false, 30, 2), (true, 0, 0)] {
        let (present, mut client) = connect(1);
        assert_eq!(present, was_there);
        client.send(&disconnect_with_expiry(expiry_secs));
        assert_eq!(client.wait_ending().how, Gone::Closed);
        std::thread::sleep(Duration::from_secs(pause_secs));
    }
    let (present, _client) = connect(1);
    assert!(!present);
    server.finish();
    Ok(())
}

fn shared_subscriptions() -> TestResult {
    const MESSAGES: u8 = 20;
    let server = start()?;
    let mut members = ["a", "b"].map(|id| client(&server, V5, id));
    for member in &mut members {
        let granted = member.subscribe(&[("$share/sharename/x", 2), (TOPICS[0], 2)]);
        assert_eq!(granted, [2, 2]);
    }
    let mut publisher = client(&server, V5, "publisher");
    for number in 0..MESSAGES {
        publisher.publish(TOPICS[0], &[number], 1);
        for member in &mut members {
            assert_eq!(member.message().payload, [number], "that one is not shared");
        }
    }
    for number in 0..MESSAGES {
        publisher.publish("x", &[number], 1);
    }
    let mut received = Vec::new();
    for member in &mut members {
        while let Ok(Packet::Publish(publish)) = member.receive(SILENCE) {
            member.acknowledge(&publish);
            received.push(publish.payload[0]);
        }
    }
    received.sort_unstable();
    assert_eq!(received, (0..MESSAGES).collect::<Vec<u8>>(), "each once, whoever got it");
    server.finish();
    Ok(())
}

fn user_properties() -> TestResult {
    echoed_at_every_qos(&pairs(&[("a", "2"), ("c", "3")]))
}

fn payload_format() -> TestResult {
    echoed_at_every_qos(&Properties(vec![
        (property::PAYLOAD_FORMAT_INDICATOR, Value::Number(1)),
        (property::CONTENT_TYPE, Value::Text("My name".to_owned())),
    ]))
}

fn echoed_at_every_qos(properties: &Properties) -> TestResult {
    let server = start()?;
    let mut a = client(&server, V5, "a");
    a.subscribe(&[(TOPICS[0], 2)]);
    for qos in [0, 1, 2] {
        a.publish_packet(Publish { properties: properties.clone(), ..message(qos) });
        let received = a.message();
        assert_eq!((received.qos, &received.properties), (qos, properties));
    }
    server.finish();
    Ok(())
}

fn publication_expiry() -> TestResult {
    let server = start()?;
    let persistent = Connect::new(V5, "b").persistent();
    let mut b = client_with(&server, &persistent);
    b.subscribe(&[(TOPICS[0], 2)]);
    b.disconnect();
    let mut a = client(&server, V5, "a");
    for (secs, payload) in [(1, b"expires"), (60, b"remains")] {
        for qos in [1, 2] {
            let expiry = (property::MESSAGE_EXPIRY_INTERVAL, Value::Number(secs));
            let properties = Properties(vec![expiry]);
            a.publish_packet(Publish { payload: payload.to_vec(), properties, ..message(qos) });
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    let mut b = client_with(&server, &persistent);
    for qos in [1, 2] {
        let message = b.message();
        assert_eq!((&message.payload[..], message.qos), (&b"remains"[..], qos));
        let left = message.properties.number(property::MESSAGE_EXPIRY_INTERVAL).expect("it");
        assert!(left <= 58, "{left} of 60 seconds are left after 2");
    }
    b.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn subscribe_options() -> TestResult {
    stand_in::not_for("keeps No Local when a subscription is replaced")?;
    let server = start()?;
    let mut a = client(&server, V5, "a");
    let mut b = client(&server, V5, "b");
    for client in [&mut a, &mut b] {
        client.subscribe(&[(TOPICS[0], 2 | NO_LOCAL)]);
    }
    a.publish(TOPICS[0], b"not to a", 1);
    assert_eq!(b.message().payload, b"not to a");
    a.expect_no_message(SILENCE);

    a.subscribe(&[(TOPICS[0], 2 | RETAIN_AS_PUBLISHED)]);
    for retain in [false, true] {
        a.publish_packet(Publish { retain, ..message(1) });
        assert_eq!(a.message().retain, retain);
    }

    for qos in [0, 1, 2] {
        let topic = format!("kept/{qos}");
        b.publish_packet(Publish { topic, retain: true, ..message(qos) });
    }
    // Retain handling, and how many messages the first and the second subscription bring.
    for (handling, first, second) in [(1, 3, 0), (2, 0, 0), (0, 3, 3)] {
        let mut c = client(&server, V5, "c");
        for count in [first, second] {
            c.subscribe(&[("kept/#", 2 | handling << 4)]);
            let mut seen: Vec<u8> = (0..count).map(|_| c.message().qos).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<u8>>(), "retain handling {handling}");
            c.expect_no_message(SILENCE);
        }
        c.disconnect();
    }
    server.finish();
    Ok(())
}

fn assigned_clientid() -> TestResult {
    stand_in::not_for("does not tell the client taken over")?;
    let server = start()?;
    let mut first = client(&server, V5, "");
    let assigned = first.connack.properties.find(property::ASSIGNED_CLIENT_IDENTIFIER).cloned();
    let Some(Value::Text(id)) = assigned else { panic!("{:?}", first.connack) };
    assert!(!id.is_empty());
    // It serves as though it had been the client's own: who connects by it takes over.
    let second = client(&server, V5, &id);
    assert_eq!(first.wait_ending().reason, Some(0x8E));
    second.disconnect();
    server.finish();
    Ok(())
}

fn subscribe_identifiers() -> TestResult {
    let server = start()?;
    let mut a = client(&server, V5, "a");
    subscribe_identified(&mut a, TOPICS[0], 456_789);
    let mut b = client(&server, V5, "b");
    subscribe_identified(&mut b, TOPICS[0], 2);
    subscribe_identified(&mut b, "TopicA/#", 3);
    b.publish(TOPICS[0], b"x", 1);
    assert_eq!(identifiers(&a.message()), [456_789]);
    let mut seen = identifiers(&b.message());
    seen.sort_unstable();
    assert_eq!(seen, [2, 3], "one copy with both");
    b.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn request_response() -> TestResult {
    let server = start()?;
    let mut a = client(&server, V5, "requester");
    let mut b = client(&server, V5, "responder");
    for client in [&mut a, &mut b] {
        client.subscribe(&[(TOPICS[0], 2 | NO_LOCAL)]);
    }
    let properties = Properties(vec![
        (property::RESPONSE_TOPIC, Value::Text(TOPICS[0].to_owned())),
        (property::CORRELATION_DATA, Value::Bytes(b"334".to_vec())),
    ]);
    a.publish_packet(Publish { properties: properties.clone(), ..message(1) });
    let request = b.message();
    assert_eq!(request.properties, properties);
    let Some(Value::Text(topic)) = request.properties.find(property::RESPONSE_TOPIC).cloned()
    else {
        panic!("{request:?}")
    };
    b.publish_packet(Publish { topic, properties: request.properties, ..message(1) });
    assert_eq!(a.message().properties, properties);
    server.finish();
    Ok(())
}

fn client_topic_alias() -> TestResult {
    let server = start()?;
    let persistent = Connect::new(V5, "a").persistent();
    let mut a = client_with(&server, &persistent);
    assert_alias_invalid(&mut a, &aliased(TOPICS[0], 0));

    let mut a = client_with(&server, &persistent);
    let maximum = a.connack.properties.number(TOPIC_ALIAS_MAXIMUM).expect("a maximum");
    a.subscribe(&[(TOPICS[0], 2)]);
    for alias in [1, maximum] {
        a.publish_packet(aliased(TOPICS[0], alias));
        a.publish_packet(aliased("", alias));
        assert_eq!([a.message().topic, a.message().topic], [TOPICS[0]; 2]);
    }
    a.disconnect();

    // The subscription is there again, the aliases are not.
    let mut a = client_with(&server, &persistent);
    a.publish(TOPICS[0], b"x", 1);
    assert_eq!(a.message().topic, TOPICS[0]);
    assert_alias_invalid(&mut a, &aliased("", 1));
    let mut a = client_with(&server, &persistent);
    assert_alias_invalid(&mut a, &aliased(TOPICS[0], maximum + 1));
    server.finish();
    Ok(())
}

fn server_topic_alias() -> TestResult {
    // The suite's own topic, of six bytes: no shorter one pays.
    const TOPIC: &str = TOPICS[0];
    let server = start()?;
    let alias = |message: &Publish| message.properties.number(TOPIC_ALIAS);
    for maximum in [Some(1), Some(0), None] {
        let mut connect = Connect::new(V5, "a");
        if let Some(maximum) = maximum {
            connect = connect.property(TOPIC_ALIAS_MAXIMUM, Value::Number(maximum));
        }
        let mut a = client_with(&server, &connect);
        a.subscribe(&[(TOPIC, 2)]);
        for qos in [0, 1, 2] {
            a.publish(TOPIC, b"x", qos);
            let message = a.message();
            let (expected_alias, expected_topic) = match (maximum, qos) {
                (Some(1), 0) => (Some(1), TOPIC),
                (Some(1), _) => (Some(1), ""),
                _ => (None, TOPIC),
            };
            assert_eq!((alias(&message), &message.topic[..]), (expected_alias, expected_topic));
        }
        a.disconnect();
    }
    server.finish();
    Ok(())
}

fn maximum_packet_size() -> TestResult {
    const SERVER_TAKES: usize = 60_000;
    const CLIENT_TAKES: usize = 64;
    let server = Server::with(PingPath::User).flag("--max-packet-bytes", SERVER_TAKES).start()?;
    let mut a = client(&server, V5, "a");
    let takes = a.connack.properties.number(property::MAXIMUM_PACKET_SIZE);
    assert_eq!(takes, Some(SERVER_TAKES as u32));
    a.send(&wire::publish(V5, &Publish { payload: vec![b'.'; SERVER_TAKES], ..message(0) }));
    assert_eq!(a.wait_ending().reason, Some(0x95));

    let takes = Value::Number(CLIENT_TAKES as u32);
    let connect = Connect::new(V5, "a").property(property::MAXIMUM_PACKET_SIZE, takes);
    let mut a = client_with(&server, &connect);
    a.subscribe(&[(TOPICS[0], 2)]);
    a.publish(TOPICS[0], &[b'.'; CLIENT_TAKES / 2], 0);
    assert_eq!(a.message().payload.len(), CLIENT_TAKES / 2);
    a.publish(TOPICS[0], &[b'.'; CLIENT_TAKES], 1);
    a.expect_no_message(SILENCE);
    a.assert_alive();
    server.finish();
    Ok(())
}

fn server_keep_alive() -> TestResult {
    let server = Server::with(PingPath::User).flag("--keep-alive-max-secs", 60).start()?;
    let client = client_with(&server, &Connect::new(V5, "a").keep_alive(120));
    assert_eq!(client.connack.properties.number(property::SERVER_KEEP_ALIVE), Some(60));
    server.finish();
    Ok(())
}

fn flow_control1() -> TestResult {
    let server = start()?;
    let two = Value::Number(2);
    let connect = Connect::new(V5, "a").property(property::RECEIVE_MAXIMUM, two);
    let mut a = client_with(&server, &connect);
    a.subscribe(&[(TOPICS[0], 2)]);
    for number in 0..3_u8 {
        a.publish(TOPICS[0], &[number], 1);
    }
    let [first, second] = [publish_of(&mut a), publish_of(&mut a)];
    a.expect_no_message(SILENCE);
    a.acknowledge(&first);
    let third = publish_of(&mut a);
    assert_eq!(third.payload, [2]);
    a.acknowledge(&second);
    a.acknowledge(&third);
    a.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

fn flow_control2() -> TestResult {
    stand_in::not_for("announces no Receive Maximum")?;
    let server = start()?;
    let mut a = client(&server, V5, "a");
    let maximum = a.connack.properties.number(property::RECEIVE_MAXIMUM).expect("a maximum");
    let maximum = u16::try_from(maximum).expect("16 bits");
    for packet_id in 1..=maximum {
        a.send(&wire::publish(V5, &Publish { packet_id, ..message(2) }));
        a.expect("a PUBREC", |packet| {
            matches!(packet, Packet::Ack { kind: wire::PUBREC, .. }).then_some(())
        });
    }
    a.send(&wire::publish(V5, &Publish { packet_id: maximum + 1, ..message(2) }));
    assert_eq!(a.wait_ending().reason, Some(0x93));
    server.finish();
    Ok(())
}

fn will_delay() -> TestResult {
    let server = start()?;
    // Delay and session expiry, and how long the will takes: no less, and no longer than this.
    for (delay_secs, expiry_secs, least_secs, most_secs) in
        [(2, 6, 2, 5), (6, 0, 0, 4), (6, 2, 2, 5)]
    {
        let mut b = client(&server, V5, "b");
        b.subscribe(&[(TOPICS[0], 2)]);
        let mut a = Client::dial(server.target(), V5, None);
        a.send(&connect_with_will_delay(delay_secs, expiry_secs));
        a.read_connack(PATIENCE).expect("a CONNACK");
        assert_eq!((a.connack.code, a.connack.session_present), (0, false));
        let begun = Instant::now();
        drop(a);
        let will = b.message();
        let took = begun.elapsed();
        assert_eq!((&will.topic[..], &will.payload[..]), (TOPICS[0], &b"gone"[..]));
        let within = Duration::from_secs(least_secs)..Duration::from_secs(most_secs);
        assert!(within.contains(&took), "delay {delay_secs}, expiry {expiry_secs}: {took:?}");
        b.disconnect();
    }
    server.finish();
    Ok(())
}

fn disconnect_with_expiry(secs: u32) -> Vec<u8> {
    let mut body = vec![0x00, 5, property::SESSION_EXPIRY_INTERVAL];
    body.extend(secs.to_be_bytes());
    wire::frame(0xE0, &body)
}

fn aliased(topic: &str, alias: u32) -> Publish {
    let properties = Properties(vec![(TOPIC_ALIAS, Value::Number(alias))]);
    Publish { topic: topic.to_owned(), packet_id: 77, properties, ..message(1) }
}

/// "Topic alias invalid", or "protocol error" where there is no topic at all.
#[track_caller]
fn assert_alias_invalid(client: &mut Client, publish: &Publish) {
    client.send(&wire::publish(V5, publish));
    let reason = client.wait_ending().reason;
    assert!(matches!(reason, Some(0x82 | 0x94)), "{reason:?}");
}

/// SUBSCRIBE at QoS 2 with a subscription identifier, and its SUBACK.
#[track_caller]
fn subscribe_identified(client: &mut Client, filter: &str, identifier: u32) {
    let mut property = vec![SUBSCRIPTION_IDENTIFIER];
    let mut rest = identifier;
    while rest > 0x7F {
        property.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    property.push(rest as u8);
    let mut body = vec![0x55, 0x55, property.len() as u8];
    body.extend(property);
    body.extend((filter.len() as u16).to_be_bytes());
    body.extend(filter.as_bytes());
    body.push(2);
    client.send(&wire::frame(0x82, &body));
    let granted = client.expect("a SUBACK", |packet| match packet {
        Packet::Suback { codes, .. } => Some(codes.clone()),
        _ => None,
    });
    assert_eq!(granted, [2]);
}

fn identifiers(message: &Publish) -> Vec<u32> {
    let number = |(identifier, value): &(u8, Value)| match value {
        Value::Number(number) if *identifier == SUBSCRIPTION_IDENTIFIER => Some(*number),
        _ => None,
    };
    message.properties.0.iter().filter_map(number).collect()
}

/// CONNECT of client `a`, clean, with a will on the first topic.
fn connect_with_will_delay(delay_secs: u32, expiry_secs: u32) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x05\x06\0\x3C".to_vec();
    body.extend([5, property::SESSION_EXPIRY_INTERVAL]);
    body.extend(expiry_secs.to_be_bytes());
    body.extend(b"\0\x01a");
    body.extend([5, WILL_DELAY_INTERVAL]);
    body.extend(delay_secs.to_be_bytes());
    for field in [TOPICS[0], "gone"] {
        body.extend((field.len() as u16).to_be_bytes());
        body.extend(field.as_bytes());
    }
    wire::frame(0x10, &body)
}
