//! The loop of a shard: waits for completions, handles them, fires timers, does the work that waits,
//! and at the end of the turn sends what the turn produced.

mod admit;
mod authenticate;
mod deliver;
mod durable;
mod ending;
mod enter;
mod errand;
mod errands;
mod fanout;
mod feed;
mod hand_on;
mod handshake;
mod input;
mod layers;
mod moving;
mod pages;
mod places;
mod receipts;
mod recovery;
mod remains;
mod rest;
mod retry;
mod review;
mod save;
mod serve;
mod share;
mod subscribe;
mod tables;
mod tell;
mod tls;
mod wills;

use std::sync::Arc;
use std::time::Duration;

use push_common::clock::Monotonic;

use super::Shared;
use super::accept::Acceptor;
use super::agenda::{Agenda, Flow};
use super::clients::{Clients, Sending, TlsHandshakes};
use super::counters::ShardCounters;
use super::here::Here;
use super::journal::Journal;
use super::liveness::HeartbeatPath;
use super::ports::{
    Completion, PieceOf, Ports, Received, Socket, SocketOf, Token, Wire, WireError,
};
use super::post::{Mail, Mailbox, Post, Stamp};
use super::publish::Publishing;
use super::sessions::{RecoveredPart, Sessions};
use super::stop::Stop;
use super::timers::{Timed, Timers};
use crate::broker::Message;
use crate::broker::retained::EXPIRED_PER_CALL_MAX;
use crate::store::Write;
use errand::Errand;

/// A shard turns at least this often, if only to stamp its heartbeat: the kernel stops vouching for
/// a shard after 5 s.
const TURN_MILLIS_MAX: u64 = 1_000;

/// When a turn has lasted so long, it leaves retained messages for absent sessions to the next one, which does not
/// wait: the heartbeat must not be late.
const TURN_BUDGET: Duration = Duration::from_millis(20);

/// How long a turn takes completions of the ring (clients connect and end by them), and how many it takes between
/// two looks at the clock.
const COMPLETIONS_BUDGET: Duration = Duration::from_millis(8);
const COMPLETIONS_PER_LOOK: usize = 8;

/// How long a turn handles timers that are due. Thousands of sessions may end in one second.
const TIMERS_BUDGET: Duration = Duration::from_millis(3);

/// Units that a timer costs: at most it ends a session.
const TIMER_UNITS: u32 = 256;

/// How long a turn gives memory of ended connections back to the system; it gives back one piece at least.
const DISCARD_BUDGET: Duration = Duration::from_millis(2);

/// How many wills of strays a turn publishes.
const STRAYS_PER_TURN_MAX: usize = 64;

/// Units that a completion costs by itself.
const COMPLETION_UNITS: u32 = 16;

/// How long a turn waits while another shard's mailbox is full.
const OVERFLOW_RETRY_MILLIS: u64 = 1;

/// How often a shard looks whether the store keeps up again. The store wakes only the shard whose request is done,
/// and that may be another one.
const STORE_LOOK_MILLIS: u64 = 20;

/// How often a shard looks how far a rest has come, beside when others tell it.
const REST_LOOK: Duration = Duration::from_millis(5);

/// How often a shard whose clients wait for a place for their handshake looks whether another shard has given one back.
const TLS_LOOK_MILLIS: u64 = 5;

/// How often a stopping shard looks whether it is done.
const STOP_TURN_MILLIS: u64 = 20;

/// What a shard starts from.
#[derive(Debug)]
pub(super) struct ShardSetup<P: Ports> {
    pub(super) index: u16,
    pub(super) shared: Arc<Shared>,
    /// Of every shard, in order.
    pub(super) mailboxes: Arc<[Mailbox<Mail<P>>]>,
    pub(super) wire: P::Wire,
    pub(super) path: Option<P::Liveness>,
    pub(super) clock: P::Clock,
    pub(super) randomness: P::Randomness,
    pub(super) counters: Arc<ShardCounters>,
    pub(super) recovered: RecoveredPart,
}

/// A shard.
#[derive(Debug)]
pub(super) struct Shard<P: Ports> {
    here: Here<P::Randomness>,
    pub(super) wire: P::Wire,
    pub(super) path: HeartbeatPath<P::Liveness>,
    post: Post<Mail<P>>,
    acceptor: Acceptor<SocketOf<P>>,
    clients: Clients<P>,
    sessions: Sessions,
    agenda: Agenda<P::Clock, Errand>,
    stop: Stop,
    journal: Journal,
    publishing: Publishing,
    timers: Timers,
}

impl<P: Ports> Shard<P> {
    pub(super) fn new(setup: ShardSetup<P>) -> Self {
        let agenda = Agenda::new(setup.clock);
        let now = agenda.now();
        let sessions = Sessions::new(
            setup.index,
            setup.shared.entrance.hash_seed(),
            &setup.shared.memory.sessions,
        );
        let sending = Sending::new(&setup.shared.memory.sending);
        let tls_handshakes = TlsHandshakes::new(setup.shared.totals.tls_places());
        let acceptor = Acceptor::new(setup.shared.entrance.listeners().len());
        let here = Here::new(setup.index, setup.shared, setup.counters, setup.randomness);
        let mut shard = Self {
            here,
            wire: setup.wire,
            path: HeartbeatPath::new(setup.path),
            post: Post::new(setup.index, setup.mailboxes),
            acceptor,
            clients: Clients::new(sending, tls_handshakes),
            sessions,
            agenda,
            stop: Stop::default(),
            journal: Journal::default(),
            publishing: Publishing::default(),
            timers: Timers::new(now),
        };
        shard.recover(setup.recovered);
        shard
    }

    /// How often it looked for something to send to one of its clients.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn flushes(&self) -> u64 {
        self.clients.flushes()
    }

    /// How much is left in its parts, by kind: nothing once every session and connection has ended.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn leftovers(&self) -> Vec<(&'static str, usize)> {
        let mut left = vec![("work that waits", usize::from(!self.agenda.is_empty()))];
        left.extend(self.clients.leftovers());
        left.extend(self.post.leftovers());
        left.extend(self.sessions.leftovers());
        left.extend(self.journal.leftovers());
        left.push(("ends of clients", self.timers.ends().len()));
        left
    }

    /// Serves until stopped. To be called when every shard is there.
    pub(super) fn run(&mut self) -> Result<(), WireError<P>> {
        self.begin();
        while !self.has_stopped() {
            let timeout = self.begin_turn();
            self.wire.submit_and_wait(timeout)?;
            self.turn();
        }
        self.end();
        Ok(())
    }

    /// Before the first turn.
    pub(super) fn begin(&mut self) {
        self.start_accepting();
        // Not before: every shard has its subscriptions now.
        let (ended, wills) = self.sessions.take_found();
        for found in ended {
            self.end_on_disk(found);
        }
        for will in wills {
            self.send_will(will);
        }
    }

    /// Handles what the wait has brought, and the work that an earlier turn has left.
    pub(super) fn turn(&mut self) {
        self.agenda.begin_turn();
        self.look_for_rest();
        self.take_completions();
        self.read_completions();
        self.read_mail();
        self.post.retry(&mut self.wire, self.here.counters());
        self.fire_timers();
        self.end_identities();
        if self.acceptor.retry_at().is_some_and(|at| at <= self.agenda.now()) {
            self.resume_accepting();
        }
        self.let_in_waiting();
        self.review_clients();
        self.do_work();
        self.send_dirty();
        self.feed_absent();
        self.settle_owners();
        self.submit_draft();
        self.free_discarded();
        self.fill_tables();
        self.do_tls_steps();
        self.say_whether_quiet();
        self.here.counters().turn_times.record(self.agenda.lasted());
    }

    /// After the last turn.
    pub(super) fn end(&mut self) {
        // Writes that the last turn has added or left.
        self.submit_draft();
        self.path.leave();
    }

    /// Leaves the sessions' memory to the system, which takes it back when the process ends.
    pub(super) fn leave_memory(&mut self) {
        let empty = Sessions::new(
            self.here.index(),
            self.here.shared().entrance.hash_seed(),
            &self.here.shared().memory.sessions,
        );
        std::mem::forget(std::mem::replace(&mut self.sessions, empty));
    }

    /// Returns how long the turn may wait for completions.
    pub(super) fn begin_turn(&mut self) -> Duration {
        self.here.counters().loop_turns.add(1);
        self.path.stamp(self.agenda.now());
        // One shard does it for all.
        if self.here.index() == 0 {
            self.here.shared().notices.tell_held_back(self.agenda.now());
        }
        if self.agenda.is_resting() {
            return self.rest_time();
        }
        if self.agenda.is_sweep_due() && !self.sweep() {
            self.agenda.end_sweep();
            self.retry_store();
            self.post.tidy();
            self.clients.settle_sending();
            self.here.counters().longest_wait_millis.set(self.agenda.longest_wait_millis());
            self.here.counters().set_ring_faults(self.wire.faults());
        }
        self.publish_strays(STRAYS_PER_TURN_MAX);
        if !self.stop.has_begun() && self.here.shared().entrance.is_stopping() {
            self.begin_stop();
        }
        self.wait_time()
    }

    /// Removes what has expired, a bounded amount each call. Returns whether there is more.
    fn sweep(&mut self) -> bool {
        let more_flows = self.path.sweep(self.agenda.now());
        // One shard does it for all: the retained messages are shared.
        let more_expired = self.here.index() == 0 && self.remove_expired();
        self.agenda.set_leaves_expired(more_expired);
        more_flows || more_expired
    }

    /// Removes retained messages that have expired, from the disk as well. Returns whether there
    /// are more.
    fn remove_expired(&mut self) -> bool {
        // They can wait; they should not add to a backlog of the disk.
        if self.journal.is_behind() {
            return false;
        }
        let expired = self.here.shared().retained.remove_expired(self.agenda.now());
        let more = expired.len() == EXPIRED_PER_CALL_MAX;
        if self.here.shared().store.is_some() {
            let removals = expired.into_iter().map(|change| Write::SaveRetained { change });
            self.journal.append(removals.collect());
        }
        more
    }

    fn take_completions(&mut self) {
        let mut taken = 0;
        while let Some(completion) = self.wire.next_completion() {
            self.on_completion(completion);
            self.agenda.count_input(COMPLETION_UNITS);
            taken += 1;
            if taken % COMPLETIONS_PER_LOOK == 0 && self.agenda.lasted() > COMPLETIONS_BUDGET {
                self.agenda.set_leaves_completions(true);
                return;
            }
        }
        self.agenda.set_leaves_completions(false);
    }

    fn fire_timers(&mut self) {
        if self.agenda.is_resting() {
            return;
        }
        self.timers.fire(self.agenda.now());
        let begun = self.agenda.read_clock();
        while let Some((timed, tick)) = self.timers.take_due() {
            self.on_timer(timed, tick);
            if self.agenda.uses_up(TIMER_UNITS, begun, TIMERS_BUDGET) {
                self.here.counters().cut_timers.add(u64::from(self.timers.has_due()));
                break;
            }
        }
    }

    /// Closes clients whose token, say, has expired. The wall clock is read in each turn, and a shard turns once a second
    /// at least: so a clock that was set counts at once.
    fn end_identities(&mut self) {
        if self.agenda.is_resting() || self.timers.ends().is_empty() {
            return;
        }
        let (wall, begun) = (self.agenda.wall_millis(), self.agenda.read_clock());
        while let Some(index) = self.timers.ends_mut().take_due(wall) {
            self.on_identity_ended(index);
            // The others are due still.
            if self.agenda.uses_up(TIMER_UNITS, begun, TIMERS_BUDGET) {
                break;
            }
        }
    }

    fn free_discarded(&mut self) {
        if !self.clients.has_discarded() {
            return;
        }
        let begun = self.agenda.read_clock();
        while self.clients.free_piece() && self.agenda.read_clock() - begun < DISCARD_BUDGET {}
        self.here.counters().cut_discards.add(u64::from(self.clients.has_discarded()));
    }

    /// Whether this turn has lasted long enough.
    pub(super) fn is_late(&self) -> bool {
        self.agenda.lasted() > TURN_BUDGET
    }

    fn is_store_behind(&self) -> bool {
        let store = self.here.shared().store.as_deref();
        store.is_some_and(|store| self.journal.is_store_behind(store))
    }

    /// The same while shards come to rest, and rest: what is held back is not waited for.
    fn rest_time(&self) -> Duration {
        let unfinished = self.agenda.leaves_completions()
            || self.agenda.has_work()
            || self.journal.has_written()
            || self.journal.has_settled()
            || self.has_wishes_due();
        if self.has_unread() || unfinished { Duration::ZERO } else { REST_LOOK }
    }

    /// Whether another shard, or the store, has left something for this one to read.
    fn has_unread(&self) -> bool {
        let own = self.here.index();
        self.post.has_mail() || !self.here.shared().journal.completions(own).is_empty()
    }

    fn wait_time(&self) -> Duration {
        let mut until = self.agenda.now().after_millis(TURN_MILLIS_MAX);
        let deadlines = [
            self.timers.next_deadline(),
            self.acceptor.retry_at(),
            self.acceptor.opens_at(),
            self.path.wakes_at(),
        ];
        for deadline in deadlines.into_iter().flatten() {
            until = until.min(deadline);
        }
        if !self.timers.ends().is_empty()
            && let Some(millis) = self.timers.ends().next_in_millis(self.agenda.wall_millis())
        {
            until = until.min(self.agenda.read_clock().after_millis(millis));
        }
        if self.stop.has_begun() {
            until = until.min(self.agenda.now().after_millis(STOP_TURN_MILLIS));
        }
        // While the store is behind, work that waits for another shard waits for the store there.
        if self.post.overflows() || (self.agenda.has_blocked() && !self.is_store_behind()) {
            until = until.min(self.agenda.now().after_millis(OVERFLOW_RETRY_MILLIS));
        }
        if self.agenda.has_parked() || self.agenda.has_blocked() || self.clients.has_stalled() {
            until = until.min(self.agenda.now().after_millis(STORE_LOOK_MILLIS));
        }
        if self.clients.reviewing().has_leaving() {
            until = until.min(self.here.shared().entrance.reviews().next_leave());
        }
        if self.clients.tls_handshakes().has_waiting() {
            until = until.min(self.agenda.now().after_millis(TLS_LOOK_MILLIS));
        }
        let unfinished = self.agenda.is_unfinished()
            || self.clients.tls_handshakes().has_due()
            || self.path.has_low()
            || self.clients.has_discarded()
            || self.timers.has_due()
            || (!self.stop.has_begun() && self.sessions.has_due_stray(self.agenda.now()))
            || self.journal.has_written()
            || self.journal.has_settled()
            || self.has_absent_backlogs()
            || (!self.stop.has_begun() && self.has_review())
            // The rest begins here with the next turn.
            || self.clients.has_wishes();
        if self.has_unread() || unfinished {
            return Duration::ZERO;
        }
        until.since(self.agenda.read_clock())
    }

    fn on_completion(&mut self, completion: Completion<SocketOf<P>, PieceOf<P>>) {
        match completion {
            Completion::Accepted { listener, result, more } => {
                self.on_accepted(listener, result, more);
            }
            Completion::Received { token, received, more } => {
                self.on_received(token, received, more);
            }
            Completion::Sent { token, weight, result } => {
                self.clients.end_send(weight);
                match self.resolve(token) {
                    Some(index) => {
                        self.on_sent(index, &result);
                        self.go_on_moving(index);
                    }
                    None => self.here.counters().stale_completions.add(1),
                }
            }
            Completion::Interrupted { token, weight, accepted, unsent } => {
                self.on_interrupted(token, weight, accepted, unsent);
            }
            // Each turn reads the mailbox and the completions of the store.
            Completion::Woken => {}
        }
    }

    fn on_received(&mut self, token: Token, received: Received<PieceOf<P>>, more: bool) {
        let Some(index) = self.resolve(token) else {
            self.here.counters().stale_completions.add(1);
            if let Received::Data(piece) = received {
                self.wire.recycle(piece);
            }
            return;
        };
        self.clients[index].intake.on_received(more);
        match received {
            Received::Data(piece) => {
                self.on_bytes(index, &piece);
                self.wire.recycle(piece);
                self.after_receive(index);
            }
            Received::NoBuffers => {
                self.here.counters().limit_receive_buffers.add(1);
                self.after_receive(index);
            }
            Received::Cancelled => self.after_receive(index),
            Received::End | Received::Unanswered | Received::Failed => {
                if matches!(received, Received::Unanswered) {
                    self.here.counters().unanswered.add(1);
                }
                self.clients[index].intake.on_received(false);
                self.on_peer_gone(index);
            }
        }
        self.go_on_moving(index);
    }

    /// The client that a token means, unless it is gone.
    pub(super) fn resolve(&self, token: Token) -> Option<u32> {
        self.clients.resolve(token)
    }

    /// Arms the one timer of a client; an earlier one is stale from now on.
    pub(super) fn arm_client_timer(&mut self, index: u32, deadline: Monotonic) {
        let tick = self.timers.arm(Timed::Client(index), deadline, self.agenda.now());
        self.clients[index].set_timer(tick);
    }

    /// Whether a client's timer is armed and fires no later than that.
    pub(super) fn is_client_timer_before(&self, index: u32, deadline: Monotonic) -> bool {
        self.timers.fires_by(self.clients[index].timer(), deadline)
    }

    fn on_timer(&mut self, timed: Timed, tick: u64) {
        match timed {
            Timed::Client(index) => {
                let current = self.clients.get(index);
                if current.is_some_and(|client| client.is_timer(tick)) {
                    self.on_client_timer(index);
                }
            }
            Timed::Session(key) => self.on_session_timer(key, tick),
        }
    }

    /// Arms a session's timer. Returns the tick by which the session tells it from a stale one.
    pub(super) fn arm_session_timer(&mut self, key: u32, deadline: Monotonic) -> u64 {
        self.timers.arm(Timed::Session(key), deadline, self.agenda.now())
    }

    /// Sends mail to another shard. If it does not fit, it waits.
    pub(super) fn post(&mut self, shard: u16, mail: Mail<P>) {
        self.post.send(shard, mail, &mut self.wire, self.here.counters());
    }

    /// A stamp for a letter to another shard, if that shard takes one now.
    pub(super) fn stamp(&mut self, shard: u16, flow: Flow, message: &Message) -> Option<Stamp> {
        self.post.stamp(shard, flow, message.weight_bytes(), self.here.counters())
    }

    /// Takes up the input of stalled clients again.
    pub(super) fn resume_all_stalled(&mut self) {
        for index in self.clients.take_stalled() {
            // Another client at the same index is not stalled, or is queued already.
            if self.clients.get(index).is_some_and(|client| client.intake.is_stalled()) {
                self.queue_input(index);
            }
        }
    }

    fn begin_stop(&mut self) {
        self.stop.begin(self.agenda.now());
        self.stop_accepting();
        // The disk must not hold up the stop.
        self.agenda.unpark();
        for index in self.clients.indices() {
            self.close_for_stop(index);
        }
    }

    /// Whether there is no further turn.
    pub(super) fn has_stopped(&mut self) -> bool {
        if !self.stop.has_begun() {
            return false;
        }
        let is_noted = !self.journal.has_written() && !self.journal.has_settled();
        let is_idle = self.agenda.is_empty() && is_noted;
        if self.clients.is_empty() && !self.has_absent_backlogs() && is_idle {
            return true;
        }
        let now = self.agenda.now();
        if self.stop.begins_reset(now) {
            self.reset_all();
            return self.clients.is_empty();
        }
        self.stop.is_resetting() && (self.clients.is_empty() || self.stop.is_over(now))
    }

    /// The stop has lasted long enough: resets all connections. A reset arrives at once, even where a FIN would
    /// wait behind bytes that the peer does not read.
    fn reset_all(&mut self) {
        tracing::info!(
            shard = self.here.index(),
            left = self.clients.len(),
            "resetting connections"
        );
        for index in self.clients.indices() {
            self.clients[index].socket.reset_on_close();
            self.abort(index);
        }
    }
}
