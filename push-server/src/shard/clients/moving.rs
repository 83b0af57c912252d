//! Clients that move: those that wait for their operations to end, with what is left of their sends, and
//! by which token work that was begun before knows those that have moved.

use std::collections::HashMap;

use bytes::Bytes;

use crate::shard::ports::Token;

/// The moves of a shard's clients.
#[derive(Debug, Default)]
pub(super) struct Moving {
    /// By index. Empty but for the moment that a move takes.
    waiting: HashMap<u32, Option<Unsent>>,
    /// From an earlier token of a client to the one that it has now.
    moved: HashMap<Token, Token>,
}

/// What a socket was handed, and has not taken.
#[derive(Debug)]
pub(in crate::shard) struct Unsent {
    pub(in crate::shard) chunks: Vec<Bytes>,
    /// What it counts among all bytes that sockets have not taken.
    pub(in crate::shard) weight: u32,
}

impl Moving {
    pub(super) fn begin(&mut self, index: u32) {
        self.waiting.insert(index, None);
    }

    pub(super) fn is_under_way(&self, index: u32) -> bool {
        !self.waiting.is_empty() && self.waiting.contains_key(&index)
    }

    pub(super) fn keep(&mut self, index: u32, unsent: Unsent) {
        self.waiting.insert(index, Some(unsent));
    }

    /// Its operations have ended, or it is gone.
    pub(super) fn end(&mut self, index: u32) -> Option<Unsent> {
        self.waiting.remove(&index).flatten()
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
        self.waiting.len() + self.moved.len()
    }
}
