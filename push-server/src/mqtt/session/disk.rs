//! The part of a session that the store keeps: what the shard reads and writes for it, and what the disk
//! answers.

use std::sync::Arc;

use super::super::Limits;
use super::super::delivery::Delivery;
use super::super::outbox::{Extent, Fetched, Outbox};
use super::super::owed::{Filing, SessionChange};
use super::Session;
use crate::broker::MemoryBudget;

impl Session {
    /// Takes up what a restart of the server found on disk. `sent_to`: what lies before that place was
    /// sent already, or may have been.
    pub fn recover(&mut self, disk: Option<Extent>, sent_to: u64, exactly_once: &[u16]) {
        self.next_position = disk.map_or(sent_to, |disk| disk.next.max(sent_to));
        // Nobody has noted which groups it was in.
        self.has_left_groups = disk.is_some();
        let mut outbox = Outbox::recovered(disk, sent_to);
        for &packet_id in exactly_once {
            outbox.exactly.recover(packet_id);
        }
        self.outbox = Some(Box::new(outbox));
        self.tidy();
    }

    /// What lies before this place was sent already, or may have been, for all that is owed.
    pub fn sent_to(&self) -> u64 {
        self.outbox.as_deref().map_or(self.next_position, |outbox| outbox.sent_to)
    }

    /// Where the part of its outbox that lies on disk begins.
    pub fn on_disk(&self) -> Option<u64> {
        self.outbox.as_deref()?.on_disk()
    }

    /// The message in this place is on disk; `filed`: what was said of it when it was delivered.
    pub fn written(&mut self, position: u64, filed: Filing, connected: bool) {
        self.outbox.get_or_insert_default().written(position, filed, connected);
        self.tidy();
    }

    /// The message in this place will not be on disk, and its publisher knows. Returns whether it was
    /// dropped: it may have left already.
    pub fn not_written(&mut self, position: u64) -> bool {
        let dropped = self.outbox.as_deref_mut().is_some_and(|p| p.not_written(position));
        self.tidy_left();
        dropped
    }

    /// Takes the messages of a durable session that could not be written and had left by then, to
    /// have them written now: they count as queued. Until they are on disk, or acknowledged, all
    /// behind them is kept in memory.
    pub fn take_unwritten(&mut self) -> Vec<(u64, Delivery)> {
        let outbox = self.outbox.as_deref_mut().filter(|_| self.is_durable);
        outbox.map(Outbox::take_unwritten).unwrap_or_default()
    }

    /// Where the next page is to be read from disk, if one is due. The client is here.
    pub fn begin_page(&mut self, memory: &MemoryBudget) -> Option<u64> {
        self.outbox.as_deref_mut()?.begin_page(memory)
    }

    /// The page that `begin_page` asked for: what was found in order, and where to read on. What there is
    /// no memory for stays on disk, but for the first message. Returns how many messages that should be
    /// there are not.
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

    /// Where the oldest messages on disk are to be read from, because some of them have to be dropped.
    pub fn begin_trim(&mut self, limits: &Limits) -> Option<u64> {
        self.outbox.as_deref_mut()?.begin_trim(limits)
    }

    /// What `begin_trim` asked for: places and sizes, in order, and where to read on. Returns how many
    /// messages were dropped.
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

    /// Takes what is to be done on disk, in order.
    pub fn take_changes(&mut self) -> Vec<SessionChange> {
        let Some(outbox) = self.outbox.as_deref_mut() else { return Vec::new() };
        let changes = std::mem::take(&mut outbox.changes);
        if !changes.is_empty() {
            self.tidy();
        }
        changes
    }

    /// The disk has noted that the message in this place was received: PUBREL may leave.
    pub fn released(&mut self, position: u64) {
        if let Some(outbox) = self.outbox.as_deref_mut() {
            outbox.inflight.released(position);
        }
    }

    /// Whether a change that the disk has refused is still to be made.
    pub fn needs(&self, change: SessionChange) -> bool {
        let outbox = self.outbox.as_deref();
        match change {
            SessionChange::Settle(_) => true,
            SessionChange::Release(position) => outbox.is_some_and(|outbox| {
                outbox.inflight.unreleased().any(|unreleased| unreleased == position)
            }),
            // What has the id now asks for its removal itself.
            SessionChange::EndExactlyOnce(packet_id) => self.exactly_once(packet_id).is_none(),
        }
    }
}
