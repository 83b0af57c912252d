//! A session moves to another shard of the process, with its client if that is served, or a client moves within
//! its shard. The client's operations are interrupted and end; then nothing of this shard refers to it, it goes as it
//! is, and its socket goes on where it was: with the bytes of a packet that has not come whole, and with those that
//! the socket has not taken.
//!
//! Between shards that happens when all of them rest, so nothing of the session is under way: it travels with its
//! client as one piece of mail. Who asks for it from then on, be it a CONNECT, finds it by `owners`, and
//! messages find it by the tables of the shard that it has come to. Of the disk nothing is asked: what a session
//! has there is known by its number.
//!
//! A session that is in no state to move stays, and so does one for which the shards have not come to rest in
//! time. Nothing is lost by that: the client goes on where it is, and one that is closed meanwhile goes on to
//! close.

#[cfg(any(test, feature = "simulation"))]
use std::net::SocketAddr;

use bytes::Bytes;

use super::Shard;
use crate::mqtt::{Session, SubscriptionList};
use crate::mutant::{Rule, is_left_out};
use crate::shard::clients::{Client, Phase, Unsent, Wish};
#[cfg(any(test, feature = "simulation"))]
use crate::shard::connect_order::ConnectNumber;
#[cfg(any(test, feature = "simulation"))]
use crate::shard::ports::Socket;
use crate::shard::ports::{Ports, Token, Wire};
use crate::shard::post::{Company, Mail, Moved};
use crate::shard::sessions::Presence;
use crate::store::SessionNumber;

/// Why a session stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::shard) enum Stays {
    #[error("the shards do not rest now")]
    NoRest,
    #[error("there is no such session, or it moves already")]
    Gone,
    #[error("its client is not served, or about to be closed")]
    Unserved,
    #[error("its client waits for an answer from outside the shards")]
    Asks,
    #[error("it waits for the disk")]
    AwaitsDisk,
    #[error("the disk has refused something of it")]
    Refused,
    #[error("a will waits that another session with its client id has left")]
    HasStray,
    #[error("enough others move in the same rest")]
    Later,
    #[error("too many sessions have moved")]
    TooMany,
}

impl<P: Ports> Shard<P> {
    /// Begins to move a served client, with its session, to a shard, which may be its own. It leaves as soon as its
    /// operations have ended.
    ///
    /// # Errors
    /// It stays, and nothing has begun.
    #[cfg_attr(
        not(any(test, feature = "simulation")),
        expect(
            dead_code,
            reason = "nobody asks for it yet but the simulator: whoever levels shards will"
        )
    )]
    pub(in crate::shard) fn begin_move(&mut self, index: u32, to: u16) -> Result<(), Stays> {
        if self.clients.is_moving(index) {
            return Err(Stays::Gone);
        }
        if !self.may_move(index) {
            return Err(Stays::Unserved);
        }
        let client = &self.clients[index];
        let (receives, sends) = (client.intake.is_receiving(), client.output.is_sending());
        let token = client.token(index);
        self.clients.begin_move(index, to);
        if receives {
            self.wire.cancel_receive(token);
        }
        if sends {
            self.wire.interrupt_send(token);
        }
        self.go_on_moving(index);
        Ok(())
    }

    /// Begins to move a session that has no client here to another shard.
    ///
    /// # Errors
    /// It stays, and nothing has begun.
    #[cfg_attr(
        not(any(test, feature = "simulation")),
        expect(
            dead_code,
            reason = "nobody asks for it yet but the simulator: whoever levels shards will"
        )
    )]
    pub(in crate::shard) fn begin_session_move(&mut self, key: u32, to: u16) -> Result<(), Stays> {
        let is_absent = self.sessions.entry(key).is_some_and(|entry| entry.client().is_none());
        if !is_absent || to == self.here.index() {
            return Err(Stays::Gone);
        }
        self.wish(key, None, to)
    }

    /// The same for the client with this address.
    #[cfg(any(test, feature = "simulation"))]
    pub(in crate::shard) fn move_client_of(&mut self, peer: SocketAddr, to: u16) -> bool {
        self.client_at(peer).is_some_and(|index| self.begin_move(index, to).is_ok())
    }

    /// Whether the client with this address is here, and its CONNECT has not been read whole.
    #[cfg(any(test, feature = "simulation"))]
    pub(in crate::shard) fn awaits_connect_of(&self, peer: SocketAddr) -> bool {
        let number = self.client_at(peer).map(|index| self.clients[index].connect_number());
        number == Some(ConnectNumber::default())
    }

    #[cfg(any(test, feature = "simulation"))]
    fn client_at(&self, peer: SocketAddr) -> Option<u32> {
        let at =
            |index: &u32| self.clients[*index].socket.peer_address().is_ok_and(|at| at == peer);
        self.clients.indices().into_iter().find(at)
    }

    /// The same for the session of this client, if that is away.
    #[cfg(any(test, feature = "simulation"))]
    pub(in crate::shard) fn move_session_of(&mut self, client_id: &str, to: u16) -> bool {
        let key = self.sessions.find(client_id);
        key.is_some_and(|key| self.begin_session_move(key, to).is_ok())
    }

    /// Whoever is outside the shards asks for the same, wherever the client is.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn on_move_asked(&mut self, client_id: &str, to: u16) {
        let Some(key) = self.sessions.find(client_id) else { return };
        let client = self.sessions.client(key);
        let begun = match client {
            Some(index) => self.begin_move(index, to),
            None => self.begin_session_move(key, to),
        };
        if let Err(why) = begun {
            self.stay(None, why);
        }
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

    /// An operation of a client has ended: if it moves and that was the last one, it does so now, or when all shards
    /// rest.
    pub(super) fn go_on_moving(&mut self, index: u32) {
        let Some(to) = self.clients.awaits_operations(index) else { return };
        if !self.clients[index].is_quiet() {
            return;
        }
        if to == self.here.index() {
            let unsent = self.clients.end_move(index);
            let index = if self.may_move(index) { self.move_now(index) } else { index };
            self.go_on_where_it_is(index, unsent);
            return;
        }
        let session = match self.clients[index].phase() {
            Phase::Serving { session, .. } => Some(*session),
            _ => None,
        };
        let client = self.token_of(index);
        let wished = session.map_or(Err(Stays::Unserved), |key| self.wish(key, Some(client), to));
        if let Err(why) = wished {
            self.stay(Some(client), why);
        }
    }

    /// Asks for all shards to rest, so that a session can move.
    fn wish(&mut self, key: u32, client: Option<Token>, to: u16) -> Result<(), Stays> {
        if self.clients.moves_enough() {
            return Err(Stays::Later);
        }
        let session = (key, self.sessions.number(key));
        let rest = self.ask_for_rest().ok_or(Stays::NoRest)?;
        self.clients.wish(Wish { rest, session, client, to });
        Ok(())
    }

    /// All shards rest: the sessions go that wait for this rest. Each goes, or says that it stays.
    pub(super) fn fulfil_wishes(&mut self) {
        for wish in self.clients.take_wishes(None) {
            if let Err(why) = self.move_away(&wish) {
                self.stay(wish.client, why);
                self.end_wish();
            }
        }
    }

    /// The rest that sessions have waited for has not come, or another one is asked for by now: they stay.
    pub(super) fn drop_wishes(&mut self, but_for: Option<u64>) {
        for wish in self.clients.take_wishes(but_for) {
            self.stay(wish.client, Stays::NoRest);
        }
    }

    /// A session stays where it is, with its client.
    fn stay(&mut self, client: Option<Token>, why: Stays) {
        tracing::debug!(shard = self.here.index(), %why, "a session does not move");
        self.here.counters().moves_refused.add(1);
        if let Some(index) = client.and_then(|client| self.resolve(client)) {
            let unsent = self.clients.end_move(index);
            self.go_on_where_it_is(index, unsent);
        }
    }

    /// A client whose operations have ended begins some again.
    fn go_on_where_it_is(&mut self, index: u32, unsent: Option<Unsent>) {
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
        let ends_at = self.timers.ends_mut().take(index);
        let index = self.clients.move_to_new_place(index);
        if let &Phase::Serving { session, .. } = self.clients[index].phase()
            && let Some(entry) = self.sessions.entry_mut(session)
        {
            entry.connect(index);
        }
        self.settle_in(index, ends_at);
        index
    }

    /// A client has a new place: its timer, its end and its input count there.
    fn settle_in(&mut self, index: u32, ends_at: Option<u64>) {
        if let Some(secs) = ends_at {
            self.timers.ends_mut().set(index, secs);
        }
        if let Some(deadline) = self.serving_deadline(index) {
            self.arm_client_timer(index, deadline);
        }
        // It counts under its new token.
        self.clients[index].intake.discharge();
        self.keep_input(index);
        self.review_moved(index);
    }

    /// Sends on where a send was interrupted, unless nothing is sent any more. There is something to send: one that
    /// was whole has ended with `Completion::Sent`, which publishes `tx`. Only a mutant leaves nothing.
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

    /// Sends a session to another shard.
    ///
    /// # Errors
    /// It stays.
    fn move_away(&mut self, wish: &Wish) -> Result<(), Stays> {
        let &Wish { session: (key, number), client, to, .. } = wish;
        self.judge_move(key, number, client)?;
        let session = self.sessions.session(key).ok_or(Stays::Gone)?;
        self.note_owner(session.client_id(), to)?;
        let network = self.sessions.network(key);
        let entry = self.sessions.remove(key).ok_or(Stays::Gone)?;
        let (session, presence, number) = entry.into_parts();
        self.take_out_of_tables(key, session.subscriptions());
        let backlog = self.publishing.take_backlog(key);
        let company = match presence {
            Presence::Absent(absence) => Company::Nobody(absence),
            Presence::Connected(index) => {
                let client = &self.clients[index];
                self.path.leaves(client.slot.as_ref(), self.here.counters());
                self.here.counters().connections.sub(1);
                let ends_at = self.timers.ends_mut().take(index);
                let (client, unsent) = self.clients.take_away(index);
                Company::Client(Box::new(client), unsent, ends_at)
            }
        };
        let from = self.member(key);
        self.sessions.vacate(key);
        self.here.counters().sessions.sub(1);
        self.here.counters().sessions_moved.add(1);
        let moved = Moved { session, number, network, company, backlog, from };
        self.post(to, Mail::Moved(Box::new(moved)));
        Ok(())
    }

    /// Judges whether a session may move now.
    ///
    /// # Errors
    /// It is not what it was when it was to move, or in a state that does not go along.
    fn judge_move(
        &mut self,
        key: u32,
        number: SessionNumber,
        client: Option<Token>,
    ) -> Result<(), Stays> {
        let entry = self.sessions.numbered(key, number).ok_or(Stays::Gone)?;
        let index = entry.client();
        if entry.session.awaits_disk() {
            return Err(Stays::AwaitsDisk);
        }
        if index != client.and_then(|client| self.resolve(client)) {
            return Err(Stays::Gone);
        }
        if let Some(index) = index {
            let is_waiting = self.clients.is_moving(index) && self.may_move(index);
            let client = &self.clients[index];
            if !is_waiting || client.output.is_held() || client.has_receipts() {
                return Err(Stays::Unserved);
            }
            if matches!(client.phase(), Phase::Serving { connection, .. } if connection.is_asking())
            {
                return Err(Stays::Asks);
            }
        }
        if self.journal.has_refused(key, number) {
            return Err(Stays::Refused);
        }
        if self.publishing.is_returning(key) {
            return Err(Stays::Unserved);
        }
        let client_id = self.sessions.session(key).map(Session::client_id);
        if client_id.is_some_and(|client_id| self.sessions.has_stray(client_id)) {
            return Err(Stays::HasStray);
        }
        Ok(())
    }

    /// From now on a CONNECT with this client id goes to that shard.
    ///
    /// # Errors
    /// There is no room to note that.
    fn note_owner(&self, client_id: &str, to: u16) -> Result<(), Stays> {
        let entrance = &self.here.shared().entrance;
        if entrance.first_home_of(client_id) == to {
            entrance.owners().remove(client_id);
        } else if !entrance.owners().set(client_id, to) {
            self.here.counters().limit_owners.add(1);
            return Err(Stays::TooMany);
        }
        Ok(())
    }

    /// Filters of a session that moves lead to nobody here any more. Its groups keep it, with its turn.
    fn take_out_of_tables(&mut self, key: u32, filters: &SubscriptionList) {
        for (filter, _) in filters {
            if !filter.is_shared() {
                self.drop_from_tables(key, filter);
            }
        }
        self.here.counters().subscriptions.sub(filters.len() as u64);
    }

    /// A session lives here from now on, which has come from another shard.
    pub(super) fn on_moved(&mut self, moved: Moved<P>) {
        let Moved { session, number, network, company, backlog, from } = moved;
        let filters = session.subscriptions().clone();
        // In the place of what it took there.
        self.sessions.take_memory(&session, true);
        let (presence, unsent, ends_at) = match company {
            Company::Nobody(absence) => (Presence::Absent(absence), None, None),
            Company::Client(client, unsent, ends_at) => {
                (Presence::Connected(self.take_in(*client)), unsent, ends_at)
            }
        };
        let client = presence.client();
        let key = self.sessions.insert(session, presence, number);
        self.here.counters().sessions.add(1);
        self.sessions.set_network(key, network);
        for (filter, options) in filters {
            if is_left_out(Rule::SubscriptionsMove) {
                self.here.counters().subscriptions.add(1);
            } else if filter.is_shared() {
                self.here.shared().shares.rename(&filter, from, self.member(key));
                self.here.counters().subscriptions.add(1);
            } else {
                self.index_subscription(key, &filter, options);
            }
        }
        if let Some(backlog) = backlog {
            self.publishing.put_backlog_back(key, backlog);
            if client.is_none() {
                self.publishing.push_absent(key);
            }
        }
        match client {
            Some(index) => {
                self.clients[index].set_session(key);
                self.settle_in(index, ends_at);
                let unsent = unsent.map(|unsent| self.clients.count_unsent(unsent));
                self.go_on_where_it_is(index, unsent);
                if self.clients.get(index).is_some_and(|client| client.intake.is_stalled()) {
                    self.queue_input(index);
                }
            }
            None => {
                self.arm_absence(key);
                self.note_unused(key);
            }
        }
        self.end_wish();
    }

    /// Takes over a client of another shard, with its slot. Returns its index.
    pub(super) fn take_in(&mut self, client: Client<P>) -> u32 {
        let index = self.clients.take_in(client);
        self.here.counters().connections.add(1);
        let client = &mut self.clients[index];
        self.path.adopt(client.slot.as_ref(), index, self.here.counters());
        // What the programs have noted just before the move, they have told the other shard.
        if let Some(numbers) = client.transport.numbers() {
            numbers.fill_up();
        }
        index
    }
}
