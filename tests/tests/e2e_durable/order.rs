//! What several shards write reaches the disk in no order of its own: nothing that has one may go
//! with it.

use std::time::{Duration, Instant};

use push_tests::clients::Client;
use push_tests::expectations::PATIENCE;
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::Packet;

use crate::life::{self, Ending, Lives};
use crate::times::expiring;

/// So many that each of two shards has some.
const MANY: usize = 16;

/// How long one look at one of several clients lasts.
const GLANCE: Duration = Duration::from_millis(5);

const EXPIRY_SECS: u32 = 3;

/// The record of the connection that was taken over does not come behind the new one's.
pub(crate) fn a_session_that_was_taken_over_is_a_living_one() -> TestResult {
    stand_in::not_for("writes its sessions down now and then")?;
    for mut lives in life::all_v5()?.into_iter().filter(|lives| lives.ending == Ending::Crash) {
        let mut watchers: Vec<Client> =
            (0..MANY).map(|n| lives.persistent(&format!("watcher-{n}")).0).collect();
        for watcher in &mut watchers {
            watcher.subscribe(&[("wills/device", 1)]);
        }
        let connect = expiring(&lives, "device", EXPIRY_SECS).will("wills/device", b"gone");
        let (mut device, _) = lives.connect(&connect);
        device.subscribe(&[("to/device", 1)]);
        let (mut again, present) = lives.connect(&connect);
        assert!(present);
        for watcher in &mut watchers {
            assert_eq!(watcher.message().payload, b"gone");
        }
        // It would have been over.
        std::thread::sleep(Duration::from_secs(u64::from(EXPIRY_SECS) + 1));
        again.assert_alive();
        lives.passing("publisher").publish("to/device", b"kept", 1);
        lives.restart(Duration::ZERO)?;
        let (mut device, present) = lives.connect(&connect);
        assert!(present, "{lives:?}");
        assert_eq!(device.message().payload, b"kept");
    }
    Ok(())
}

/// What a member of a group leaves is gone from its outbox no sooner than it is in another's.
pub(crate) fn what_an_ended_session_leaves_to_its_group_is_never_lost() -> TestResult {
    const OWED: u32 = 300;
    stand_in::not_for("keeps them with the session that has ended")?;
    for mut lives in life::all()? {
        // The only one there, it gets them all; on whatever shard it is, some of the others are on
        // another.
        join(&lives, "leaver");
        let mut publisher = lives.passing("publisher");
        for number in 0..OWED {
            publisher.publish("jobs/a", &number.to_be_bytes(), if number % 2 == 0 { 1 } else { 2 });
        }
        for number in 0..MANY {
            join(&lives, &format!("heir-{number}"));
        }
        // Its end is promised by CONNACK; then anything may happen.
        lives.passing("leaver");
        lives.restart(Duration::ZERO)?;
        let mut got = Vec::new();
        let mut heirs: Vec<Client> =
            (0..MANY).map(|number| lives.persistent(&format!("heir-{number}")).0).collect();
        let begun = Instant::now();
        while got.len() < OWED as usize && begun.elapsed() < PATIENCE {
            for heir in &mut heirs {
                while let Ok(packet) = heir.receive(GLANCE) {
                    if let Packet::Publish(publish) = packet {
                        heir.acknowledge(&publish);
                        let number = publish.payload.try_into().expect("a number");
                        got.push(u32::from_be_bytes(number));
                    }
                }
            }
        }
        got.sort_unstable();
        assert_eq!(got, (0..OWED).collect::<Vec<_>>(), "{lives:?}");
    }
    Ok(())
}

fn join(lives: &Lives, client_id: &str) {
    let (mut member, _) = lives.persistent(client_id);
    member.subscribe(&[("$share/g/jobs/#", 2)]);
    member.disconnect();
}
