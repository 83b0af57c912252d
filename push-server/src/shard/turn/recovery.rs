//! Sessions, and wills on their way, that a restart has found on disk: how they become this shard's
//! again.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use push_common::clock::Monotonic;

use super::Shard;
use crate::broker::{Holder, MemoryBudget, Message, Origin, will_weight_bytes};
use crate::mqtt::{Extent, PendingWill, Session, Will};
use crate::shard::journal::Outgoing;
use crate::shard::mutant::{Rule, is_left_out};
use crate::shard::ports::Ports;
use crate::shard::sessions::{Absence, Found, Presence, RecoveredPart};
use crate::store::{Clocks, RecoveredSession, SessionNumber, SessionRecord, StoredWill, Write};

impl<P: Ports> Shard<P> {
    /// Takes up what a restart has found on disk and is this shard's.
    pub(super) fn recover(&mut self, found: RecoveredPart) {
        let RecoveredPart { sessions, wills } = found;
        let mut keys: HashMap<SessionNumber, Option<u32>, FixedState> =
            wills.iter().map(|will| (will.session, None)).collect();
        let (now, clocks) = (self.agenda.now(), self.here.shared().clocks);
        let now_wall = clocks.to_wall(now);
        let shared = Arc::clone(self.here.shared());
        let (memory, holders) = (&shared.memory, &shared.holders);
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
            let known = if is_left_out(Rule::ExactlyOnceFound) { &[][..] } else { &exactly_once };
            session.recover(extent, outbox.sent_to.0, known);
            // Its network is not known before its client is back.
            let holder = holders.holder(Origin::default(), record.user.as_deref());
            session.charge_inflight(&memory.inflight, |_| holder);
            // It ended with its connection, or before, and was giving away what it owed to its groups.
            if record.expiry_secs == 0 {
                self.recover_ended(session, number, record);
                continue;
            }
            let gone_millis =
                record.disconnected_at.map_or(0, |at| now_wall.0.saturating_sub(at.0));
            let will =
                record.will.map(|will| pending_will(will, now, clocks, &memory.wills, holder));
            memory.subscriptions.count_for(holder, session.subscriptions.bytes() as u64);
            let absence = Absence::resumed(record.expiry_secs, gone_millis, will, now);
            let filters = session.subscriptions.clone();
            let key = self.sessions.insert(session, Presence::Absent(absence), number);
            keys.entry(number).and_modify(|found| *found = Some(key));
            self.here.counters().sessions.add(1);
            self.sessions.set_origin(key, Origin::default());
            self.here.shared().session_shares.take_unasked(holder);
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
        self.sessions.departed().set_found_wills(wills);
    }
}

impl<P: Ports> Shard<P> {
    /// Takes up a session that has ended: its will may have to wait.
    fn recover_ended(
        &mut self,
        session: Session,
        number: SessionNumber,
        mut record: SessionRecord,
    ) {
        let (now, clocks) = (self.agenda.now(), self.here.shared().clocks);
        let shares = session.subscriptions.has_shared();
        let Some(stored) = record.will.clone() else {
            self.sessions.departed().push_found(Found {
                session,
                shares,
                number,
                will: None,
                key: None,
            });
            return;
        };
        // Nobody's: its session has ended.
        let memory = &self.here.shared().memory.wills;
        let will = pending_will(stored, now, clocks, memory, Holder::NOBODY);
        let publish_at = will.publish_at;
        let found = Found { session, shares, number, will: Some(will), key: None };
        if publish_at <= now {
            self.sessions.departed().push_found(found);
            return;
        }
        if let Some(will) = &mut record.will
            && will.due_at.is_none()
        {
            // Another crash is not to put it off.
            will.due_at = Some(clocks.to_wall(publish_at));
            self.file(Write::PutSession { number, record: Box::new(record) }.into());
        }
        self.sessions.departed().add_stray(publish_at, found);
    }
}

/// The will of a session that a restart has found. The delay of one whose connection the crash has
/// ended begins now.
/// Its memory has been taken.
fn pending_will(
    stored: StoredWill,
    now: Monotonic,
    clocks: Clocks,
    memory: &Arc<MemoryBudget>,
    holder: Holder,
) -> Box<PendingWill> {
    let StoredWill { message, delay_secs, message_expiry_secs, due_at } = stored;
    let charge = Some(memory.adopt(holder, will_weight_bytes(&message)));
    let message = Message::clone(&message);
    let will = Will { message, delay_secs, message_expiry_secs, charge };
    match due_at {
        Some(due_at) => Box::new(PendingWill { will, publish_at: clocks.to_monotonic(due_at) }),
        None => Box::new(will.pending(now)),
    }
}
