//! Subscription identifiers, and overlapping subscriptions.

use std::time::Duration;

use push_tests::clients::{Client, Connect};
use push_tests::expectations::SILENCE;
use push_tests::skip::TestResult;
use push_tests::wire::{Version, property};

use super::rig::{ID, client, retained, server};

/// The identifiers of the next message, sorted.
#[track_caller]
fn ids(client: &mut Client) -> Vec<u32> {
    let mut ids = client.message().properties.numbers(ID);
    ids.sort_unstable();
    ids
}

/// [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]
pub(crate) fn a_message_carries_the_identifiers_of_all_subscriptions_that_brought_it() -> TestResult
{
    let server = server()?;
    let target = server.target();
    let mut publisher = client(target, "publisher");
    // On whichever shard.
    for number in 0..8 {
        let mut subscriber = client(target, &format!("subscriber-{number}"));
        let available =
            subscriber.connack.properties.number(property::SUBSCRIPTION_IDENTIFIERS_AVAILABLE);
        assert_ne!(available, Some(0));
        subscriber.subscribe_as(1, &[("a/b", 0)]);
        subscriber.subscribe_as(268_435_455, &[("a/+", 1), ("#", 2)]);
        subscriber.subscribe(&[("+/b", 0)]);
        publisher.publish("a/b", b"all", 2);
        assert_eq!(ids(&mut subscriber), [1, 268_435_455, 268_435_455]);
        publisher.publish("a/c", b"two", 0);
        assert_eq!(ids(&mut subscriber), [268_435_455; 2]);
        publisher.publish("c", b"one", 1);
        assert_eq!(ids(&mut subscriber), [268_435_455]);
        subscriber.unsubscribe(&["a/+", "#"]);
        publisher.publish("b/b", b"none", 1);
        assert_eq!(ids(&mut subscriber), [0; 0]);
        subscriber.expect_no_message(Duration::from_millis(10));
        subscriber.disconnect();
    }
    server.finish();
    Ok(())
}

/// [MQTT-3.8.4-3]
pub(crate) fn a_subscription_made_again_has_its_new_identifier_only() -> TestResult {
    let server = server()?;
    let target = server.target();
    let mut publisher = client(target, "publisher");
    let mut subscriber = client(target, "subscriber");
    for (identifier, expected) in [(Some(5), vec![5]), (Some(6), vec![6]), (None, vec![])] {
        match identifier {
            Some(identifier) => subscriber.subscribe_as(identifier, &[("a", 1)]),
            None => subscriber.subscribe(&[("a", 1)]),
        };
        publisher.publish("a", b"x", 1);
        assert_eq!(ids(&mut subscriber), expected);
        subscriber.expect_no_message(Duration::from_millis(10));
    }
    server.finish();
    Ok(())
}

/// [MQTT-3.3.4-3]
pub(crate) fn retained_messages_carry_the_identifier_of_the_subscription_that_brought_them()
-> TestResult {
    let server = server()?;
    let target = server.target();
    client(target, "publisher").publish_packet(retained("a/b", b"kept", 2));
    let mut subscriber = client(target, "subscriber");
    // Each subscription brings it, once.
    for (identifier, filter, qos) in [(7, "a/b", 2), (8, "a/+", 1), (9, "#", 0)] {
        subscriber.subscribe_as(identifier, &[(filter, qos)]);
        let message = subscriber.message();
        assert_eq!(message.properties.numbers(ID), [identifier]);
        assert_eq!((message.qos, message.retain), (qos, true));
    }
    subscriber.expect_no_message(SILENCE);
    server.finish();
    Ok(())
}

pub(crate) fn identifiers_outlive_the_connection() -> TestResult {
    let server = server()?;
    let target = server.target();
    let connect = Connect::new(Version::V5, "sleeper").persistent();
    let mut sleeper = Client::connect(target, &connect);
    sleeper.subscribe_as(3, &[("mail", 1)]);
    sleeper.disconnect();
    let mut publisher = client(target, "publisher");
    publisher.publish("mail", b"while away", 1);
    let mut sleeper = Client::connect(target, &connect);
    assert!(sleeper.connack.session_present);
    assert_eq!(ids(&mut sleeper), [3]);
    publisher.publish("mail", b"back", 1);
    assert_eq!(ids(&mut sleeper), [3]);
    server.finish();
    Ok(())
}

/// [MQTT-3.3.4-2]; in 3.1.1 [MQTT-3.3.5-1]
pub(crate) fn overlapping_subscriptions_bring_a_message_once_at_the_highest_qos() -> TestResult {
    let server = server()?;
    let target = server.target();
    let mut publisher = client(target, "publisher");
    for version in [Version::V311, Version::V5] {
        let mut subscriber = Client::connect(target, &Connect::new(version, "subscriber"));
        subscriber.subscribe(&[("a/b", 1), ("a/+", 2), ("a/#", 0), ("#", 1)]);
        publisher.publish("a/b", b"x", 2);
        assert_eq!(subscriber.message().qos, 2);
        publisher.publish("a", b"x", 2);
        assert_eq!(subscriber.message().qos, 1);
        subscriber.ping();
        subscriber.expect_no_message(SILENCE);
        subscriber.disconnect();
    }
    server.finish();
    Ok(())
}
