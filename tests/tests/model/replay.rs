//! Duplicates of old, as after the sequence numbers have gone once around: small segments of the
//! client, sent again where the streams are now. Only their timestamps tell that they are old.

use std::collections::VecDeque;

use push_common::segment::flags;
use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::segment::Seg;
use crate::streams::Pings;
use crate::tcp::before;

/// Segments that are kept.
const KEPT: usize = 16;

/// Listens on the wire, and sends again what it heard.
#[derive(Debug, Default)]
pub(crate) struct Replayer {
    pings: Pings,
    kept: VecDeque<Seg>,
    /// Behind the client's furthest byte, and its latest acknowledgement.
    next: u32,
    ack: u32,
    /// The newest timestamp of the client that was taken for sure.
    taken: Option<u32>,
    pub(crate) replayed: u64,
}

impl Replayer {
    pub(crate) fn new(iss: u32, pings: Pings) -> Self {
        Self { pings, next: iss, ..Self::default() }
    }

    /// The client sends.
    pub(crate) fn hear(&mut self, segment: &Seg) {
        let end = segment.seq.wrapping_add(segment.span());
        if before(self.next, end) {
            self.next = end;
        }
        self.ack = segment.ack;
        // A RST counts whatever its age.
        if segment.payload.len() <= self.pings.request_bytes() && !segment.has(flags::RST) {
            self.kept.truncate(KEPT - 1);
            self.kept.push_front(segment.clone());
        }
    }

    /// A segment of the client with this timestamp was taken: by the stack, as it says itself, or by
    /// the splice.
    pub(crate) fn hear_taken(&mut self, ts_val: u32) {
        // Zero says nothing.
        if ts_val != 0 && self.taken.is_none_or(|taken| before(taken, ts_val)) {
            self.taken = Some(ts_val);
        }
    }

    /// A segment that TCP must throw away, if there is one.
    pub(crate) fn replay(&mut self, rng: &mut SmallRng) -> Option<Seg> {
        let taken = self.taken?;
        let old: Vec<&Seg> = self.kept.iter().filter(|seg| before(seg.ts_val, taken)).collect();
        let segment = *old.get(rng.random_range(0..old.len().max(1)))?;
        self.replayed += 1;
        Some(Seg { seq: self.next, ack: self.ack, ..segment.clone() })
    }
}
