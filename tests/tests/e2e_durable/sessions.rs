//! Sessions, what they are subscribed to and owed, and retained messages.

use std::time::Duration;

use push_tests::expectations::SILENCE;
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{self, PUBCOMP, PUBREC, PUBREL, Publish};

use crate::life::{self, Ending, expect_ack, take};

/// More than may be inflight at a time.
const OWED: u32 = 100;

/// Messages that may be inflight at a time, by default.
const INFLIGHT_MAX: usize = 32;

pub(crate) fn owed_messages_survive_in_order() -> TestResult {
    for mut lives in life::all()? {
        let (mut absent, _) = lives.persistent("absent");
        absent.subscribe(&[("a/#", 1), ("b", 2)]);
        absent.disconnect();
        let mut publisher = lives.passing("publisher");
        for number in 0..OWED {
            let payload = number.to_be_bytes();
            publisher.publish("a/1", &payload, if number % 2 == 0 { 1 } else { 2 });
            publisher.publish("b", &payload, 2);
        }
        lives.restart(Duration::ZERO)?;

        // What comes now goes behind what is owed.
        lives.passing("publisher").publish("b", b"after", 2);
        let (mut absent, present) = lives.persistent("absent");
        assert!(present, "{lives:?}");
        let mut numbers = [Vec::new(), Vec::new()];
        for _ in 0..2 * OWED {
            let publish = absent.message();
            assert!(!publish.retain);
            assert_eq!(publish.qos, if publish.topic == "b" { 2 } else { 1 });
            let number = u32::from_be_bytes(publish.payload.try_into().expect("four bytes"));
            numbers[usize::from(publish.topic == "b")].push(number);
        }
        let expected: Vec<u32> = (0..OWED).collect();
        assert_eq!(numbers, [expected.clone(), expected], "{lives:?}");
        assert_eq!(absent.message().payload, b"after");
        absent.expect_no_message(SILENCE);
        // Acknowledged, it does not come again.
        absent.disconnect();
        lives.restart(Duration::ZERO)?;
        let (mut absent, present) = lives.persistent("absent");
        assert!(present);
        absent.expect_no_message(SILENCE);
    }
    Ok(())
}

pub(crate) fn unacknowledged_messages_come_again_under_their_packet_ids() -> TestResult {
    stand_in::not_for("forgets PUBREC when it is stopped")?;
    for mut lives in life::all()? {
        let (mut subscriber, _) = lives.persistent("subscriber");
        subscriber.subscribe(&[("t", 2)]);
        let mut publisher = lives.passing("publisher");
        for (payload, qos) in [(b"one", 1), (b"two", 2), (b"rec", 2)] {
            publisher.publish("t", payload, qos);
        }
        let sent: Vec<Publish> = (0..3).map(|_| take(&mut subscriber)).collect();
        assert!(sent.iter().all(|publish| !publish.dup), "{sent:?}");
        // The last has been received, and is to be released.
        let released = sent[2].packet_id;
        subscriber.send(&wire::ack(PUBREC, released));
        expect_ack(&mut subscriber, PUBREL, released);
        lives.restart(Duration::ZERO)?;

        let (mut subscriber, present) = lives.persistent("subscriber");
        assert!(present);
        for earlier in &sent[..2] {
            let again = take(&mut subscriber);
            // A server that was killed does not know what it had sent.
            let dup = lives.ending == Ending::Stop || again.dup;
            assert_eq!(again, Publish { dup, ..earlier.clone() }, "{lives:?}");
            subscriber.acknowledge(&again);
        }
        expect_ack(&mut subscriber, PUBREL, released);
        subscriber.send(&wire::ack(PUBCOMP, released));
        subscriber.expect_no_message(SILENCE);
    }
    Ok(())
}

/// However often the server starts, and the client comes and goes.
pub(crate) fn what_may_have_been_sent_before_a_crash_says_so() -> TestResult {
    for mut lives in life::all_crashing()? {
        let (mut subscriber, _) = lives.persistent("subscriber");
        subscriber.subscribe(&[("t", 2)]);
        let mut publisher = lives.passing("publisher");
        publisher.publish("t", b"one", 1);
        publisher.publish("t", b"two", 2);
        let sent = [take(&mut subscriber), take(&mut subscriber)];
        assert!(sent.iter().all(|publish| !publish.dup), "{sent:?}");
        lives.restart(Duration::ZERO)?;
        lives.ending = Ending::Stop;
        lives.restart(Duration::ZERO)?;

        for connection in 0..3 {
            let (mut subscriber, present) = lives.persistent("subscriber");
            assert!(present);
            for earlier in &sent {
                let again = take(&mut subscriber);
                let expected = Publish { dup: true, ..earlier.clone() };
                assert_eq!(again, expected, "{connection}: {lives:?}");
            }
        }
    }
    Ok(())
}

/// [MQTT-4.8.2-5]
pub(crate) fn what_one_member_may_have_got_goes_to_no_other() -> TestResult {
    for mut lives in life::all_crashing()? {
        let (mut member, _) = lives.persistent("member");
        member.subscribe(&[("$share/group/t", 2)]);
        lives.passing("publisher").publish("t", b"once", 2);
        assert!(!take(&mut member).dup);
        lives.restart(Duration::ZERO)?;
        let (mut member, _) = lives.persistent("member");
        assert!(take(&mut member).dup);
        drop(member);

        let (mut other, _) = lives.persistent("other");
        other.subscribe(&[("$share/group/t", 2)]);
        // A clean start ends the session, and leaves what nobody may have got to others.
        lives.passing("member");
        lives.passing("publisher").publish("t", b"next", 2);
        assert_eq!(other.message().payload, b"next", "{lives:?}");
        let passed_on = lives.server().metrics().value("push_shared_passed_on_total");
        assert_eq!(passed_on, 0, "{lives:?}");
    }
    Ok(())
}

/// Releases that an earlier connection was owed are no part of the window.
pub(crate) fn what_was_sent_behind_owed_releases_says_so() -> TestResult {
    for mut lives in life::all_crashing()? {
        let (mut subscriber, _) = lives.persistent("subscriber");
        subscriber.subscribe(&[("t", 2)]);
        let mut publisher = lives.passing("publisher");
        for _ in 0..INFLIGHT_MAX {
            publisher.publish("t", b"received", 2);
        }
        let ids = [(); INFLIGHT_MAX].map(|()| take(&mut subscriber).packet_id);
        for packet_id in ids {
            subscriber.send(&wire::ack(PUBREC, packet_id));
            expect_ack(&mut subscriber, PUBREL, packet_id);
        }
        drop(subscriber);
        for _ in 0..INFLIGHT_MAX {
            publisher.publish("t", b"sent", 2);
        }
        let (mut subscriber, _) = lives.persistent("subscriber");
        for packet_id in ids {
            expect_ack(&mut subscriber, PUBREL, packet_id);
        }
        let sent = [(); INFLIGHT_MAX].map(|()| take(&mut subscriber));
        assert!(sent.iter().all(|publish| !publish.dup), "{sent:?}");
        lives.restart(Duration::ZERO)?;

        let (mut subscriber, _) = lives.persistent("subscriber");
        for packet_id in ids {
            expect_ack(&mut subscriber, PUBREL, packet_id);
        }
        for earlier in &sent {
            let again = take(&mut subscriber);
            assert_eq!(again, Publish { dup: true, ..earlier.clone() }, "{lives:?}");
        }
    }
    Ok(())
}

pub(crate) fn exactly_once_publishes_are_known_again() -> TestResult {
    const ID: u16 = 7;
    for mut lives in life::all()? {
        let (mut subscriber, _) = lives.persistent("subscriber");
        subscriber.subscribe(&[("t", 2)]);
        let (mut publisher, _) = lives.persistent("publisher");
        let publish = Publish {
            topic: "t".to_owned(),
            payload: b"once".to_vec(),
            qos: 2,
            packet_id: ID,
            ..Publish::default()
        };
        publisher.send(&wire::publish(lives.version, &publish));
        expect_ack(&mut publisher, PUBREC, ID);
        lives.restart(Duration::ZERO)?;

        let (mut subscriber, _) = lives.persistent("subscriber");
        let (mut publisher, present) = lives.persistent("publisher");
        assert!(present, "a PUBREC promises the session: {lives:?}");
        // As if PUBREC had been lost.
        publisher.send(&wire::publish(lives.version, &Publish { dup: true, ..publish.clone() }));
        expect_ack(&mut publisher, PUBREC, ID);
        publisher.send(&wire::ack(PUBREL, ID));
        expect_ack(&mut publisher, PUBCOMP, ID);
        assert_eq!(subscriber.message().payload, b"once");
        subscriber.expect_no_message(SILENCE);

        // Released, the id is free, also for the next life.
        lives.restart(Duration::ZERO)?;
        let (mut subscriber, _) = lives.persistent("subscriber");
        let (mut publisher, _) = lives.persistent("publisher");
        let next = Publish { payload: b"next".to_vec(), ..publish };
        publisher.send(&wire::publish(lives.version, &next));
        expect_ack(&mut publisher, PUBREC, ID);
        publisher.send(&wire::ack(PUBREL, ID));
        expect_ack(&mut publisher, PUBCOMP, ID);
        assert_eq!(subscriber.message().payload, b"next");
    }
    Ok(())
}

pub(crate) fn an_unsubscribed_filter_stays_gone() -> TestResult {
    for mut lives in life::all()? {
        let (mut subscriber, _) = lives.persistent("subscriber");
        subscriber.subscribe(&[("gone", 1), ("kept/+", 1), ("changed", 2)]);
        subscriber.unsubscribe(&["gone"]);
        subscriber.subscribe(&[("changed", 0)]);
        lives.restart(Duration::ZERO)?;

        let mut publisher = lives.passing("publisher");
        for topic in ["gone", "kept/1", "changed"] {
            publisher.publish(topic, b"", 2);
        }
        let (mut subscriber, _) = lives.persistent("subscriber");
        let kept = subscriber.message();
        assert_eq!((kept.topic.as_str(), kept.qos), ("kept/1", 1), "{lives:?}");
        subscriber.expect_no_message(SILENCE);
        publisher.publish("changed", b"", 2);
        assert_eq!(subscriber.message().qos, 0, "{lives:?}");
    }
    Ok(())
}

pub(crate) fn options_of_subscriptions_survive() -> TestResult {
    const NO_LOCAL: u8 = 0x04;
    const RETAIN_AS_PUBLISHED: u8 = 0x08;
    for mut lives in life::all_v5()? {
        let (mut client, _) = lives.persistent("client");
        client.subscribe(&[("a", 1 | NO_LOCAL), ("b", 1 | RETAIN_AS_PUBLISHED), ("c", 1)]);
        lives.restart(Duration::ZERO)?;
        let (mut client, _) = lives.persistent("client");
        for topic in ["a", "b", "c"] {
            let (topic, payload) = (topic.to_owned(), b"x".to_vec());
            client.publish_packet(Publish {
                topic,
                payload,
                qos: 1,
                retain: true,
                ..Publish::default()
            });
        }
        let came = [client.message(), client.message()].map(|one| (one.topic, one.retain));
        assert_eq!(came, [("b".to_owned(), true), ("c".to_owned(), false)], "{lives:?}");
        client.expect_no_message(SILENCE);
    }
    Ok(())
}

pub(crate) fn retained_messages_survive() -> TestResult {
    for mut lives in life::all()? {
        let mut publisher = lives.passing("publisher");
        let large = vec![0xA5; 100 << 10];
        for (topic, payload, qos) in [
            ("r/plain", &b"1"[..], 1),
            ("r/replaced", b"old", 1),
            ("r/replaced", b"new", 2),
            ("r/cleared", b"old", 1),
            ("r/cleared", b"", 1),
            ("r/large", &large, 1),
        ] {
            let (topic, payload) = (topic.to_owned(), payload.to_vec());
            publisher.publish_packet(Publish {
                topic,
                payload,
                qos,
                retain: true,
                ..Publish::default()
            });
        }
        lives.restart(Duration::ZERO)?;
        let mut reader = lives.passing("reader");
        reader.subscribe(&[("r/#", 2)]);
        let mut found: Vec<(String, Vec<u8>, u8)> = (0..3)
            .map(|_| reader.message())
            .map(|publish| {
                assert!(publish.retain && !publish.dup);
                (publish.topic, publish.payload, publish.qos)
            })
            .collect();
        found.sort();
        let expected = [
            ("r/large", large, 1),
            ("r/plain", b"1".to_vec(), 1),
            ("r/replaced", b"new".to_vec(), 2),
        ];
        let expected = expected.map(|(topic, payload, qos)| (topic.to_owned(), payload, qos));
        assert_eq!(found, expected, "{lives:?}");
        reader.expect_no_message(SILENCE);
    }
    Ok(())
}

pub(crate) fn clean_sessions_are_forgotten() -> TestResult {
    for mut lives in life::all()? {
        let mut clean = lives.passing("client");
        clean.subscribe(&[("t", 1)]);
        let (mut ended, _) = lives.persistent("ended");
        ended.subscribe(&[("t", 1)]);
        ended.disconnect();
        // A clean start ends the session that was there.
        lives.passing("ended").disconnect();
        lives.restart(Duration::ZERO)?;
        lives.passing("publisher").publish("t", b"", 1);
        for client_id in ["client", "ended"] {
            let (mut client, present) = lives.persistent(client_id);
            // In 3.1.1 a clean session ended with its connection, in MQTT 5 it had no expiry.
            assert!(!present, "{client_id}: {lives:?}");
            client.expect_no_message(SILENCE);
        }
    }
    Ok(())
}
