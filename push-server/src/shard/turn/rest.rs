//! How a shard comes to rest, and goes on. `shard/rest.rs` decides when all of them are at rest.
//!
//! From when a rest is asked for, a shard begins nothing that clients, doors, timers or answers from outside
//! would have it begin: such work is held back, in the order it came, and done when the rest is over. What has
//! been begun is finished: publishes, SUBSCRIBEs, letters, writes. Sends that are under way go on, but none
//! begins: what a client takes may change its session, which the disk is told. The kernel answers pings all the
//! time.
//!
//! What is held back is bounded by what it is of: a client has its input or its handshake held, a door its
//! messages.

use std::sync::Arc;

use super::Shard;
use super::errand::Errand;
use crate::mqtt::HandshakeProgress;
use crate::shard::agenda::Flow;
use crate::shard::clients::Phase;
use crate::shard::journal::Done;
use crate::shard::ports::{Ports, Token, Wire};
use crate::shard::rest;

impl<P: Ports> Shard<P> {
    /// Asks all shards to come to rest, for one thing to be done. Returns the number of the rest; `None`: not now.
    pub(super) fn ask_for_rest(&mut self) -> Option<u64> {
        if self.may_not_rest() {
            return None;
        }
        // Not the turn's instant: this may be between two turns.
        let number = self.here.shared().entrance.rest().ask(self.agenda.read_clock())?;
        self.wake_others();
        Some(number)
    }

    /// A turn begins: has the shard come to rest, go on, or do what was to be done when all are at rest.
    pub(super) fn look_for_rest(&mut self) {
        let is_asked = self.here.shared().entrance.rest().phase() != rest::Phase::None;
        if !is_asked && !self.agenda.is_resting() && !self.clients.has_wishes() {
            return;
        }
        let shared = Arc::clone(self.here.shared());
        let rest = shared.entrance.rest();
        if let rest::Phase::Asked(_) = rest.phase()
            && (self.may_not_rest() || rest.is_late(self.agenda.now()))
            && rest.give_up()
        {
            self.wake_others();
        }
        match rest.phase() {
            rest::Phase::None => self.end_rest(),
            rest::Phase::Asked(number) => {
                self.drop_wishes(Some(number));
                self.agenda.begin_rest();
                rest.begin_turn(self.here.index());
            }
            rest::Phase::Come(number) => {
                self.drop_wishes(Some(number));
                self.fulfil_wishes();
            }
        }
    }

    /// A turn has ended: tells the others if nothing is left of what this shard has begun.
    pub(super) fn say_whether_quiet(&mut self) {
        let is_quiet = self.agenda.is_resting()
            && self.agenda.is_quiet()
            && self.post.is_quiet()
            && self.journal.is_quiet();
        if !is_quiet {
            return;
        }
        let (shared, post) = (self.here.shared(), &self.post);
        let is_nothing_under_way =
            || post.is_nothing_under_way() && shared.journal.is_nothing_under_way();
        if shared.entrance.rest().end_turn(self.here.index(), is_nothing_under_way) {
            self.wake_others();
        }
    }

    /// One thing is done that the rest was asked for, or will not be.
    pub(super) fn end_wish(&mut self) {
        if self.here.shared().entrance.rest().end_wish() {
            self.wake_others();
            self.end_rest();
        }
    }

    /// Whether all shards are at rest, and this one has something to do then.
    pub(super) fn has_wishes_due(&self) -> bool {
        let phase = self.here.shared().entrance.rest().phase();
        self.clients.has_wishes() && matches!(phase, rest::Phase::Come(_))
    }

    /// The rest is over, or was given up: what was held back goes on, before any mail that comes from now on. A
    /// client may have said goodbye in between, and connected again by another shard: it does not take over then.
    fn end_rest(&mut self) {
        self.drop_wishes(None);
        self.sessions.release_vacated();
        self.agenda.end_rest();
        self.do_work();
    }

    /// Whether the server stops, or the disk fails: neither is to wait.
    fn may_not_rest(&self) -> bool {
        let shared = self.here.shared();
        let fails = shared.store.as_deref().is_some_and(|store| !store.is_serving());
        fails || self.stop.has_begun() || shared.entrance.is_stopping()
    }

    fn wake_others(&mut self) {
        for shard in self.post.all_shards().without(self.here.index()).iter() {
            self.wire.wake(shard);
        }
    }

    /// A served client has something for its shard to do, which is done when the rest is over.
    pub(super) fn hold_input(&mut self, index: u32) {
        let client = self.clients.get(index);
        if client.is_some_and(|client| !client.intake.is_stalled()) {
            self.queue_input(index);
        }
    }

    /// How far a client has come with its handshake counts when the rest is over. Nothing more is received from it
    /// until then.
    pub(super) fn hold_handshake(&mut self, index: u32, progress: HandshakeProgress) {
        match progress {
            HandshakeProgress::More => return,
            // Among those of all shards it has its place by when it was read.
            HandshakeProgress::Asks => self.note_connect(index),
            _ => {}
        }
        let client = &mut self.clients[index];
        client.intake.stall();
        let token = client.token(index);
        let errand = Errand::Handshake(token, Box::new(progress));
        self.agenda.hold(Flow::newcomer(self.here.index(), index), errand);
    }

    /// It counts now, unless the client has gone meanwhile.
    pub(super) fn go_on_with_handshake(&mut self, client: Token, progress: HandshakeProgress) {
        let Some(index) = self.resolve(client) else { return };
        if let Phase::Handshake(_) = self.clients[index].phase()
            && self.clients[index].intake.resume()
        {
            self.on_handshake(index, progress);
            self.keep_input(index);
            self.after_layers(index);
            self.after_receive(index);
        }
    }

    /// What somebody else has said of a client counts when the rest is over.
    pub(super) fn hold_news(&mut self, done: Done) {
        self.agenda.hold(Flow::nobody(self.here.index()), Errand::News(Box::new(done)));
    }
}
