//! A session's time without connection: how long it lasts, and what becomes of the will.
//!
//! A will is published when its delay has passed or its session ends, whichever comes first
//! [MQTT-3.1.2-8] [MQTT-3.1.3-9]:
//! - no delay, or a session that ends with its connection: at once;
//! - the session is resumed in time, be it by a take-over: never;
//! - a new connection with a clean start ends the session: then.
//!
//! The orderly stop publishes no will: its clients are alive and will be back. From then on all
//! wills, with a delay or not, wait on disk for the next start: with their sessions, or, where these end
//! with their connections, by themselves (`strays`).

use push_common::clock::Monotonic;

use super::leaving::Found;
use super::mutant::{Rule, is_left_out};
use super::ports::Ports;
use super::sessions::{Entry, Presence};
use super::worker::Worker;
use crate::mqtt::{PendingWill, Will};
use crate::store::{Clocks, WallMillis};

/// What is known of a session while it has no connection.
#[derive(Debug)]
pub(super) struct Absence {
    /// When the session ends, unless it is endless.
    ends_at: Monotonic,
    /// The last connection's will, while it waits for its delay.
    will: Option<Box<PendingWill>>,
    /// The low half of the tick that tells the session's current timer from stale ones.
    timer_tick: u32,
    is_endless: bool,
}

impl Absence {
    /// Begins at `now`, for a session that outlives its connection.
    pub(super) fn new(expiry_secs: u32, will: Option<Box<PendingWill>>, now: Monotonic) -> Self {
        Self {
            ends_at: now.after_millis(u64::from(expiry_secs) * 1_000),
            will,
            timer_tick: 0,
            is_endless: expiry_secs == u32::MAX,
        }
    }

    /// Goes on after a restart of the server, so long after it began.
    pub(super) fn resumed(
        expiry_secs: u32,
        gone_millis: u64,
        will: Option<Box<PendingWill>>,
        now: Monotonic,
    ) -> Self {
        let left_millis = (u64::from(expiry_secs) * 1_000).saturating_sub(gone_millis);
        Self { ends_at: now.after_millis(left_millis), ..Self::new(expiry_secs, will, now) }
    }

    /// When it began. Told from its end, because that may have been before the boot.
    pub(super) fn begun(&self, expiry_secs: u32, clocks: Clocks) -> WallMillis {
        let ends_at = clocks.to_wall(self.ends_at);
        WallMillis(ends_at.0.saturating_sub(u64::from(expiry_secs) * 1_000))
    }

    /// The will that waits.
    pub(super) fn will(&self) -> Option<&PendingWill> {
        self.will.as_deref()
    }

    /// When there is something to do next, if ever.
    fn next_deadline(&self) -> Option<Monotonic> {
        let end = (!self.is_endless).then_some(self.ends_at);
        let will = self.will().map(|will| will.publish_at);
        end.into_iter().chain(will).min()
    }

    fn is_over(&self, now: Monotonic) -> bool {
        !self.is_endless && self.ends_at <= now && !is_left_out(Rule::ExpiredSession)
    }

    /// The will, if its time has come.
    fn take_due_will(&mut self, now: Monotonic) -> Option<Will> {
        let due =
            self.will.take_if(|will| will.publish_at <= now || is_left_out(Rule::WillDelay))?;
        Some(due.will)
    }
}

impl<P: Ports> Worker<P> {
    /// A session's connection has ended: it waits for the next one, or ends too.
    pub(super) fn leave_session(&mut self, key: u32, will: Option<Box<Will>>) {
        let now = self.now;
        let Some(entry) = self.sessions.entry_mut(key) else { return };
        let forgotten = entry.session.connection_ended(now);
        self.counters.dropped_session_ended.add(forgotten.at_most_once.into());
        self.counters.dropped_expired.add(forgotten.expired.into());
        let expiry_secs = entry.session.expiry_secs;
        let pending = will.map(|will| Box::new(will.pending(now)));
        entry.presence = Presence::Absent(Absence::new(expiry_secs, pending, now));
        self.file_changes(key, None);
        if expiry_secs == 0 {
            if self.stopping {
                // When the will's delay began.
                self.save_stray(key);
            }
            self.end_session(key);
            return;
        }
        self.leave_shares_waiting(key);
        if !self.publish_due_will(key) {
            // With its will: a crash finds it, and publishes it.
            self.save_session(key);
        }
        self.arm_absence(key);
        self.note_unused(key);
    }

    /// Publishes a session's will if it is time. Returns whether it was: then the session's record
    /// is written without it.
    pub(super) fn publish_due_will(&mut self, key: u32) -> bool {
        let now = self.now;
        if self.stopping {
            return false;
        }
        let Some(Entry { presence: Presence::Absent(absence), .. }) = self.sessions.entry_mut(key)
        else {
            return false;
        };
        let Some(will) = absence.take_due_will(now) else { return false };
        if let Some(number) = self.number_of(key) {
            let record = self.saved_session(key);
            self.publish_will((number, Some(key)), will, record);
        } else {
            let number = self.sessions.number(key);
            self.publish_unwritten_will(number, Some(key), will);
        }
        true
    }

    /// Whether a session has had its time: its timer comes up to a tick later.
    pub(super) fn is_over(&mut self, key: u32) -> bool {
        let now = self.now;
        match self.sessions.entry_mut(key).map(|entry| &entry.presence) {
            Some(Presence::Absent(absence)) => absence.is_over(now),
            Some(Presence::Connected(_)) | None => false,
        }
    }

    /// Arms the timer for whatever an absent session waits for next.
    pub(super) fn arm_absence(&mut self, key: u32) {
        let Some(Entry { presence: Presence::Absent(absence), .. }) = self.sessions.entry_mut(key)
        else {
            return;
        };
        let Some(deadline) = absence.next_deadline() else { return };
        let tick = self.arm_session_timer(key, deadline);
        if let Some(Entry { presence: Presence::Absent(absence), .. }) =
            self.sessions.entry_mut(key)
        {
            absence.timer_tick = tick as u32;
        }
    }

    /// The timer of a session fired; stale ones are ignored, and all once the server stops.
    pub(super) fn on_session_timer(&mut self, key: u32, due_tick: u64) {
        if self.stopping {
            return;
        }
        let now = self.now;
        let Some(Entry { presence: Presence::Absent(absence), .. }) = self.sessions.entry_mut(key)
        else {
            return;
        };
        if absence.timer_tick != due_tick as u32 {
            return;
        }
        if absence.is_over(now) {
            self.end_session(key);
            return;
        }
        self.publish_due_will(key);
        self.arm_absence(key);
    }

    /// Forgets a session and all it is owed but what goes to others of its groups, and publishes the
    /// will that waited.
    pub(super) fn end_session(&mut self, key: u32) {
        let origin = self.sessions.origin(key);
        let Some(Entry { mut session, presence, number }) = self.sessions.remove(key) else {
            return;
        };
        let subscriptions = std::mem::take(&mut session.subscriptions);
        let shares = subscriptions.has_shared();
        let holder = self.shared.holders.holder(origin, session.user());
        // They count against the total until they are out of the tables, for nobody.
        self.shared.memory.subscriptions.discount(holder, subscriptions.bytes() as u64);
        self.drop_subscriptions(key, subscriptions);
        self.counters.sessions.sub(1);
        self.shared.session_shares.give_back(holder);
        let waiting = match presence {
            Presence::Absent(absence) => absence.will,
            Presence::Connected(_) => None,
        };
        let stays_on_disk = self.stopping && waiting.is_some();
        let will = waiting.filter(|_| !self.stopping);
        if session.is_durable() && stays_on_disk {
            // With all it owes to others of its groups.
            return;
        }
        if session.is_durable() {
            self.leave_behind(Found { session, shares, number, will, key: Some(key) });
            return;
        }
        self.leave_unwritten(number, &mut session);
        self.counters.dropped_session_ended.add(session.owed() as u64);
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

    /// Notes when the will of a session is due that ends with its connection by the orderly stop.
    fn save_stray(&mut self, key: u32) {
        let now = self.now;
        if let Some(Entry { presence: Presence::Absent(absence), .. }) =
            self.sessions.entry_mut(key)
            && absence.will().is_some_and(|will| will.publish_at > now)
        {
            self.save_session(key);
        }
    }

    /// Publishes wills that are due and that a start has found of sessions that had ended with their
    /// connections, so many at the most.
    pub(super) fn publish_strays(&mut self, wills_max: usize) {
        for _ in 0..wills_max {
            if self.stopping {
                return;
            }
            let Some(found) = self.strays.take_due(self.now) else { return };
            self.leave_behind(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Held, Message, QoS, TopicName};

    const NOW: Monotonic = Monotonic(5_000_000_000);

    fn pending(delay_secs: u32) -> Option<Box<PendingWill>> {
        let message = Message {
            topic: TopicName::parse("will", 8).expect("valid"),
            payload: "gone".into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            expires_at: None,
            held: Held::default(),
        };
        let will = Will { message, delay_secs, message_expiry_secs: Some(9), charge: None };
        Some(Box::new(will.pending(NOW)))
    }

    fn secs_later(secs: u64) -> Monotonic {
        NOW.after_millis(secs * 1_000)
    }

    /// [MQTT-3.1.3-9]
    #[test]
    fn will_is_due_after_its_delay_and_once() {
        let mut absence = Absence::new(60, pending(10), NOW);
        assert_eq!(absence.next_deadline(), Some(secs_later(10)));
        assert!(absence.take_due_will(Monotonic(secs_later(10).0 - 1)).is_none());
        let message =
            absence.take_due_will(secs_later(11)).expect("due").into_message(secs_later(11));
        assert_eq!(message.expires_at, Some(secs_later(20)), "expiry begins with publication");
        assert!(absence.take_due_will(secs_later(12)).is_none());
        assert_eq!(absence.next_deadline(), Some(secs_later(60)), "the session's end is left");
    }

    /// [MQTT5 3.1.3.2.2]: the session ends, whatever is left of the delay.
    #[test]
    fn the_sessions_end_comes_first_where_the_delay_is_longer() {
        let mut absence = Absence::new(60, pending(u32::MAX), NOW);
        assert_eq!(absence.next_deadline(), Some(secs_later(60)));
        assert!(!absence.is_over(secs_later(59)) && absence.is_over(secs_later(60)));
        assert!(absence.take_due_will(secs_later(60)).is_none());
        assert!(absence.will.is_some());
    }

    #[test]
    fn a_restart_does_not_prolong_an_absence() {
        let clocks = Clocks { monotonic: NOW, wall: WallMillis(1_000_000) };
        let absence = Absence::resumed(60, 45_000, pending(10), NOW);
        assert!(!absence.is_over(secs_later(14)) && absence.is_over(secs_later(15)));
        assert_eq!(absence.begun(60, clocks), WallMillis(1_000_000 - 45_000));
        assert!(Absence::resumed(60, u64::MAX, None, NOW).is_over(NOW));
        assert!(!Absence::resumed(u32::MAX, u64::MAX, None, NOW).is_over(NOW));
    }

    #[test]
    fn an_endless_session_waits_for_its_will_only() {
        let mut absence = Absence::new(u32::MAX, pending(10), NOW);
        assert_eq!(absence.next_deadline(), Some(secs_later(10)));
        assert!(absence.take_due_will(secs_later(10)).is_some());
        assert_eq!(absence.next_deadline(), None);
        assert!(!absence.is_over(Monotonic(u64::MAX)));
    }

    #[test]
    fn a_session_costs_no_more_for_being_absent() {
        assert!(size_of::<Presence>() <= 24, "{} bytes", size_of::<Presence>());
        assert!(size_of::<Entry>() <= 96, "{} bytes", size_of::<Entry>());
    }
}
