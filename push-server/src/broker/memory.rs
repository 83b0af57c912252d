//! Memory that all shards together give to one kind of state: each client's part is bounded by limits
//! of its own, and there are too many of them for those to bound the whole.
//!
//! Bytes are what the things weigh, as if no other shared anything of them, so the limit is never passed
//! by what it counts. What was there before the limit (a session that a start has found, say) may be
//! counted beyond it: nothing is taken from anybody, only nothing is added.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One kind's budget.
#[derive(Debug)]
pub struct MemoryBudget {
    used_bytes: AtomicU64,
    bytes_max: u64,
}

impl MemoryBudget {
    /// Nothing of `bytes_max` is used.
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { used_bytes: AtomicU64::new(0), bytes_max })
    }

    /// Takes so many bytes, all or none. Returns whether they were there.
    #[must_use]
    pub fn take(&self, bytes: u64) -> bool {
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.bytes_max;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    /// Counts what is there already, whatever is left.
    pub fn add(&self, bytes: u64) {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back what was taken or added.
    pub fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether nothing is left.
    pub fn is_full(&self) -> bool {
        self.used_bytes() >= self.bytes_max
    }

    /// What is left.
    pub fn left_bytes(&self) -> u64 {
        self.bytes_max.saturating_sub(self.used_bytes())
    }

    /// What is used.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// What may be used.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Takes bytes for something that is dropped in many places.
    pub fn charge(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        self.take(bytes).then(|| self.adopt(bytes))
    }

    /// Makes a charge of bytes that were taken.
    pub fn adopt(self: &Arc<Self>, bytes: u64) -> Charge {
        Charge { budget: Arc::clone(self), bytes }
    }

    /// The same for what is there already.
    pub fn charge_anyway(self: &Arc<Self>, bytes: u64) -> Charge {
        self.add(bytes);
        self.adopt(bytes)
    }
}

/// Bytes of a budget, given back when dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

impl Charge {
    /// How much it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it stands for takes so much now.
    pub fn resize(&mut self, bytes: u64) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes > before {
            self.budget.add(bytes - before);
        } else if bytes < before {
            self.budget.give_back(before - bytes);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// What sessions keep in memory, by kind, for all shards.
#[derive(Debug)]
pub struct SessionMemory {
    /// The sessions themselves: client id, user, place in the tables.
    pub sessions: Arc<MemoryBudget>,
    /// Their subscriptions.
    pub subscriptions: Arc<MemoryBudget>,
    /// Wills, of clients that are connected and of those that are away.
    pub wills: Arc<MemoryBudget>,
    /// What is unacknowledged in either direction, and places in outboxes; the messages themselves
    /// not counted.
    pub inflight: Arc<MemoryBudget>,
    /// Messages in outboxes, what lies on disk not counted: each once, however many outboxes hold it. Large
    /// ones until the sockets have taken them.
    pub outboxes: Arc<MemoryBudget>,
    /// Copies handed to sockets that have not taken them yet.
    pub sending: Arc<MemoryBudget>,
}

/// What a session takes beside the texts of its client id and user: its place in its shard's table and
/// its entry of the index, where both are half empty, its timer, the texts' allocations, and what it
/// has as soon as anything is pending.
pub const SESSION_BYTES: usize = 640;

/// What a session of this client id and user takes in memory at the most, its connection and what has
/// budgets of its own not counted.
pub fn session_weight_bytes(client_id: &str, user: Option<&str>) -> u64 {
    (SESSION_BYTES + client_id.len() + user.map_or(0, str::len)) as u64
}

/// How many bytes each kind may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionMemoryMax {
    /// `--session-bytes-total`.
    pub sessions: u64,
    /// `--subscription-bytes-total`.
    pub subscriptions: u64,
    /// `--will-bytes-total`.
    pub wills: u64,
    /// `--inflight-bytes-total`.
    pub inflight: u64,
    /// `--outbox-bytes-total`.
    pub outboxes: u64,
    /// `--sending-bytes-total`.
    pub sending: u64,
}

impl SessionMemoryMax {
    /// No limits: for whoever only reads what is there.
    pub const UNLIMITED: Self = Self {
        sessions: u64::MAX,
        subscriptions: u64::MAX,
        wills: u64::MAX,
        inflight: u64::MAX,
        outboxes: u64::MAX,
        sending: u64::MAX,
    };
}

impl SessionMemory {
    /// Nothing is used.
    pub fn new(max: SessionMemoryMax) -> Arc<Self> {
        Arc::new(Self {
            sessions: MemoryBudget::new(max.sessions),
            subscriptions: MemoryBudget::new(max.subscriptions),
            wills: MemoryBudget::new(max.wills),
            inflight: MemoryBudget::new(max.inflight),
            outboxes: MemoryBudget::new(max.outboxes),
            sending: MemoryBudget::new(max.sending),
        })
    }

    /// Each kind by its name in metrics.
    pub fn kinds(&self) -> [(&'static str, &MemoryBudget); 6] {
        [
            ("sessions", &self.sessions),
            ("subscriptions", &self.subscriptions),
            ("wills", &self.wills),
            ("inflight", &self.inflight),
            ("outboxes", &self.outboxes),
            ("sending", &self.sending),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_takes_nothing() {
        let budget = MemoryBudget::new(10);
        assert!(budget.take(6) && !budget.take(5) && budget.take(4));
        assert_eq!((budget.used_bytes(), budget.is_full()), (10, true));
        budget.give_back(6);
        assert!(budget.charge(7).is_none() && !budget.is_full());
        assert_eq!(budget.used_bytes(), 4);
        assert!(!budget.take(u64::MAX - 2), "no sum wraps into what is allowed");
    }

    #[test]
    fn what_was_there_before_counts_beyond_the_limit_and_keeps_others_out() {
        let budget = MemoryBudget::new(10);
        let mut found = budget.charge_anyway(25);
        assert!(budget.is_full() && budget.charge(1).is_none());
        found.resize(8);
        let other = budget.charge(2);
        assert!(other.is_some());
        drop(found);
        assert_eq!(budget.used_bytes(), 2);
        drop(other);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn shards_never_take_more_than_there_is() {
        let budget = MemoryBudget::new(1_000);
        let taken: usize = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1_000).filter(|_| budget.take(1)).count()))
                .collect();
            takers.into_iter().map(|taker| taker.join().expect("no panic")).sum()
        });
        assert!(taken <= 1_000 && budget.used_bytes() == taken as u64);
    }
}
