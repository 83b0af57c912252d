//! The ports of this machine: the ring, the kernel path, `CLOCK_MONOTONIC` and the system's randomness.

use std::os::fd::{AsFd, OwnedFd};
use std::time::SystemTime;

use push_common::clock::Monotonic;
use rustix::time::{ClockId, clock_gettime};

use super::wire::RingWire;
use crate::kernel::{self, ShardPath, SlotRef};
use crate::shard::ports::{Boundaries, Clock, Liveness, Ports, Randomness, Registration, Unarmed};
use crate::transport::Table;

/// This machine.
#[derive(Debug)]
pub(super) enum Machine {}

impl Ports for Machine {
    type Wire = RingWire;
    type Liveness = ShardPath;
    type Clock = MachineClock;
    type Randomness = SystemRandomness;
}

/// The clock of the kernel path and of every decision: `CLOCK_MONOTONIC`; and the wall clock, for ends of tokens.
#[derive(Debug)]
pub(super) struct MachineClock;

impl Clock for MachineClock {
    fn now(&self) -> Monotonic {
        let time = clock_gettime(ClockId::Monotonic);
        // Neither is ever negative on this clock.
        Monotonic(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    fn wall_millis(&self) -> u64 {
        // A clock before 1970 reads as 1970.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The thread's generator, which the system seeds.
#[derive(Debug)]
pub(super) struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&mut self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }
}

impl Liveness for ShardPath {
    type Socket = OwnedFd;
    type Slot = SlotRef;

    fn stamp_heartbeat(&self, now: Monotonic) {
        Self::stamp_heartbeat(self, now);
    }

    fn register(
        &mut self,
        socket: &OwnedFd,
        registration: &Registration,
        begin: impl FnOnce(&'static Table),
        now: Monotonic,
    ) -> Result<SlotRef, Unarmed> {
        let Registration { local, peer, client, heartbeat, ping_interval_ns, rx, tx } =
            *registration;
        let registration =
            kernel::Registration { local, peer, client, heartbeat, ping_interval_ns, rx, tx };
        Ok(Self::register(self, socket.as_fd(), &registration, begin, now)?)
    }

    fn arm(&self, socket: &OwnedFd, slot: &mut SlotRef, now: Monotonic) -> Result<(), Unarmed> {
        Ok(Self::arm(self, socket.as_fd(), slot, now)?)
    }

    fn adopt(&self, slot: &SlotRef, client: u32) {
        Self::adopt(self, slot, client);
    }

    fn is_armed(&self, slot: &SlotRef) -> bool {
        slot.is_armed()
    }

    fn publish(&self, slot: &SlotRef, store: impl FnOnce(Boundaries<'_>)) {
        store(Boundaries { rx: self.rx_word(slot), tx: self.tx_word(slot) });
    }

    fn take_low_tables(&mut self, clients: &mut Vec<u32>) {
        Self::take_low_tables(self, clients);
    }

    fn last_seen(&self, slot: &SlotRef) -> Monotonic {
        Self::last_seen(self, slot)
    }

    fn pings(&self, slot: &SlotRef) -> u64 {
        Self::pings(self, slot)
    }

    fn closing(&self, slot: &SlotRef) {
        Self::closing(self, slot);
    }

    fn before_close(&self, socket: &OwnedFd, slot: &SlotRef, is_stopping: bool) -> bool {
        Self::before_close(self, socket.as_fd(), slot, is_stopping)
    }

    fn release(&mut self, slot: SlotRef, speaks: bool, now: Monotonic) {
        Self::release(self, slot, speaks, now);
    }

    fn leave(&self) {
        Self::leave(self);
    }

    fn sweep(&mut self, now: Monotonic) -> bool {
        Self::sweep(self, now)
    }
}

impl From<kernel::Unarmed> for Unarmed {
    fn from(unarmed: kernel::Unarmed) -> Self {
        match unarmed {
            kernel::Unarmed::NoSlot => Self::NoSlot,
            kernel::Unarmed::NoTable => Self::NoTable,
            kernel::Unarmed::FlowMap => Self::FlowMap,
            kernel::Unarmed::OutOfOrder => Self::OutOfOrder,
            kernel::Unarmed::EarlyFragment => Self::EarlyFragment,
            kernel::Unarmed::FineTimestamps => Self::FineTimestamps,
            kernel::Unarmed::Interface => Self::Interface,
            kernel::Unarmed::Socket => Self::Socket,
        }
    }
}

#[cfg(test)]
mod tests;
