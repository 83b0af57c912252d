//! The one place where values of the protocol become records of the store, and come back: each record
//! with both directions side by side. It writes and reads nothing, and decides nothing.

use std::sync::Arc;

use push_common::clock::Monotonic;

use crate::broker::{Charge, Shares, SubscriptionId, Via};
use crate::mqtt::{Delivery, Extent, Fetched, PendingWill, Session, SessionChange, Will};
use crate::store::{
    Clocks, OutboxEntry, OutboxSummary, Position, RecoveredSession, SessionNumber, SessionRecord,
    Stored, StoredWill, WallMillis, Write,
};

/// A change in the outbox, or among the packet ids, of the session with this number.
pub(in crate::shard) fn changed(change: SessionChange, number: SessionNumber) -> Write {
    match change {
        SessionChange::Settle(at) => Write::RemoveOutbox { number, position: Position(at) },
        SessionChange::Release(at) => Write::ReleaseOutbox { number, position: Position(at) },
        SessionChange::EndExactlyOnce(packet_id) => Write::RemoveExactlyOnce { number, packet_id },
    }
}

/// A message at its position in an outbox.
pub(in crate::shard) fn put_outbox(
    number: SessionNumber,
    position: u64,
    entry: OutboxEntry,
) -> Write {
    Write::PutOutbox { number, position: Position(position), entry }
}

/// A message as it goes into an outbox. Its identifiers are sorted: their order means nothing, and side by side
/// equal ones are stored once.
pub(in crate::shard) fn outbox_entry(delivery: &Delivery, queued_at: WallMillis) -> OutboxEntry {
    let mut subscription_ids: Box<[u32]> = delivery.via.ids().iter().map(|id| id.value()).collect();
    subscription_ids.sort_unstable();
    OutboxEntry {
        message: Arc::clone(&delivery.message),
        qos: delivery.qos,
        retain: delivery.retain,
        subscription_ids,
        share: delivery.via.group().map(|group| group.filter().clone()),
        queued_at,
    }
}

/// A message as it comes out of an outbox. If its group is gone, the message is the session's own.
pub(in crate::shard) fn delivery(entry: OutboxEntry, shares: &Shares) -> Delivery {
    let OutboxEntry { message, qos, retain, subscription_ids, share, .. } = entry;
    let mut ids = subscription_ids.iter().filter_map(|&id| SubscriptionId::new(id));
    let via = match share.and_then(|filter| shares.find(&filter)) {
        Some(group) => Via::Share(group, ids.next()),
        None => ids.collect(),
    };
    Delivery { message, qos, retain, via }
}

/// What a position of an outbox holds. A message queued before `oldest` has waited too long.
pub(in crate::shard) fn fetched(stored: Stored, oldest: WallMillis, shares: &Shares) -> Fetched {
    match stored {
        Stored::Released => Fetched::Release,
        Stored::Entry(entry) if entry.queued_at < oldest => Fetched::Stale(delivery(entry, shares)),
        Stored::Entry(entry) => Fetched::Message(delivery(entry, shares)),
    }
}

/// A session's own record. `disconnected_at`: `None` while it is connected.
pub(in crate::shard) fn session_record(
    session: &Session,
    disconnected_at: Option<WallMillis>,
    will: Option<StoredWill>,
) -> SessionRecord {
    SessionRecord {
        client_id: session.client_id().into(),
        user: session.user().map(Into::into),
        expiry_secs: session.expiry_secs(),
        disconnected_at,
        sent_to: Position(session.sent_to()),
        will,
    }
}

/// The record of an ended session that still has messages to hand on. No client can resume it.
pub(in crate::shard) fn ended_session_record(session: &Session) -> SessionRecord {
    let record = session_record(session, Some(WallMillis(0)), None);
    SessionRecord { user: None, expiry_secs: 0, ..record }
}

/// A session as a start finds it, and its record.
pub(in crate::shard) fn found_session(found: RecoveredSession) -> (Session, SessionRecord) {
    let RecoveredSession { record, subscriptions, exactly_once, outbox, .. } = found;
    let session = Session::durable(&record.client_id, record.expiry_secs);
    let filters = subscriptions.into_iter().map(|kept| (kept.filter, kept.options));
    let mut session = session.of_user(record.user.as_deref()).subscribed(filters.collect());
    session.recover(extent(&outbox), outbox.sent_to.0, &exactly_once);
    (session, record)
}

/// The part of an outbox that lies on disk, if any does.
fn extent(outbox: &OutboxSummary) -> Option<Extent> {
    let OutboxSummary { first, next, messages, bytes, .. } = *outbox;
    (messages > 0).then_some(Extent { from: first.0, next: next.0, messages, bytes })
}

/// The will of a session that is connected.
pub(in crate::shard) fn stored_will(will: &Will) -> StoredWill {
    StoredWill {
        message: Arc::new(will.message.clone()),
        delay_secs: will.delay_secs,
        message_expiry_secs: will.message_expiry_secs,
        due_at: None,
    }
}

/// A will that waits for its delay.
pub(in crate::shard) fn stored_pending_will(pending: &PendingWill, clocks: Clocks) -> StoredWill {
    let due_at = Some(clocks.to_wall(pending.publish_at));
    StoredWill { due_at, ..stored_will(&pending.will) }
}

/// A will as a start finds it at `now`. If a crash ended its connection, its delay begins now. `charge`: the memory
/// that it has taken.
pub(in crate::shard) fn pending_will(
    stored: StoredWill,
    now: Monotonic,
    clocks: Clocks,
    charge: Charge,
) -> Box<PendingWill> {
    let StoredWill { message, delay_secs, message_expiry_secs, due_at } = stored;
    let message = Arc::unwrap_or_clone(message);
    let will = Will { message, delay_secs, message_expiry_secs, charge: Some(charge) };
    match due_at {
        Some(due_at) => Box::new(PendingWill { will, publish_at: clocks.to_monotonic(due_at) }),
        None => Box::new(will.pending(now)),
    }
}

#[cfg(test)]
mod tests;
