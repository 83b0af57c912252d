//! All shards at rest at the same time, for a moment: nothing that one of them has begun is under way anywhere,
//! in a turn, in a mailbox or at the store. What concerns several shards at once is done then, such as the move
//! of a session from one to another. This decides when that is; what a shard holds back until then is the
//! shard's (`turn/rest.rs`), and so is what is done.
//!
//! From when a rest is asked for, shards take nothing new from clients and doors, and finish what they have
//! begun. A shard says at the beginning of each turn that it is at work, and at the end whether anything of it
//! is left. Both are said under one lock. So whoever is the last to say that nothing is left knows, as long as
//! it has the lock, that no other shard is in a turn: what mailboxes and the store hold by then is all that could
//! still bring work to anybody. If that is nothing, the rest has come. Letters in flight are in a mailbox, or
//! with a shard that has something left.
//!
//! A rest that has not come in time, because the disk hangs, say, is given up, and everybody goes on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use push_common::clock::Monotonic;

use crate::broker::ShardSet;

/// So long shards may take to come to rest. Clients wait for their answers meanwhile.
pub(super) const REST_MILLIS_MAX: u64 = 1_000;

/// How far a rest has come, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody asks for one.
    None,
    /// Shards finish what they have begun.
    Asked(u64),
    /// All of them are at rest.
    Come(u64),
}

/// One for all shards.
#[derive(Debug)]
pub(super) struct Rest {
    /// The phase in two bits, behind the number of the rest. Read by each shard in each turn.
    word: AtomicU64,
    all: ShardSet,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When it is given up.
    until: Monotonic,
    /// Shards that are between two turns, with nothing left.
    quiet: ShardSet,
    /// What is to be done when it has come.
    wishes: u32,
}

impl Rest {
    /// Of so many shards.
    pub(super) fn new(shards: u16) -> Self {
        Self {
            word: AtomicU64::new(0),
            all: ShardSet::first(usize::from(shards)),
            state: Mutex::default(),
        }
    }

    /// How far the rest has come that is asked for.
    pub(super) fn phase(&self) -> Phase {
        let word = self.word.load(Ordering::Acquire);
        match word & 3 {
            0 => Phase::None,
            1 => Phase::Asked(word >> 2),
            _ => Phase::Come(word >> 2),
        }
    }

    /// Asks for a rest, for one thing to be done. Returns its number, which others may have asked for, too.
    /// `None`: one has come already, and is not to be held up.
    pub(super) fn ask(&self, now: Monotonic) -> Option<u64> {
        let mut state = self.lock();
        let number = match self.phase() {
            Phase::Come(_) => return None,
            Phase::Asked(number) => number,
            Phase::None => {
                let number = (self.word.load(Ordering::Relaxed) >> 2) + 1;
                *state = State { until: now.after_millis(REST_MILLIS_MAX), ..State::default() };
                self.set(Phase::Asked(number));
                number
            }
        };
        state.wishes += 1;
        Some(number)
    }

    /// A shard begins a turn.
    pub(super) fn begin_turn(&self, shard: u16) {
        let mut state = self.lock();
        state.quiet = state.quiet.without(shard);
    }

    /// A shard ends a turn with nothing left. `is_nothing_under_way`: between the shards, and at the store; asked
    /// while no shard is in a turn. Returns whether the rest has come by that.
    pub(super) fn end_turn(&self, shard: u16, is_nothing_under_way: impl FnOnce() -> bool) -> bool {
        let mut state = self.lock();
        let Phase::Asked(number) = self.phase() else { return false };
        state.quiet = state.quiet.with(shard);
        let has_come = state.quiet == self.all && is_nothing_under_way();
        if has_come {
            self.set(Phase::Come(number));
        }
        has_come
    }

    /// Whether shards have taken too long.
    pub(super) fn is_late(&self, now: Monotonic) -> bool {
        self.lock().until <= now
    }

    /// Nobody is to wait for it any longer. Returns whether that ends it: it may have come by now.
    pub(super) fn give_up(&self) -> bool {
        let _state = self.lock();
        let is_asked = matches!(self.phase(), Phase::Asked(_));
        if is_asked {
            self.set(Phase::None);
        }
        is_asked
    }

    /// One thing is done, or will not be. Returns whether that was the last one: the rest is over.
    pub(super) fn end_wish(&self) -> bool {
        let mut state = self.lock();
        state.wishes = state.wishes.saturating_sub(1);
        let is_over = state.wishes == 0;
        if is_over {
            self.set(Phase::None);
        }
        is_over
    }

    /// The number stays when a rest is over, so that the next one has another.
    fn set(&self, phase: Phase) {
        let word = match phase {
            Phase::None => self.word.load(Ordering::Relaxed) & !3,
            Phase::Asked(number) => number << 2 | 1,
            Phase::Come(number) => number << 2 | 2,
        };
        self.word.store(word, Ordering::Release);
    }

    /// A panic elsewhere leaves whole values behind.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
