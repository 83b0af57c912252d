//! The memory that all shards together give to packets that have not come whole: each connection's is
//! bounded by `--max-packet-bytes`, all of them by `--input-bytes-max`.
//!
//! When the budget is used up, the client that has held the most of it for the longest is disconnected: bytes times
//! nanoseconds, looked up over all shards. So clients that begin packets and never end them cannot use it up for
//! those that do. A packet also has to go on at `--packet-rate-min`.
//!
//! Idle connections and small packets cost nothing here: a connection has a charge only while it has
//! `CHARGED_BYTES_MIN` or more waiting.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use push_common::clock::Monotonic;
use slab::Slab;

use crate::shard::ports::Token;

/// Input of a connection that is not worth counting: a receive buffer's worth.
const CHARGED_BYTES_MIN: usize = 4 << 10;

/// When clients are disconnected for the budget, this part of it is freed at once. Choosing them looks at all
/// owners, and many small ones must not cause that with each of their pieces.
const FREED_PART: u64 = 64;

/// Over how long `--packet-rate-min` is measured. Long enough for a phone between two cells.
const PROGRESS_WINDOW_MILLIS: u64 = 30_000;

/// A client, by its shard.
pub(crate) type InputOwner = (u16, Token);

/// The budget, one for all shards.
#[derive(Debug)]
pub(crate) struct InputBudget {
    bytes_max: u64,
    held: Mutex<Holdings>,
}

#[derive(Debug, Default)]
struct Holdings {
    bytes: u64,
    holdings: Slab<Holding>,
}

/// What one connection holds.
#[derive(Clone, Copy, Debug)]
struct Holding {
    owner: InputOwner,
    bytes: u64,
    /// Since when, unless the server itself keeps it waiting.
    since: Option<Monotonic>,
    /// Its client is being disconnected, and its bytes count no more.
    is_condemned: bool,
}

/// Input that waits for the rest of its packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unfinished {
    /// How many bytes there are.
    pub(crate) bytes: usize,
    /// Bytes of whole packets that came before: it is another packet when they are more.
    pub(crate) behind: u64,
    /// The server itself keeps it waiting at present.
    pub(crate) is_kept_waiting: bool,
}

/// One connection's part of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct InputCharge {
    budget: Arc<InputBudget>,
    key: usize,
    behind: u64,
    window: Window,
}

/// A time in which a packet has to go on.
#[derive(Clone, Copy, Debug)]
struct Window {
    begun: Monotonic,
    /// Its bytes then.
    bytes: u64,
}

impl InputBudget {
    pub(crate) fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, held: Mutex::default() })
    }

    /// A connection has `input` waiting at `now`. Returns the clients to be disconnected for that: none while all
    /// together are within the budget.
    pub(crate) fn charge(
        self: &Arc<Self>,
        charge: &mut Option<Box<InputCharge>>,
        owner: InputOwner,
        input: Unfinished,
        now: Monotonic,
    ) -> Vec<InputOwner> {
        if input.bytes < CHARGED_BYTES_MIN {
            *charge = None;
            return Vec::new();
        }
        let bytes = input.bytes as u64;
        let mut held = self.lock();
        let charge = charge.get_or_insert_with(|| {
            let since = Some(now);
            let holding = Holding { owner, bytes: 0, since, is_condemned: false };
            let key = held.holdings.insert(holding);
            let window = Window { begun: now, bytes };
            Box::new(InputCharge { budget: Arc::clone(self), key, behind: input.behind, window })
        });
        let Some(holding) = held.holdings.get_mut(charge.key) else { return Vec::new() };
        if input.is_kept_waiting || charge.behind != input.behind {
            charge.behind = input.behind;
            charge.window = Window { begun: now, bytes };
            holding.since = Some(now);
        }
        if input.is_kept_waiting {
            holding.since = None;
        } else if holding.since.is_none() {
            holding.since = Some(now);
        }
        if holding.is_condemned {
            return vec![owner];
        }
        let before = std::mem::replace(&mut holding.bytes, bytes);
        held.bytes = held.bytes - before + bytes;
        if bytes <= before || held.bytes <= self.bytes_max {
            return Vec::new();
        }
        held.condemn(self.bytes_max - self.bytes_max / FREED_PART, now)
    }

    fn lock(&self) -> MutexGuard<'_, Holdings> {
        // Nothing that holds it can panic half way through a change.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holdings {
    /// Chooses clients to be disconnected until the others hold no more than `bytes_max`.
    fn condemn(&mut self, bytes_max: u64, now: Monotonic) -> Vec<InputOwner> {
        let weight = |holding: &Holding| {
            let since = holding.since.filter(|_| !holding.is_condemned)?;
            Some((
                u128::from(now.0.saturating_sub(since.0)) * u128::from(holding.bytes),
                holding.bytes,
            ))
        };
        let weighed = self.holdings.iter().filter_map(|(key, h)| Some((weight(h)?, key)));
        let mut heaviest: Vec<_> = weighed.collect();
        heaviest.sort_unstable_by(|one, other| other.cmp(one));
        let mut condemned = Vec::new();
        for (_, key) in heaviest {
            if self.bytes <= bytes_max {
                break;
            }
            let holding = &mut self.holdings[key];
            holding.is_condemned = true;
            self.bytes -= std::mem::take(&mut holding.bytes);
            condemned.push(holding.owner);
        }
        condemned
    }
}

impl InputCharge {
    /// Whether its client is to be disconnected, and has not ended its packet meanwhile.
    pub(crate) fn is_condemned(&self) -> bool {
        self.budget.lock().holdings.get(self.key).is_some_and(|holding| holding.is_condemned)
    }

    /// When the packet is next measured.
    pub(crate) fn progress_deadline(&self) -> Monotonic {
        self.window.begun.after_millis(PROGRESS_WINDOW_MILLIS)
    }

    /// Whether the packet, of which there are `bytes` by now, comes slower than `rate_min` bytes a second. To be
    /// asked at the deadline; sets the next one.
    pub(crate) fn is_too_slow(&mut self, bytes: usize, rate_min: u32, now: Monotonic) -> bool {
        let wanted = u64::from(rate_min) * PROGRESS_WINDOW_MILLIS / 1_000;
        let come = (bytes as u64).saturating_sub(self.window.bytes);
        self.window = Window { begun: now, bytes: bytes as u64 };
        come < wanted
    }
}

impl Drop for InputCharge {
    fn drop(&mut self) {
        let mut held = self.budget.lock();
        if let Some(holding) = held.holdings.try_remove(self.key) {
            held.bytes -= holding.bytes;
        }
    }
}

#[cfg(test)]
mod tests;
