//! Sessions that a restart has found on disk: how they become this shard's again.

use std::sync::atomic::Ordering;

use push_common::clock::Monotonic;

use super::absence::Absence;
use super::leaving::Found;
use super::sessions::Presence;
use super::worker::Worker;
use crate::broker::Message;
use crate::mqtt::{Extent, PendingWill, Session, Will};
use crate::store::{Clocks, RecoveredSession, StoredWill};

impl Worker {
    /// Takes up the sessions of this shard that a restart has found on disk.
    pub(super) fn recover(&mut self, sessions: Vec<RecoveredSession>) {
        let (now, clocks) = (self.now, self.shared.clocks);
        let now_wall = clocks.to_wall(now);
        for recovered in sessions {
            let RecoveredSession { number, record, subscriptions, exactly_once, outbox } =
                recovered;
            let mut session = Session::durable(&record.client_id, record.expiry_secs)
                .of_user(record.user.as_deref());
            let filters = subscriptions.into_iter().map(|kept| (kept.filter, kept.options));
            session.subscriptions = filters.collect();
            let extent = Extent {
                from: outbox.first.0,
                next: outbox.next.0,
                messages: outbox.messages,
                bytes: outbox.bytes,
            };
            let extent = (outbox.messages > 0).then_some(extent);
            session.recover(extent, outbox.sent_to.0, &exactly_once);
            // It ended with its connection, or before, and was giving away what it owed to its groups.
            if record.expiry_secs == 0 {
                let will = record.will.map(|will| pending_will(will, now, clocks));
                self.found_ended.push(Found { session, number, will });
                continue;
            }
            let gone_millis =
                record.disconnected_at.map_or(0, |at| now_wall.0.saturating_sub(at.0));
            let will = record.will.map(|will| pending_will(will, now, clocks));
            let absence = Absence::resumed(record.expiry_secs, gone_millis, will, now);
            let filters = session.subscriptions.clone();
            let key = self.sessions.insert(session, Presence::Absent(absence), number);
            self.counters.sessions.add(1);
            self.shared.sessions.fetch_add(1, Ordering::Relaxed);
            for (filter, options) in filters {
                self.index_subscription(key, &filter, options);
            }
            if record.disconnected_at.is_none() {
                self.save_session(key);
            }
            self.arm_absence(key);
        }
    }
}

/// The will of a session that a restart has found. The delay of one whose connection the crash has
/// ended begins now.
fn pending_will(stored: StoredWill, now: Monotonic, clocks: Clocks) -> Box<PendingWill> {
    let StoredWill { message, delay_secs, message_expiry_secs, due_at } = stored;
    let will = Will { message: Message::clone(&message), delay_secs, message_expiry_secs };
    match due_at {
        Some(due_at) => Box::new(PendingWill { will, publish_at: clocks.to_monotonic(due_at) }),
        None => Box::new(will.pending(now)),
    }
}
