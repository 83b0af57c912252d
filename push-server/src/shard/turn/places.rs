//! Places for new sessions: unused ones give way, on this shard or on another (`unused`). And what a
//! client takes beside: a place among the connections of its address and of its user, and memory for its will.

use std::sync::Arc;

use super::Shard;
use crate::broker::{Holder, NoMemory, will_weight_bytes};
use crate::mqtt::Connecting;
use crate::shard::addresses::{AddressPlace, NoPlaceLeft, UserPlace};
use crate::shard::clients::{Account, PendingClient};
use crate::shard::counters::{Counter, ShardCounters};
use crate::shard::ports::Ports;
use crate::shard::post::Mail;
use crate::shard::sessions::NoPlace;

/// The counter of a limit.
pub(super) type LimitCounter = fn(&ShardCounters) -> &Counter;

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

    /// Takes places for a client among the connections of its address and its user. It may have one more if it takes
    /// over a connection that counts there. `Err`: the limit for which the client is refused.
    pub(super) fn open_account(
        &mut self,
        index: u32,
        connecting: &Connecting,
    ) -> Result<Account, LimitCounter> {
        let connect = &connecting.connect;
        let taken_over = self.sessions.find(&connect.client_id);
        let taken_over = taken_over.and_then(|key| self.sessions.client(key));
        let taken_over = taken_over.and_then(|other| self.clients.get(other));
        let taken_over = taken_over.map(|other| &other.account);
        let addresses = self.here.shared().entrance.addresses();
        let servers = &self.here.shared().config.client_limits;
        let limits = servers.of_groups(connect.identity.limits());
        let key = self.clients[index].pending().and_then(PendingClient::address_key);
        let replaces = taken_over.and_then(Account::address).map(AddressPlace::key) == key;
        let address = key.map_or(Ok(None), |key| addresses.connect(key, replaces));
        let address = address.map_err(|NoPlaceLeft| -> LimitCounter {
            |counters| &counters.limit_address_connections
        })?;
        let user = connect.user();
        let replaces = taken_over.and_then(Account::user).map(UserPlace::user) == user;
        let connections_max = limits.user_connections_max;
        let user =
            user.map_or(Ok(None), |user| addresses.connect_user(user, connections_max, replaces));
        let user = user.map_err(|NoPlaceLeft| -> LimitCounter {
            |counters| &counters.limit_user_connections
        })?;
        Ok(Account::new(limits, servers, address, user))
    }

    /// Takes the memory of a client's will. `Some`: the limit for which the client is refused.
    pub(super) fn lacks_memory(
        &mut self,
        index: u32,
        connecting: &mut Connecting,
    ) -> Option<LimitCounter> {
        let connect = &mut connecting.connect;
        if self.here.shared().journal.has_left_out(&connect.client_id) {
            // It would begin a second session, while its first one is on disk.
            return Some(|counters| &counters.limit_sessions_left_out);
        }
        connect.will.as_ref()?;
        let holder = self.here.shared().holders.holder(self.network_of(index), connect.user());
        let will = connect.will.as_deref_mut()?;
        let bytes = will_weight_bytes(&will.message);
        let wills = Arc::clone(&self.here.shared().memory.wills);
        // The will takes the place of that of the session that this CONNECT takes over.
        let replaces = self.will_bytes(&connect.client_id) >= bytes;
        let charge = match replaces {
            true => Ok(wills.charge_anyway(holder, bytes)),
            false => wills.charge(holder, bytes),
        };
        match charge {
            Ok(charge) => {
                will.charge = Some(charge);
                None
            }
            Err(NoMemory::Total) => Some(|counters| &counters.limit_will_bytes_total),
            Err(NoMemory::Share) => Some(|counters| &counters.limit_wills_share),
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
