//! The clients of a shard, by index: the slab, the generations that tell a client from an earlier one at
//! the same index, and the lists of clients that wait for something other than their turn.

mod client;
mod discarded;
mod input_budget;
mod intake;
mod output;
mod receipts;
mod sending;

pub(super) use client::{Client, Introduction, LINGER_MILLIS, Phase};
pub(super) use input_budget::InputBudget;
pub(super) use receipts::Receipts;
pub(super) use sending::{SEND_BYTES_MAX, Sending};

use std::ops::{Index, IndexMut};

use push_common::clock::Monotonic;
use slab::Slab;

use super::ports::{Ports, SocketOf, Token};
use discarded::Discarded;
use input_budget::InputCharge;

/// Generations of clients, as tokens carry them.
const GENERATION_MASK: u32 = 0x00FF_FFFF;

/// The clients.
#[derive(Debug)]
pub(super) struct Clients<P: Ports> {
    slab: Slab<Client<P>>,
    generation: u32,
    /// Clients whose input waits until the store keeps up.
    stalled: Vec<u32>,
    /// Clients to close because their outbox is full.
    overflowed: Vec<u32>,
    /// Input of connections that have ended.
    discarded: Discarded,
    /// Scratch, kept for its memory: MQTT out of WebSocket, of one receive buffer.
    unwrapped: Vec<u8>,
    /// Bytes that sockets have not taken yet.
    sending: Sending,
}

impl<P: Ports> Clients<P> {
    pub(super) fn new(sending: Sending) -> Self {
        Self {
            slab: Slab::new(),
            generation: 0,
            stalled: Vec::new(),
            overflowed: Vec::new(),
            discarded: Discarded::default(),
            unwrapped: Vec::new(),
            sending,
        }
    }

    /// Adds a client, under a new generation.
    pub(super) fn add(&mut self, socket: SocketOf<P>, phase: Phase, seen: Monotonic) -> u32 {
        self.generation = (self.generation + 1) & GENERATION_MASK;
        let client = Client::new(socket, self.generation, phase, seen);
        u32::try_from(self.slab.insert(client)).expect("connections are limited to u32")
    }

    /// Takes out a client that is there.
    pub(super) fn remove(&mut self, index: u32) -> Client<P> {
        self.slab.remove(index as usize)
    }

    pub(super) fn get(&self, index: u32) -> Option<&Client<P>> {
        self.slab.get(index as usize)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Client<P>> {
        self.slab.get_mut(index as usize)
    }

    /// The client that a token means, unless it is gone.
    pub(super) fn resolve(&self, token: Token) -> Option<u32> {
        let client = self.get(token.index)?;
        (client.generation == token.generation).then_some(token.index)
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Every client there is now; handling one may remove it.
    pub(super) fn indices(&self) -> Vec<u32> {
        self.slab.iter().map(|(index, _)| index as u32).collect()
    }

    /// A client that is there, and scratch for what its bytes unwrap to.
    pub(super) fn with_scratch(&mut self, index: u32) -> (&mut Client<P>, &mut Vec<u8>) {
        (&mut self.slab[index as usize], &mut self.unwrapped)
    }

    /// A client that is there, and what sockets of all have not taken yet.
    pub(super) fn with_sending(&mut self, index: u32) -> (&mut Client<P>, &mut Sending) {
        (&mut self.slab[index as usize], &mut self.sending)
    }

    /// A socket has taken what it was handed, or failed: so much counted for it.
    pub(super) fn end_send(&mut self, weight: u32) {
        self.sending.end(weight);
    }

    /// Tells all shards what this one has under way.
    pub(super) fn settle_sending(&mut self) {
        self.sending.settle();
    }

    /// A client's input waits until the store keeps up.
    pub(super) fn push_stalled(&mut self, index: u32) {
        self.stalled.push(index);
    }

    /// Takes those that wait for the store. Another client may have the index of one by now.
    pub(super) fn take_stalled(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.stalled)
    }

    pub(super) fn has_stalled(&self) -> bool {
        !self.stalled.is_empty()
    }

    /// A client's outbox is full. Returns whether that is new.
    pub(super) fn push_overflowed(&mut self, index: u32) -> bool {
        let is_new = self[index].output.mark_overflowed();
        if is_new {
            self.overflowed.push(index);
        }
        is_new
    }

    /// Takes one whose outbox was full.
    pub(super) fn pop_overflowed(&mut self) -> Option<u32> {
        while let Some(index) = self.overflowed.pop() {
            // The flag tells it from a later client at the same index.
            if let Some(client) = self.get_mut(index)
                && client.output.take_overflowed()
            {
                return Some(index);
            }
        }
        None
    }

    /// The memory of a connection's input is about to go.
    pub(super) fn discard(&mut self, input: Vec<u8>, charge: Option<Box<InputCharge>>) {
        self.discarded.push(input, charge);
    }

    pub(super) fn has_discarded(&self) -> bool {
        !self.discarded.is_empty()
    }

    /// Frees a piece of it. Returns whether there is more.
    pub(super) fn free_piece(&mut self) -> bool {
        self.discarded.free_piece()
    }

    /// What is left, by kind: nothing once every session and connection has ended.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn leftovers(&self) -> [(&'static str, usize); 2] {
        [("clients", self.slab.len()), ("clients that are stalled", self.stalled.len())]
    }
}

impl<P: Ports> Index<u32> for Clients<P> {
    type Output = Client<P>;

    fn index(&self, index: u32) -> &Client<P> {
        &self.slab[index as usize]
    }
}

impl<P: Ports> IndexMut<u32> for Clients<P> {
    fn index_mut(&mut self, index: u32) -> &mut Client<P> {
        &mut self.slab[index as usize]
    }
}
