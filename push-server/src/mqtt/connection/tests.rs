//! What can be seen only from inside: memory, and how much is moved at a time. The protocol is
//! tested in the conformance tests.

use std::sync::Arc;

use super::*;
use crate::access::Access;
use crate::broker::{Held, MemoryBudget, QoS, TopicName, Via};
use crate::mqtt::{Delivery, Filing, Handshake, HandshakeProgress, Transmit};

pub(super) const NOW: Monotonic = Monotonic(1);

pub(super) fn accepted() -> (Connection, Session) {
    accepted_with(b"\x10\x0E\0\x04MQTT\x04\0\0\x0A\0\x02id")
}

pub(super) fn accepted_with(connect: &[u8]) -> (Connection, Session) {
    let limits = Limits::default();
    let HandshakeProgress::Connect(connecting) =
        Handshake::new([0; 18]).handle_bytes_judged(&limits, &Access::default(), connect)
    else {
        panic!("a valid CONNECT")
    };
    let mut session = Session::new("id", 60);
    let connection = Connection::accept(*connecting, &mut session, false, &limits, NOW);
    (connection, session)
}

fn transmit(connection: &mut Connection, session: &mut Session, bytes_max: usize) -> Transmit {
    let mut out = Transmit::default();
    connection.poll_transmit(session, &mut out, bytes_max, &Limits::default(), NOW);
    out
}

fn deliver(session: &mut Session, qos: QoS, payload_len: usize) {
    let message = Message {
        topic: TopicName::parse("t", 8).expect("valid"),
        payload: vec![0; payload_len].into(),
        qos,
        retain: false,
        properties: None,
        expires_at: None,
        held: Held::default(),
    };
    let delivery = Delivery { message: Arc::new(message), qos, retain: false, via: Via::default() };
    session.deliver(
        delivery,
        true,
        Filing::Never,
        &Limits::default(),
        &MemoryBudget::new(u64::MAX),
    );
}

#[test]
fn connection_that_is_done_with_its_packets_owns_no_buffer() {
    let (mut connection, mut session) = accepted();
    connection.handle_bytes(&[0xC0, 0, 0xC0, 0], NOW);
    while connection.poll_event(&mut session, &Limits::default(), NOW).is_some() {}
    deliver(&mut session, QoS::AtMostOnce, 10);
    assert_eq!(transmit(&mut connection, &mut session, 1 << 20).publishes, 1);
    assert_eq!(connection.answers.capacity(), 0);
    assert_eq!(connection.input.bytes().len(), 0);
    assert!(!connection.has_transmit(&session, &Limits::default()));
}

#[test]
fn client_that_takes_topic_aliases_owns_no_table_before_the_first() {
    let connect = b"\x10\x12\0\x04MQTT\x05\0\0\x0A\x03\x22\0\x09\0\x02id";
    let (mut connection, mut session) = accepted_with(connect);
    transmit(&mut connection, &mut session, 1 << 20);
    assert!(connection.extras.is_none());
    deliver(&mut session, QoS::AtMostOnce, 10);
    transmit(&mut connection, &mut session, 1 << 20);
    assert!(connection.extras.is_none(), "a topic too short for an alias costs none either");
}

#[test]
fn large_payload_is_a_slice_of_the_input() {
    let (mut connection, mut session) = accepted();
    let payload_len = 1 << 20;
    let body_len: u32 = 3 + payload_len;
    let length = [0x80 | body_len as u8, 0x80 | (body_len >> 7) as u8, (body_len >> 14) as u8];
    connection.handle_bytes(&[&[0x30][..], &length, b"\0\x01t"].concat(), NOW);
    for _ in 0..payload_len / 1024 {
        connection.handle_bytes(&[7; 1024], NOW);
    }
    let packet = connection.input.bytes().as_ptr_range();
    let event = connection.poll_event(&mut session, &Limits::default(), NOW);
    let Some(Event::Publish(message, None)) = event else { panic!("{event:?}") };
    assert_eq!(message.payload.len(), payload_len as usize);
    assert!(packet.contains(&message.payload.as_ptr()), "shared, not copied");
}

#[test]
fn small_payload_does_not_keep_the_input_alive() {
    let (mut connection, mut session) = accepted();
    connection.handle_bytes(&[0x30, 4, 0, 1, b't', b'x'], NOW);
    let packet = connection.input.bytes().as_ptr_range();
    let event = connection.poll_event(&mut session, &Limits::default(), NOW);
    let Some(Event::Publish(message, None)) = event else { panic!("{event:?}") };
    assert!(!packet.contains(&message.payload.as_ptr()));
}

#[test]
fn transmit_moves_about_what_was_asked_for_and_at_least_one_frame() {
    let (mut connection, mut session) = accepted();
    transmit(&mut connection, &mut session, 1);
    for _ in 0..10 {
        deliver(&mut session, QoS::AtMostOnce, 95);
    }
    assert_eq!(transmit(&mut connection, &mut session, 0).len, 100);
    assert_eq!(transmit(&mut connection, &mut session, 100).len, 100);
    assert_eq!(transmit(&mut connection, &mut session, 101).len, 200);
    let out = transmit(&mut connection, &mut session, usize::MAX);
    assert_eq!((out.len, out.publishes, out.chunks.len()), (600, 6, 1));
}

#[test]
fn answers_are_due_from_their_event_until_they_are_moved_out() {
    let (mut connection, mut session) = accepted();
    transmit(&mut connection, &mut session, 1);
    assert_eq!(connection.answers_due_bytes(), 0);
    connection.handle_bytes(b"\x32\x05\0\x01t\0\x01", NOW); // PUBLISH
    connection.handle_bytes(b"\x82\x0A\0\x02\0\x01a\0\0\x01b\0", NOW); // SUBSCRIBE, two filters
    connection.handle_bytes(b"\x62\x02\0\x09", NOW); // PUBREL
    let mut next = || connection.poll_event(&mut session, &Limits::default(), NOW);
    let (publish, subscribe, release) = (next(), next(), next());
    assert_eq!((connection.answers_due_bytes(), connection.has_answers()), (4 + 6 + 4, false));
    if let Some(Event::Publish(_, Some(receipt))) = publish {
        connection.publish_done(&mut session, receipt, Reason::Success);
    }
    if let Some(Event::Subscribe(subscribe)) = subscribe {
        connection.subscribed(subscribe.packet_id, &[Ok(QoS::AtMostOnce); 2]);
    }
    if let Some(Event::Owes(answer)) = release {
        connection.answer_now(answer);
    }
    assert_eq!((connection.answers_due_bytes(), connection.owed_bytes), (14, 0));
    assert_eq!(transmit(&mut connection, &mut session, 1).len, 14);
    assert_eq!(connection.answers_due_bytes(), 0);
}
