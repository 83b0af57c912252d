//! Sessions and unfinished wills that a restart has found on disk: how they become this shard's again.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use push_common::clock::Monotonic;

use super::Shard;
use crate::broker::{Holder, PeerNetwork, will_weight_bytes};
use crate::mqtt::{PendingWill, Session};
use crate::mutant::{Rule, is_left_out};
use crate::shard::journal::{Outgoing, records};
use crate::shard::ports::Ports;
use crate::shard::sessions::{Absence, EndedSession, Presence, RecoveredPart};
use crate::store::{SessionNumber, SessionRecord, Write};

/// A will that a start finds with its session waits at least so long. Its client was connected when the server
/// ended, or could not come back meanwhile, and is likely to be back soon.
const WILL_GRACE_MILLIS: u64 = 5_000;

impl<P: Ports> Shard<P> {
    /// Takes up this shard's part of what a restart has found on disk.
    pub(super) fn recover(&mut self, found: RecoveredPart) {
        let RecoveredPart { sessions, wills } = found;
        let mut keys: HashMap<SessionNumber, Option<u32>, FixedState> =
            wills.iter().map(|will| (will.session, None)).collect();
        let (now, clocks) = (self.agenda.now(), self.here.shared().journal.clocks());
        let now_wall = clocks.to_wall(now);
        let shared = Arc::clone(self.here.shared());
        let (memory, holders) = (&shared.memory, &shared.holders);
        for mut found in sessions {
            if is_left_out(Rule::ExactlyOnceFound) {
                found.exactly_once.clear();
            }
            let number = found.number;
            let (mut session, record) = records::found_session(found);
            // Its network is known when its client is back.
            let holder = holders.holder(PeerNetwork::default(), record.user.as_deref());
            session.charge_inflight(&memory.inflight, |_| holder);
            // It has ended: with its connection, or earlier and while it handed on messages.
            if record.expiry_secs == 0 {
                self.recover_ended(session, number, record);
                continue;
            }
            let gone_millis =
                record.disconnected_at.map_or(0, |at| now_wall.0.saturating_sub(at.0));
            let will = record.will.map(|will| {
                let charge = memory.wills.adopt(holder, will_weight_bytes(&will.message));
                after_grace(records::pending_will(will, now, clocks, charge), now)
            });
            memory.subscriptions.count_for(holder, session.subscriptions().bytes() as u64);
            let absence = Absence::resumed(record.expiry_secs, gone_millis, will, now);
            let filters = session.subscriptions().clone();
            let key = self.sessions.insert(session, Presence::Absent(absence), number);
            keys.entry(number).and_modify(|found| *found = Some(key));
            self.here.counters().sessions.add(1);
            self.sessions.set_network(key, PeerNetwork::default());
            self.here.shared().totals.session_shares().take_unasked(holder);
            for (filter, options) in filters {
                self.index_subscription(key, &filter, options);
            }
            if record.disconnected_at.is_none() {
                self.save_session(key);
            }
            self.arm_absence(key);
            self.note_unused(key);
        }
        let wills = wills
            .into_iter()
            .filter(|_| !is_left_out(Rule::FoundWill))
            .map(|will| {
                let key = keys.get(&will.session).copied().flatten();
                Outgoing::found(will, key, &memory.wills)
            })
            .collect();
        self.sessions.set_found_wills(wills);
    }
}

impl<P: Ports> Shard<P> {
    /// Takes up an ended session. Its will may have to wait.
    fn recover_ended(
        &mut self,
        session: Session,
        number: SessionNumber,
        mut record: SessionRecord,
    ) {
        let (now, clocks) = (self.agenda.now(), self.here.shared().journal.clocks());
        let shares = session.may_owe_groups();
        let Some(stored) = record.will.clone() else {
            self.sessions.push_found(EndedSession {
                session,
                shares,
                number,
                will: None,
                key: None,
            });
            return;
        };
        // It counts for no holder: its session has ended.
        let memory = &self.here.shared().memory.wills;
        let charge = memory.adopt(Holder::NOBODY, will_weight_bytes(&stored.message));
        let will = after_grace(records::pending_will(stored, now, clocks, charge), now);
        let publish_at = will.publish_at;
        let found = EndedSession { session, shares, number, will: Some(will), key: None };
        if let Some(will) = &mut record.will
            && will.due_at.is_none()
        {
            // So that another crash does not begin the delay anew.
            will.due_at = Some(clocks.to_wall(publish_at));
            self.file(Write::PutSession { number, record: Box::new(record) }.into());
        }
        self.sessions.add_stray(publish_at, found);
    }
}

/// The same will, due when its client has had time to come back, or later.
fn after_grace(mut will: Box<PendingWill>, now: Monotonic) -> Box<PendingWill> {
    will.publish_at = will.publish_at.max(now.after_millis(WILL_GRACE_MILLIS));
    will
}
