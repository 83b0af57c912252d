//! The adversary on one link: what becomes of a segment, by its dice.

use std::collections::VecDeque;

use push_common::segment::flags;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt as _};

use crate::scenario::Faults;
use crate::segment::Seg;

/// How many acknowledgement numbers a stale one is taken from.
const ACKS_KEPT: usize = 4;

/// A segment on its way, and when it arrives (microseconds).
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) at: u64,
    pub(crate) segment: Seg,
}

/// What the adversary has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Harm {
    pub(crate) dropped: u64,
    pub(crate) repeated: u64,
    pub(crate) delayed: u64,
    pub(crate) split: u64,
    pub(crate) merged: u64,
    pub(crate) corrupted: u64,
    pub(crate) staled: u64,
    pub(crate) replayed: u64,
    pub(crate) fragmented: u64,
}

impl Harm {
    pub(crate) fn total(&self) -> u64 {
        self.dropped
            + self.repeated
            + self.delayed
            + self.split
            + self.merged
            + self.corrupted
            + self.staled
            + self.replayed
            + self.fragmented
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.dropped += other.dropped;
        self.repeated += other.repeated;
        self.delayed += other.delayed;
        self.split += other.split;
        self.merged += other.merged;
        self.corrupted += other.corrupted;
        self.staled += other.staled;
        self.replayed += other.replayed;
        self.fragmented += other.fragmented;
    }
}

/// One direction of a link.
#[derive(Debug)]
pub(crate) struct Link {
    faults: Faults,
    latency_us: u64,
    /// What is under way, in no order.
    flights: Vec<Flight>,
    /// The latest acknowledgement numbers that were sent, the newest first.
    acks: VecDeque<u32>,
    /// The segment with payload that was sent last.
    last: Option<Seg>,
    pub(crate) harm: Harm,
}

impl Link {
    pub(crate) fn new(faults: Faults, latency_us: u64) -> Self {
        Self {
            faults,
            latency_us,
            flights: Vec::new(),
            acks: VecDeque::new(),
            last: None,
            harm: Harm::default(),
        }
    }

    /// From now on everything arrives, once, in order, as it was.
    pub(crate) fn heal(&mut self) {
        self.faults = Faults::default();
    }

    pub(crate) fn send(&mut self, rng: &mut SmallRng, now: u64, mut segment: Seg) {
        let Faults { drop, repeat, delay, split, merge, corrupt, stale, fragment, .. } =
            self.faults;
        if segment.fragment.is_some() {
            return self.send_fragment(rng, now, segment);
        }
        if !self.acks.contains(&segment.ack) {
            self.acks.truncate(ACKS_KEPT - 1);
            self.acks.push_front(segment.ack);
        }
        if hit(rng, stale) {
            self.harm.staled += 1;
            segment.ack = self.acks[rng.random_range(0..self.acks.len())];
        }
        if hit(rng, drop) {
            self.harm.dropped += 1;
            return;
        }
        if hit(rng, merge)
            && let Some(flight) = self.flights.iter_mut().find(|f| f.segment.takes(&segment))
        {
            self.harm.merged += 1;
            flight.segment.merge(segment);
            return;
        }
        if !segment.payload.is_empty() {
            let before = self.last.replace(segment.clone());
            if let Some(before) = before.filter(|before| before.is_followed_by(&segment))
                && hit(rng, fragment)
            {
                // As a sender repeats itself: with what comes next, in one datagram.
                let at = before.payload.len();
                self.send_fragments(rng, now, segment.clone().behind(before), at);
            }
            if hit(rng, fragment) {
                let at = rng.random_range(0..segment.payload.len());
                return self.send_fragments(rng, now, segment, at);
            }
        }
        if segment.payload.len() > 1 && hit(rng, split) {
            self.harm.split += 1;
            let at = rng.random_range(1..segment.payload.len());
            let (first, second) = segment.split(at);
            self.launch(rng, now, delay, first);
            return self.launch(rng, now, delay, second);
        }
        if hit(rng, repeat) {
            self.harm.repeated += 1;
            self.launch(rng, now, delay, segment.clone());
        }
        let segment = if hit(rng, corrupt) {
            self.harm.corrupted += 1;
            spoiled(rng, segment)
        } else {
            segment
        };
        self.launch(rng, now, delay, segment);
    }

    /// The second one follows later.
    fn send_fragments(&mut self, rng: &mut SmallRng, now: u64, segment: Seg, at: usize) {
        self.harm.fragmented += 1;
        let (first, last) = segment.fragmented(at, rng.random());
        self.send_fragment(rng, now, first);
        let nap = [1_000, 300_000, 3_000_000][rng.random_range(0..3)];
        let later = now + rng.random_range(0..nap);
        self.send_fragment(rng, later, last);
    }

    /// Fragments are not cut or merged on their way.
    fn send_fragment(&mut self, rng: &mut SmallRng, now: u64, fragment: Seg) {
        let Faults { drop, repeat, delay, corrupt, .. } = self.faults;
        if hit(rng, drop) {
            self.harm.dropped += 1;
            return;
        }
        if hit(rng, repeat) {
            self.harm.repeated += 1;
            self.launch(rng, now, delay, fragment.clone());
        }
        let fragment = if hit(rng, corrupt) {
            self.harm.corrupted += 1;
            spoiled(rng, fragment)
        } else {
            fragment
        };
        self.launch(rng, now, delay, fragment);
    }

    fn launch(&mut self, rng: &mut SmallRng, now: u64, delay: u32, segment: Seg) {
        let mut at = now + self.latency_us;
        if hit(rng, delay) {
            self.harm.delayed += 1;
            let scale = [1_000, 30_000, 600_000][rng.random_range(0..3)];
            at += rng.random_range(0..scale);
        }
        self.flights.push(Flight { at, segment });
    }

    /// When the next segment arrives.
    pub(crate) fn next(&self) -> Option<u64> {
        self.flights.iter().map(|flight| flight.at).min()
    }

    /// The segment that arrives first; of several at once, the one sent first.
    pub(crate) fn take(&mut self) -> Option<Seg> {
        let at = self.next()?;
        let first = self.flights.iter().position(|flight| flight.at == at)?;
        Some(self.flights.remove(first).segment)
    }
}

/// Once in a thousand, `chance` times.
pub(crate) fn hit(rng: &mut SmallRng, chance: u32) -> bool {
    chance > 0 && rng.random_range(0..1_000) < chance
}

/// Bits flipped anywhere: the checksum is wrong afterwards, and programs may have read any of it.
fn spoiled(rng: &mut SmallRng, mut segment: Seg) -> Seg {
    segment.corrupt = true;
    match rng.random_range(0..6) {
        0 => segment.seq ^= 1 << rng.random_range(0..32),
        1 => segment.ack ^= 1 << rng.random_range(0..32),
        2 => {
            let all = [flags::FIN, flags::SYN, flags::RST, flags::PSH, flags::ACK];
            segment.flags ^= all[rng.random_range(0..all.len())];
        }
        3 => segment.window ^= 1 << rng.random_range(0..16),
        4 => segment.ts_val ^= 1 << rng.random_range(0..32),
        _ => {
            let bits = (rng.next_u32() & 0xFF) as u8;
            if let Some(byte) = segment.payload.first_mut() {
                *byte ^= bits;
            }
        }
    }
    segment
}
