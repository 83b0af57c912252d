//! Durable sessions that have ended and leave something: a will, and messages that others of their
//! groups may have.
//!
//! Such a session is first marked on disk as ended, by the shard's own draft, like all that has an
//! order; CONNACK of whoever replaces it waits for that. With the mark the will leaves its record, and
//! goes its own way (`wills`). Then what else the session leaves goes, each message in one write with
//! its removal from the outbox. Its records go when all of that is safe. What could not be written is
//! given away again when the store works; and a stop or a crash in between leaves the mark, by which
//! the next start goes on. So no message is lost or comes twice.

use super::durable::PageRead;
use super::ports::Ports;
use super::ticket::{Done, Draft, Leaver, Part};
use super::worker::Worker;
use crate::broker::QoS;
use crate::mqtt::{PendingWill, Session};
use crate::store::{
    Outcome, Page, Position, SessionNumber, SessionRecord, Stored, WallMillis, Write,
};

/// How far an ended session has come with giving away.
#[derive(Debug)]
pub(super) struct Leaving {
    /// Writes under way.
    parts: u32,
    /// Whether one of them failed.
    failed: bool,
    /// What they are of, to be read and given away again if one fails.
    page: Leaver,
    /// What comes next; then the session's records go.
    next: Option<Leaver>,
}

/// An ended session, as its shard has had it or a start has found it on disk.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) session: Session,
    /// Whether it had shared subscriptions: what it is owed by them goes to others.
    pub(super) shares: bool,
    pub(super) number: SessionNumber,
    pub(super) will: Option<Box<PendingWill>>,
    /// Under which key it was one of the shard's, if the shard has had it.
    pub(super) key: Option<u32>,
}

impl<P: Ports> Worker<P> {
    /// A durable session has ended, and is no longer one of the shard's.
    pub(super) fn leave_behind(&mut self, found: Found) {
        let Found { mut session, shares, number, will, key } = found;
        let passed_on = session.take_shared(true, |_| true);
        let stored = session.on_disk().filter(|_| shares);
        if stored.is_none() {
            self.counters.dropped_session_ended.add(session.owed() as u64);
        }
        if passed_on.is_empty() && stored.is_none() && will.is_none() {
            self.file(self.removal(number));
            return;
        }
        let from = stored.unwrap_or_default();
        let leaver = Leaver { number, sent_to: session.sent_to(), from };
        let leaving = Leaving {
            parts: 1,
            failed: false,
            page: Leaver { from: 0, ..leaver },
            next: stored.map(|_| leaver),
        };
        self.leaving.insert(number, leaving);
        let mut mark = self.leavers_draft(number);
        mark.writes.push(Write::PutSession { number, record: Box::new(ended(&session)) });
        if let Some(will) = will {
            self.publish_will((number, key), will.will, mark);
        } else {
            self.file(mark);
            // Ahead of all that other shards write for it.
            self.submit_draft();
        }
        if !passed_on.is_empty() {
            let mut draft = self.leavers_draft(number);
            draft.writes = session.take_changes().into_iter().map(|c| c.write(number)).collect();
            self.pass_on(passed_on, draft);
        }
        self.on_left(number, false);
    }

    /// For one more write that a session's end waits for.
    fn leavers_draft(&mut self, number: SessionNumber) -> Draft {
        let mut draft = Draft::default();
        if let Some(leaving) = self.leaving.get_mut(&number) {
            leaving.parts += 1;
            draft.waiting.push((self.index, Done::Left(number)));
        }
        draft
    }

    /// One of the writes is safe, or has failed.
    pub(super) fn on_left(&mut self, number: SessionNumber, failed: bool) {
        let Some(leaving) = self.leaving.get_mut(&number) else { return };
        leaving.parts -= 1;
        leaving.failed |= failed;
        if leaving.parts > 0 {
            return;
        }
        if leaving.failed {
            self.unread_leavers.push(leaving.page);
        } else if let Some(next) = leaving.next {
            self.read_leavers_page(next);
        } else {
            self.leaving.remove(&number);
            self.file(self.removal(number));
        }
    }

    pub(super) fn read_leavers_page(&mut self, leaver: Leaver) {
        let Leaver { number, from, .. } = leaver;
        self.page_reads.push(PageRead::next(number, from, Done::PassOn(leaver)));
    }

    /// Gives the messages of a page to others.
    pub(super) fn on_leavers_page(&mut self, leaver: Leaver, outcome: Outcome) {
        let Outcome::Page(Page { entries, next }) = outcome else {
            self.unread_leavers.push(leaver);
            return;
        };
        let number = leaver.number;
        let Some(leaving) = self.leaving.get_mut(&number) else { return };
        *leaving = Leaving { parts: 1, failed: false, page: leaver, next: None };
        for (position, stored) in entries {
            let was_sent = position.0 < leaver.sent_to;
            let Stored::Entry(entry) = stored else { continue };
            let is_theirs = !was_sent || entry.qos == QoS::AtLeastOnce;
            let group = entry.share.and_then(|filter| self.shared.shares.find(&filter));
            match group.filter(|_| is_theirs) {
                Some(group) => {
                    self.counters.shared_passed_on.add(1);
                    let mut draft = self.leavers_draft(number);
                    draft.writes.push(Write::RemoveOutbox { number, position });
                    let mut part = Part::of_publisher(draft, true);
                    self.place_left(entry.message, group, &mut part);
                    self.finish_part(part);
                }
                None => self.counters.dropped_session_ended.add(1),
            }
        }
        if let Some(leaving) = self.leaving.get_mut(&number) {
            leaving.next = next.map(|next| Leaver { from: next.0, ..leaver });
        }
        self.on_left(number, false);
    }
}

/// The record of a session that has ended.
fn ended(session: &Session) -> SessionRecord {
    SessionRecord {
        client_id: session.client_id().into(),
        // Nobody can have it any more.
        user: None,
        expiry_secs: 0,
        disconnected_at: Some(WallMillis(0)),
        sent_to: Position(session.sent_to()),
        will: None,
    }
}
