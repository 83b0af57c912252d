//! Sockets that wait until the connect rate lets them in. Addresses take turns, each with its sockets in the order
//! they came, so that one address with many of them does not keep the others waiting.

use std::collections::{BTreeMap, VecDeque};

use crate::shard::addresses::{AddressKey, AddressPlace};

/// Sockets of a shard that may wait before accepting pauses.
pub(crate) const WAITING_ROOM_MAX: usize = 1_024;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whence {
    Address(AddressKey),
    /// The address is not known, or a proxy's: all of a listener are one.
    Listener(u16),
}

/// A socket that has a place, and is not let in yet.
#[derive(Debug)]
pub(in crate::shard) struct Newcomer<S> {
    pub(in crate::shard) socket: S,
    pub(in crate::shard) listener: u16,
    /// By what its address counts.
    pub(in crate::shard) key: Option<AddressKey>,
    /// Its place among those of its address that wait.
    pub(in crate::shard) place: Option<AddressPlace>,
}

/// Those that wait.
#[derive(Debug)]
pub(super) struct WaitingRoom<S> {
    waiting: BTreeMap<Whence, VecDeque<Newcomer<S>>>,
    turns: VecDeque<Whence>,
    len: usize,
}

impl<S> WaitingRoom<S> {
    pub(super) fn new() -> Self {
        Self { waiting: BTreeMap::new(), turns: VecDeque::new(), len: 0 }
    }

    /// One more waits, behind those of its address.
    pub(super) fn push(&mut self, newcomer: Newcomer<S>) {
        let whence = newcomer.key.map_or(Whence::Listener(newcomer.listener), Whence::Address);
        let same = self.waiting.entry(whence).or_default();
        if same.is_empty() {
            self.turns.push_back(whence);
        }
        same.push_back(newcomer);
        self.len += 1;
    }

    /// Takes the next one.
    pub(super) fn pop(&mut self) -> Option<Newcomer<S>> {
        let whence = self.turns.pop_front()?;
        let same = self.waiting.get_mut(&whence)?;
        let newcomer = same.pop_front();
        if same.is_empty() {
            self.waiting.remove(&whence);
        } else {
            self.turns.push_back(whence);
        }
        self.len -= usize::from(newcomer.is_some());
        newcomer
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests;
