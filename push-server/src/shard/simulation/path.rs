//! The kernel path in memory: slots, and answers to pings where the connection's owner lets them be.

use std::cell::Cell;
use std::net::SocketAddr;

use push_common::clock::Monotonic;

use super::wire::MemorySocket;
use crate::shard::ports::{Liveness, Registration, Unarmed};

/// A shard's slots.
#[derive(Debug)]
pub(super) struct MemoryPath {
    slots: Vec<Option<Line>>,
}

/// A slot's words.
#[derive(Debug)]
struct Line {
    peer: SocketAddr,
    state: Cell<State>,
    rx: Cell<u64>,
    tx: Cell<u64>,
    last_seen: Cell<Monotonic>,
    pings: Cell<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Held,
    Armed,
    Closing,
}

/// A taken slot, by its index.
#[derive(Debug)]
pub(super) struct MemorySlot {
    index: usize,
    is_armed: bool,
}

impl MemoryPath {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: (0..slots).map(|_| None).collect() }
    }

    pub(super) fn taken(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Answers a ping of `peer`, if it is one of the shard's and armed.
    pub(super) fn answer_ping(&self, peer: SocketAddr, now: Monotonic) -> bool {
        let mut lines = self.slots.iter().flatten();
        let armed = lines.find(|line| line.peer == peer && line.state.get() == State::Armed);
        let Some(line) = armed else { return false };
        line.last_seen.set(now);
        line.pings.set(line.pings.get() + 1);
        true
    }

    fn line(&self, slot: &MemorySlot) -> &Line {
        self.slots[slot.index].as_ref().expect("a slot that its owner has not released")
    }
}

impl Liveness for MemoryPath {
    type Socket = MemorySocket;
    type Slot = MemorySlot;

    fn stamp_heartbeat(&self, _now: Monotonic) {}

    fn register(
        &mut self,
        _socket: &MemorySocket,
        registration: &Registration,
        now: Monotonic,
    ) -> Result<MemorySlot, Unarmed> {
        assert!(registration.heartbeat.is_known(), "the programs do not know it");
        let index = self.slots.iter().position(Option::is_none).ok_or(Unarmed::NoSlot)?;
        self.slots[index] = Some(Line {
            peer: registration.peer,
            state: Cell::new(State::Held),
            rx: Cell::new(registration.rx),
            tx: Cell::new(registration.tx),
            last_seen: Cell::new(now),
            pings: Cell::new(0),
        });
        Ok(MemorySlot { index, is_armed: false })
    }

    fn arm(
        &self,
        _socket: &MemorySocket,
        slot: &mut MemorySlot,
        _now: Monotonic,
    ) -> Result<(), Unarmed> {
        self.line(slot).state.set(State::Armed);
        slot.is_armed = true;
        Ok(())
    }

    fn is_armed(&self, slot: &MemorySlot) -> bool {
        slot.is_armed
    }

    fn set_rx(&self, slot: &MemorySlot, rx: u64) {
        let before = self.line(slot).rx.replace(rx);
        assert!(before <= rx, "the boundary of what was parsed went back");
    }

    fn set_tx(&self, slot: &MemorySlot, tx: u64) {
        let before = self.line(slot).tx.replace(tx);
        assert!(before <= tx, "the boundary of what was sent went back");
    }

    fn last_seen(&self, slot: &MemorySlot) -> Monotonic {
        self.line(slot).last_seen.get()
    }

    fn pings(&self, slot: &MemorySlot) -> u64 {
        self.line(slot).pings.get()
    }

    fn closing(&self, slot: &MemorySlot) {
        self.line(slot).state.set(State::Closing);
    }

    fn before_close(&self, _socket: &MemorySocket, _slot: &MemorySlot, _is_stopping: bool) -> bool {
        // A socket in memory says nothing more once it is closed.
        false
    }

    fn release(&mut self, slot: MemorySlot, _speaks: bool, _now: Monotonic) {
        self.slots[slot.index] = None;
    }

    fn leave(&self) {}

    fn sweep(&mut self, _now: Monotonic) -> bool {
        false
    }
}
