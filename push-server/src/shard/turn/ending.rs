//! A connection has ended: its session waits for the next one (`absence`), or ends, at once or when its time has
//! come.

use super::Shard;
use crate::mqtt::Will;
use crate::shard::ports::Ports;
use crate::shard::sessions::{Absence, EndedSession};

impl<P: Ports> Shard<P> {
    /// A session's connection has ended: it waits for the next one, or ends too.
    pub(super) fn leave_session(&mut self, key: u32, will: Option<Box<Will>>) {
        let now = self.agenda.now();
        let Some(entry) = self.sessions.entry_mut(key) else { return };
        let forgotten = entry.session.connection_ended(now);
        self.here.counters().dropped_session_ended.add(forgotten.at_most_once.into());
        self.here.counters().dropped_expired.add(forgotten.expired.into());
        let expiry_secs = entry.session.expiry_secs();
        let pending = will.map(|will| Box::new(will.pending(now)));
        entry.begin_absence(Absence::new(expiry_secs, pending, now));
        self.file_changes(key, None);
        if expiry_secs == 0 {
            if self.stop.has_begun() {
                // So that the next start knows when the will's delay began.
                self.save_stray(key);
            }
            self.end_session(key);
            return;
        }
        self.leave_shares_waiting(key);
        if !self.publish_due_will(key) {
            // With its will, so that the start after a crash publishes it.
            self.save_session(key);
        }
        self.arm_absence(key);
        self.note_unused(key);
    }

    /// Publishes a session's will if it is due, and writes the session's record without it. Returns whether it was
    /// due.
    pub(super) fn publish_due_will(&mut self, key: u32) -> bool {
        let now = self.agenda.now();
        if self.stop.has_begun() {
            return false;
        }
        let absence = self.sessions.absence_mut(key);
        let Some(will) = absence.and_then(|absence| absence.take_due_will(now)) else {
            return false;
        };
        let session = self.sessions.session(key);
        if session.is_some_and(|session| !self.may_publish_will(session, &will.message)) {
            self.save_session(key);
            return true;
        }
        if let Some(number) = self.number_of(key) {
            let record = self.saved_session(key);
            self.publish_will((number, Some(key)), will, record);
        } else {
            let number = self.sessions.number(key);
            self.publish_unwritten_will(number, Some(key), will);
        }
        true
    }

    /// Whether a session has expired: its timer fires up to a tick later.
    pub(super) fn is_over(&mut self, key: u32) -> bool {
        let now = self.agenda.now();
        self.sessions.absence_mut(key).is_some_and(|absence| absence.is_over(now))
    }

    /// Arms an absent session's timer for its next deadline.
    pub(super) fn arm_absence(&mut self, key: u32) {
        let absence = self.sessions.absence_mut(key);
        let Some(deadline) = absence.and_then(|absence| absence.next_deadline()) else { return };
        let tick = self.arm_session_timer(key, deadline);
        if let Some(absence) = self.sessions.absence_mut(key) {
            absence.set_timer(tick);
        }
    }

    /// The timer of a session fired; stale ones are ignored, and all once the server stops.
    pub(super) fn on_session_timer(&mut self, key: u32, due_tick: u64) {
        if self.stop.has_begun() {
            return;
        }
        let now = self.agenda.now();
        let Some(absence) = self.sessions.absence_mut(key) else { return };
        if !absence.is_timer(due_tick) {
            return;
        }
        if absence.is_over(now) {
            self.end_session(key);
            return;
        }
        self.publish_due_will(key);
        self.arm_absence(key);
    }

    /// Ends a session: forgets what it is owed, except for messages that its groups get, and publishes the will
    /// that waited.
    pub(super) fn end_session(&mut self, key: u32) {
        let network = self.sessions.network(key);
        let Some(entry) = self.sessions.remove(key) else { return };
        let (mut session, number, waiting) = entry.end();
        self.note_disowned(session.client_id());
        let shares = session.may_owe_groups();
        let subscriptions = session.take_subscriptions();
        let holder = self.here.shared().holders.holder(network, session.user());
        // They count against the total until they are out of the tables, but for no holder.
        self.here.shared().memory.subscriptions.discount(holder, subscriptions.bytes() as u64);
        self.drop_subscriptions(key, subscriptions);
        self.here.counters().sessions.sub(1);
        self.here.shared().totals.session_shares().give_back(holder);
        let stays_on_disk = self.stop.has_begun() && waiting.is_some();
        let will = waiting.filter(|waiting| {
            !self.stop.has_begun() && self.may_publish_will(&session, &waiting.will.message)
        });
        if session.is_durable() && stays_on_disk {
            // The next start finds it, with its will and all messages for its groups.
            return;
        }
        if session.is_durable() {
            self.end_on_disk(EndedSession { session, shares, number, will, key: Some(key) });
            return;
        }
        self.end_in_memory(number, &mut session);
        self.here.counters().dropped_session_ended.add(session.owed() as u64);
        match will {
            Some(will) if session.keeps_will() => {
                let record = self.record_removal(number);
                self.publish_will((number, Some(key)), will.will, record);
            }
            Some(will) => self.publish_unwritten_will(number, None, will.will),
            None if session.keeps_will() && !stays_on_disk => {
                self.file(self.record_removal(number));
            }
            None => {}
        }
    }

    /// A session has ended, which perhaps had moved here: then another one with its client id will not look for a
    /// place here, unless one has taken this one's in the same turn.
    fn note_disowned(&mut self, client_id: &str) {
        let entrance = &self.here.shared().entrance;
        if !entrance.owners().is_empty() && entrance.first_home_of(client_id) != self.here.index() {
            self.sessions.disown(client_id);
        }
    }

    /// Sessions that had moved here have ended in this turn: their clients come to where the client ids say.
    pub(super) fn settle_owners(&mut self) {
        for client_id in self.sessions.take_disowned() {
            self.here.shared().entrance.owners().remove(&client_id);
        }
    }

    /// Writes down when the will is due, of a session that the orderly stop ends with its connection.
    fn save_stray(&mut self, key: u32) {
        let now = self.agenda.now();
        let absence = self.sessions.absence_mut(key);
        if absence.and_then(|absence| absence.will()).is_some_and(|will| will.publish_at > now) {
            self.save_session(key);
        }
    }

    /// Ends a session that had ended before, with its will if that may be published.
    pub(super) fn end_stray(&mut self, found: EndedSession) {
        let EndedSession { session, will, .. } = &found;
        let is_denied = will
            .as_ref()
            .is_some_and(|waiting| !self.may_publish_will(session, &waiting.will.message));
        let will = if is_denied { None } else { found.will };
        self.end_on_disk(EndedSession { will, ..found });
    }

    /// Publishes due wills of strays, at most so many.
    pub(super) fn publish_strays(&mut self, wills_max: usize) {
        for _ in 0..wills_max {
            if self.stop.has_begun() {
                return;
            }
            let Some(found) = self.sessions.take_due_stray(self.agenda.now()) else { return };
            self.end_stray(found);
        }
    }
}
