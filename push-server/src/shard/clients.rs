//! The clients of a shard, by index: the slab, the generations that tell a client from an earlier one at the same
//! index, and the lists of clients that wait for the store or are to be closed.

mod account;
mod client;
mod discarded;
mod input_budget;
mod intake;
mod moving;
mod output;
mod receipts;
mod reviewing;
mod sending;
mod tls_handshakes;

pub(super) use account::{Account, Pause};
pub(super) use client::{Client, EndedConnection, PendingClient, Phase};
pub(super) use input_budget::InputBudget;
pub(super) use moving::{Unsent, Wish};
pub(super) use receipts::Receipts;
pub(super) use sending::{SEND_BYTES_MAX, Sending};
pub(super) use tls_handshakes::{StepWaits, TlsHandshakes};

use std::ops::{Index, IndexMut};

use slab::Slab;

use super::ports::{Ports, SocketOf, Token};
use super::reviews::Scope;
use crate::transport::{Scratch, Transport};
use discarded::Discarded;
use input_budget::InputCharge;
use moving::Moving;
use reviewing::Reviewing;

/// The bits of a generation that tokens carry.
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
    /// Scratch, kept for its memory: the MQTT bytes of one receive buffer, out of their layers.
    unwrapped: Scratch,
    /// Bytes that sockets have not taken yet.
    sending: Sending,
    /// Clients that move, and that have moved.
    moving: Moving,
    /// Clients whose handshakes of TLS wait for the shard.
    tls_handshakes: TlsHandshakes,
    /// Whether clients may still be here.
    reviewing: Reviewing,
    /// How often clients were looked at for something to send.
    #[cfg(any(test, feature = "simulation"))]
    flushes: u64,
}

impl<P: Ports> Clients<P> {
    pub(super) fn new(sending: Sending, tls_handshakes: TlsHandshakes) -> Self {
        Self {
            slab: Slab::new(),
            generation: 0,
            stalled: Vec::new(),
            overflowed: Vec::new(),
            discarded: Discarded::default(),
            unwrapped: Scratch::default(),
            sending,
            moving: Moving::default(),
            tls_handshakes,
            reviewing: Reviewing::default(),
            #[cfg(any(test, feature = "simulation"))]
            flushes: 0,
        }
    }

    /// Adds the client of a listener's new socket, under a new generation. Returns its index.
    pub(super) fn add(
        &mut self,
        socket: SocketOf<P>,
        listener: u16,
        transport: Transport,
        pending: PendingClient,
    ) -> u32 {
        let generation = self.next_generation();
        self.put(Client::new((socket, listener), generation, transport, pending))
    }

    /// Counts, for tests alone, that a client was looked at for something to send.
    pub(super) fn count_flush(&mut self) {
        #[cfg(any(test, feature = "simulation"))]
        {
            self.flushes += 1;
        }
    }

    /// How often one of them was to be sent what it is owed.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Takes out a client that is there.
    pub(super) fn remove(&mut self, index: u32) -> Client<P> {
        self.take_out(index).0
    }

    /// A client is to move to a shard when its operations have ended.
    pub(super) fn begin_move(&mut self, index: u32, to: u16) {
        self.moving.begin(index, to);
    }

    /// Where a client moves to that waits for its operations to end.
    pub(super) fn awaits_operations(&self, index: u32) -> Option<u16> {
        self.moving.awaits_operations(index)
    }

    /// A session is to move when all shards rest; its client, if it has one, waits for that.
    pub(super) fn wish(&mut self, wish: Wish) {
        self.moving.wish(wish);
    }

    /// Takes the wishes that are not for this rest; `None`: all.
    pub(super) fn take_wishes(&mut self, but_for: Option<u64>) -> Vec<Wish> {
        self.moving.take_wishes(but_for)
    }

    /// Whether sessions are to move when all shards rest.
    pub(super) fn has_wishes(&self) -> bool {
        self.moving.has_wishes()
    }

    /// Whether no further session may move in the next rest.
    pub(super) fn moves_enough(&self) -> bool {
        self.moving.is_full()
    }

    /// Takes out a client that leaves for another shard, with what is left of its send.
    pub(super) fn take_away(&mut self, index: u32) -> (Client<P>, Option<Unsent>) {
        let (mut client, unsent) = self.take_out(index);
        debug_assert!(client.is_quiet(), "an operation of this ring would follow it");
        // It counts where it goes.
        client.intake.discharge();
        (client, unsent)
    }

    /// Takes out a client that is there, with what is left of its send.
    fn take_out(&mut self, index: u32) -> (Client<P>, Option<Unsent>) {
        let client = self.slab.remove(index as usize);
        self.moving.forget(client.token(index));
        let unsent = self.moving.end(index);
        if let Some(unsent) = &unsent {
            self.sending.end(unsent.weight);
        }
        (client, unsent)
    }

    /// Adds a client that has come from another shard, or from another place. Returns its index.
    pub(super) fn take_in(&mut self, mut client: Client<P>) -> u32 {
        client.settle(self.next_generation());
        self.put(client)
    }

    fn next_generation(&mut self) -> u32 {
        self.generation = (self.generation + 1) & GENERATION_MASK;
        self.generation
    }

    /// Puts a client into the slab. Returns its index.
    fn put(&mut self, client: Client<P>) -> u32 {
        u32::try_from(self.slab.insert(client)).expect("connections are limited to u32")
    }

    /// What has come with it and was not sent counts here.
    pub(super) fn count_unsent(&mut self, unsent: Unsent) -> Unsent {
        let Unsent { chunks, weight } = unsent;
        Unsent { chunks, weight: self.sending.begin(weight as usize) }
    }

    /// Whether a client moves, and begins no operation.
    pub(super) fn is_moving(&self, index: u32) -> bool {
        self.moving.is_under_way(index)
    }

    /// Keeps the bytes that the socket of a moving client has not taken.
    pub(super) fn keep_unsent(&mut self, index: u32, unsent: Unsent) {
        self.moving.keep(index, unsent);
    }

    /// A client has moved, or stays. Returns the bytes that its socket has not taken.
    pub(super) fn end_move(&mut self, index: u32) -> Option<Unsent> {
        self.moving.end(index)
    }

    /// Puts a client in another place. Returns its index. Tokens that it had before still mean it: work that was
    /// begun for it comes back by them.
    pub(super) fn move_to_new_place(&mut self, index: u32) -> u32 {
        let client = self.slab.remove(index as usize);
        let before = client.token(index);
        let place = self.take_in(client);
        self.moving.has_moved(before, self[place].token(place));
        for stalled in self.stalled.iter_mut().filter(|stalled| **stalled == index) {
            *stalled = place;
        }
        place
    }

    pub(super) fn get(&self, index: u32) -> Option<&Client<P>> {
        self.slab.get(index as usize)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Client<P>> {
        self.slab.get_mut(index as usize)
    }

    /// The client that a token means, unless it is gone.
    pub(super) fn resolve(&self, token: Token) -> Option<u32> {
        let is_there =
            |token: &Token| self.get(token.index).is_some_and(|client| client.is_meant_by(*token));
        let token = if is_there(&token) { token } else { self.moving.token_now(token)? };
        is_there(&token).then_some(token.index)
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
    pub(super) fn with_scratch(&mut self, index: u32) -> (&mut Client<P>, &mut Scratch) {
        (&mut self.slab[index as usize], &mut self.unwrapped)
    }

    /// A client that is there, and the bytes that sockets have not taken yet.
    pub(super) fn with_sending(&mut self, index: u32) -> (&mut Client<P>, &mut Sending) {
        (&mut self.slab[index as usize], &mut self.sending)
    }

    /// A socket has taken the bytes of a send, or failed; they counted so much.
    pub(super) fn end_send(&mut self, weight: u32) {
        self.sending.end(weight);
    }

    /// Adds what this shard has under way to the total of all shards, exactly.
    pub(super) fn settle_sending(&mut self) {
        self.sending.settle();
    }

    /// Clients whose handshakes of TLS wait for the shard.
    pub(super) fn tls_handshakes(&self) -> &TlsHandshakes {
        &self.tls_handshakes
    }

    /// The same, to take one.
    pub(super) fn tls_handshakes_mut(&mut self) -> &mut TlsHandshakes {
        &mut self.tls_handshakes
    }

    /// A step of a client's handshake of TLS is due. `None`: it is not before its handshake's end.
    pub(super) fn push_tls_step(&mut self, index: u32) -> Option<StepWaits> {
        let client = self.slab.get_mut(index as usize)?;
        let token = client.token(index);
        let pending = client.pending_mut()?.tls.as_deref_mut()?;
        Some(self.tls_handshakes.push(token, pending))
    }

    /// Lets in the clients that have waited for a place, as far as there are places.
    pub(super) fn let_tls_in(&mut self) {
        while let Some((token, place)) = self.tls_handshakes.next_in() {
            // One that is gone gives its place to the next.
            if let Some(index) = self.resolve(token)
                && let Some(pending) = self.slab[index as usize].pending_mut()
                && let Some(pending) = pending.tls.as_deref_mut()
            {
                self.tls_handshakes.let_in(token, pending, place);
            }
        }
    }

    /// Begins to look at all clients again.
    pub(super) fn begin_review(&mut self, number: u32, scope: Scope) {
        // Whoever comes later has been judged by what the files say now, or is looked at then.
        let end = u32::try_from(self.slab.capacity()).unwrap_or(u32::MAX);
        self.reviewing.begin(number, scope, end);
    }

    /// How far the review of the clients has come.
    pub(super) fn reviewing(&self) -> &Reviewing {
        &self.reviewing
    }

    /// The same, to go on with it.
    pub(super) fn reviewing_mut(&mut self) -> &mut Reviewing {
        &mut self.reviewing
    }

    /// A client's input waits until the store keeps up.
    pub(super) fn push_stalled(&mut self, index: u32) {
        self.stalled.push(index);
    }

    /// Takes the clients that wait for the store. Another client may have the index of one by now.
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

    /// Takes a client whose outbox was full.
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

    /// Takes a connection's input, whose memory is freed in pieces.
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

    /// How much is left, by kind: nothing once every session and connection has ended.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn leftovers(&self) -> [(&'static str, usize); 5] {
        [
            ("clients", self.slab.len()),
            ("clients that are stalled", self.stalled.len()),
            ("clients that have moved", self.moving.len()),
            ("handshakes of TLS", self.tls_handshakes.len()),
            ("clients that have to go", self.reviewing.len()),
        ]
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
