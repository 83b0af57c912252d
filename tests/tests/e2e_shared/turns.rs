//! Whose turn it is: members on all shards, of several groups, with and without a connection.

use push_tests::clients::{Client, Connect};
use push_tests::expectations::{PATIENCE, SILENCE};
use push_tests::foreign::{Subscriber, need_mosquitto_clients};
use push_tests::skip::TestResult;
use push_tests::wire::{self, Packet, Publish, Version, property};

use super::rig::{
    GLANCE, JOBS, PASSED_ON, client, collect, member, number_of, publish_jobs, server, sorted,
};

const NO_MEMBER: &str = "push_publishes_dropped_total{reason=\"no_member\"}";
const ABSENT: &str = "push_publishes_dropped_total{reason=\"absent\"}";

pub(crate) fn members_on_all_shards_take_turns() -> TestResult {
    let server = server()?;
    let target = server.target();
    // Sixteen of them miss one of four shards once in a hundred runs, and all but one hardly ever.
    let mut members: Vec<Client> =
        (0..16).map(|n| member(target, &format!("member-{n}"), (n % 3) as u8)).collect();
    std::thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || {
                let mut publisher = client(target, &format!("publisher-{part}"));
                publish_jobs(&mut publisher, part * 200..(part + 1) * 200, 1 + (part % 2) as u8);
            });
        }
    });
    let received = collect(&mut members, 800);
    assert_eq!(sorted(&received), (0..800).collect::<Vec<_>>());
    let counts: Vec<usize> = received.iter().map(Vec::len).collect();
    assert!(counts.iter().all(|&count| count == 50), "as many for each: {counts:?}");
    server.finish();
    Ok(())
}

/// [MQTT5 4.8.2]: a copy for each group, and one for the session's own subscriptions.
pub(crate) fn every_group_and_every_own_subscription_gets_each_message() -> TestResult {
    let server = server()?;
    let target = server.target();
    let mut both = client(target, "both");
    both.subscribe(&[("jobs/+", 1), ("jobs/#", 1), (JOBS, 1), ("$share/others/jobs/a", 1)]);
    // Another filter under the same name is another group.
    let mut same_name = client(target, "same-name");
    same_name.subscribe(&[("$share/workers/jobs/a", 1)]);
    publish_jobs(&mut client(target, "publisher"), 0..10, 1);
    let received = collect(std::slice::from_mut(&mut both), 30);
    let expected: Vec<u32> = (0..10).flat_map(|number| [number; 3]).collect();
    assert_eq!(sorted(&received), expected);
    assert_eq!(collect(&mut [same_name], 10), [(0..10).collect::<Vec<_>>()]);
    server.finish();
    Ok(())
}

pub(crate) fn members_without_connection_are_passed_over() -> TestResult {
    let server = server()?;
    let target = server.target();
    for number in 0..4 {
        let away = Connect::new(Version::V5, &format!("away-{number}")).persistent();
        let mut away = Client::connect(target, &away);
        away.subscribe(&[(JOBS, 1)]);
        away.disconnect();
    }
    let mut here = [member(target, "here-0", 1), member(target, "here-1", 1)];
    let mut publisher = client(target, "publisher");
    publish_jobs(&mut publisher, 0..20, 1);
    let received = collect(&mut here, 20);
    assert_eq!(received.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10]);
    // One comes back, and takes its turn again.
    let back = Connect::new(Version::V5, "away-2").persistent();
    let back = Client::connect(target, &back);
    assert!(back.connack.session_present);
    let [first, second] = here;
    let mut here = [first, second, back];
    publish_jobs(&mut publisher, 0..30, 1);
    let received = collect(&mut here, 30);
    assert_eq!(received.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 10]);
    server.finish();
    Ok(())
}

pub(crate) fn with_nobody_online_persistent_members_keep_the_messages() -> TestResult {
    let server = server()?;
    let target = server.target();
    let names = ["away-0", "away-1", "away-2"];
    let connect = |name: &str| Connect::new(Version::V5, name).persistent();
    for (name, qos) in names.iter().zip([1, 2, 0]) {
        let mut away = Client::connect(target, &connect(name));
        away.subscribe(&[(JOBS, qos)]);
        away.disconnect();
    }
    let mut publisher = client(target, "publisher");
    publish_jobs(&mut publisher, 0..20, 2);
    // QoS 0 is for those who are there.
    publish_jobs(&mut publisher, 100..103, 0);
    server.wait_metric(NO_MEMBER, |dropped| dropped == 3);
    let mut back = names.map(|name| Client::connect(target, &connect(name)));
    let received = collect(&mut back, 20);
    assert_eq!(sorted(&received), (0..20).collect::<Vec<_>>());
    assert_eq!(received.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 0]);
    assert_eq!(server.metrics().value(ABSENT), 0);
    server.finish();
    Ok(())
}

/// [MQTT-4.8.2-3] [MQTT-3.3.4-3] [MQTT-3.3.1-12] [MQTT5 4.8.2]
pub(crate) fn members_get_what_they_subscribed_for() -> TestResult {
    let server = server()?;
    let target = server.target();
    let mut publisher = client(target, "publisher");
    let retained = Publish {
        topic: "jobs/kept".into(),
        payload: 0_u32.to_be_bytes().to_vec(),
        qos: 2,
        retain: true,
        ..Publish::default()
    };
    publisher.publish_packet(retained.clone());
    let mut members = Vec::new();
    // The second keeps RETAIN as published.
    for (number, options) in [(7, 0), (8, 1 | 0x08), (9, 2)] {
        let mut member = client(target, &format!("member-{number}"));
        member.subscribe_as(number, &[(JOBS, options), ("elsewhere", 0)]);
        member.expect_no_message(GLANCE * 50);
        members.push(member);
    }
    for _ in 0..3 {
        publisher.publish_packet(retained.clone());
    }
    for (member, (number, qos)) in members.iter_mut().zip([(7, 0), (8, 1), (9, 2)]) {
        let message = member.message();
        let numbers = message.properties.numbers(property::SUBSCRIPTION_IDENTIFIER);
        assert_eq!((numbers, message.qos, message.retain), (vec![number], qos, qos == 1));
    }
    server.finish();
    Ok(())
}

/// [MQTT5 3.2.2.3.13] [MQTT-3.8.3-4] [MQTT-4.8.2-1] [MQTT-4.8.2-2]
pub(crate) fn shared_subscriptions_are_announced_and_their_faults_answered() -> TestResult {
    let server = server()?;
    let target = server.target();
    let mut subscriber = client(target, "subscriber");
    let announced = subscriber.connack.properties.number(property::SHARED_SUBSCRIPTION_AVAILABLE);
    assert_ne!(announced, Some(0));
    let faulty = ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/g#/a"];
    let codes = subscriber.subscribe(&faulty.map(|filter| (filter, 1)));
    assert_eq!(codes, [0x8F; 6]);
    // No Local: a protocol error.
    subscriber.send(&wire::subscribe(Version::V5, 9, &[("$share/g/a", 0x04)]));
    assert_eq!(subscriber.wait_ending().reason, Some(0x82));
    // 3.1.1 may take part.
    let mut old = Client::connect(target, &Connect::new(Version::V311, "old"));
    assert_eq!(old.subscribe(&[(JOBS, 1), ("$share/g/", 1)]), [1, 0x80]);
    publish_jobs(&mut client(target, "publisher"), 0..1, 1);
    assert_eq!(number_of(&old.message()), 0);
    server.finish();
    Ok(())
}

/// Whoever comes and goes: every message reaches somebody once, or twice where it was not
/// acknowledged.
pub(crate) fn members_that_come_and_go_lose_and_repeat_nothing() -> TestResult {
    const MESSAGES: u32 = 2_000;
    let server = server()?;
    let target = server.target();
    let mut steady = [member(target, "steady-0", 2), member(target, "steady-1", 2)];
    let mut deserter = member(target, "deserter", 1);
    let published = std::sync::atomic::AtomicBool::new(false);
    let over = || published.load(std::sync::atomic::Ordering::Acquire);
    let (received, taken) = std::thread::scope(|scope| {
        // They acknowledge all that they take, then go without a word, or by clean goodbye.
        let guests: Vec<_> = (0..3)
            .map(|guest| {
                scope.spawn(move || {
                    let mut taken = Vec::new();
                    let mut visit = 0;
                    while !over() {
                        let mut client = member(target, &format!("guest-{guest}"), 1);
                        for _ in 0..20 {
                            if let Ok(Packet::Publish(publish)) = client.receive(GLANCE) {
                                client.acknowledge(&publish);
                                taken.push(number_of(&publish));
                            }
                        }
                        visit += 1;
                        if visit % 2 == 0 {
                            client.unsubscribe(&[JOBS]);
                            client.ping();
                        }
                    }
                    taken
                })
            })
            .collect();
        // Leaves what it has got to others, whatever the guests do.
        scope.spawn(move || deserter.receive(PATIENCE).map(drop));
        publish_jobs(&mut client(target, "publisher"), 0..MESSAGES, 1);
        published.store(true, std::sync::atomic::Ordering::Release);
        let taken: Vec<Vec<u32>> =
            guests.into_iter().map(|guest| guest.join().expect("a guest")).collect();
        let mut received = vec![Vec::new(); steady.len()];
        for (client, received) in steady.iter_mut().zip(&mut received) {
            while let Ok(packet) = client.receive(SILENCE) {
                if let Packet::Publish(publish) = packet {
                    client.acknowledge(&publish);
                    received.push(number_of(&publish));
                }
            }
        }
        (received, taken)
    });
    let mut all = sorted(&[received.concat(), taken.concat()]);
    let total = all.len();
    all.dedup();
    let missing: Vec<u32> = (0..MESSAGES).filter(|n| all.binary_search(n).is_err()).collect();
    assert!(missing.is_empty(), "nobody got {missing:?}");
    assert!(taken.iter().any(|taken| !taken.is_empty()), "no guest ever had a turn");
    let passed_on = server.metrics().value(PASSED_ON);
    assert!(passed_on > 0, "nobody ever left anything");
    let repeated = total - all.len();
    assert!(repeated as u64 <= passed_on, "{repeated} repeated of {passed_on} passed on");
    assert_eq!(server.metrics().value(NO_MEMBER), 0);
    server.finish();
    Ok(())
}

pub(crate) fn mosquitto_sub_takes_part() -> TestResult {
    need_mosquitto_clients()?;
    let server = server()?;
    let target = server.target();
    let subscribers: Vec<Subscriber> = (0..2)
        .map(|_| Subscriber::start(target, Version::V5, "%p", &["-q", "1", "-t", JOBS]))
        .collect();
    let mut publisher = client(target, "publisher");
    for number in 0..10 {
        publisher.publish("jobs/a", format!("{number}").as_bytes(), 1);
    }
    let mut all: Vec<String> =
        subscribers.iter().flat_map(|subscriber| subscriber.messages(5)).collect();
    all.sort();
    assert_eq!(all, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(subscribers.iter().all(|subscriber| subscriber.unexpected().is_empty()));
    server.finish();
    Ok(())
}
