//! What goes wrong in a run: connections, the disk, and the process itself.

use std::ops::Range;
use std::time::Duration;

use push_common::clock::Monotonic;
use push_server::shard::simulation::{Peer, Written};
use push_tests::wire;
use rand::RngExt as _;
use rand::rngs::SmallRng;

use super::{ALL, DRAIN_STEP, Run};
use crate::actors::device::Device;
use crate::trace::trace;

/// How long a disk that has failed is not tried again, in steps of the clock.
const REOPEN_STEPS: u32 = 4;

/// How far the wall clock is set at once: farther than what counts as a step, and than devices' sessions and wills wait
/// for, and less than the sessions of the others last.
const WALL_SET_MILLIS: Range<i64> = 1_000..3_600_000;

/// A stop takes no longer, in steps of the clock.
const STOP_STEPS_MAX: u32 = 100;
const STOP_STEP: Duration = Duration::from_millis(50);

/// What goes wrong in a run beside the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Faults {
    /// There is no store.
    None,
    /// The disk fails now and then.
    Disk,
    /// The server crashes and stops.
    Endings,
    /// Both.
    Both,
}

impl Faults {
    pub(super) fn has_disk(self) -> bool {
        matches!(self, Self::Disk | Self::Both)
    }

    pub(super) fn has_endings(self) -> bool {
        matches!(self, Self::Endings | Self::Both)
    }
}

impl Run {
    /// A connection goes, slows down, or is left alone for another one.
    pub(super) fn disturb(&mut self, rng: &mut SmallRng) {
        let at = rng.random_range(0..self.seats.len());
        let seat = &mut self.seats[at];
        if seat.link.as_ref().is_some_and(|link| link.may_be_read(&self.world)) {
            // A CONNECT that the server reads after the next one's would take over from that.
            return;
        }
        let Some(mut link) = seat.link.take() else { return };
        trace(|| format!("{} is disturbed", seat.client.name()));
        match rng.random_range(0..10) {
            0..2 => {
                link.peer.reset();
                self.tally.resets += 1;
            }
            _ if !link.is_accepted => link.peer.reset(),
            2 => link.peer.end(),
            3 => {
                if link.is_accepted && link.unsent() == 0 {
                    link.say(&wire::disconnect());
                    link.flush();
                }
                link.peer.end();
            }
            4 if link.is_accepted && link.unsent() == 0 => {
                self.abandoned.push(link.peer);
                self.tally.take_overs += 1;
                self.connect(at, rng);
            }
            5 => {
                link.peer.set_piece_bytes(rng.random_range(1..64));
                seat.link = Some(link);
            }
            _ => {
                let windows = [0, 1, 100, 4_000, usize::MAX];
                link.peer.set_window(windows[rng.random_range(0..windows.len())]);
                seat.link = Some(link);
            }
        }
    }

    pub(super) fn fail_disk(&mut self, rng: &mut SmallRng) {
        if !self.faults.has_disk() {
            return;
        }
        if self.world.is_disk_failing() {
            self.heal_disk();
        } else {
            self.tally.disk_failures += 1;
            self.world.fail_disk(rng.random_range(0..20), rng.random_bool(0.5));
        }
        self.devices.iter_mut().for_each(Device::disk_failed);
    }

    /// The disk works again: as with the embedded store, which tries again after seconds, not before shards
    /// have heard of the failure.
    pub(super) fn heal_disk(&mut self) {
        if !self.world.is_disk_failing() {
            return;
        }
        for _ in 0..REOPEN_STEPS {
            self.settle_all();
            self.world.advance(DRAIN_STEP);
        }
        self.settle_all();
        self.world.heal_disk();
    }

    /// The process is killed, and begins again.
    pub(super) fn crash(&mut self, rng: &mut SmallRng) {
        if !self.faults.has_endings() {
            return;
        }
        self.tally.crashes += 1;
        if rng.random_bool(0.5) {
            // Shards have filed all they can, and the disk has written none of it; a will is among it.
            let now = self.world.now();
            let is_served =
                |device: &&mut Device| device.link().is_some_and(|link| link.is_accepted);
            if let Some(device) = self.devices.iter_mut().find(is_served) {
                device.vanish(now, rng);
            }
            self.world.settle();
        }
        let waiting = self.world.store_waiting();
        // What was filed last is what is still under way: often the crash comes close to the end.
        let lost_max = if rng.random_bool(0.5) { waiting.min(3) } else { waiting };
        let lost = rng.random_range(0..=lost_max);
        let written = if rng.random_bool(0.3) {
            self.tally.torn += 1;
            Written::Bytes(rng.random_range(0..=self.world.store_waiting_bytes()))
        } else {
            Written::Requests(waiting - lost)
        };
        let machine = rng.random_bool(0.3).then(|| {
            self.tally.boots += 1;
            // Shorter than all that the machine remembers, or longer.
            Duration::from_millis(rng.random_range(1..100_000_000))
        });
        if rng.random_bool(0.1) {
            // While there is no server to notice. From then on a wall clock that is behind is not believed, and each
            // start may miss what has passed since the last mark.
            self.tally.clock_sets += 1;
            self.world.set_wall_clock(wall_set_millis(rng), false);
            self.is_clock_wrong = true;
        }
        let now = self.world.now();
        self.begin_life(now, written, machine, rng.random_bool(0.5));
    }

    /// The process stops in order, and begins again.
    pub(super) fn stop(&mut self) {
        if !self.faults.has_endings() {
            return;
        }
        self.tally.stops += 1;
        let begun = self.world.now();
        self.world.stop();
        self.end_all_sockets();
        for _ in 0..STOP_STEPS_MAX {
            self.world.settle();
            self.world.write_group(ALL);
            self.world.settle();
            if self.world.has_stopped() {
                break;
            }
            self.world.advance(STOP_STEP);
        }
        if !self.world.has_stopped() {
            self.ledger.fault("the shards do not stop");
        }
        self.begin_life(begun, Written::Requests(ALL), None, false);
    }

    /// Sends every client's FIN, which a stop waits for.
    fn end_all_sockets(&mut self) {
        self.seats.iter().filter_map(|seat| seat.link.as_ref()).for_each(|link| link.peer.end());
        self.devices.iter().filter_map(Device::link).for_each(|link| link.peer.end());
        self.abandoned.iter().for_each(Peer::end);
        self.strangers.links().for_each(|link| link.peer.end());
    }

    /// `ended_from`: when the process before began to end connections.
    fn begin_life(
        &mut self,
        ended_from: Monotonic,
        written: Written,
        machine: Option<Duration>,
        hears: bool,
    ) {
        self.count_turns();
        match machine {
            Some(uptime) => self.world.crash_machine(written, uptime),
            None => self.world.crash(written),
        }
        // What the door said before is a promise, though nobody had heard it yet.
        self.hear_caller();
        self.caller.begin_life(&mut self.ledger, self.world.doors());
        self.strangers.server_ended();
        self.life += 1;
        self.ledger.begin_round(self.life);
        if let Some(group) = self.brief_group {
            self.ledger.group_lost_sessions(group);
        }
        let now = self.world.now();
        for device in &mut self.devices {
            device.server_ended(ended_from, now);
        }
        if self.is_clock_wrong {
            self.ledger.all_may_have_expired();
            self.devices.iter_mut().for_each(Device::clock_was_wrong);
        }
        if !hears {
            // What was on its way to clients is lost.
            self.seats.iter_mut().for_each(|seat| seat.link = None);
        }
        self.abandoned.clear();
    }

    /// The wall clock is set while the server runs, which changes nothing.
    pub(super) fn set_wall_clock(&mut self, rng: &mut SmallRng) {
        // What a disk that fails does not take of it is not sure to be made up for.
        if !self.world.is_disk_failing() {
            self.tally.clock_sets += 1;
            self.world.set_wall_clock(wall_set_millis(rng), true);
        }
    }
}

fn wall_set_millis(rng: &mut SmallRng) -> i64 {
    let millis = rng.random_range(WALL_SET_MILLIS);
    if rng.random_bool(0.5) { millis } else { -millis }
}
