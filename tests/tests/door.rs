//! Doors of shards that run in this process: threads of ours publish, and clients of ours acknowledge over TCP.

use std::collections::BTreeMap;

use push_server::broker::{Fate, QoS};
use push_server::shard::door::{Door, Publication, Refusal, Reply};
use push_tests::clients::{Client, Connect};
use push_tests::expectations::PATIENCE;
use push_tests::in_process;
use push_tests::wire::Version;

/// Threads that publish, each by a door of its own, and messages of each.
const THREADS: u32 = 4;
const MESSAGES: u32 = 50;

/// Which receivers have acknowledged, by the message's number.
type Confirmed = BTreeMap<u64, Vec<String>>;

#[test]
fn threads_publish_by_doors_and_hear_of_each_acknowledgement_once() {
    let (shards, target, _directory) = in_process::start(2);
    let away = Connect::new(Version::V5, "away").persistent();
    let mut before = Client::connect(&target, &away);
    assert_eq!(before.subscribe(&[("news/#", 1)]), [1]);
    before.disconnect();
    let mut here = Client::connect(&target, &Connect::new(Version::V311, "here"));
    assert_eq!(here.subscribe(&[("news/#", 2)]), [2]);

    let doors = shards.doors();
    let confirmed: Vec<Confirmed> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let door = doors.open().expect("there are few");
                scope.spawn(move || publish_and_wait(&door, thread))
            })
            .collect();
        for _ in 0..THREADS * MESSAGES {
            here.message();
        }
        // What it has missed waits on disk, and its acknowledgements count as others do.
        let mut away = Client::connect(&target, &away);
        assert!(away.connack.session_present);
        for _ in 0..THREADS * MESSAGES {
            away.message();
        }
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    for numbers in confirmed {
        assert_eq!(numbers.len() as u32, MESSAGES);
        for (number, mut names) in numbers {
            names.sort();
            assert_eq!(names, ["away", "here"], "message {number}");
        }
    }

    let door = doors.open().expect("the others are closed");
    shards.stop();
    shards.join().expect("an orderly stop");
    assert_eq!(door.take(), Some(Reply::Closed));
    let late = door.publish(Publication::new("news/late", "", QoS::AtMostOnce));
    assert_eq!(late, Err(Refusal::Stopping));
}

/// Publishes, and waits until every receiver has acknowledged.
fn publish_and_wait(door: &Door, thread: u32) -> Confirmed {
    for message in 0..MESSAGES {
        let qos = if message % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let publication =
            Publication::new(format!("news/{thread}"), message.to_be_bytes().to_vec(), qos);
        let publication = Publication { is_followed: true, ..publication };
        door.publish(publication).expect("so few find room");
    }
    let mut confirmed = Confirmed::new();
    let (mut taken, mut replies) = (0, 0);
    while taken < MESSAGES || replies < 2 * MESSAGES {
        match door.wait(PATIENCE).expect("a reply") {
            Reply::Taken { receivers, followed, .. } => {
                assert_eq!((receivers, followed), (2, 2));
                taken += 1;
            }
            Reply::Receiver { number, client_id: Some(name), fate: Fate::Acknowledged } => {
                confirmed.entry(number).or_default().push(name.into());
                replies += 1;
            }
            other => panic!("what is {other:?}?"),
        }
    }
    confirmed
}
