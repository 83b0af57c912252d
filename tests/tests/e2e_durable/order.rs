//! What several shards write reaches the disk in no order of its own: nothing that has one may go
//! with it.

use std::time::{Duration, Instant};

use push_tests::clients::{Client, Connect};
use push_tests::expectations::PATIENCE;
use push_tests::skip::{Skip, TestResult};
use push_tests::stand_in;
use push_tests::wire::{self, Packet, Value, property};

use crate::life::{self, Ending, Lives};
use crate::times::expiring;

/// So many that each of two shards has some.
const MANY: usize = 16;

/// How long one look at one of several clients lasts.
const GLANCE: Duration = Duration::from_millis(5);

const EXPIRY_SECS: u32 = 3;

const JOBS: &str = "$share/g/jobs/#";

const PASSED_ON: &str = "push_shared_passed_on_total";

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
        let mut heirs: Vec<Client> =
            (0..MANY).map(|number| lives.persistent(&format!("heir-{number}")).0).collect();
        let got = collect(&mut heirs, OWED as usize);
        assert_eq!(got, (0..OWED).collect::<Vec<_>>(), "{lives:?}");
    }
    Ok(())
}

/// Wherever a crash or a stop meets an UNSUBSCRIBE that leaves much to others, each message is in one
/// outbox: that which it has left or another.
pub(crate) fn what_a_member_leaves_is_in_one_outbox_wherever_the_end_met_it() -> TestResult {
    const OWED: u32 = 60;
    const ROUNDS: usize = 3;
    stand_in::not_for("keeps them with the member that has left")?;
    let rounds = (0..ROUNDS).map(|round| Ok(life::all_v5()?.into_iter().map(move |l| (round, l))));
    for (round, mut lives) in rounds.collect::<Result<Vec<_>, Skip>>()?.into_iter().flatten() {
        let one_at_a_time = Connect::new(lives.version, "leaver")
            .persistent()
            .property(property::RECEIVE_MAXIMUM, Value::Number(1));
        let (mut leaver, _) = lives.connect(&one_at_a_time);
        leaver.subscribe(&[(JOBS, 2)]);
        let mut publisher = lives.passing("publisher");
        for number in 0..OWED {
            publisher.publish("jobs/a", &number.to_be_bytes(), 2);
        }
        // Sent, it is the leaver's own to the end.
        let sent = life::take(&mut leaver);
        for number in 0..MANY {
            join(&lives, &format!("heir-{number}"));
        }
        leaver.send(&wire::unsubscribe(lives.version, 9, &[JOBS]));
        match round {
            0 => {}
            1 => {
                lives.server().wait_metric(PASSED_ON, |count| count > 0);
            }
            _ => leaver.expect("UNSUBACK", |packet| {
                matches!(packet, Packet::Unsuback { packet_id: 9, .. }).then_some(())
            }),
        }
        lives.restart(Duration::ZERO)?;
        let mut members = vec![lives.persistent("leaver").0];
        members.extend((0..MANY).map(|number| lives.persistent(&format!("heir-{number}")).0));
        let got = collect(&mut members, OWED as usize);
        assert_eq!(got, (0..OWED).collect::<Vec<_>>(), "round {round}: {lives:?}");
        assert_eq!(sent.payload, 0_u32.to_be_bytes());
    }
    Ok(())
}

/// What comes to all of them, up to so many messages, sorted.
fn collect(members: &mut [Client], count: usize) -> Vec<u32> {
    let mut got = Vec::new();
    let begun = Instant::now();
    while got.len() < count && begun.elapsed() < PATIENCE {
        for member in &mut *members {
            take_all(member, &mut got);
        }
    }
    // One more would be a repetition.
    for member in members {
        take_all(member, &mut got);
    }
    got.sort_unstable();
    got
}

fn take_all(member: &mut Client, got: &mut Vec<u32>) {
    while let Ok(packet) = member.receive(GLANCE) {
        if let Packet::Publish(publish) = packet {
            member.acknowledge(&publish);
            got.push(u32::from_be_bytes(publish.payload.try_into().expect("a number")));
        }
    }
}

fn join(lives: &Lives, client_id: &str) {
    let (mut member, _) = lives.persistent(client_id);
    member.subscribe(&[(JOBS, 2)]);
    member.disconnect();
}
