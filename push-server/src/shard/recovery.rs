//! Sessions that a restart has found on disk: how they become this shard's again.

use std::sync::atomic::Ordering;

use super::absence::Absence;
use super::sessions::Presence;
use super::worker::Worker;
use crate::broker::Message;
use crate::mqtt::{Extent, PendingWill, Session, Will};
use crate::store::{RecoveredSession, SessionNumber, StoredWill};

const MILLIS_PER_SEC: u64 = 1_000;

impl Worker {
    /// Takes up the sessions of this shard that a restart has found on disk.
    pub(super) fn recover(&mut self, sessions: Vec<RecoveredSession>) {
        let (now, clocks) = (self.now, self.shared.clocks);
        let (now_wall, window) = (clocks.to_wall(now), self.shared.config.limits.inflight_max);
        for recovered in sessions {
            let RecoveredSession { number, record, subscriptions, exactly_once, outbox } =
                recovered;
            let mut session = Session::durable(&record.client_id, record.expiry_secs);
            let filters = subscriptions.into_iter().map(|kept| (kept.filter, kept.options));
            session.subscriptions = filters.collect();
            let extent = Extent {
                from: outbox.first.0,
                next: outbox.next.0,
                messages: outbox.messages,
                bytes: outbox.bytes,
            };
            let extent = (outbox.messages > 0).then_some(extent);
            let crashed = record.disconnected_at.is_none();
            let maybe_sent = if crashed { u32::from(window) } else { 0 };
            session.recover(extent, record.sent_to.0, maybe_sent, &exactly_once);
            // It ended with its connection, or before, and was giving away what it owed to its groups.
            if record.expiry_secs == 0 {
                self.end_recovered(&session, number);
                continue;
            }
            let gone_millis =
                record.disconnected_at.map_or(0, |at| now_wall.0.saturating_sub(at.0));
            let will = record.will.map(|will| {
                let publish_at = match will.due_at {
                    Some(due_at) => clocks.to_monotonic(due_at),
                    None => now.after_millis(u64::from(will.delay_secs) * MILLIS_PER_SEC),
                };
                Box::new(PendingWill { will: recovered_will(will), publish_at })
            });
            let absence = Absence::resumed(record.expiry_secs, gone_millis, will, now);
            let filters = session.subscriptions.clone();
            let key = self.sessions.insert(session, Presence::Absent(absence), number);
            self.counters.sessions.add(1);
            self.shared.sessions.fetch_add(1, Ordering::Relaxed);
            for (filter, options) in filters {
                self.index_subscription(key, &filter, options);
            }
            if crashed {
                self.save_session(key);
            }
            self.arm_absence(key);
        }
    }

    fn end_recovered(&mut self, session: &Session, number: SessionNumber) {
        if !self.pass_on_stored(session, number) {
            self.file(self.removal(number));
        }
    }
}

fn recovered_will(will: StoredWill) -> Will {
    let StoredWill { message, delay_secs, message_expiry_secs, due_at: _ } = will;
    let message = Message::clone(&message);
    Will { message, delay_secs, message_expiry_secs }
}
