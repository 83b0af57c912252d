//! A client's input: whether it is being received, and what it waits for. Nothing here looks at the bytes.

use std::num::NonZeroU64;
use std::sync::Arc;

use push_common::clock::Monotonic;

use super::input_budget::{InputBudget, InputCharge, InputOwner, Unfinished};

/// Packets that are being done are counted in parts of 64 KiB: up to 16 MiB in a byte.
const HELD_PART_BITS: u32 = 16;

/// One client's.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// Its part of the budget of input, while it has much waiting.
    charge: Option<Box<InputCharge>>,
    /// Since when its input has waited for its answers to leave, in nanoseconds.
    throttled_at: Option<NonZeroU64>,
    /// How much is kept of a packet that is being done, in parts of 64 KiB.
    held_parts: u8,
    /// It waits: for the store, for its session's turn, or for its own answers to leave.
    is_stalled: bool,
    /// A receive is under way in the ring.
    is_receiving: bool,
    /// The peer has ended the connection, or we no longer care whether it has.
    is_peer_gone: bool,
    /// Filters that it has subscribed to, as far as there are few.
    few_filters: u8,
    /// Whence it comes: which of the process's listeners.
    listener: u16,
}

impl Intake {
    /// Of a socket that this listener has accepted.
    pub(crate) fn new(listener: u16) -> Self {
        Self { listener, ..Self::default() }
    }

    /// Which of the process's listeners has accepted the socket.
    pub(crate) fn listener(&self) -> u16 {
        self.listener
    }

    /// Filters that it has subscribed to, as far as there are few; for its account.
    pub(crate) fn few_filters_mut(&mut self) -> &mut u8 {
        &mut self.few_filters
    }

    /// Whether a receive is under way in the ring.
    pub(crate) fn is_receiving(&self) -> bool {
        self.is_receiving
    }

    /// A receive begins.
    pub(crate) fn begin_receive(&mut self) {
        self.is_receiving = true;
    }

    /// A receive has brought something, and perhaps brings `more`.
    pub(crate) fn on_received(&mut self, more: bool) {
        self.is_receiving = more;
    }

    /// Whether the peer has ended the connection, or we no longer care whether it has.
    pub(crate) fn is_peer_gone(&self) -> bool {
        self.is_peer_gone
    }

    /// The peer has ended the connection, or we no longer care whether it has.
    pub(crate) fn end_peer(&mut self) {
        self.is_peer_gone = true;
    }

    /// Whether it waits: for the store, for its session's turn, or for its own answers to leave.
    pub(crate) fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// It waits.
    pub(crate) fn stall(&mut self) {
        self.is_stalled = true;
    }

    /// It waits no longer. Returns whether it did.
    pub(crate) fn resume(&mut self) -> bool {
        std::mem::take(&mut self.is_stalled)
    }

    /// How much is kept of a packet that is being done, in bytes. It counts like a packet that is not whole.
    pub(crate) fn held_bytes(&self) -> usize {
        usize::from(self.held_parts) << HELD_PART_BITS
    }

    /// So many bytes are kept of a packet that is being done.
    pub(crate) fn hold(&mut self, bytes: usize) {
        let parts = (bytes + (1 << HELD_PART_BITS) / 2) >> HELD_PART_BITS;
        self.held_parts = u8::try_from(parts).unwrap_or(u8::MAX);
    }

    /// Since when it has waited for its answers to leave.
    pub(crate) fn throttled_since(&self) -> Option<Monotonic> {
        self.throttled_at.map(|nanos| Monotonic(nanos.get()))
    }

    /// It waits for its answers from now on. `now` is never the machine's start, which stands for not waiting.
    pub(crate) fn throttle(&mut self, now: Monotonic) {
        self.throttled_at = NonZeroU64::new(now.0);
    }

    /// An answer has left: if it waits for others, it does so from now on.
    pub(crate) fn throttle_again(&mut self, now: Monotonic) {
        if self.throttled_at.is_some() {
            self.throttle(now);
        }
    }

    /// It waits for its answers no longer.
    pub(crate) fn unthrottle(&mut self) {
        self.throttled_at = None;
    }

    /// Counts `bytes` that wait for the rest of their packet, with `behind` bytes of whole packets before them.
    /// Returns the clients to be disconnected for that, and whether nothing was counted before.
    pub(crate) fn charge(
        &mut self,
        budget: &Arc<InputBudget>,
        owner: InputOwner,
        (bytes, behind): (usize, u64),
        now: Monotonic,
    ) -> (Vec<InputOwner>, bool) {
        let input = Unfinished { bytes, behind, is_kept_waiting: self.is_stalled };
        let was_charged = self.charge.is_some();
        let condemned = budget.charge(&mut self.charge, owner, input, now);
        (condemned, !was_charged && self.charge.is_some())
    }

    /// Nothing is counted any more.
    pub(crate) fn discharge(&mut self) {
        self.charge = None;
    }

    /// Whether its client is to be disconnected for others' input, and its packet has not become whole meanwhile.
    pub(crate) fn is_condemned(&self) -> bool {
        self.charge.as_ref().is_some_and(|charge| charge.is_condemned())
    }

    /// When a large packet is next measured, while the server takes it.
    pub(crate) fn progress_deadline(&self) -> Option<Monotonic> {
        let charge = self.charge.as_ref().filter(|_| !self.is_stalled)?;
        Some(charge.progress_deadline())
    }

    /// Whether a large packet, of which there are `bytes` by now, comes slower than `rate_min` bytes a second.
    pub(crate) fn is_too_slow(&mut self, bytes: usize, rate_min: u32, now: Monotonic) -> bool {
        self.charge.as_mut().is_some_and(|charge| charge.is_too_slow(bytes, rate_min, now))
    }

    /// The connection is over. Returns the charge of its input, which goes with the input.
    pub(crate) fn end(&mut self) -> Option<Box<InputCharge>> {
        self.is_stalled = false;
        self.unthrottle();
        self.charge.take()
    }
}

#[cfg(test)]
mod tests;
