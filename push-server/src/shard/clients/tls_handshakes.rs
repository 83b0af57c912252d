//! Handshakes of TLS of a shard's clients: whose step is due, and who waits for a place. What a step does is the
//! layer's.
//!
//! A step may take as long as hundreds of pings. So a turn does few of them, one for each client in the order they
//! became due, after all else of the turn.

use std::collections::VecDeque;
use std::sync::Arc;

use push_common::clock::Monotonic;

use crate::shard::ports::Token;
use crate::shard::tls_places::{TlsPlace, TlsPlaces, TlsWait};

/// How long a client may leave the server waiting in its handshake while others wait for a place. Long enough for two
/// round trips by a slow radio.
pub(in crate::shard) const PATIENCE_MILLIS: u64 = 3_000;

/// The handshake of one client, until it has ended and was counted.
#[derive(Debug, Default)]
pub(in crate::shard) struct TlsPending {
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    /// No whole record has come.
    #[default]
    Silent,
    /// Every place is taken.
    Waits(#[expect(dead_code, reason = "it counts as long as it is there")] TlsWait),
    /// It is the server's turn.
    Due(TlsPlace),
    /// It is the client's turn, since then.
    Idle(TlsPlace, Monotonic),
}

/// The shard's.
#[derive(Debug)]
pub(in crate::shard) struct TlsHandshakes {
    places: Arc<TlsPlaces>,
    /// Clients whose step is due.
    due: VecDeque<Token>,
    /// Clients that wait for a place.
    waiting: VecDeque<Token>,
}

/// What becomes of a step that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum StepWaits {
    /// It is done in its turn.
    ForTurn,
    /// A place has to become free first.
    ForPlace,
    /// It was known before.
    Already,
}

impl TlsPending {
    /// A step was done, and it is the client's turn.
    pub(in crate::shard) fn is_done(&mut self, now: Monotonic) {
        self.stage = match std::mem::take(&mut self.stage) {
            Stage::Due(place) | Stage::Idle(place, _) => Stage::Idle(place, now),
            other => other,
        };
    }

    /// When the client has left the server waiting for too long, if others wait for a place then.
    pub(in crate::shard) fn patience_ends(&self) -> Option<Monotonic> {
        match self.stage {
            Stage::Idle(_, since) => Some(since.after_millis(PATIENCE_MILLIS)),
            Stage::Silent | Stage::Waits(_) | Stage::Due(_) => None,
        }
    }
}

impl TlsHandshakes {
    pub(in crate::shard) fn new(places: &Arc<TlsPlaces>) -> Self {
        Self { places: Arc::clone(places), due: VecDeque::new(), waiting: VecDeque::new() }
    }

    /// A client's step is due.
    pub(in crate::shard) fn push(&mut self, client: Token, pending: &mut TlsPending) -> StepWaits {
        let (stage, waits) = match std::mem::take(&mut pending.stage) {
            Stage::Silent => match self.places.take().filter(|_| self.waiting.is_empty()) {
                Some(place) => (Stage::Due(place), StepWaits::ForTurn),
                None => (Stage::Waits(self.places.wait()), StepWaits::ForPlace),
            },
            Stage::Idle(place, _) => (Stage::Due(place), StepWaits::ForTurn),
            known @ (Stage::Waits(_) | Stage::Due(_)) => (known, StepWaits::Already),
        };
        pending.stage = stage;
        match waits {
            StepWaits::ForTurn => self.due.push_back(client),
            StepWaits::ForPlace => self.waiting.push_back(client),
            StepWaits::Already => {}
        }
        waits
    }

    /// The client that has waited longest for a place, if there is one for it now; to be told by `let_in`, if it is
    /// still there.
    pub(in crate::shard) fn next_in(&mut self) -> Option<(Token, TlsPlace)> {
        if self.waiting.is_empty() {
            return None;
        }
        let place = self.places.take()?;
        Some((self.waiting.pop_front()?, place))
    }

    /// A client has a place.
    pub(in crate::shard) fn let_in(
        &mut self,
        client: Token,
        pending: &mut TlsPending,
        place: TlsPlace,
    ) {
        pending.stage = Stage::Due(place);
        self.due.push_back(client);
    }

    /// Takes the client whose step is next. It may be gone.
    pub(in crate::shard) fn next_due(&mut self) -> Option<Token> {
        self.due.pop_front()
    }

    /// Whether steps are due.
    pub(in crate::shard) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Whether clients of this shard wait for a place.
    pub(in crate::shard) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether clients of any shard wait for a place.
    pub(in crate::shard) fn are_places_short(&self) -> bool {
        self.places.are_short()
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(in crate::shard) fn len(&self) -> usize {
        self.due.len() + self.waiting.len()
    }
}

#[cfg(test)]
mod tests;
