//! A served client moves: to another place of its shard, as yet. Its operations are interrupted and end,
//! then it becomes a value, and of the value a client is made whose socket goes on where it was: with the
//! bytes of a packet that has not come whole, and with those that the socket has not taken. Nothing is
//! lost if it does not come to the move: a client that is closed meanwhile goes on to close.
//!
//! The session stays where it is: it belongs to the shard that its client id hashes to, and all shards
//! count on that. The hand-over between processes moves whole shards, each with its sessions, so it needs
//! this and no more.

#[cfg(any(test, feature = "simulation"))]
use std::net::SocketAddr;

use bytes::Bytes;

use super::Shard;
use crate::mutant::{Rule, is_left_out};
use crate::shard::clients::{Phase, Unsent};
#[cfg(any(test, feature = "simulation"))]
use crate::shard::ports::Socket;
use crate::shard::ports::{Ports, Token, Wire};

impl<P: Ports> Shard<P> {
    /// Has a served client move as soon as its operations have ended. Returns whether it will.
    #[cfg_attr(
        not(any(test, feature = "simulation")),
        expect(dead_code, reason = "the hand-over between processes will begin with it")
    )]
    pub(in crate::shard) fn begin_move(&mut self, index: u32) -> bool {
        if self.clients.is_moving(index) || !self.may_move(index) {
            return false;
        }
        let client = &self.clients[index];
        let (receives, sends) = (client.intake.is_receiving(), client.output.is_sending());
        let token = client.token(index);
        self.clients.begin_move(index);
        if receives {
            self.wire.cancel_receive(token);
        }
        if sends {
            self.wire.interrupt_send(token);
        }
        self.go_on_moving(index);
        true
    }

    /// The same for the client with this address.
    #[cfg(any(test, feature = "simulation"))]
    pub(in crate::shard) fn move_client_of(&mut self, peer: SocketAddr) -> bool {
        let mut indices = self.clients.indices().into_iter();
        let at =
            |index: &u32| self.clients[*index].socket.peer_address().is_ok_and(|at| at == peer);
        indices.find(at).is_some_and(|index| self.begin_move(index))
    }

    /// A send was interrupted: what is left of it is sent when the client has moved.
    pub(super) fn on_interrupted(
        &mut self,
        token: Token,
        weight: u32,
        accepted: usize,
        unsent: Vec<Bytes>,
    ) {
        let Some(index) = self.resolve(token) else {
            self.clients.end_send(weight);
            self.here.counters().stale_completions.add(1);
            return;
        };
        let client = &mut self.clients[index];
        client.output.end_send();
        // The slot's `tx` keeps its value: the kernel must not speak in the middle of a frame.
        client.count_sent(accepted);
        let chunks = if is_left_out(Rule::UnsentMoves) { Vec::new() } else { unsent };
        self.clients.keep_unsent(index, Unsent { chunks, weight });
        self.go_on_moving(index);
    }

    /// An operation of a client has ended: if it moves and that was the last one, it does so now.
    pub(super) fn go_on_moving(&mut self, index: u32) {
        if !self.clients.is_moving(index) || !self.clients[index].is_quiet() {
            return;
        }
        let unsent = self.clients.end_move(index);
        let index = if self.may_move(index) { self.move_now(index) } else { index };
        if let Some(unsent) = unsent {
            self.send_unsent(index, unsent);
        }
        self.after_receive(index);
        self.mark_dirty(index);
    }

    fn may_move(&self, index: u32) -> bool {
        self.clients.get(index).is_some_and(|client| {
            let is_served = client.is_served();
            let is_open = !client.intake.is_peer_gone() && !client.output.has_failed();
            is_served && is_open && !client.output.is_overflowed()
        })
    }

    /// Returns its new place.
    fn move_now(&mut self, index: u32) -> u32 {
        let index = self.clients.move_to_new_place(index);
        if let &Phase::Serving { session, .. } = self.clients[index].phase()
            && let Some(entry) = self.sessions.entry_mut(session)
        {
            entry.connect(index);
        }
        if let Some(deadline) = self.serving_deadline(index) {
            self.arm_client_timer(index, deadline);
        }
        // It counts under its new token.
        self.clients[index].intake.discharge();
        self.keep_input(index);
        index
    }

    /// Sends on where a send was interrupted, unless nothing is sent any more.
    fn send_unsent(&mut self, index: u32, unsent: Unsent) {
        let Unsent { chunks, weight } = unsent;
        let client = &mut self.clients[index];
        let is_over =
            client.output.has_failed() || matches!(client.phase(), Phase::Lingering { .. });
        if is_over || chunks.iter().all(Bytes::is_empty) {
            self.clients.end_send(weight);
            return;
        }
        client.output.begin_send();
        let token = client.token(index);
        self.wire.send(&client.socket, token, chunks, weight);
    }
}
