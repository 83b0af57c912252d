//! The part of a session that the store keeps: what the shard reads and writes for it, and how the
//! session takes the results.

use std::sync::Arc;

use super::super::Limits;
use super::super::delivery::Delivery;
use super::super::outbox::{Extent, Fetched, Outbox};
use super::super::owed::{Filing, SessionChange};
use super::Session;
use crate::broker::MemoryBudget;

impl Session {
    /// Whether the session waits for a page, or for messages that it hands on to be safe.
    pub fn awaits_disk(&self) -> bool {
        self.outbox.as_deref().is_some_and(Outbox::awaits_disk)
    }

    /// Restores what a start of the server found on disk. Messages before position `sent_to` were
    /// sent before, or may have been.
    pub fn recover(&mut self, disk: Option<Extent>, sent_to: u64, exactly_once: &[u16]) {
        self.next_position = disk.map_or(sent_to, |disk| disk.next.max(sent_to));
        // The disk does not say which groups it was in.
        self.has_left_groups = disk.is_some();
        let mut outbox = Outbox::recovered(disk, sent_to);
        for &packet_id in exactly_once {
            outbox.exactly.recover(packet_id);
        }
        self.outbox = Some(Box::new(outbox));
        self.tidy();
    }

    /// All messages before this position were sent, or may have been.
    pub fn sent_to(&self) -> u64 {
        self.outbox.as_deref().map_or(self.next_position, |outbox| outbox.sent_to)
    }

    /// The position where the disk part of the outbox begins.
    pub fn on_disk(&self) -> Option<u64> {
        self.outbox.as_deref()?.on_disk()
    }

    /// The message at this position is on disk. `filed`: its `Filing` when it was delivered.
    pub fn written(&mut self, position: u64, filed: Filing, connected: bool) {
        self.outbox.get_or_insert_default().written(position, filed, connected);
        self.tidy();
    }

    /// The message at this position will not be on disk, and its publisher knows. Returns whether
    /// it was dropped: it may have left before.
    pub fn not_written(&mut self, position: u64) -> bool {
        let dropped = self.outbox.as_deref_mut().is_some_and(|p| p.not_written(position));
        self.tidy_left();
        dropped
    }

    /// Takes copies of messages that had left when their write failed, to write them now; they
    /// count as `Filing::Queued`. Until they are on disk or acknowledged, all messages behind them
    /// stay in memory.
    pub fn take_unwritten(&mut self) -> Vec<(u64, Delivery)> {
        let outbox = self.outbox.as_deref_mut().filter(|_| self.is_durable);
        outbox.map(Outbox::take_unwritten).unwrap_or_default()
    }

    /// Where to read the next page from disk, if the connected client needs one.
    pub fn begin_page(&mut self, memory: &MemoryBudget) -> Option<u64> {
        self.outbox.as_deref_mut()?.begin_page(memory)
    }

    /// Takes the page that `begin_page` asked for: what was found, in order, and where to read on.
    /// Messages without room in memory stay on disk, except the first. Returns how many messages
    /// are missing that should be there.
    pub fn page_loaded(
        &mut self,
        found: Vec<(u64, Fetched)>,
        next: Option<u64>,
        connected: bool,
        memory: &Arc<MemoryBudget>,
    ) -> u32 {
        let Some(outbox) = self.outbox.as_deref_mut() else { return 0 };
        let lost = outbox.page_loaded(found, next, connected, memory);
        self.tidy();
        lost
    }

    /// The page could not be read.
    pub fn page_failed(&mut self, connected: bool) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.page_failed(connected);
        }
    }

    /// Where to read the oldest messages on disk, if some of them must be dropped.
    pub fn begin_trim(&mut self, limits: &Limits) -> Option<u64> {
        self.outbox.as_deref_mut()?.begin_trim(limits)
    }

    /// Takes what `begin_trim` asked for: positions and sizes, in order, and where to read on.
    /// Returns how many messages it dropped.
    pub fn trimmed(
        &mut self,
        found: &[(u64, u64)],
        behind: Option<u64>,
        limits: &Limits,
        connected: bool,
    ) -> u32 {
        let Some(outbox) = self.outbox.as_deref_mut() else { return 0 };
        let dropped = outbox.trimmed(found, behind, limits, connected);
        self.tidy();
        dropped
    }

    /// Takes the changes to make on disk, in order.
    pub fn take_changes(&mut self) -> Vec<SessionChange> {
        let Some(outbox) = self.outbox.as_deref_mut() else { return Vec::new() };
        let changes = std::mem::take(&mut outbox.changes);
        if !changes.is_empty() {
            self.tidy();
        }
        changes
    }

    /// The disk has noted that the client received the message at this position: PUBREL may leave.
    pub fn released(&mut self, position: u64) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.inflight.released(position);
        }
    }

    /// Whether a change that the disk has refused must still be made.
    pub fn needs(&self, change: SessionChange) -> bool {
        let outbox = self.outbox.as_deref();
        match change {
            SessionChange::Settle(_) => true,
            SessionChange::Release(position) => outbox.is_some_and(|outbox| {
                outbox.inflight.unreleased().any(|unreleased| unreleased == position)
            }),
            // A newer publish with this id asks for the removal itself.
            SessionChange::EndExactlyOnce(packet_id) => self.exactly_once(packet_id).is_none(),
        }
    }
}
