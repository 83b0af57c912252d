//! Memory that all shards together give to one kind of state. Each client has limits of its own,
//! but there are too many clients for those to bound the whole.
//!
//! Bytes are what the things weigh if none shares anything, so real use never passes the limit.
//! State that exists before the limit applies (a session found at a start, say) may exceed it: then
//! nothing is removed, and nothing is added.
//!
//! One client, or one network of clients, must not use up what is for all. So a budget may have
//! shares: while more than half of it is used, a network, an IPv6 link or a user (`holders`) gets
//! no more than its share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::holders::{Holder, ShareMax, Tally};
/// The memory of one kind of state.
#[derive(Debug)]
pub struct MemoryBudget {
    used_bytes: AtomicU64,
    bytes_max: u64,
    /// Each holder's bytes, if shares limit them.
    tally: Option<Tally>,
}

/// Why a budget gives no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMemory {
    /// All is used.
    Total,
    /// More than half is used, and the network, link or user has its share.
    Share,
}

impl MemoryBudget {
    /// A budget of which nothing is used.
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { used_bytes: AtomicU64::new(0), bytes_max, tally: None })
    }

    /// Like `new`, with shares.
    pub fn with_shares(bytes_max: u64, share: ShareMax) -> Arc<Self> {
        let tally = Some(Tally::new(share));
        Arc::new(Self { used_bytes: AtomicU64::new(0), bytes_max, tally })
    }

    /// Takes these bytes, all or none. Returns whether it could.
    #[must_use]
    pub fn take(&self, bytes: u64) -> bool {
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.bytes_max;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    /// Takes these bytes for `holder`, all or none.
    ///
    /// # Errors
    /// The total or the holder's share is used up.
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

    /// Counts bytes that are already taken for this holder from now on.
    pub fn count_for(&self, holder: Holder, bytes: u64) {
        if let Some(tally) = &self.tally {
            tally.add(holder, bytes);
        }
    }

    /// Counts these bytes, which stay taken, no longer for this holder.
    pub fn discount(&self, holder: Holder, bytes: u64) {
        if let Some(tally) = &self.tally {
            tally.subtract(holder, bytes);
        }
    }

    /// Counts bytes of one holder for another from now on.
    pub fn hand_over(&self, from: Holder, to: Holder, bytes: u64) {
        if let Some(tally) = &self.tally {
            tally.hand_over(from, to, bytes);
        }
    }

    /// Gives back what was taken for this holder.
    pub fn give_back_for(&self, holder: Holder, bytes: u64) {
        self.discount(holder, bytes);
        self.give_back(bytes);
    }

    /// Whether anything is left for this holder.
    ///
    /// # Errors
    /// The total or the holder's share is used up.
    pub fn check_room_for(&self, holder: Holder) -> Result<(), NoMemory> {
        if self.is_full() {
            Err(NoMemory::Total)
        } else if self.exceeds_share(holder, 1) {
            Err(NoMemory::Share)
        } else {
            Ok(())
        }
    }

    /// Whether at most an eighth is left: then sessions whose holder exceeds its share give way
    /// before others do.
    pub fn is_nearly_full(&self) -> bool {
        self.used_bytes() > self.bytes_max - self.bytes_max / 8
    }

    fn exceeds_share(&self, holder: Holder, more_bytes: u64) -> bool {
        let is_short = self.used_bytes().saturating_add(more_bytes) > self.bytes_max / 2;
        more_bytes > 0
            && is_short
            && self.tally.as_ref().is_some_and(|tally| tally.exceeds_share(holder, more_bytes))
    }

    /// Counts what exists already, even beyond the total.
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

    /// Bytes left.
    pub fn left_bytes(&self) -> u64 {
        self.bytes_max.saturating_sub(self.used_bytes())
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The total, in bytes.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Takes bytes for something that is dropped in many places.
    ///
    /// # Errors
    /// As for `take_for`.
    pub fn charge(self: &Arc<Self>, holder: Holder, bytes: u64) -> Result<Charge, NoMemory> {
        self.take_for(holder, bytes)?;
        Ok(Charge { budget: Arc::clone(self), holder, bytes })
    }

    /// Makes a charge of bytes that were taken before.
    pub fn adopt(self: &Arc<Self>, holder: Holder, bytes: u64) -> Charge {
        self.count_for(holder, bytes);
        Charge { budget: Arc::clone(self), holder, bytes }
    }

    /// Like `charge`, for what exists already: even beyond the total.
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
    /// Its bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Changes how many bytes it stands for.
    pub fn resize(&mut self, bytes: u64) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes > before {
            self.budget.add(bytes - before);
            self.budget.count_for(self.holder, bytes - before);
        } else if bytes < before {
            self.budget.give_back_for(self.holder, before - bytes);
        }
    }

    /// Counts it for another holder.
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

/// The memory of sessions by kind, for all shards together.
#[derive(Debug)]
pub struct SessionMemory {
    /// The sessions themselves: client id, user, place in the tables.
    pub sessions: Arc<MemoryBudget>,
    /// Their subscriptions.
    pub subscriptions: Arc<MemoryBudget>,
    /// Wills of connected and of absent clients.
    pub wills: Arc<MemoryBudget>,
    /// Unacknowledged packets in both directions, and places in outboxes, without the messages.
    pub inflight: Arc<MemoryBudget>,
    /// Messages in outboxes, except those on disk: each once, however many outboxes hold it. Large
    /// ones count until the sockets have taken them.
    pub outboxes: Arc<MemoryBudget>,
    /// Copies that sockets were given and have not taken yet.
    pub sending: Arc<MemoryBudget>,
}

/// Bytes that a session takes beside the texts of its client id and user: its entry in its shard's
/// table and in the index, both half empty, its timer, the texts' allocations, and its outbox.
pub const SESSION_BYTES: usize = 640;

/// Most bytes that a session with this client id and user takes, without its connection and without
/// what has budgets of its own.
pub fn session_weight_bytes(client_id: &str, user: Option<&str>) -> u64 {
    (SESSION_BYTES + client_id.len() + user.map_or(0, str::len)) as u64
}

/// The total of each kind, in bytes.
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
    /// `--queue-bytes-max`.
    pub outboxes: u64,
    /// `--sending-bytes-total`.
    pub sending: u64,
}

impl SessionMemoryMax {
    /// No limits, for code that only reads.
    pub const UNLIMITED: Self = Self {
        sessions: u64::MAX,
        subscriptions: u64::MAX,
        wills: u64::MAX,
        inflight: u64::MAX,
        outboxes: u64::MAX,
        sending: u64::MAX,
    };
}

/// Bytes of wills, and of inflight state, that any network or user may have: 1 MiB, more than any
/// will takes.
pub(crate) const SHARE_BYTES_MIN: u64 = 1 << 20;

impl SessionMemory {
    /// Budgets without shares, of which nothing is used.
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

    /// Budgets with shares, of which nothing is used. A network or user gets `percent` of
    /// subscriptions, wills and inflight state, but at least `SHARE_BYTES_MIN`; of subscriptions at
    /// least what one session may have, `subscription_bytes_min`.
    ///
    /// Sessions have shares of their places. Outboxes have no shares by network, because each holds
    /// no more than it leaves to all others (`mqtt::outbox::room`).
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
