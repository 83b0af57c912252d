//! Sessions that move between shards of this process, on real rings and a real disk: clients of ours publish and
//! acknowledge over TCP meanwhile, and notice nothing.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use push_tests::clients::{Client, Connect};
use push_tests::expectations::PATIENCE;
use push_tests::in_process;
use push_tests::wire::Version;

const SHARDS: u16 = 3;

/// Large enough for a send to be interrupted in the middle.
const PAYLOAD_BYTES: usize = 100_000;
const MESSAGES: u32 = 200;

/// How many sessions move at least.
const MOVED_MIN: u64 = 30;

#[test]
fn sessions_move_between_shards_under_load_and_their_clients_notice_nothing() {
    let (shards, target, _directory) = in_process::start(SHARDS);
    let stays = Connect::new(Version::V5, "stays").persistent();
    let mut reader = Client::connect(&target, &stays);
    assert_eq!(reader.subscribe(&[("news/#", 1)]), [1]);
    let mut member = Client::connect(&target, &Connect::new(Version::V311, "member"));
    assert_eq!(member.subscribe(&[("$share/group/news/#", 1)]), [1]);
    let mut writer = Client::connect(&target, &Connect::new(Version::V311, "writer"));

    let moved = || -> u64 {
        shards.counters().iter().map(|counters| counters.sessions_moved.value()).sum()
    };
    let (left, begun) = (AtomicU32::new(3), Instant::now());
    std::thread::scope(|scope| {
        for client in [&mut reader, &mut member] {
            let left = &left;
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    assert_eq!(client.message().payload, payload(number), "message {number}");
                }
                left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let (left, writer) = (&left, &mut writer);
        scope.spawn(move || {
            for number in 0..MESSAGES {
                let qos = 1 + (number % 2) as u8;
                assert!(writer.publish("news/today", &payload(number), qos) < 0x80);
            }
            left.fetch_sub(1, Ordering::SeqCst);
        });
        let asked = (0u16..).zip(["stays", "member", "writer"].into_iter().cycle());
        for (number, client_id) in asked {
            if left.load(Ordering::SeqCst) == 0 && moved() >= MOVED_MIN {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{} sessions have moved, and it goes on", moved());
            shards.move_session(client_id, number % 7 % SHARDS);
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    for client in [&mut reader, &mut member, &mut writer] {
        client.assert_alive();
    }
    println!("{} sessions have moved", moved());

    let mut again = Client::connect(&target, &stays);
    assert!(again.connack.session_present, "wherever its session is");
    writer.publish("news/today", b"last", 1);
    assert_eq!(again.message().payload, b"last");
    shards.stop();
    shards.join().expect("an orderly stop");
}

fn payload(number: u32) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(PAYLOAD_BYTES, number as u8);
    payload
}
