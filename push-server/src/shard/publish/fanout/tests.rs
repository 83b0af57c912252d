//! Tests of `fanout`.

use bytes::Bytes;

use super::*;
use crate::broker::{Held, TopicName};

/// No Local is for the session that published, not for another one that has its key now [MQTT-3.8.3-3].
#[test]
fn a_key_that_is_given_again_is_not_the_publisher() {
    let message = Arc::new(Message {
        topic: TopicName::parse("t", 8).expect("a topic"),
        payload: Bytes::new(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: None,
        expires_at: None,
        held: Held::default(),
    });
    let flow = Flow::session(0, SessionNumber(1).into());
    let author = Author::Client { key: 1, publisher: None };
    let mut fanout = Fanout::published(flow, message, author, Draft::default());
    fanout.begin(SessionNumber(7));
    assert!(fanout.is_older(Some(SessionNumber(6))));
    assert!(!fanout.is_older(Some(SessionNumber(7))), "it began when the fan-out did, or later");
    assert!(!fanout.is_older(None), "it has ended");
}
