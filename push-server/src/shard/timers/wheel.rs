//! The shard's timer wheel: three levels of 256 slots, 16 ms a tick. Timers fire late by at most one
//! tick and never early; nothing is cancelled, an owner that has moved on ignores its stale timer.
//! It reads no clock.

use push_common::clock::Monotonic;

/// One tick, in nanoseconds. Expiry is promised to within 100 ms; a sixth of that is the wheel's.
pub(super) const TICK_NANOS: u64 = 16_000_000;

const SLOT_BITS: u32 = 8;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 3;

/// A timer: what the owner gave, and the tick it is due at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timer<K> {
    pub(super) key: K,
    pub(super) due_tick: u64,
}

/// The wheel. `K` is a small copyable key; a timer costs its size plus 8 bytes.
#[derive(Debug)]
pub(super) struct Wheel<K> {
    /// Every tick up to and including this one has fired.
    fired_tick: u64,
    levels: [Level<K>; LEVELS],
    len: usize,
}

#[derive(Debug)]
struct Level<K> {
    slots: Vec<Vec<Timer<K>>>,
    occupied: [u64; SLOTS / 64],
}

/// The first tick at or after `instant`.
pub(super) fn tick_at_or_after(instant: Monotonic) -> u64 {
    instant.0.div_ceil(TICK_NANOS)
}

impl<K: Copy> Wheel<K> {
    pub(super) fn new(now: Monotonic) -> Self {
        Self {
            fired_tick: now.0 / TICK_NANOS,
            levels: std::array::from_fn(|_| Level::new()),
            len: 0,
        }
    }

    /// Fires `key` at the first tick at or after `deadline`. Returns that tick, by which the owner
    /// tells its current timer from a stale one. Deadlines beyond the wheel's 74 hours fire then;
    /// the owner looks at its own deadline and arms again.
    pub(super) fn arm(&mut self, key: K, deadline: Monotonic) -> u64 {
        let horizon = self.fired_tick + (1 << (SLOT_BITS * LEVELS as u32)) - SLOTS as u64;
        let due_tick = tick_at_or_after(deadline).clamp(self.fired_tick + 1, horizon);
        self.place(Timer { key, due_tick });
        self.len += 1;
        due_tick
    }

    /// The tick with this low half that is nearest to now: no timer lasts a year.
    pub(super) fn near(&self, low: u32) -> u64 {
        let ahead = low.wrapping_sub(self.fired_tick as u32).cast_signed();
        self.fired_tick.wrapping_add_signed(ahead.into())
    }

    /// Whether that tick has not fired yet.
    pub(super) fn is_ahead(&self, tick: u64) -> bool {
        tick > self.fired_tick
    }

    /// How many timers are armed, stale ones included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// When `fire` next has something to do. `None`: nothing is armed.
    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        if self.len == 0 {
            return None;
        }
        let tick = (0..LEVELS).filter_map(|level| self.next_tick_of(level)).min()?;
        Some(Monotonic(tick * TICK_NANOS))
    }

    /// Moves every timer due at or before `now` to `fired`.
    pub(super) fn fire(&mut self, now: Monotonic, fired: &mut Vec<Timer<K>>) {
        let now_tick = now.0 / TICK_NANOS;
        while self.fired_tick < now_tick {
            if self.len == 0 {
                self.fired_tick = now_tick;
                return;
            }
            // Skip to the next tick at which any level has work.
            let next = (0..LEVELS).filter_map(|level| self.next_tick_of(level)).min();
            let Some(tick) = next.filter(|tick| *tick <= now_tick) else {
                self.fired_tick = now_tick;
                return;
            };
            self.fired_tick = tick;
            for level in (1..LEVELS).rev() {
                let shift = SLOT_BITS * level as u32;
                if tick & ((1 << shift) - 1) == 0 {
                    self.cascade(level, tick, fired);
                }
            }
            let slot = (tick as usize) & (SLOTS - 1);
            let due = self.levels[0].take(slot);
            self.len -= due.len();
            fired.extend(due);
        }
    }

    fn cascade(&mut self, level: usize, tick: u64, fired: &mut Vec<Timer<K>>) {
        let slot = (tick >> (SLOT_BITS * level as u32)) as usize & (SLOTS - 1);
        for timer in self.levels[level].take(slot) {
            if timer.due_tick <= tick {
                self.len -= 1;
                fired.push(timer);
            } else {
                self.place(timer);
            }
        }
    }

    /// A timer goes to the lowest level whose current round contains it, so that the cascade at the
    /// start of each round finds exactly the timers of that round.
    fn place(&mut self, timer: Timer<K>) {
        let distance = timer.due_tick ^ self.fired_tick;
        let level = (0..LEVELS - 1)
            .find(|level| distance >> (SLOT_BITS * (*level as u32 + 1)) == 0)
            .unwrap_or(LEVELS - 1);
        let slot = (timer.due_tick >> (SLOT_BITS * level as u32)) as usize & (SLOTS - 1);
        self.levels[level].put(slot, timer);
    }

    /// The next tick after `fired_tick` at which `level` has a slot to fire or to cascade.
    fn next_tick_of(&self, level: usize) -> Option<u64> {
        let shift = SLOT_BITS * level as u32;
        let current = self.fired_tick >> shift;
        let ahead = self.levels[level].next_occupied((current as usize + 1) & (SLOTS - 1))?;
        Some((current + 1 + ahead as u64) << shift)
    }
}

impl<K> Level<K> {
    fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), occupied: [0; SLOTS / 64] }
    }

    fn put(&mut self, slot: usize, timer: Timer<K>) {
        self.slots[slot].push(timer);
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    fn take(&mut self, slot: usize) -> Vec<Timer<K>> {
        self.occupied[slot / 64] &= !(1 << (slot % 64));
        std::mem::take(&mut self.slots[slot])
    }

    /// How many slots from `start` on (wrapping) to the first occupied one.
    fn next_occupied(&self, start: usize) -> Option<usize> {
        (0..SLOTS).find(|ahead| {
            let slot = (start + ahead) & (SLOTS - 1);
            self.occupied[slot / 64] >> (slot % 64) & 1 != 0
        })
    }
}

#[cfg(test)]
mod tests;
