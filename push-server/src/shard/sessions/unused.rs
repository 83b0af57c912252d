//! Unused sessions: without a connection, without a subscription, and never owed a message. They give way when
//! places are short, the one that has been unused for longest first.
//!
//! Only their keys are kept here. Whether a session is still unused is looked up when its turn comes.
//!
//! A newcomer takes the place of an unused session of its own shard. If the shard has none, it asks another shard
//! by mail to end one, and the newcomer does not wait for it: sessions give way while a sixteenth of all places is
//! still free. A newcomer that is refused, because its network's share is used up or no place was free, finds one
//! when it tries again.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::FixedState;

use crate::store::SessionNumber;

/// A session's key, and its number, because keys are given again.
pub(crate) type Unused = (u32, SessionNumber);

/// How many sessions are looked at for one that fits.
const LOOKED_AT_MAX: usize = 1_024;

/// With so many entries, those that are no longer unused are swept out for the first time.
const SWEEP_FROM: usize = 1_024;

/// The unused sessions of a shard, in the order in which their clients left.
#[derive(Debug, Default)]
pub(crate) struct UnusedSessions {
    queue: VecDeque<Unused>,
    sweep_at: usize,
}

impl UnusedSessions {
    /// A session's client has left it unused. `is_unused` says whether a session still is.
    pub(crate) fn push(&mut self, session: Unused, mut is_unused: impl FnMut(&Unused) -> bool) {
        if self.queue.len() >= self.sweep_at.max(SWEEP_FROM) {
            let mut seen = HashSet::with_hasher(FixedState::default());
            self.queue.retain(|session| is_unused(session) && seen.insert(*session));
            self.sweep_at = 2 * self.queue.len();
        }
        self.queue.push_back(session);
    }

    /// How many entries there are, including sessions that are in use again and have not been looked at since.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Takes the first session that `fits`, which also says whether it is still unused.
    pub(crate) fn take(&mut self, mut fits: impl FnMut(&Unused) -> Fit) -> Option<Unused> {
        let mut others = Vec::new();
        let mut found = None;
        for _ in 0..LOOKED_AT_MAX {
            let Some(session) = self.queue.pop_front() else { break };
            match fits(&session) {
                Fit::Yes => {
                    found = Some(session);
                    break;
                }
                Fit::NotThis => others.push(session),
                Fit::InUse => {}
            }
        }
        for session in others.into_iter().rev() {
            self.queue.push_front(session);
        }
        found
    }
}

/// How many entries each shard has.
#[derive(Debug)]
pub(crate) struct UnusedCounts(Box<[AtomicUsize]>);

impl UnusedCounts {
    pub(crate) fn new(shards: u16) -> Self {
        Self((0..shards).map(|_| AtomicUsize::new(0)).collect())
    }

    pub(crate) fn set(&self, shard: u16, count: usize) {
        self.0[usize::from(shard)].store(count, Ordering::Relaxed);
    }

    /// The shard to ask for an unused session: not `own`, one that has some, each in its turn. `turn`: the one that
    /// was asked last.
    pub(crate) fn next(&self, own: u16, turn: u16) -> Option<u16> {
        let shards = self.0.len();
        let others = (1..=shards).map(|step| (usize::from(turn) + step) % shards);
        let mut others = others.filter(|shard| *shard != usize::from(own));
        // There are at most 64 shards.
        others.find(|shard| self.0[*shard].load(Ordering::Relaxed) > 0).map(|shard| shard as u16)
    }
}

/// Whether a session gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It does.
    Yes,
    /// It is unused, and does not fit.
    NotThis,
    /// It is in use again, or gone.
    InUse,
}

#[cfg(test)]
mod tests;
