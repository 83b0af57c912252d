//! Who may have a new session: `--max-sessions`, and within it a share for each user and each network.
//!
//! One script makes thousands of sessions a second. It must not take all places. But a network may well be a
//! carrier's, with thousands of phones behind one address. So shares bind only while more than half of all places
//! are taken, and a share is never less than `SHARE_MIN`.
//!
//! `broker::holders` says what a network is, and how networks are counted. The network that made a session is not
//! stored: after a restart the session counts for a network again when its client is back.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::broker::{Holder, ShareMax, Tally};

/// The least share of a network or user. So shares never bind on small servers.
const SHARE_MIN: u64 = 1_024;

/// Why a session may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// All places are taken.
    Full,
    /// More than half of them are, and the network, the link or the user has its share.
    Share,
    /// The memory of all sessions is used up.
    Memory,
}

/// How many sessions there are on all shards, and whose they are.
#[derive(Debug)]
pub(crate) struct SessionShares {
    places: u32,
    taken: AtomicU32,
    tally: Tally,
}

impl SessionShares {
    /// `percent`: of `places`, how many a network or user may have.
    pub(crate) fn new(places: u32, percent: u8) -> Self {
        let tally = Tally::new(ShareMax::new(places.into(), percent, SHARE_MIN));
        Self { places, taken: AtomicU32::new(0), tally }
    }

    /// Takes a place for a new session.
    pub(crate) fn take(&self, holder: Holder) -> Result<(), NoPlace> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let refused = if taken >= self.places {
            Some(NoPlace::Full)
        } else if taken >= self.places / 2 && self.tally.exceeds_share(holder, 1) {
            Some(NoPlace::Share)
        } else {
            None
        };
        if let Some(refused) = refused {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return Err(refused);
        }
        self.tally.add(holder, 1);
        Ok(())
    }

    /// Takes a place regardless of the limits: for a session that a restart has found, or that
    /// replaces one that has just ended.
    pub(crate) fn take_unasked(&self, holder: Holder) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.tally.add(holder, 1);
    }

    /// A session has ended.
    pub(crate) fn give_back(&self, holder: Holder) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.tally.subtract(holder, 1);
    }

    /// A session's client is back, perhaps from another network.
    pub(crate) fn hand_over(&self, from: Holder, to: Holder) {
        self.tally.hand_over(from, to, 1);
    }

    /// Whether so few places are left that unused sessions give way.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.places - self.places / 16
    }

    /// Whether the end of another session would give a newcomer every share that it lacks. A newcomer must not
    /// displace a session whose end does not help it.
    pub(crate) fn makes_room(&self, newcomer: Holder, other: Holder) -> bool {
        self.tally.makes_room(newcomer, other, 1)
    }
}

#[cfg(test)]
mod tests;
