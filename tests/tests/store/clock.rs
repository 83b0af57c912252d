//! The wall clock is set while a store is open, or not set yet when it is opened: what is stored keeps
//! its time.

use std::sync::{Arc, Mutex};

use push_common::clock::Monotonic;
use push_server::broker::Message;
use push_server::store::embedded::{ClockReading, StoreOptions};
use push_server::store::{Clocks, Opening, Store as _, WallMillis};

use super::rig::{Rig, copy_tree, message, options};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// A stand-in for both clocks, in milliseconds: since the boot, and since 1970.
static CLOCK: Mutex<(u64, u64)> = Mutex::new((0, 0));

/// Held by the test that sets it.
static ITS_TEST: Mutex<()> = Mutex::new(());

fn clocks() -> Clocks {
    let (monotonic, wall) = *CLOCK.lock().unwrap();
    Clocks { monotonic: Monotonic(0).after_millis(monotonic), wall: WallMillis(wall) }
}

fn clock() -> ClockReading {
    ClockReading { clocks: clocks(), is_synchronised: false }
}

fn set_clock(monotonic: u64, wall: u64) {
    *CLOCK.lock().unwrap() = (monotonic, wall);
}

fn open(dir: &std::path::Path) -> Rig {
    let options =
        StoreOptions { opening: Opening::unlimited(clocks()), clock: Some(clock), ..options(dir) };
    Rig::try_open(options).unwrap()
}

fn retain_for_an_hour(rig: &mut Rig) {
    let hour = Message {
        expires_at: Some(clocks().monotonic.after_millis(HOUR)),
        ..Message::clone(&message("a", "x"))
    };
    let write = rig.retain(&Arc::new(hour));
    rig.commit(vec![write]);
}

/// How long each retained message is still worth delivering, in milliseconds.
fn left(rig: &Rig) -> Vec<u64> {
    let now = clocks().monotonic;
    let left =
        |message: Arc<Message>| message.expires_at.map(|at| at.since(now).as_millis() as u64);
    rig.retained().into_iter().filter_map(left).collect()
}

#[test]
fn what_is_stored_keeps_its_time_however_the_wall_clock_is_set() {
    let _clock = ITS_TEST.lock().unwrap();
    for (at_first, then) in [(DAY, 9 * DAY), (9 * DAY, 8 * DAY)] {
        let dir = tempfile::tempdir().unwrap();
        set_clock(1_000, at_first);
        {
            let mut rig = open(dir.path());
            retain_for_an_hour(&mut rig);
            // Set a minute later.
            set_clock(61_000, then);
        }
        // Ten minutes down; and booted meanwhile.
        set_clock(5_000, then + 600_000);
        {
            let rig = open(dir.path());
            assert_eq!(left(&rig), [HOUR - 660_000], "set from {at_first} to {then}");
            set_clock(65_000, then + 660_000);
        }
        // Booted with a clock that nobody has set yet: what it was down is not known.
        set_clock(2_000, 0);
        {
            let rig = open(dir.path());
            assert_eq!(left(&rig), [HOUR - 720_000], "not set");
            // It is set, and then all is as ever.
            set_clock(62_000, then + 2_000_000);
        }
        set_clock(1_000, then + 2_060_000);
        let rig = open(dir.path());
        assert_eq!(left(&rig), [HOUR - 840_000], "set again");
    }
}

/// A crash shows what is on disk: a copy of the directory.
#[test]
fn that_the_clock_was_set_is_on_disk_before_whatever_is_stored_after_it() {
    let _clock = ITS_TEST.lock().unwrap();
    for (at_first, then) in [(DAY, 9 * DAY), (9 * DAY, 8 * DAY)] {
        let dir = tempfile::tempdir().unwrap();
        set_clock(1_000, at_first);
        let mut rig = open(dir.path());
        retain_for_an_hour(&mut rig);
        set_clock(61_000, then);
        rig.store.clock_was_set();
        rig.commit(Vec::new());
        let crashed = tempfile::tempdir().unwrap();
        copy_tree(dir.path(), crashed.path());
        set_clock(121_000, then + 60_000);
        let rig = open(crashed.path());
        assert_eq!(left(&rig), [HOUR - 120_000], "set from {at_first} to {then}");
    }
}
