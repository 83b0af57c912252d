//! The kernel path in memory: slots, and answers to pings where the connection's owner lets them be.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use push_common::clock::Monotonic;

use super::wire::MemorySocket;
use crate::shard::ports::{Boundaries, Liveness, Registration, Unarmed};
use crate::transport::Table;

/// A shard's slots.
#[derive(Debug)]
pub(super) struct MemoryPath {
    shard: u16,
    slots: Slots,
}

/// The slots of all shards.
#[derive(Clone, Debug)]
pub(super) struct Slots(Arc<Mutex<Vec<Option<Line>>>>);

/// A slot's words.
#[derive(Debug)]
struct Line {
    /// The shard that it is of, which may be another than the first.
    shard: u16,
    peer: SocketAddr,
    state: State,
    rx: AtomicU64,
    tx: AtomicU64,
    last_seen: Monotonic,
    pings: u64,
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

impl Slots {
    pub(super) fn new(slots: usize) -> Self {
        Self(Arc::new(Mutex::new((0..slots).map(|_| None).collect())))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Line>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryPath {
    pub(super) fn new(shard: u16, slots: Slots) -> Self {
        Self { shard, slots }
    }

    pub(super) fn taken(&self) -> usize {
        self.slots.lock().iter().flatten().filter(|line| line.shard == self.shard).count()
    }

    /// Answers a ping of `peer`, if it is one of the shard's and armed.
    pub(super) fn answer_ping(&self, peer: SocketAddr, now: Monotonic) -> bool {
        let mut slots = self.slots.lock();
        let mut lines = slots.iter_mut().flatten().filter(|line| line.shard == self.shard);
        let armed = lines.find(|line| line.peer == peer && line.state == State::Armed);
        let Some(line) = armed else { return false };
        line.last_seen = now;
        line.pings += 1;
        true
    }

    /// What a shard has told of the connection of `peer`, if it is one of its own: `rx`.
    pub(super) fn rx_of(&self, peer: SocketAddr) -> Option<u64> {
        let slots = self.slots.lock();
        let mut lines = slots.iter().flatten().filter(|line| line.shard == self.shard);
        lines.find(|line| line.peer == peer).map(|line| line.rx.load(Ordering::Relaxed))
    }

    /// What is in a slot, for its shard.
    fn with<T>(&self, slot: &MemorySlot, act: impl FnOnce(&mut Line) -> T) -> T {
        let mut slots = self.slots.lock();
        let line = slots[slot.index].as_mut().expect("a slot that its owner has not released");
        assert_eq!(line.shard, self.shard, "a slot of another shard's");
        act(line)
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
        begin: impl FnOnce(&'static Table),
        now: Monotonic,
    ) -> Result<MemorySlot, Unarmed> {
        assert!(registration.heartbeat.is_known(), "the programs do not know it");
        let Registration { peer, rx, tx, .. } = *registration;
        let mut slots = self.slots.lock();
        let index = slots.iter().position(Option::is_none).ok_or(Unarmed::NoSlot)?;
        if registration.heartbeat.is_sealed() {
            // No program answers by it. As on a machine, a table stays where it is to the end.
            begin(Box::leak(Box::new(Table::new(|| AtomicU64::new(0)))));
        }
        let (shard, state) = (self.shard, State::Held);
        let (rx, tx) = (AtomicU64::new(rx), AtomicU64::new(tx));
        slots[index] = Some(Line { shard, peer, state, rx, tx, last_seen: now, pings: 0 });
        Ok(MemorySlot { index, is_armed: false })
    }

    fn arm(
        &self,
        _socket: &MemorySocket,
        slot: &mut MemorySlot,
        _now: Monotonic,
    ) -> Result<(), Unarmed> {
        self.with(slot, |line| line.state = State::Armed);
        slot.is_armed = true;
        Ok(())
    }

    fn adopt(&self, slot: &MemorySlot, _client: u32) {
        if let Some(line) = &mut self.slots.lock()[slot.index] {
            line.shard = self.shard;
        }
    }

    fn is_armed(&self, slot: &MemorySlot) -> bool {
        slot.is_armed
    }

    fn publish(&self, slot: &MemorySlot, store: impl FnOnce(Boundaries<'_>)) {
        self.with(slot, |line| {
            let values =
                |line: &Line| [&line.rx, &line.tx].map(|word| word.load(Ordering::Relaxed));
            let before = values(line);
            store(Boundaries { rx: &line.rx, tx: &line.tx });
            let after = values(line);
            assert!(before[0] <= after[0], "the boundary of what was parsed went back");
            assert!(before[1] <= after[1], "the boundary of what was sent went back");
        });
    }

    fn take_low_tables(&mut self, _clients: &mut Vec<u32>) {}

    fn last_seen(&self, slot: &MemorySlot) -> Monotonic {
        self.with(slot, |line| line.last_seen)
    }

    fn pings(&self, slot: &MemorySlot) -> u64 {
        self.with(slot, |line| line.pings)
    }

    fn closing(&self, slot: &MemorySlot) {
        self.with(slot, |line| line.state = State::Closing);
    }

    fn before_close(&self, _socket: &MemorySocket, _slot: &MemorySlot, _is_stopping: bool) -> bool {
        // A socket in memory says nothing more once it is closed.
        false
    }

    fn release(&mut self, slot: MemorySlot, _speaks: bool, _now: Monotonic) {
        self.slots.lock()[slot.index] = None;
    }

    fn leave(&self) {}

    fn sweep(&mut self, _now: Monotonic) -> bool {
        false
    }
}
