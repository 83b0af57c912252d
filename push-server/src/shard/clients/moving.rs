//! Clients that move: where to, those that wait for their operations to end or for all shards to rest, with what
//! is left of their sends, and by which token work that was begun before knows those that have moved within the
//! shard.

use std::collections::HashMap;

use bytes::Bytes;

use crate::shard::ports::Token;
use crate::store::SessionNumber;

/// Sessions of a shard that move in one rest: they go in one turn, and the heartbeat is not to be late.
const WISHES_MAX: usize = 256;

/// The moves of a shard's clients.
#[derive(Debug, Default)]
pub(super) struct Moving {
    /// By index. Empty but for the moment that a move takes.
    waiting: HashMap<u32, Mover>,
    /// From an earlier token of a client to the one that it has now.
    moved: HashMap<Token, Token>,
    /// What is to be done when all shards rest.
    wishes: Vec<Wish>,
}

/// A client that moves.
#[derive(Debug)]
struct Mover {
    /// The shard that it moves to.
    to: u16,
    unsent: Option<Unsent>,
    /// Its operations have ended, and it waits for all shards to rest.
    is_ready: bool,
}

/// What a socket was handed, and has not taken.
#[derive(Debug)]
pub(in crate::shard) struct Unsent {
    pub(in crate::shard) chunks: Vec<Bytes>,
    /// What it counts among all bytes that sockets have not taken.
    pub(in crate::shard) weight: u32,
}

/// A session that is to move to another shard when all of them rest.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Wish {
    /// The number of the rest.
    pub(in crate::shard) rest: u64,
    /// The session, by its key and number.
    pub(in crate::shard) session: (u32, SessionNumber),
    /// Its client, unless it has none.
    pub(in crate::shard) client: Option<Token>,
    pub(in crate::shard) to: u16,
}

impl Moving {
    pub(super) fn begin(&mut self, index: u32, to: u16) {
        self.waiting.insert(index, Mover { to, unsent: None, is_ready: false });
    }

    pub(super) fn is_under_way(&self, index: u32) -> bool {
        !self.waiting.is_empty() && self.waiting.contains_key(&index)
    }

    /// Where a client moves to that waits for its operations to end.
    pub(super) fn awaits_operations(&self, index: u32) -> Option<u16> {
        if self.waiting.is_empty() {
            return None;
        }
        self.waiting.get(&index).filter(|mover| !mover.is_ready).map(|mover| mover.to)
    }

    pub(super) fn keep(&mut self, index: u32, unsent: Unsent) {
        if let Some(mover) = self.waiting.get_mut(&index) {
            mover.unsent = Some(unsent);
        }
    }

    /// A session is to move when all shards rest; its client, if it has one, waits for that.
    pub(super) fn wish(&mut self, wish: Wish) {
        if let Some(mover) = wish.client.and_then(|client| self.waiting.get_mut(&client.index)) {
            mover.is_ready = true;
        }
        self.wishes.push(wish);
    }

    /// Takes those that are not for this rest; `None`: all.
    pub(super) fn take_wishes(&mut self, but_for: Option<u64>) -> Vec<Wish> {
        if self.wishes.is_empty() {
            return Vec::new();
        }
        let stays = |wish: &Wish| Some(wish.rest) == but_for;
        let (stay, go) = std::mem::take(&mut self.wishes).into_iter().partition(stays);
        self.wishes = stay;
        go
    }

    pub(super) fn has_wishes(&self) -> bool {
        !self.wishes.is_empty()
    }

    /// Whether no further session may move in the next rest.
    pub(super) fn is_full(&self) -> bool {
        self.wishes.len() >= WISHES_MAX
    }

    /// Its operations have ended, or it is gone.
    pub(super) fn end(&mut self, index: u32) -> Option<Unsent> {
        self.waiting.remove(&index).and_then(|mover| mover.unsent)
    }

    pub(super) fn has_moved(&mut self, from: Token, to: Token) {
        for token in self.moved.values_mut().filter(|token| **token == from) {
            *token = to;
        }
        self.moved.insert(from, to);
    }

    /// The token that a client has now, of which this is an earlier one.
    pub(super) fn token_now(&self, token: Token) -> Option<Token> {
        self.moved.get(&token).copied()
    }

    /// The client is gone.
    pub(super) fn forget(&mut self, token: Token) {
        if !self.moved.is_empty() {
            self.moved.retain(|_, now| *now != token);
        }
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.moved.len() + self.wishes.len()
    }
}
