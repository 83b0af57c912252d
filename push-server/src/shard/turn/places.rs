//! Places for new sessions: unused ones give way, on this shard or on another (`unused`).

use super::Shard;
use crate::broker::Holder;
use crate::shard::ports::Ports;
use crate::shard::post::Mail;
use crate::shard::sessions::NoPlace;

impl<P: Ports> Shard<P> {
    /// A session has no connection: notes it as unused, if it was never used.
    pub(super) fn note_unused(&mut self, key: u32) {
        if self.sessions.note_unused(key) {
            self.here
                .shared()
                .totals
                .unused_counts()
                .set(self.here.index(), self.sessions.unused_len());
        }
    }

    /// Takes a place for a new session. Unused sessions give way to it.
    pub(super) fn take_session_place(&mut self, holder: Holder) -> Result<(), NoPlace> {
        if self.here.shared().totals.session_shares().is_nearly_full() && !self.end_unused(None) {
            self.ask_to_give_way(None);
        }
        match self.here.shared().totals.session_shares().take(holder) {
            // A session of the network, link or user whose share is used up: ending another one would not help.
            Err(NoPlace::Share) if self.end_unused(Some(holder)) => {
                self.here.shared().totals.session_shares().take_unasked(holder);
                Ok(())
            }
            Err(NoPlace::Share) => {
                self.ask_to_give_way(Some(holder));
                Err(NoPlace::Share)
            }
            taken => taken,
        }
    }

    /// Asks another shard to end one of its unused sessions, for its place or its share. Each newcomer asks one
    /// shard, so a newcomer costs the others one session at most.
    fn ask_to_give_way(&mut self, newcomer: Option<Holder>) {
        let asked_last = self.sessions.asked_last();
        if let Some(shard) =
            self.here.shared().totals.unused_counts().next(self.here.index(), asked_last)
        {
            self.sessions.set_asked_last(shard);
            self.post(shard, Mail::GiveWay(newcomer));
        }
    }

    /// Another shard has a newcomer and no unused session: ends one of this shard's.
    pub(super) fn on_give_way(&mut self, newcomer: Option<Holder>) {
        if !self.stop.has_begun() {
            self.end_unused(newcomer);
        }
    }

    pub(super) fn count_no_place(&self, no_place: NoPlace) {
        match no_place {
            NoPlace::Full => self.here.counters().limit_sessions.add(1),
            NoPlace::Share => self.here.counters().limit_sessions_share.add(1),
            NoPlace::Memory => self.here.counters().limit_session_bytes_total.add(1),
        }
    }

    /// Ends the session that has been unused for longest; for a newcomer, of those that make room in its shares.
    /// Returns whether there was one.
    fn end_unused(&mut self, newcomer: Option<Holder>) -> bool {
        let shared = self.here.shared();
        let found = self.sessions.take_unused(|session, network| {
            let other = shared.holders.holder(network, session.user());
            newcomer
                .is_none_or(|newcomer| shared.totals.session_shares().makes_room(newcomer, other))
        });
        self.here
            .shared()
            .totals
            .unused_counts()
            .set(self.here.index(), self.sessions.unused_len());
        let Some(key) = found else { return false };
        self.here.counters().limit_sessions_unused.add(1);
        self.end_session(key);
        true
    }
}
