//! How far a shard has come with the review of its clients, and those of them that have to go. `reviews` says when
//! there is one.

use std::collections::VecDeque;

use crate::access::Withdrawal;
use crate::shard::ports::Token;
use crate::shard::reviews::Scope;

/// The review of a shard's clients.
#[derive(Debug, Default)]
pub(in crate::shard) struct Reviewing {
    /// The latest review that has begun here.
    seen: u32,
    under_way: Option<UnderWay>,
    /// Clients that have to go, in the order in which they will.
    leaving: VecDeque<(Token, Withdrawal)>,
    /// How many of these were counted as waiting.
    counted: usize,
}

/// A review under way.
#[derive(Debug)]
struct UnderWay {
    scope: Scope,
    /// The next place to look at, and the one behind the last.
    next: u32,
    end: u32,
}

impl Reviewing {
    /// The latest review that has begun here.
    pub(in crate::shard) fn seen(&self) -> u32 {
        self.seen
    }

    /// Begins a review of the clients in the first `end` places. One that is under way ends: this one looks at all
    /// that it has not looked at.
    pub(in crate::shard) fn begin(&mut self, number: u32, scope: Scope, end: u32) {
        self.seen = number;
        let unfinished = self.under_way.take().is_some_and(|before| before.scope.certificates);
        let scope = Scope { certificates: scope.certificates || unfinished };
        self.under_way = Some(UnderWay { scope, next: 0, end });
        // The others may stay by now. Subscriptions that were withdrawn are gone already.
        self.leaving.retain(|(_, why)| *why == Withdrawal::Subscription);
        self.counted = self.counted.min(self.leaving.len());
    }

    /// The next place to look at, and what for.
    pub(in crate::shard) fn next(&mut self) -> Option<(u32, Scope)> {
        let UnderWay { scope, next, end } = self.under_way.as_mut()?;
        if next >= end {
            self.under_way = None;
            return None;
        }
        *next += 1;
        Some((*next - 1, *scope))
    }

    /// Whether places are left to look at.
    pub(in crate::shard) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// A client has to go.
    pub(in crate::shard) fn push(&mut self, client: Token, why: Withdrawal) {
        self.leaving.push_back((client, why));
    }

    /// The client that goes next.
    pub(in crate::shard) fn first(&self) -> Option<(Token, Withdrawal)> {
        self.leaving.front().copied()
    }

    /// It has gone.
    pub(in crate::shard) fn pop(&mut self) {
        self.leaving.pop_front();
        self.counted = self.counted.saturating_sub(1);
    }

    /// Whether clients have to go.
    pub(in crate::shard) fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// The others wait until they may go. Returns how many of them have not waited before.
    pub(in crate::shard) fn wait(&mut self) -> u64 {
        let waiting = self.leaving.len();
        (waiting - std::mem::replace(&mut self.counted, waiting)) as u64
    }

    /// How many have to go.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn len(&self) -> usize {
        self.leaving.len()
    }
}
