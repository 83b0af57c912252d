//! Memory that all shards together give to one kind of state: each client's part is bounded by limits
//! of its own, and there are too many of them for those to bound the whole.
//!
//! Bytes are what the things weigh, as if no other shared anything of them, so the limit is never passed
//! by what it counts. What was there before the limit (a session found at a start, say) may be counted
//! beyond it: then nothing is removed, and nothing is added.
//!
//! One client, or one network of them, must not use up alone what is for all. So a budget may have shares:
//! while more than half of it is used, a network, an IPv6 link or a user (`holders`) has no more than its
//! share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::holders::{Holder, ShareMax, Tally};
/// One kind's budget.
#[derive(Debug)]
pub struct MemoryBudget {
    used_bytes: AtomicU64,
    bytes_max: u64,
    /// Counts each holder's bytes, if shares limit them.
    tally: Option<Tally>,
}

/// Why memory is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMemory {
    /// All is used.
    Total,
    /// More than half is, and the network, the link or the user has its share.
    Share,
}

impl MemoryBudget {
    /// Nothing of `bytes_max` is used.
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { used_bytes: AtomicU64::new(0), bytes_max, tally: None })
    }

    /// The same with shares.
    pub fn with_shares(bytes_max: u64, share: ShareMax) -> Arc<Self> {
        let tally = Some(Tally::new(share));
        Arc::new(Self { used_bytes: AtomicU64::new(0), bytes_max, tally })
    }

    /// Takes so many bytes, all or none. Returns whether it could.
    #[must_use]
    pub fn take(&self, bytes: u64) -> bool {
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.bytes_max;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    /// Takes so many bytes for `holder`, all or none.
    ///
    /// # Errors
    /// There are no more, for anybody or for this holder.
    pub fn take_for(&self, holder: Holder, bytes: u64) -> Result<(), NoMemory> {
        if self.exceeds_share(holder, bytes) {
            return Err(NoMemory::Share);
        }
        if !self.take(bytes) {
            return Err(NoMemory::Total);
        }
        self.count_for(holder, bytes);
        Ok(())
    }

    /// Bytes that are taken already belong to this holder from now on.
    pub fn count_for(&self, holder: Holder, bytes: u64) {
        if let Some(tally) = &self.tally {
            tally.add(holder, bytes);
        }
    }

    /// Bytes that stay taken belong to this holder no longer.
    pub fn discount(&self, holder: Holder, bytes: u64) {
        if let Some(tally) = &self.tally {
            tally.subtract(holder, bytes);
        }
    }

    /// Bytes that one holder has taken belong to another from now on.
    pub fn hand_over(&self, from: Holder, to: Holder, bytes: u64) {
        if let Some(tally) = &self.tally {
            tally.hand_over(from, to, bytes);
        }
    }

    /// Gives back what was taken for somebody.
    pub fn give_back_for(&self, holder: Holder, bytes: u64) {
        self.discount(holder, bytes);
        self.give_back(bytes);
    }

    /// Whether nothing is left, for anybody or for this holder.
    ///
    /// # Errors
    /// Nothing is.
    pub fn check_room_for(&self, holder: Holder) -> Result<(), NoMemory> {
        if self.is_full() {
            Err(NoMemory::Total)
        } else if self.exceeds_share(holder, 1) {
            Err(NoMemory::Share)
        } else {
            Ok(())
        }
    }

    /// Whether an eighth is left at most: then whoever has more than its share gives way before others do.
    pub fn is_nearly_full(&self) -> bool {
        self.used_bytes() > self.bytes_max - self.bytes_max / 8
    }

    fn exceeds_share(&self, holder: Holder, more_bytes: u64) -> bool {
        let is_short = self.used_bytes().saturating_add(more_bytes) > self.bytes_max / 2;
        more_bytes > 0
            && is_short
            && self.tally.as_ref().is_some_and(|tally| tally.exceeds_share(holder, more_bytes))
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

    /// Takes bytes of a holder for something that is dropped in many places.
    ///
    /// # Errors
    /// As for `take_for`.
    pub fn charge(self: &Arc<Self>, holder: Holder, bytes: u64) -> Result<Charge, NoMemory> {
        self.take_for(holder, bytes)?;
        Ok(Charge { budget: Arc::clone(self), holder, bytes })
    }

    /// Makes a charge of bytes that were taken already.
    pub fn adopt(self: &Arc<Self>, holder: Holder, bytes: u64) -> Charge {
        self.count_for(holder, bytes);
        Charge { budget: Arc::clone(self), holder, bytes }
    }

    /// The same for what is there already.
    pub fn charge_anyway(self: &Arc<Self>, holder: Holder, bytes: u64) -> Charge {
        self.add(bytes);
        self.adopt(holder, bytes)
    }
}

/// Bytes of a budget, given back when dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<MemoryBudget>,
    holder: Holder,
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
            self.budget.count_for(self.holder, bytes - before);
        } else if bytes < before {
            self.budget.give_back_for(self.holder, before - bytes);
        }
    }

    /// It is another's now.
    pub fn hand_over(&mut self, to: Holder) {
        self.budget.hand_over(self.holder, to, self.bytes);
        self.holder = to;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back_for(self.holder, self.bytes);
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
    /// No limits: for code that only reads.
    pub const UNLIMITED: Self = Self {
        sessions: u64::MAX,
        subscriptions: u64::MAX,
        wills: u64::MAX,
        inflight: u64::MAX,
        outboxes: u64::MAX,
        sending: u64::MAX,
    };
}

/// The least share of wills, and of inflight state, that a network or user has: more than any will takes.
pub const SHARE_BYTES_MIN: u64 = 1 << 20;

impl SessionMemory {
    /// Nothing is used, and there are no shares.
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

    /// Nothing is used, and a network or user has so many percent of subscriptions, wills and inflight
    /// state, or the least share: of subscriptions, what a session may have, `subscription_bytes_min`.
    ///
    /// Sessions have shares of their places. What outboxes hold is not shared by network, because each
    /// of them holds no more than it leaves to all others (`mqtt::outbox::room`).
    pub fn with_shares(
        max: SessionMemoryMax,
        percent: u8,
        subscription_bytes_min: u64,
    ) -> Arc<Self> {
        let with_shares = |bytes_max: u64, least: u64| {
            MemoryBudget::with_shares(bytes_max, ShareMax::new(bytes_max, percent, least))
        };
        Arc::new(Self {
            sessions: MemoryBudget::new(max.sessions),
            subscriptions: with_shares(max.subscriptions, subscription_bytes_min),
            wills: with_shares(max.wills, SHARE_BYTES_MIN),
            inflight: with_shares(max.inflight, SHARE_BYTES_MIN),
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
mod tests;
