//! Wills that were going out when the server died.

use std::collections::BTreeMap;
use std::time::Duration;

use push_tests::clients::{Client, Connect};
use push_tests::expectations::{SILENCE, wait_for};
use push_tests::skip::TestResult;
use push_tests::stand_in;
use push_tests::wire::{Packet, Properties, VERSIONS, Version};

use crate::life::{self, Lives};
use crate::removals::Breakable;

/// So many that the crash comes in the middle of them.
const DEVICES: usize = 64;

/// So many that each of two shards has some.
const WATCHERS: usize = 4;

/// Wills that a watcher has seen when the server is killed, a round each: fewer than are sent without
/// being acknowledged.
const SEEN: [usize; 6] = [0, 1, 4, 9, 16, 31];

/// How long one look at one of several watchers lasts.
const GLANCE: Duration = Duration::from_millis(5);

/// Looks at all watchers that find nothing, after which nothing more is coming.
const GLANCES_QUIET: usize = 30;

/// How the devices go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// They end their connections without goodbye.
    BreakOff,
    /// They connect anew, without a will.
    TakeOver,
}

/// Not lost, and at QoS 2 not doubled either.
pub(crate) fn a_will_of_qos_2_comes_once_wherever_the_crash_met_it() -> TestResult {
    for mut lives in life::all_crashing()? {
        for seen in SEEN {
            crash_among_wills(&mut lives, seen, Leaving::BreakOff)?;
        }
    }
    Ok(())
}

/// The record of the connection that takes over replaces the one that had the will.
pub(crate) fn a_take_over_loses_no_will_wherever_the_crash_met_it() -> TestResult {
    for mut lives in life::all_crashing()? {
        for seen in SEEN {
            crash_among_wills(&mut lives, seen, Leaving::TakeOver)?;
        }
    }
    Ok(())
}

/// Its client is not there to send it again.
pub(crate) fn a_will_that_the_disk_has_failed_comes_when_it_is_back() -> TestResult {
    for version in VERSIONS {
        let mut world = Breakable::start(version)?;
        let mut watcher = world.persistent("watcher");
        watcher.subscribe(&[("wills/#", 2)]);
        watcher.disconnect();
        let devices: Vec<Client> = (0..3)
            .map(|qos| {
                let device = Connect::new(version, &format!("device-{qos}")).persistent();
                let topic = format!("wills/{qos}");
                Client::connect(world.server.target(), &with_will(device, &topic, b"gone", qos))
            })
            .collect();
        world.break_disk();
        drop(devices);
        // Wills are published in their turn. Who is back before that is sent the one of QoS 0, too.
        let absent = "push_publishes_dropped_total{reason=\"absent\"}";
        world.server.wait_metric(absent, |count| count == 1);
        world.heal_disk();
        let mut watcher = world.persistent("watcher");
        let mut got = [watcher.message().topic, watcher.message().topic];
        got.sort_unstable();
        // The absent are kept nothing of QoS 0.
        assert_eq!(got, ["wills/1", "wills/2"], "{version:?}");
        watcher.expect_no_message(SILENCE);
        watcher.disconnect();
        world.crash()?;
        // The crash may come before the disk has heard that the one of QoS 0 is through.
        let mut watcher = world.persistent("watcher");
        while let Ok(packet) = watcher.receive(SILENCE) {
            match packet {
                Packet::Publish(publish) => assert_eq!(publish.topic, "wills/0", "{version:?}"),
                packet => panic!("{packet:?}"),
            }
        }
        world.server.finish();
    }
    Ok(())
}

/// A client that was told that it is connected has its will, whether or not its session lasts.
pub(crate) fn the_will_of_a_session_that_ends_with_its_connection_outlives_the_server() -> TestResult
{
    stand_in::not_for("forgets the wills of clean sessions when it is stopped")?;
    for mut lives in life::all()? {
        let (mut watcher, _) = lives.persistent("watcher");
        watcher.subscribe(&[("wills/#", 1)]);
        watcher.disconnect();
        let connect = Connect::new(lives.version, "device");
        let mut connect = with_will(connect, "wills/device", b"gone", 1);
        connect.will.as_mut().expect("it has one").retain = true;
        let (device, _) = lives.connect(&connect);
        lives.restart(Duration::ZERO)?;
        drop(device);
        let (mut watcher, _) = lives.persistent("watcher");
        assert_eq!(watcher.message().payload, b"gone", "{lives:?}");
        watcher.expect_no_message(SILENCE);
        watcher.disconnect();
        let mut late = lives.passing("late");
        late.subscribe(&[("wills/device", 1)]);
        assert_eq!(late.message().payload, b"gone", "it is retained: {lives:?}");
        // Nor does another start find it again.
        lives.restart(Duration::ZERO)?;
        lives.persistent("watcher").0.expect_no_message(SILENCE);
    }
    Ok(())
}

/// A delay is there for clients that are soon back.
pub(crate) fn a_client_that_is_back_before_its_will_is_due_takes_it_back() -> TestResult {
    const DELAY_SECS: u32 = 4;
    stand_in::not_for("forgets the wills of clean sessions when it is stopped")?;
    for mut lives in life::all_v5()? {
        let (mut watcher, _) = lives.persistent("watcher");
        watcher.subscribe(&[("wills/#", 1)]);
        watcher.disconnect();
        let devices = ["back", "away"].map(|name| {
            let connect = Connect::new(lives.version, name);
            let connect = connect.will(&format!("wills/{name}"), b"gone").will_delay(DELAY_SECS);
            lives.connect(&connect).0
        });
        lives.restart(Duration::ZERO)?;
        drop(devices);
        let _back = lives.passing("back");
        let (mut watcher, _) = lives.persistent("watcher");
        assert_eq!(watcher.message().topic, "wills/away", "{lives:?}");
        watcher.expect_no_message(SILENCE);
    }
    Ok(())
}

/// What was taken back, or is published, is not found by the next start.
pub(crate) fn a_goodbye_leaves_no_will_for_the_next_start() -> TestResult {
    /// "Disconnect with will message".
    const WITH_WILL: u8 = 0x04;
    for mut lives in life::all()? {
        let (mut watcher, _) = lives.persistent("watcher");
        watcher.subscribe(&[("wills/#", 1)]);
        let mortal = |name: &str| {
            let connect = Connect::new(lives.version, name);
            lives.connect(&connect.will(&format!("wills/{name}"), b"gone")).0
        };
        mortal("goodbye").disconnect();
        let first = mortal("taken-over");
        let second = mortal("taken-over");
        assert_eq!(watcher.message().topic, "wills/taken-over");
        second.disconnect();
        drop(first);
        drop(mortal("broken-off"));
        assert_eq!(watcher.message().topic, "wills/broken-off");
        if lives.version == Version::V5 {
            mortal("with-will").disconnect_with(WITH_WILL, &Properties::default());
            assert_eq!(watcher.message().topic, "wills/with-will");
        }
        watcher.disconnect();
        lives.settle();
        lives.restart(Duration::ZERO)?;
        lives.persistent("watcher").0.expect_no_message(SILENCE);
    }
    Ok(())
}

fn with_will(connect: Connect, topic: &str, payload: &[u8], qos: u8) -> Connect {
    let mut connect = connect.will(topic, payload);
    connect.will.as_mut().expect("it has one").qos = qos;
    connect
}

fn crash_among_wills(lives: &mut Lives, seen: usize, leaving: Leaving) -> TestResult {
    let mut watchers = watchers(lives);
    for watcher in &mut watchers {
        watcher.subscribe(&[("wills", 2)]);
    }
    let persistent = |n: usize| Connect::new(lives.version, &format!("device-{n}")).persistent();
    let will = |n: usize| format!("will {n} of round {seen}");
    let devices: Vec<Client> = (0..DEVICES)
        .map(|n| lives.connect(&with_will(persistent(n), "wills", will(n).as_bytes(), 2)).0)
        .collect();
    let target = lives.server().target();
    let taking_over: Vec<Client> = match leaving {
        Leaving::BreakOff => Vec::new(),
        Leaving::TakeOver => {
            (0..DEVICES).map(|n| Client::send_connect(target, &persistent(n))).collect()
        }
    };
    if leaving == Leaving::BreakOff {
        drop(devices);
    }
    // None of them is acknowledged: all come again.
    for _ in 0..seen {
        life::take(&mut watchers[0]);
    }
    lives.restart(Duration::ZERO)?;
    drop(taking_over);
    for (n, counted) in count_messages(&mut self::watchers(lives), DEVICES).into_iter().enumerate()
    {
        let times = |will: String| (counted.get(&will).copied().unwrap_or(0), will);
        let wrong: Vec<_> =
            (0..DEVICES).map(|n| times(will(n))).filter(|(times, _)| *times != 1).collect();
        assert!(wrong.is_empty(), "watcher {n} got so often, of {DEVICES}: {wrong:?}, {lives:?}");
        assert_eq!(counted.len(), DEVICES, "and others: {counted:?}");
    }
    Ok(())
}

fn watchers(lives: &Lives) -> Vec<Client> {
    (0..WATCHERS).map(|n| lives.persistent(&format!("watcher-{n}")).0).collect()
}

/// How often each message comes to each client, until so many have come to each, which may take the grace that a
/// start gives to wills, and no more do.
fn count_messages(clients: &mut [Client], expected: usize) -> Vec<BTreeMap<String, usize>> {
    let mut counted = vec![BTreeMap::new(); clients.len()];
    let mut quiet = 0;
    wait_for("the last message", || {
        quiet += 1;
        for (client, counted) in clients.iter_mut().zip(&mut counted) {
            while let Ok(packet) = client.receive(GLANCE) {
                if let Packet::Publish(publish) = packet {
                    client.acknowledge(&publish);
                    let payload = String::from_utf8_lossy(&publish.payload).into_owned();
                    *counted.entry(payload).or_insert(0) += 1;
                    quiet = 0;
                }
            }
        }
        let all = counted.iter().all(|counted| counted.len() >= expected);
        (all && quiet > GLANCES_QUIET).then_some(())
    });
    counted
}
